"""How a verb answers to Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from alignlab.signals import STOPPING, Stopped, handled, stop


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_raised_where_the_process_is_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in STOPPING]
    with pytest.raises(Stopped) as stopped, handled(stop):
        os.kill(os.getpid(), number)
    assert stopped.value.signal is number
    assert stopped.value.status == 128 + number
    assert [signal.getsignal(each) for each in STOPPING] == before


def test_outside_the_main_thread_nothing_is_changed() -> None:
    seen = []

    def look() -> None:
        with handled(stop):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


WORKER = """
import os, signal, sys, time
from alignlab.signals import handled, stop
with handled(stop):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.3)
    os.kill(child, signal.SIGINT)
    time.sleep(0.3)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
"""


def test_forked_workers_leave_ctrl_c_to_their_parent_and_end_by_the_rest() -> None:
    subprocess.run([sys.executable, "-c", WORKER], check=True, timeout=60)


VERB = """
import os, signal, sys
import alignlab.verbs
from alignlab.analysis.config import AnalyzeConfig
def run(config):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
sys.exit(alignlab.verbs.run_verb(AnalyzeConfig, run, verb="analyze", intro="", argv=[]))
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_verb_that_is_stopped_says_one_line_and_how_to_go_on(name: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", VERB, name], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status
    assert done.stderr == f"\nStopped by {name}. The same command goes on from what is done.\n"
