"""How a verb ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

END = """
import atexit, sys, threading, time
from alignlab.console import BACKGROUND
from alignlab.verbs import end

atexit.register(print, "orderly")
if sys.argv[1] == "busy":
    threading.Thread(target=time.sleep, args=(60,), name=BACKGROUND, daemon=True).start()
print("written", end="")
end(3)
"""


@pytest.mark.parametrize(("what", "printed"), [("idle", "writtenorderly"), ("busy", "written")])
def test_the_end_keeps_status_and_output(what: str, printed: str) -> None:
    """With a thread at work the process ends at once, without what else Python would do at its end."""
    done = subprocess.run([sys.executable, "-c", END, what], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout.strip()) == (3, printed)
