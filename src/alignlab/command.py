"""What all commands do alike: help, refusals with exit status 2, quiet libraries."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

from alignlab import console, signals
from alignlab.config import BaseOf, Options, asks_for_help, help_text, load
from alignlab.console import BACKGROUND
from alignlab.errors import InputError, Problem
from alignlab.labels import labels_of
from alignlab.quick_start import end_quickly, quick_imports
from alignlab.redaction import guard_tracebacks
from alignlab.signals import Stopped, handled, ignore_ctrl_c, stop

Config = TypeVar("Config", bound=Options)

# What libraries say about choices that alignlab makes on purpose.
_EXPECTED = (
    ".*your dataloader is not resumable.*",  # it starts at the micro-batch that comes next
    ".*does not have many workers.*",  # data.workers says how many
    ".*checkpoint directory .* exists and is not empty.*",
    ".*`is_gradient_checkpointing` is deprecated.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


# What a disk or its owner refuses, whatever we do: anything else that an operation on files raises is our own bug.
_THE_MACHINES = frozenset(
    (
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    )
)
# What writing to a file that is open raises, without its name.
_THE_DISKS = frozenset((errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS))


def run_command(
    root: type[Config],
    run: Callable[[Config], None],
    *,
    command: str,
    intro: str,
    argv: Sequence[str],
    base_of: BaseOf = lambda settings: None,
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> int:
    """Load the config that `argv` asks for (see `alignlab.config.load`) and run the command with it.

    words: see `alignlab.config.help_text`.

    Returns the exit status: 0; 2 where the input was refused (one message, no traceback); the signal's where one has
    stopped it; 1 where another rank is gone. Anything else that is raised is our own bug and keeps its traceback.
    """
    origins: dict[str, str] = {}
    signals.begin()
    try:
        with handled(stop):
            key = asks_for_help(argv)
            if key is not None:
                sys.stdout.write(help_text(root, f"python -m alignlab.{command}", intro, words, key))
                return 0
            _check_working_directory()
            config, origins = load(root, argv, base_of)
            with quick_imports():  # takes seconds: once the config is known to be right
                _quieten()
            with labels_of(config):
                run(config)
            _leave()
    except InputError as error:
        console.complain("\n" + "\n".join(str(with_origin(problem, origins)) for problem in error.problems))
        _leave()
        return 2
    except OSError as error:
        path = error.filename2 or error.filename  # of a renaming, where it was to go
        if error.errno not in (_THE_MACHINES if path is not None else _THE_DISKS):
            raise
        found = f"{error.strerror.lower() if error.strerror else error}"
        where = "a file that was being written" if path is None else str(path)
        console.complain(f"\n{Problem(where, found, 'a disk and permissions that allow it')}")
        _leave()
        return 2
    except (Stopped, KeyboardInterrupt) as error:  # the latter where Python's own handler stands, as in a thread
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        done = f" {stopped.done}" if stopped.done else ""
        console.complain(f"\nStopped by {stopped.signal.name}{done}. The same command goes on from what is done.")
        _leave(wait=False)
        return stopped.status
    except RuntimeError as error:
        if str(error) == "Could not determine home directory.":  # what pathlib makes of ~name/folder
            found = "a path begins with ~ and a name, and there is no such user"
            console.complain(f"\n{Problem('command line', found, 'a path, or ~/ for your own folder')}")
            _leave()
            return 2
        if not _is_loss_of_a_rank(error):
            raise
        console.complain(
            "\nAnother rank has ended; what it says tells why. The same command goes on from what is done."
        )
        _leave()
        return 1
    return 0


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError.of("working directory", "it has been removed", "one that is there", "cd to another.") from None


def _is_loss_of_a_rank(error: RuntimeError) -> bool:
    if "alignlab.models.distributed" not in sys.modules:
        return False
    from alignlab.models.distributed import is_loss_of_a_rank

    return is_loss_of_a_rank(error)


def _leave(*, wait: bool = True) -> None:
    """Part from the other ranks; there are none where nothing has imported what connects them."""
    if "alignlab.models.distributed" in sys.modules:
        from alignlab.models.distributed import leave

        leave(wait=wait)


def end(status: int) -> NoReturn:
    """End the process of a command with its exit status.

    At Python's own end a thread that is still at work (for a W&B server that does not answer, say) is torn out of
    whatever C++ it is in, which aborts the process. By then all is written: so it ends at once.
    """
    ignore_ctrl_c()
    end_quickly(status)
    if any(thread.name == BACKGROUND for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def with_origin(problem: Problem, origins: Mapping[str, str]) -> Problem:
    """The problem with the file and line, or the command line, behind the config key that it is about.

    origins: where each key was set, as `alignlab.config.load` gives it.
    """
    match = re.match(r"[\w.]+(?![\w./])", problem.where)
    origin = origins.get(match[0], "default") if match else "default"
    return problem if origin == "default" else replace(problem, where=f"{origin}: {problem.where}")


def _quieten() -> None:
    guard_tracebacks()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # PEFT imports it wherever it is installed; what it warns of are faster kernels on some processors.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
