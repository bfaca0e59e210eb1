"""How a command answers to Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from alignlab.signals import STOPPING, Stopped, asked_to_stop, begin, handled, stop


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
        for _ in range(600):
            time.sleep(0.1)
        os._exit(0)
    time.sleep(0.3)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, number)
        time.sleep(0.3)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
"""


def test_forked_workers_leave_stopping_to_their_parent_and_end_by_a_second_signal() -> None:
    subprocess.run([sys.executable, "-c", WORKER], check=True, timeout=60)


VERB = """
import os, signal, sys
import alignlab.command
from alignlab.options import AnalyzeOptions
def run(config):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
sys.exit(alignlab.command.run_command(AnalyzeOptions, run, command="analyze", intro="", argv=[]))
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_verb_that_is_stopped_says_one_line_and_how_to_go_on(name: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", VERB, name], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status
    assert done.stderr == f"\nStopped by {name}. The same command goes on from what is done.\n"


DEAF = """
import os, signal, threading, torch, torch.distributed as dist
import alignlab.signals
alignlab.signals._PATIENCE = 1.0
with alignlab.signals.handled(alignlab.signals.stop):
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    # The second rank never comes: a call into C++ that no Python handler gets into.
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:%d", rank=0, world_size=2)
"""


def test_a_process_that_waits_for_a_rank_that_never_comes_can_be_stopped() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run([sys.executable, "-c", DEAF % port], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 143 or "Stopped" in done.stderr  # by either way it has ended


def test_handlers_that_come_twice_are_answered_and_the_process_lives_on() -> None:
    code = (
        "import os, signal, time, alignlab.signals\n"
        "alignlab.signals._PATIENCE = 2.5\n"
        "seen = []\n"
        "with alignlab.signals.handled(seen.append):\n"
        "    for _ in range(5):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    time.sleep(6)\n"
        "print(len(seen) >= 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"


def test_a_knock_that_the_process_misses_is_repeated() -> None:
    """One that comes just before the process begins to wait does not wake it: here the first is thrown away."""
    code = (
        "import os, signal, time, alignlab.signals\n"
        "alignlab.signals._PATIENCE = 3.0\n"
        "knock, missed, real = signal.SIGURG, [], signal.pthread_kill\n"
        "def kill(thread, number):\n"
        "    real(thread, number) if missed else missed.append(number)\n"
        "signal.pthread_kill = kill\n"
        "with alignlab.signals.handled(lambda number: None):\n"
        # Blocked here, the signal goes to the thread that watches, and does not wake the main one.
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(8)\n"
        "print(missed == [knock])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"


def test_who_puts_an_earlier_handler_back_does_not_deafen_the_process() -> None:
    """As Lightning does at the end of a training, for all signals at once."""
    code = (
        "import os, signal, time, alignlab.signals as signals\n"
        "signals._PATIENCE = 2.0\n"
        "with signals.handled(lambda number: None):\n"
        "    outer = signal.getsignal(signals._KNOCK)\n"
        "    with signals.handled(lambda number: None):\n"
        "        signal.signal(signals._KNOCK, outer)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(6)\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "alive\n", done.stderr


def test_a_child_that_lives_on_does_not_hold_the_end_up() -> None:
    code = (
        "import os, signal, time, alignlab.signals as signals\n"
        "with signals.handled(lambda number: None):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        time.sleep(600)\n"
        "print('ended', flush=True)\n"
        "os.kill(child, signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "ended\n", done.stderr


def test_what_python_drops_comes_again_and_only_that_is_not_told() -> None:
    class Deaf:
        def __init__(self, error: BaseException | None) -> None:
            self.error = error

        def __del__(self) -> None:  # from which nothing can be raised
            if self.error is not None:
                raise self.error
            signal.raise_signal(signal.SIGTERM)

    before = sys.unraisablehook
    said: list[str] = []
    sys.unraisablehook = lambda dropped: said.append(repr(dropped.exc_value))
    begin()
    try:
        with handled(stop):
            Deaf(ValueError("mine"))
            assert said == ["ValueError('mine')"]
            Deaf(None)
            assert asked_to_stop() == signal.SIGTERM
            with pytest.raises(Stopped):
                time.sleep(60)
        assert len(said) == 1
        Deaf(Stopped(signal.SIGTERM))
        assert len(said) == 2  # the hook is put back
    finally:
        begin()
        sys.unraisablehook = before
