"""Reading torch and text files that others wrote, without running anything in them; writing them whole."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem
from alignlab.neurons.checks import reading

_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, ImportError)


def load_torch(path: Path, expected: str) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, numbers, texts and containers only.

    Raises InputError for missing and broken files, and for one that names anything that reading would have to run.
    """
    with reading(path, "a torch file", expected, _UNREADABLE):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            if named is None:
                raise ValueError("no pickle of torch") from error
            found = f"it names {named[1]}, which reading it would have to run; nothing was run"
            fix = "Let its author write it again with torch.save, from tensors and plain containers."
            raise InputError(Problem(f"{path}", found, expected, fix)) from None


def save_torch(path: Path, value: Any) -> None:
    """Write a torch file, whole or not at all. Raises OSError when it cannot be written."""
    try:
        with whole_file(path) as partial:
            torch.save(value, partial)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{path} could not be written: {error}") from error


def read_text(path: Path, expected: str) -> str:
    """A UTF-8 text file. Raises InputError when it is missing, unreadable or no UTF-8."""
    with reading(path, "text", expected, (OSError, UnicodeDecodeError), fix=""):
        return path.read_text(encoding="utf-8")
