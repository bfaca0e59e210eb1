"""The description of a record's fields, against the record, its file, and what fills it."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, merge
from alignlab.neurons.fields import FIELDS, TensorField, smallest_dtype, table
from alignlab.neurons.subset import subset
from alignlab.recording.tallies import STATISTICS, Firings

G, S, L, N, E = 3, 4, 2, 8, 4
SIZES = {"language": G, "shard": S, "layer": L, "neuron": N, "expert": E}


def drawn(seed: int) -> ActivationCounts:
    """A record with every field, its numbers made from the description alone."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, field in FIELDS.items():
        shape = field.shape(SIZES)  # type: ignore[arg-type]
        # Bounds hold whatever is drawn: 60 to 79 of the fields that bound others, 20 to 39 of tokens that reach
        # neurons, 0 to 9 of all else.
        low = {"tokens": 60, "documents": 60, "routed": 20}.get(name, 0)
        numbers = torch.randint(low, low + (20 if low else 10), shape, generator=random)
        tensors[name] = numbers.to(field.types[0])
    # What is drawn by itself would be no moments that activations can have together.
    tensors["activation_squares"] = tensors["activation_squares"] + tensors["activation_sum"].square() + 100
    tensors["maximum"] = tensors["maximum"] / 10 + 5
    return ActivationCounts(("a", "b", "c"), site="experts.act", scope="all", **tensors)  # type: ignore[arg-type]


def test_a_record_has_these_fields_and_no_other_tensors() -> None:
    hints = typing.get_type_hints(ActivationCounts)
    held = {one.name for one in dataclasses.fields(ActivationCounts) if hints[one.name] in (Tensor, Tensor | None)}
    assert held == set(FIELDS)
    required = {one.name for one in dataclasses.fields(ActivationCounts) if one.default is dataclasses.MISSING}
    assert {name for name, field in FIELDS.items() if field.required} == required & set(FIELDS)


def test_every_field_is_described_where_people_read() -> None:
    for name, field in FIELDS.items():
        assert f"    {name}: (" in (ActivationCounts.__doc__ or "")
        assert field.doc in table()


def test_every_statistic_has_an_observer_that_fills_its_fields() -> None:
    asked = {field.statistic for field in FIELDS.values()} - {""}
    assert set(STATISTICS) == asked
    for name, tally in STATISTICS.items():
        assert set(tally.fills) == {field.name for field in FIELDS.values() if field.statistic == name}
    assert Firings.fills == ("firings",)


def test_a_file_has_the_bytes_and_the_fields_described(tmp_path: Path) -> None:
    record = drawn(0)
    record.save(tmp_path / "a.safetensors")
    stored = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert set(stored) == set(FIELDS)
    limits = {"tokens": int(record.tokens.max()), "documents": int(record.documents.max())}
    for name, field in FIELDS.items():
        assert stored[name].numel() * stored[name].itemsize == field.bytes(SIZES, limits), name  # type: ignore[arg-type]
    again = ActivationCounts.load(tmp_path / "a.safetensors")
    for name in FIELDS:
        assert getattr(again, name).tolist() == getattr(record, name).tolist(), name


def test_records_are_merged_as_described() -> None:
    first, second = drawn(1), drawn(2)
    both = merge(first, second)
    for name, field in FIELDS.items():
        a, b = getattr(first, name).double(), getattr(second, name).double()
        expected = torch.maximum(a, b) if field.merge == "max" else a + b
        assert torch.equal(getattr(both, name).double(), expected), name


def test_parts_keep_what_is_known_of_their_shards() -> None:
    record = drawn(3)
    part = subset(record, ["c", "a"], [2, 0])
    for name, field in FIELDS.items():
        mine = getattr(part, name)
        if "shard" not in field.axes:
            assert mine is None, name
        else:
            assert mine.tolist() == getattr(record, name)[[2, 0]][:, [2, 0]].tolist(), name


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_another_shape_or_type_is_refused(field: TensorField) -> None:
    record = drawn(4)
    tensor = getattr(record, field.name)
    # The sizes of all others follow from the firings: of another size they are refused by those.
    where = "shape" if field.name == "firings" else f"^{field.name}: "
    for wrong in (tensor.to(torch.float16), tensor[..., :-1].contiguous()):
        with pytest.raises(InputError, match=f"^{field.name}: " if wrong.shape == tensor.shape else where):
            dataclasses.replace(record, **{field.name: wrong})


def test_the_smallest_type_holds_the_number_and_the_next_smaller_does_not() -> None:
    for number, expected in (
        (255, torch.uint8), (256, torch.uint16), (65_535, torch.uint16), (65_536, torch.uint32),
        (2**32 - 1, torch.uint32), (2**32, torch.int64),
    ):  # fmt: skip
        assert smallest_dtype(number) == expected
