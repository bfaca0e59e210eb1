"""By what a single file is known to be one that alignlab wrote, so that no other is replaced or removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

PAGE = b'<meta name="generator" content="alignlab'
PNG = b"tEXtSoftware\0alignlab"
YAML = b"# alignlab: "

_START = 1 << 16  # bytes in which a file says what it is
# Of a record, and of the reference's log-probabilities.
_TENSORS = (
    b'"format":"alignlab-counts"',
    b'"format":"alignlab-effects"',
    b'\\"format\\": \\"alignlab-reference\\"',
)
_TABLE = {"step", "group", "language", "layer", "kind", "degree"}
_METRICS = "step,key,value"
_RESPONSE = {"language", "id", "prompt", "tokens"}


def is_ours(path: Path) -> bool:
    """Whether alignlab wrote a file of this name: counts, effects, responses, log-probabilities, a table, metrics, a
    page, a figure or a tracker's identifier.

    An empty file is nobody's, and passes; one that is damaged where it says what it is passes for somebody else's.
    """
    looks = _LOOKS.get(path.suffix)
    if looks is None or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_START)
    return not start or looks(path, start)


def is_page(path: Path) -> bool:
    """Whether a file, whatever its name, is a page that alignlab wrote."""
    with path.open("rb") as file:
        return PAGE in file.read(_START)


def _is_tensors(_path: Path, start: bytes) -> bool:
    # The header of safetensors, JSON without blanks, whose metadata come first.
    return start[8:9] == b"{" and any(mark in start for mark in _TENSORS)


def _is_table(path: Path, start: bytes) -> bool:
    header = start.partition(b"\n")[0].decode("utf-8", "replace")
    return header == _METRICS if path.name == "metrics.csv" else set(header.split(",")) >= _TABLE


def _are_responses(_path: Path, start: bytes) -> bool:
    try:
        row = json.loads(start.partition(b"\n")[0])
    except (ValueError, RecursionError):
        # A first line longer than what is looked at still names its keys.
        return start.startswith(b'{"language": ') and b'"tokens": [' in start
    return isinstance(row, dict) and row.keys() >= _RESPONSE


def _is_page(_path: Path, start: bytes) -> bool:
    return PAGE in start


def _is_figure(_path: Path, start: bytes) -> bool:
    return PNG in start[:100]


def _is_yaml(_path: Path, start: bytes) -> bool:
    return start.startswith(YAML)


_LOOKS: dict[str, Callable[[Path, bytes], bool]] = {
    ".safetensors": _is_tensors,
    ".csv": _is_table,
    ".jsonl": _are_responses,
    ".html": _is_page,
    ".png": _is_figure,
    ".yaml": _is_yaml,
}
