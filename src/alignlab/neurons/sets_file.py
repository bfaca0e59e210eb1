"""The file of named sets of neurons: one tensor ``sets``, (sets, L, N) bool, and the names in order in its header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem
from alignlab.neurons.headed_file import HeadedFormat
from alignlab.regular_files import open_regular

_NUMBERS = (dict[str, int | float], "a JSON object of numbers")
SETS = HeadedFormat(
    name="alignlab-sets",
    what="neuron sets",
    writer="NeuronSets.save",
    texts=("site", "scope", "statistic", "model", "revision", "data_fingerprint"),
    values={"names": (list[str], "a JSON list of names"), "tokens": _NUMBERS, "thresholds": _NUMBERS},
    tensors=("sets",),
)


def is_safetensors(path: Path) -> bool:
    """Whether a file is named so, or begins as safetensors do: eight bytes of length, then a JSON object."""
    if path.suffix == ".safetensors":
        return True
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except OSError:
        return False
    # A text may have a brace there too, but would be a header of 10^15 bytes or more.
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 40


def read_sets(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The sets by name, and the rest of the header. Raises InputError for a missing, damaged or other file."""
    with SETS.opened(path) as (file, header):
        tensors = read_checked(path, file)
    if set(tensors) != {"sets"}:
        raise InputError(Problem(f"{path}", f"tensors {', '.join(tensors)}", "one tensor, 'sets'"))
    masks, names = tensors["sets"], header.pop("names")
    if masks.ndim != 3 or len(masks) != len(names) or len(set(names)) != len(names):
        found = f"{len(set(names))} different names for sets of shape {tuple(masks.shape)}"
        raise InputError(Problem(f"{path}", found, "a name for each set, and (sets, layers, neurons)"))
    return dict(zip(names, masks, strict=True)), header
