"""The file of a snapshot of counts; its tensors are those of :mod:`alignlab.neurons.fields`, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem
from alignlab.neurons.fields import FIELDS
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.headed_file import HeadedFormat

_NAMES = (tuple[str, ...], "a JSON list of names")
COUNTS = HeadedFormat(
    name="alignlab-counts",
    what="activation counts",
    writer="ActivationCounts.save",
    texts=("site", "scope", "model", "revision", "data_fingerprint", "reference", "clusters", "denominator"),
    values={
        "languages": _NAMES,
        "trained_languages": _NAMES,
        "step": (int | None, "an integer or null"),
        "subtracted": (bool, "true or false"),
    },
    tensors=tuple(name for name, field in FIELDS.items() if field.required),
    defaults={
        "subtracted": False,
        "reference": REFERENCE,
        "clusters": "",
        "denominator": "all",
    },  # older files lack them
)


@dataclass(frozen=True)
class CountsHeader:
    """What a file of counts says about itself; the fields are those of ActivationCounts.

    shape: G, S, L, N of the firings.
    """

    languages: tuple[str, ...]
    shape: tuple[int, ...]
    site: str
    scope: str
    model: str
    revision: str
    step: int | None
    trained_languages: tuple[str, ...]
    reference: str
    data_fingerprint: str
    subtracted: bool
    clusters: str
    denominator: str


def read_header(path: Path | str) -> CountsHeader:
    """The header of a file of counts, without its tensors; cheap however large the file.

    Raises InputError when the file is missing, truncated, not alignlab's or of another version, and when the header is
    not the one that was written. Of the tensors it tells nothing.
    """
    with COUNTS.opened(Path(path)) as (file, header):
        return CountsHeader(**header, shape=tuple(file.get_slice("firings").get_shape()))


def check_step(path: Path, step: int) -> None:
    """Refuse a file of counts whose header is damaged, or that is of another step. Raises InputError."""
    if (own := read_header(path).step) not in {step, None}:
        fix = "Give the file its own name back, or restore it from a copy."
        raise InputError(Problem(str(path), f"it holds the counts of step {own}", f"those of step {step}", fix))


def read_counts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors of a file of counts. Raises InputError as `read_header` does, and for damaged tensors."""
    with COUNTS.opened(path) as (file, header):
        tensors = {name: tensor for name, tensor in read_checked(path, file).items() if name in FIELDS}
    for name, tensor in tensors.items():
        if FIELDS[name].over_shards and tensor.ndim == 1:
            tensors[name] = tensor.unsqueeze(1)  # older files have them over all shards, without an axis for these
    return header, tensors
