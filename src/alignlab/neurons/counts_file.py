"""The file of a snapshot of counts: safetensors with a header, written whole or not at all.

The header lies in the safetensors metadata, whose values are strings: ``format``, ``format_version``, ``site``,
``scope``, ``model``, ``revision`` and ``data_fingerprint`` as they are; ``languages``, ``trained_languages``, ``step``
and, if there, ``subtracted`` as JSON; the checksums are those of :mod:`alignlab.checksums`. The tensors are those of
:mod:`alignlab.neurons.fields`, by the same names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from alignlab.checksums import check_header, read_checked, save_checked
from alignlab.errors import InputError, Problem
from alignlab.neurons.fields import FIELDS

FORMAT = "alignlab-counts"
FORMAT_VERSION = 1
REQUIRED_TENSORS = tuple(field.name for field in FIELDS.values() if field.required)
OPTIONAL_TENSORS = tuple(field.name for field in FIELDS.values() if not field.required)
_LOSSES = {field.name for field in FIELDS.values() if field.over_shards}
TEXT_KEYS = ("site", "scope", "model", "revision", "data_fingerprint")


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
    data_fingerprint: str
    subtracted: bool = False


def read_header(path: Path | str) -> CountsHeader:
    """The header of a file of counts, without its tensors; cheap however large the file.

    Raises InputError when the file is missing, truncated, not alignlab's or of another version, and when the header is
    not the one that was written. Of the tensors it tells nothing.
    """
    with _opened(Path(path)) as file:
        return _parsed(Path(path), file)


def read_counts(path: Path) -> tuple[CountsHeader, dict[str, Tensor]]:
    """Header and tensors of a file of counts. Raises InputError as `read_header` does, and for damaged tensors."""
    with _opened(path) as file:
        header = _parsed(path, file)
        known = (*REQUIRED_TENSORS, *OPTIONAL_TENSORS)
        tensors = {name: tensor for name, tensor in read_checked(path, file).items() if name in known}
        for name in _LOSSES.intersection(tensors):
            if tensors[name].ndim == 1:  # written since format version 1 was fixed by shard, before over all of them
                tensors[name] = tensors[name].unsqueeze(1)
        return header, tensors


def write_counts(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write the file beside its place and move it there, so that a reader finds the old one, the new one, or none.

    Raises OSError when it cannot be written; nothing is left behind then.
    """
    save_checked(path, tensors, metadata)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open safetensors file; its own errors become refusals that name it."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(Problem(f"{path}", "there is no such file", "a file of activation counts")) from None
    except (SafetensorError, OSError) as error:
        found = f"cannot be read as safetensors ({error})"
        raise InputError(Problem(f"{path}", found, "a whole file of activation counts", "Is it truncated?")) from None


def _parsed(path: Path, file: Any) -> CountsHeader:
    metadata: dict[str, str] = file.metadata() or {}
    where = f"{path}"
    if metadata.get("format") != FORMAT:
        found = f"its header has the format {metadata.get('format')!r}"
        raise InputError(Problem(where, found, f"{FORMAT!r}, as written by ActivationCounts.save"))
    if metadata.get("format_version") != str(FORMAT_VERSION):
        found, fix = f"format version {metadata.get('format_version')!r}", "Read it with the alignlab that wrote it."
        raise InputError(Problem(where, found, f"version '{FORMAT_VERSION}'", fix))
    check_header(path, file)
    keys, tensors = (*TEXT_KEYS, "languages", "trained_languages", "step"), set(file.keys())
    problems = [Problem(where, f"its header has no {key!r}") for key in keys if key not in metadata]
    problems += [Problem(where, f"it has no tensor {name!r}") for name in REQUIRED_TENSORS if name not in tensors]
    if problems:
        raise InputError(*problems)
    step = _decoded(where, metadata, "step")
    if not (step is None or type(step) is int):
        raise InputError(Problem(where, f"step {step!r} in its header", "an integer or null"))
    # Written since format version 1 was fixed; files from before have no such counts.
    subtracted = _decoded(where, metadata, "subtracted") if "subtracted" in metadata else False
    if not isinstance(subtracted, bool):
        raise InputError(Problem(where, f"subtracted {subtracted!r} in its header", "true or false"))
    return CountsHeader(
        languages=_names(where, metadata, "languages"),
        shape=tuple(file.get_slice("firings").get_shape()),
        step=step,
        subtracted=subtracted,
        trained_languages=_names(where, metadata, "trained_languages"),
        **{key: metadata[key] for key in TEXT_KEYS},
    )


def _names(where: str, metadata: dict[str, str], key: str) -> tuple[str, ...]:
    names = _decoded(where, metadata, key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(Problem(where, f"{key} {metadata[key]!r} in its header", "a JSON list of names"))
    return tuple(names)


def _decoded(where: str, metadata: dict[str, str], key: str) -> Any:
    try:
        return json.loads(metadata[key])
    except ValueError:
        raise InputError(Problem(where, f"{key} {metadata[key]!r} in its header", "JSON")) from None
