"""Reading torch and text files that others wrote, without running anything in them; writing them whole."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem
from alignlab.neurons.checks import reading
from alignlab.regular_files import open_regular, read_regular

_UNREADABLE = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, ImportError, AssertionError,
)  # fmt: skip
_INTEGERS = (
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
)  # fmt: skip
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_torch(path: Path, expected: str) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, numbers, texts and containers only.

    Raises InputError for missing and broken files, and for one that names anything that reading would have to run.
    """
    with reading(path, "a torch file", expected, _UNREADABLE):
        try:
            with open_regular(path) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            if named is None:
                raise ValueError("no pickle of torch") from error
            found = f"it names {named[1]}, which reading it would have to run; nothing was run"
            fix = "Let its author write it again with torch.save, from tensors and plain containers."
            raise InputError(Problem(f"{path}", found, expected, fix)) from None


def unfit(tensor: Any, axes: int, *, integers: bool = False, floats: bool = False, masks: bool = False) -> str:
    """Why something out of a torch file is no tensor of so many axes and of one of these types; empty if it is one.

    A tensor that says it is larger than what the file holds of it, as one that repeats its numbers does, is none.
    """
    if not isinstance(tensor, Tensor):
        return f"{tensor!r}"[:60]
    types = _INTEGERS * integers + _FLOATS * floats + (torch.bool,) * masks
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized:
        form = tensor.layout if tensor.layout != torch.strided else "nested" if tensor.is_nested else tensor.dtype
        return f"a tensor that is not dense ({form})"
    if tensor.device.type != "cpu":
        return f"a tensor without its numbers (on the device {tensor.device.type})"
    if tensor.dtype not in types:
        return f"a tensor of {tensor.dtype}"
    if tensor.ndim != axes or 0 in tensor.shape[:-1]:
        return f"shape {tuple(tensor.shape)}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"shape {tuple(tensor.shape)}, of which it holds {tensor.untyped_storage().nbytes():,} bytes"
    return ""


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
        return read_regular(path).decode("utf-8")
