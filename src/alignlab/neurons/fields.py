"""What a record of counts holds: one description, from which its checks, its file, its parts and its size follow.

To add a statistic: a `TensorField` here, the attribute of that name in `ActivationCounts`, and the observer that fills
it in `recording.tallies`. What ties one field to others is in `counts_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["language", "shard", "layer", "neuron", "expert"]
LETTERS: dict[Axis, str] = {"language": "G", "shard": "S", "layer": "L", "neuron": "N", "expert": "E"}

# Which types hold the numbers of a field. Counts are kept in the smallest type that holds the largest possible one.
INTEGER_DTYPES = (torch.uint8, torch.uint16, torch.uint32, torch.int32, torch.int64)
TYPES: dict[str, tuple[torch.dtype, ...]] = {
    "count": INTEGER_DTYPES,
    "total": (torch.int64,),
    "sum": (torch.float64,),
    "value": (torch.float32, torch.float64),
}
NAMES = {"count": "an integer type", "value": "torch.float32 or torch.float64"}

Merge = Literal["sum", "max", "min"]
# What no token gives, and how parts along the first dimension become one.
NOTHING: dict[Merge, float] = {"sum": 0, "max": -torch.inf, "min": torch.inf}
TOGETHER: dict[Merge, Callable[..., Tensor]] = {"sum": torch.sum, "max": torch.amax, "min": torch.amin}


@dataclass(frozen=True)
class TensorField:
    """One tensor of a record.

    name: its attribute in `ActivationCounts`, and its name in the file.
    axes: what it is kept by.
    numbers: `count`, integers of neurons; `total`, int64; `sum`, float64; `value`, as exact as the model's own.
    doc: what it is.
    merge: how it becomes that of several sets of documents, of shards, batches or ranks: see NOTHING and TOGETHER.
    required: every record has it.
    statistic: the name under which it is asked for beside the firings; empty for what is always there, or with losses.
    limit: the field whose numbers bound its own, shard by shard, or over all shards.
    beside: the field that it belongs to; neither is there without the other.
    over_shards: in older records it is known over all shards together only: its shard axis then has size 1.
    negative: its numbers may be below 0.
    finite: its numbers are finite, or what no token gives.
    """

    name: str
    axes: tuple[Axis, ...]
    numbers: Literal["count", "total", "sum", "value"]
    doc: str
    merge: Merge = "sum"
    required: bool = False
    statistic: str = ""
    limit: str = ""
    beside: str = ""
    over_shards: bool = False
    negative: bool = False
    finite: bool = False

    def shape(self, sizes: Mapping[Axis, int]) -> tuple[int, ...]:
        """Its shape in a record of these sizes."""
        return tuple(sizes[axis] for axis in self.axes)

    @property
    def types(self) -> tuple[torch.dtype, ...]:
        """The types it may have."""
        return TYPES[self.numbers]

    @property
    def type_name(self) -> str:
        """Those types in words."""
        return NAMES.get(self.numbers, str(self.types[0]))

    def bytes(self, sizes: Mapping[Axis, int], limits: Mapping[str, int]) -> int:
        """Its size in a file, for a model in single precision.

        limits: the highest numbers of the fields that bound others.
        """
        dtype = smallest_dtype(limits[self.limit]) if self.numbers == "count" else self.types[0]
        return prod(self.shape(sizes)) * dtype.itemsize


_SHARDS: tuple[Axis, ...] = ("language", "shard")
_NEURONS: tuple[Axis, ...] = ("language", "layer", "neuron")
_BOTH: tuple[Axis, ...] = ("language", "shard", "layer", "neuron")

FIELDS: dict[str, TensorField] = {
    field.name: field
    for field in (
        TensorField("firings", _BOTH, "count", "tokens on which the neuron was active", required=True, limit="tokens"),
        TensorField(
            "tokens",
            _SHARDS,
            "total",
            "tokens counted. A language with none is allowed: its probabilities are 0",
            required=True,
        ),
        TensorField("documents", _SHARDS, "total", "documents counted", required=True),
        TensorField(
            "routed",
            ("language", "shard", "layer", "expert"),
            "count",
            "tokens sent to each of the routed experts, whose neurons follow each other in N = E x columns",
            limit="tokens",
        ),
        TensorField(
            "loss_sum",
            _SHARDS,
            "sum",
            "negative log-likelihood in nats, summed over the counted positions that have a predecessor",
            over_shards=True,
            negative=True,
        ),
        TensorField(
            "loss_tokens",
            _SHARDS,
            "total",
            "how many those positions are",
            limit="tokens",
            beside="loss_sum",
            over_shards=True,
        ),
        TensorField(
            "document_firings",
            _BOTH,
            "count",
            "documents on at least one token of which the neuron was active",
            statistic="documents",
            limit="documents",
        ),
        TensorField(
            "activation_sum",
            _NEURONS,
            "sum",
            "of the activations over all counted tokens, active or not",
            statistic="moments",
            negative=True,
            finite=True,
        ),
        TensorField("activation_squares", _NEURONS, "sum", "of the squares of those activations", statistic="moments"),
        TensorField(
            "maximum",
            _NEURONS,
            "value",
            "the highest activation; -inf where no token was counted",
            merge="max",
            statistic="maximum",
            negative=True,
            finite=True,
        ),
    )
}


def smallest_dtype(max_value: int) -> torch.dtype:
    """The smallest of uint8, uint16, uint32 and int64 that holds every integer from 0 to `max_value`."""
    for dtype in (torch.uint8, torch.uint16, torch.uint32):
        if max_value <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def table(indent: str = "") -> str:
    """The fields in words, a line each: name, shape, type, what it is."""
    lines = []
    for field in FIELDS.values():
        shape = ", ".join(LETTERS[axis] for axis in field.axes)
        older = "; (G, 1) where it is known over all shards only" if field.over_shards else ""
        missing = "" if field.required else "; None where it was not counted"
        lines.append(
            f"{indent}{field.name}: ({shape}) {field.type_name.replace('torch.', '')}, {field.doc}{older}{missing}."
        )
    return "\n".join(lines)
