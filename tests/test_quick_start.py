"""A command begins and ends quickly, and leaves nothing undone by that."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from alignlab.quick_start import quick_imports

ENDING = """
import sys
from alignlab.quick_start import end_quickly
import atexit, logging, os, tempfile, threading, time, types, weakref

class Thing:
    def __del__(self):
        os.write(1, b"taken apart\\n")

class Late(logging.Handler):
    def close(self):
        print("logged")
        super().close()

sys.modules["other"] = types.ModuleType("other")
sys.modules["other"].thing = Thing()
logging.getLogger().addHandler(Late())
atexit.register(print, "registered")
weakref.finalize(sys, print, "finalised")
folder = tempfile.TemporaryDirectory()
print(folder.name)
def last():
    time.sleep(0.5)
    print("thread")
threading.Thread(target=last).start()
if sys.argv[1] == "quickly":
    end_quickly(3)
sys.exit(3)
"""


@pytest.mark.parametrize("how", ["quickly", "as Python does"])
def test_all_that_was_registered_is_done_and_the_status_kept(how: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING, how], capture_output=True, text=True, timeout=50)
    folder, *said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (3, "")
    assert said[0] == "thread"
    assert {"registered", "finalised", "logged"} <= {*said}
    assert ("taken apart" in said) == (how != "quickly")
    assert not Path(folder).exists()


def test_a_bug_keeps_its_traceback_and_its_status() -> None:
    bug = "from alignlab.quick_start import end_quickly\nraise ValueError('ours')"
    done = subprocess.run([sys.executable, "-c", bug], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "ValueError: ours" in done.stderr


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_collected_while_modules_are_imported_and_all_is_as_before_then(fails: bool) -> None:
    frozen, added = gc.get_freeze_count(), [f"alignlab_test_{number}" for number in range(200)]
    try:
        with quick_imports():
            assert not gc.isenabled()
            sys.modules |= {name: ModuleType(name) for name in added[: 200 if fails else 50]}
            if fails:
                raise ImportError
    except ImportError:
        assert fails
    finally:
        for name in added:
            sys.modules.pop(name, None)
    assert gc.isenabled()
    assert (gc.get_freeze_count() > frozen) == fails  # of few modules there is nothing to gain
    gc.unfreeze()


def test_what_was_off_stays_off() -> None:
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
