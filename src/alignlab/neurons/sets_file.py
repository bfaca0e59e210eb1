"""The file of named sets of neurons: safetensors with a header, written whole or not at all.

The header lies in the safetensors metadata, whose values are strings: ``format``, ``format_version``, and the texts
``site``, ``scope``, ``statistic``, ``model``, ``revision`` and ``data_fingerprint`` as they are; ``names`` (in order),
``tokens`` and ``thresholds`` as JSON; the checksums are those of :mod:`alignlab.checksums`. The one tensor ``sets`` is
(sets, L, N) bool.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from alignlab.checksums import check_header, read_checked, save_checked
from alignlab.errors import InputError, Problem
from alignlab.redaction import hide

FORMAT = "alignlab-sets"
FORMAT_VERSION = 1
TEXT_KEYS = ("site", "scope", "statistic", "model", "revision", "data_fingerprint")
JSON_KEYS = ("names", "tokens", "thresholds")


def write_sets(path: Path, sets: Tensor, header: dict[str, Any]) -> None:
    """Write (sets, L, N) bool with a header of `TEXT_KEYS` and `JSON_KEYS`. Raises OSError when that fails."""
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION)}
    metadata |= {key: hide(header[key]) for key in TEXT_KEYS}
    metadata |= {key: json.dumps(header[key], ensure_ascii=False) for key in JSON_KEYS}
    save_checked(path, {"sets": sets}, metadata)


def is_safetensors(path: Path) -> bool:
    """Whether a file is named so, or begins as safetensors do: eight bytes of length, then a JSON object."""
    if path.suffix == ".safetensors":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    # A text may have a brace there too, but would be a header of 10^15 bytes or more.
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 40


def read_sets(path: Path) -> tuple[Tensor, dict[str, Any]]:
    """What `write_sets` wrote. Raises InputError when the file is missing, damaged, or of another format."""
    where = str(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            _check_format(where, metadata)
            check_header(path, file)
            header = _header(where, metadata)
            if set(file.keys()) != {"sets"}:
                raise InputError(Problem(where, f"tensors {', '.join(file.keys())}", "one tensor, 'sets'"))
            return read_checked(path, file)["sets"], header
    except FileNotFoundError:
        raise InputError(Problem(where, "there is no such file", "a file of neuron sets")) from None
    except (SafetensorError, OSError) as error:
        found = f"cannot be read as safetensors ({error})"
        raise InputError(Problem(where, found, "a whole file of neuron sets", "Is it truncated?")) from None


def _check_format(where: str, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        found = f"its header has the format {metadata.get('format')!r}"
        raise InputError(Problem(where, found, f"{FORMAT!r}, as written by NeuronSets.save"))
    if metadata.get("format_version") != str(FORMAT_VERSION):
        found, fix = f"format version {metadata.get('format_version')!r}", "Read it with the alignlab that wrote it."
        raise InputError(Problem(where, found, f"version '{FORMAT_VERSION}'", fix))


def _header(where: str, metadata: dict[str, str]) -> dict[str, Any]:
    missing = [key for key in (*TEXT_KEYS, *JSON_KEYS) if key not in metadata]
    if missing:
        raise InputError(*(Problem(where, f"its header has no {key!r}") for key in missing))
    header: dict[str, Any] = {key: metadata[key] for key in TEXT_KEYS}
    for key in JSON_KEYS:
        try:
            header[key] = json.loads(metadata[key])
        except ValueError:
            raise InputError(Problem(where, f"{key} {metadata[key]!r} in its header", "JSON")) from None
    names = header["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(Problem(where, f"names {names!r} in its header", "a JSON list of names"))
    for key in ("tokens", "thresholds"):
        values = header[key]
        if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
            raise InputError(Problem(where, f"{key} {values!r} in its header", "a JSON object of numbers"))
    return header
