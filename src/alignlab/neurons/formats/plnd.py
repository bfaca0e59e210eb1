"""Text files of PLND (Zhao et al. 2024, arXiv 2402.18815): one language, five lines, each a printed dict of sets.

The lines are up, down, q, k and v, and read like ``{0: {1, 7}, 1: set()}``, in newer numpy ``{0: {np.int64(1)}}``. They
are matched against this form piece by piece; nothing is evaluated.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from alignlab.atomic import write_text
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import index_problems, require_one_of
from alignlab.neurons.formats.files import read_text

# The published code prints the same set as up and as down; the activation module's output is switched off with either.
LINES = ("mlp.up", "mlp.product", "attention.q", "attention.k", "attention.v")
READ_AT = {site: line for line, site in enumerate(LINES)} | {"mlp.act": 0}
WRITTEN_AT = {site: (line,) for line, site in enumerate(LINES)} | {"mlp.act": (0, 1)}

# No more digits than an index has, so that none overflows.
_NUMBER = r"(?:np\.|numpy\.)?u?int\d*\(\s*-?\d{1,12}\s*\)|-?\d{1,12}"
_ENTRY = re.compile(rf"\s*({_NUMBER})\s*:\s*(?:\{{([^{{}}]*)\}}|\[([^\[\]]*)\]|set\(\))\s*(?:,|$)")
_ONE = re.compile(rf"\s*(?:{_NUMBER})\s*")


def read_plnd(path: Path, site: str, num_neurons: int, num_layers: int | None) -> Tensor:
    """The set at one site, (L, N) bool; where `num_layers` is given, layers that are not there are empty.

    Raises InputError for files of another form, other layers, and indices out of range.
    """
    lines = [line for line in read_text(path, "five lines of PLND").splitlines() if line.strip()]
    if len(lines) != len(LINES):
        raise InputError(Problem(f"{path}", f"{len(lines)} lines", f"five: {', '.join(LINES)}"))
    require_one_of("site", site, READ_AT)
    where = f"{path}:{READ_AT[site] + 1}"
    layers = _parsed(where, lines[READ_AT[site]])
    depth = num_layers if num_layers is not None else len(layers)
    problems = []
    if not depth or not all(0 <= layer < depth for layer in layers):
        problems.append(Problem(where, f"layers {_spans(layers)}", f"layers 0 to {depth - 1}"))
    for layer, indices in layers.items():
        problems += index_problems(f"{where}, layer {layer}", indices, num_neurons)
    refuse_any(problems)
    mask = torch.zeros(depth, num_neurons, dtype=torch.bool)
    for layer, indices in layers.items():
        mask[layer, indices] = True
    return mask


def save_plnd(path: Path, mask: Tensor, site: str) -> None:
    """Write five lines, those of other sites with empty layers. Raises OSError when it cannot be written."""
    require_one_of("site", site, WRITTEN_AT)
    full = {layer: set(row.nonzero().flatten().tolist()) for layer, row in enumerate(mask)}
    empty: dict[int, set[int]] = {layer: set() for layer in full}
    lines = [str(full if line in WRITTEN_AT[site] else empty) for line in range(len(LINES))]
    write_text(path, "\n".join(lines) + "\n")


def _parsed(where: str, line: str) -> dict[int, list[int]]:
    """The layers of one line."""
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise InputError(Problem(where, repr(text[:40]), "a dict of layers, such as {0: {1, 7}, 1: set()}"))
    body, layers, at = text[1:-1].strip(), {}, 0
    while at < len(body):
        entry = _ENTRY.match(body, at)
        if entry is None:
            raise InputError(Problem(where, repr(body[at : at + 40]), "a layer with its indices, such as 0: {1, 7}"))
        layer = _integer(entry[1])
        if layer in layers:
            raise InputError(Problem(where, f"layer {layer} is there twice", "every layer once"))
        layers[layer] = _indices(where, entry[2] or entry[3] or "")
        at = entry.end()
    return layers


def _indices(where: str, text: str) -> list[int]:
    parts = text.split(",") if text.strip() else []
    for part in parts:
        if _ONE.fullmatch(part) is None:
            raise InputError(Problem(where, repr(part[:40]), "an index"))
    return [_integer(part) for part in parts]


def _integer(text: str) -> int:
    *_, digits = re.findall(r"-?\d+", text)  # np.int64(7) has others before them
    return int(digits)


def _spans(layers: dict[int, list[int]]) -> str:
    return f"{min(layers)} to {max(layers)}, {len(layers)} of them" if layers else "none"
