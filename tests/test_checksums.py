"""Our own files after a byte of them was flipped: refused by name, or what is loaded is what was written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alignlab.checksums import check_header, of_values, read_checked, save_checked
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, read_header
from alignlab.neurons.sets import NeuronSets

DAMAGED = "its checksum does not fit: it was damaged after it was written"


def counts() -> ActivationCounts:
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(50, 90, (2, 3), generator=random)
    return ActivationCounts(
        ("en", "sw"), torch.randint(0, 50, (2, 3, 2, 4), generator=random), tokens, torch.full((2, 3), 5), "mlp.act",
        "all", model="demo", revision="abc", step=20, trained_languages=("en",), data_fingerprint="f00d",
        loss_sum=torch.rand(2, 3, generator=random).double(), loss_tokens=tokens - 5,
        document_firings=torch.randint(0, 5, (2, 3, 2, 4), generator=random),
        maximum=torch.rand(2, 2, 4, generator=random),
    )  # fmt: skip


def sets() -> NeuronSets:
    random = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(3, 40, generator=random) < 0.3 for name in ("en", "sw")}
    return NeuronSets(masks, scope="all", model="demo", tokens={"en": 5, "sw": 6}, thresholds={"tau": 0.25})


def values(loaded: Any) -> dict[str, Any]:
    """Every field, with tensors as lists."""
    found = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
    found |= {"sets": {name: mask.tolist() for name, mask in found["sets"].items()}} if "sets" in found else {}
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in found.items()}


@pytest.mark.parametrize(
    ("make", "load"), [(counts, ActivationCounts.load), (sets, NeuronSets.load)], ids=["counts", "sets"]
)
def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(
    make: Callable[[], Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    make().save(path)
    content, written = path.read_bytes(), values(load(path))
    random = np.random.default_rng(0)
    refused = 0
    start = 8 + int.from_bytes(content[:8], "little")  # of the tensors
    for place in (*random.choice(start, 150, replace=False), *random.choice(np.arange(start, len(content)), 100)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(flipped))
        try:
            loaded = load(path)
        except InputError as error:
            refused += str(path) in str(error)
        else:
            assert values(loaded) == written
            assert place < start  # no byte of a tensor is without meaning
    assert refused > 230


def test_a_header_is_checked_without_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    counts().save(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"demo", b"demu"))
    for read in (read_header, ActivationCounts.load):
        with pytest.raises(InputError, match=DAMAGED):
            read(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # in a tensor
    assert read_header(path).model == "demo"
    with pytest.raises(InputError, match=DAMAGED):
        ActivationCounts.load(path)


@pytest.mark.parametrize(
    ("make", "load"), [(counts, ActivationCounts.load), (sets, NeuronSets.load)], ids=["counts", "sets"]
)
def test_files_from_before_there_were_checksums_are_read(
    make: Callable[[], Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    make().save(new)
    with safe_open(new, framework="pt") as file:
        metadata = file.metadata()
    for left in ({"checksum", "header_checksum"}, {"checksum"}, {"header_checksum"}):
        save_file(load_file(new), old, {name: text for name, text in metadata.items() if name not in left})
        if len(left) == 2:
            assert values(load(old)) == values(load(new))
        else:
            with pytest.raises(InputError, match=DAMAGED):
                load(old)


def test_tensors_of_every_type_and_shape_are_read_as_they_were_written(tmp_path: Path) -> None:
    dtypes = (
        torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )  # fmt: skip
    tensors = {f"{dtype} {shape}": torch.ones(shape).to(dtype) for dtype in dtypes for shape in ((), (0, 3), (2, 3))}
    tensors["turned"] = torch.arange(6.0).view(2, 3).T
    save_checked(tmp_path / "a.safetensors", tensors, {"format": "x"})
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        check_header(tmp_path / "a.safetensors", file)
        read = read_checked(tmp_path / "a.safetensors", file)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_the_same_is_the_same_bytes(tmp_path: Path) -> None:
    """Whatever characters the metadata has, it is read as it was given."""
    signs = "".join(map(chr, [*range(0x180), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x4E2D, 0x1F600]))
    metadata = {f"{place} {signs[place : place + 40]}": signs[place:] for place in range(0, len(signs), 20)}
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2), "中": torch.zeros(0)}
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path in paths:
        save_checked(path, tensors, metadata)
        metadata = dict(reversed(metadata.items()))
    assert len({path.read_bytes() for path in paths}) == 1
    with safe_open(paths[0], framework="pt") as file:
        found = file.metadata()
        assert {name: found[name] for name in metadata} == metadata
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in read_checked(paths[0], file).items())


def test_tensors_that_changed_places_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checked(path, {"one": torch.zeros(2), "two": torch.ones(2)}, {})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"one": torch.ones(2), "two": torch.zeros(2)}, path, metadata)
    with safe_open(path, framework="pt") as file, pytest.raises(InputError, match=DAMAGED):
        read_checked(path, file)


def test_the_checksum_of_values_is_that_of_their_content() -> None:
    assert of_values({"a": 1, "b": "é"}) == of_values({"b": "é", "a": 1})
    assert len({of_values(each) for each in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, [{"a": 1}])}) == 5
