"""The record of a counting pass: what it computes, what it refuses, and its file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, merge, read_header, smallest_dtype


def make(max_tokens: int = 100, seed: int = 0, **changes: Any) -> ActivationCounts:
    """Counts of 3 languages in 4 shards of 2 layers of 5 neurons, the last language without a counted token."""
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, max_tokens + 1, (3, 4), generator=random)
    tokens[0, 0] = max_tokens
    tokens[2] = 0
    share = torch.rand(3, 4, 2, 5, generator=random, dtype=torch.float64)
    firings = (share * (tokens[..., None, None] + 1)).floor().long().minimum(tokens[..., None, None])
    fields: dict[str, Any] = {
        "languages": ("zh", "sw", "日本"),
        "firings": firings,
        "tokens": tokens,
        "documents": torch.tensor([[2, 1, 1, 3], [1, 1, 1, 1], [0, 0, 0, 0]]),
        "site": "mlp.act",
        "scope": "response",
        "model": "demo",
        "revision": "abc",
        "step": 20,
        "trained_languages": ("zh", "te"),
        "data_fingerprint": "f00d",
        "loss_sum": torch.tensor([[4.5, 3.0, 2.5, 2.5], [1 / 3, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64),
        "loss_tokens": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]),
    }
    return ActivationCounts(**fields | changes)


def fields_of(counts: ActivationCounts) -> dict[str, Any]:
    """Every field, tensors as lists, so that two records can be compared whatever their integer types."""
    values = {field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)}
    return {name: v.tolist() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.int32, torch.int64])
def test_totals_and_probabilities_sum_over_shards_before_they_divide(dtype: torch.dtype) -> None:
    counts = make()
    typed = dataclasses.replace(counts, firings=counts.firings.to(dtype))
    for g in range(3):
        tokens = sum(counts.tokens[g].tolist())
        assert typed.language_tokens()[g] == tokens
        for layer in range(2):
            for n in range(5):
                fired = sum(counts.firings[g, s, layer, n].item() for s in range(4))
                assert typed.totals()[g, layer, n] == fired
                assert typed.probabilities()[g, layer, n] == (fired / tokens if tokens else 0.0)
    assert typed.totals().dtype == torch.int64
    assert typed.probabilities().dtype == torch.float64


def test_sums_do_not_overflow_the_type_they_are_stored_in() -> None:
    full = torch.full((1, 4, 1, 1), 255, dtype=torch.uint8)
    tokens = torch.full((1, 4), 255)
    counts = ActivationCounts(("en",), full, tokens, torch.ones(1, 4, dtype=torch.int64), "mlp.act", "all")
    assert counts.totals().item() == 1020
    assert counts.probabilities().item() == 1.0


@pytest.mark.parametrize(
    ("max_value", "dtype"),
    [
        (0, torch.uint8),
        (255, torch.uint8),
        (256, torch.uint16),
        (65_535, torch.uint16),
        (65_536, torch.uint32),
        (2**32 - 1, torch.uint32),
        (2**32, torch.int64),
    ],
)
def test_smallest_dtype_holds_the_value_and_the_file_uses_it(
    max_value: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    assert smallest_dtype(max_value) == dtype
    counts = make(max_tokens=max(max_value, 1))
    counts.save(tmp_path / "a.safetensors")
    loaded = ActivationCounts.load(tmp_path / "a.safetensors")
    assert loaded.firings.dtype == dtype
    assert fields_of(loaded) == fields_of(counts)
    # A narrow type in memory is written as well.
    loaded.save(tmp_path / "b.safetensors")
    assert fields_of(ActivationCounts.load(tmp_path / "b.safetensors")) == fields_of(counts)


def test_a_record_without_loss_step_or_provenance_survives_the_file(tmp_path: Path) -> None:
    counts = make(loss_sum=None, loss_tokens=None, step=None, model="", revision="", trained_languages=())
    counts.save(tmp_path / "new" / "a.safetensors")
    assert fields_of(ActivationCounts.load(tmp_path / "new" / "a.safetensors")) == fields_of(counts)


def test_views_are_saved_in_their_own_order(tmp_path: Path) -> None:
    counts = make()
    swapped = dataclasses.replace(counts, firings=counts.firings.transpose(2, 3))
    swapped.save(tmp_path / "a.safetensors")
    assert fields_of(ActivationCounts.load(tmp_path / "a.safetensors")) == fields_of(swapped)


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    both = torch.full((2, 3, 4), 9)
    counts = make(tokens=both[0], documents=both[1], firings=both[0, :, :, None, None].expand(3, 4, 2, 5))
    same = make(tokens=both[0], documents=both[0], firings=both[0].view(3, 4, 1, 1))
    for record in (counts, same):
        record.save(tmp_path / "a.safetensors")
        assert fields_of(ActivationCounts.load(tmp_path / "a.safetensors")) == fields_of(record)


def test_the_header_is_read_without_the_tensors(tmp_path: Path) -> None:
    make(reference="sw").save(tmp_path / "a.safetensors")
    assert ActivationCounts.load(tmp_path / "a.safetensors").reference == "sw"
    header = read_header(tmp_path / "a.safetensors")
    assert dataclasses.asdict(header) == {
        "languages": ("zh", "sw", "日本"),
        "reference": "sw",
        "shape": (3, 4, 2, 5),
        "site": "mlp.act",
        "scope": "response",
        "model": "demo",
        "revision": "abc",
        "step": 20,
        "trained_languages": ("zh", "te"),
        "data_fingerprint": "f00d",
        "subtracted": False,
        "clusters": "",
        "denominator": "all",
    }


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"languages": ("zh", "sw")}, "firings"),
        ({"languages": ("zh", "zh", "sw")}, "more than once"),
        ({"languages": ("zh", "", "sw")}, "empty"),
        ({"firings": torch.zeros(3, 4, 2, 5)}, "integer"),
        ({"firings": torch.zeros(3, 4, 10, dtype=torch.int64)}, "firings"),
        ({"firings": torch.zeros(3, 4, 2, 0, dtype=torch.int64)}, "firings"),
        ({"firings": torch.full((3, 4, 2, 5), -1)}, "negative"),
        ({"tokens": torch.ones(3, 1, dtype=torch.int64)}, "tokens"),
        ({"tokens": torch.ones(3, 4)}, "tokens"),
        ({"documents": torch.ones(4, 3, dtype=torch.int64)}, "documents"),
        ({"documents": torch.full((3, 4), -1)}, "negative"),
        ({"loss_sum": torch.zeros(3)}, "loss_sum"),
        ({"loss_tokens": torch.zeros(2, dtype=torch.int64)}, "loss_tokens"),
        ({"loss_tokens": torch.tensor([[4, 2, 1]] * 3)}, "loss_tokens"),
        ({"loss_tokens": torch.tensor([[0, 0, 0, 0]] * 2 + [[0, 0, 1, 0]])}, "loss_tokens of '日本', shard 2"),
        (
            {"loss_tokens": torch.tensor([[0], [0], [1]]), "loss_sum": torch.zeros(3, 1).double()},
            "loss_tokens of '日本': 1 of 0",
        ),
        ({"loss_tokens": torch.tensor([[-4, 0, 0, 0]] * 3)}, "negative"),
        ({"loss_tokens": None}, "both"),
        ({"loss_sum": None}, "both"),
        ({"document_firings": torch.zeros(3, 4, 2, 5)}, "document_firings"),
        ({"document_firings": torch.zeros(3, 4, 2, 4, dtype=torch.int64)}, "document_firings"),
        ({"document_firings": torch.full((3, 4, 2, 5), -1)}, "document_firings: -1"),
        (
            {"document_firings": torch.ones(3, 4, 2, 5).long()},
            "document_firings of '日本', shard 0: a neuron fires on 1",
        ),
        ({"activation_sum": torch.zeros(3, 2, 5)}, "activation_sum"),
        ({"activation_sum": torch.full((3, 2, 5), torch.nan).double()}, "finite"),
        ({"activation_squares": torch.zeros(3, 4, 2, 5).double()}, "activation_squares"),
        ({"activation_squares": torch.full((3, 2, 5), -0.5).double()}, "activation_squares: -0.5"),
        ({"activation_squares": torch.full((3, 2, 5), torch.nan).double()}, "activation_squares: nan"),
        ({"maximum": torch.zeros(3, 2, 5).half()}, "maximum"),
        ({"maximum": torch.full((3, 2, 5), torch.nan)}, "maximum"),
        ({"maximum": torch.full((3, 2, 5), torch.inf)}, "maximum"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        make(**changes)


BILLION = 10**9


@pytest.mark.parametrize("name", ["tokens", "documents", "loss_tokens"])
@pytest.mark.parametrize("value", [2**62, 2**63 - 1, 2**53 + 2])
def test_numbers_that_nobody_has_counted_are_refused(name: str, value: int) -> None:
    """Sums of 2^62 overflow: p was 237, or below 0."""
    counts = make()
    changed = getattr(counts, name).clone()
    changed[0, :2] = value
    changes = {name: changed} | ({"tokens": changed} if name == "loss_tokens" else {})
    with pytest.raises(InputError, match=rf"{name}: [\d,]+ over all languages and shards; expected at most 2\^53"):
        dataclasses.replace(counts, **changes)


def test_numbers_of_the_largest_corpora_are_kept(tmp_path: Path) -> None:
    """10^14 tokens a shard, more than any corpus has."""
    tokens = torch.full((3, 4), 10**5 * BILLION)
    firings = torch.full((3, 4, 2, 5), 3 * 10**4 * BILLION)
    counts = make(tokens=tokens, firings=firings)
    counts.save(tmp_path / "a.safetensors")
    loaded = ActivationCounts.load(tmp_path / "a.safetensors")
    assert loaded.probabilities().unique().tolist() == [0.3]
    assert loaded.totals().unique().tolist() == [12 * 10**4 * BILLION]


def test_firings_of_differences_are_bounded_too() -> None:
    firings = make().firings.clone()
    firings[1, 2, 0, 0] = 2**62
    with pytest.raises(InputError, match="firings: 4,611,686,018,427,"):
        make(firings=firings, subtracted=True)


def test_merged_numbers_do_not_overflow() -> None:
    parts = [
        make(tokens=torch.full((3, 4), 2**49), documents=torch.full((3, 4), 1), data_fingerprint=f"{number}")
        for number in range(3)
    ]
    with pytest.raises(InputError, match=r"tokens: 20,266,198,323,167,232 over all languages and shards") as caught:
        merge(*parts)
    assert len(caught.value.problems) == 1
    assert merge(parts[0]).language_tokens().tolist() == [2**51] * 3


def test_a_loss_below_zero_is_refused_and_that_of_a_model_that_overflows_is_kept(tmp_path: Path) -> None:
    losses = make().loss_sum.clone()
    losses[1, 0] = -0.5
    with pytest.raises(InputError, match=r"loss_sum of 'sw', shard 0: -0\.5 nats"):
        make(loss_sum=losses)
    losses[1, 0] = -1e-6  # of one token, rounded in half precision
    make(loss_sum=losses)
    for value in (math.nan, math.inf):
        losses[1, 0] = value
        make(loss_sum=losses).save(tmp_path / "a.safetensors")
        read = ActivationCounts.load(tmp_path / "a.safetensors").losses()
        assert read.isfinite().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("name", "place", "value", "word"),
    [
        ("activation_squares", (0, 1, 2), 1e-9, r"activation_squares of 'zh', neuron 1\.2: 1e-09; expected sum\^2 <="),
        ("activation_squares", (2, 0, 0), 1.0, r"activation_squares of '日本', neuron 0\.0"),
        ("activation_sum", (1, 0, 3), 1e6, r"activation_squares of 'sw', neuron 0\.3"),
        ("activation_sum", (2, 1, 1), 0.5, r"activation_squares of '日本', neuron 1\.1"),
        ("maximum", (0, 0, 0), 1e3, r"maximum of 'zh', neuron 0\.0: 1000\.0; expected its square"),
        ("maximum", (0, 0, 0), -1e3, r"maximum of 'zh', neuron 0\.0: -1000\.0; expected at least the mean"),
        ("maximum", (0, 0, 0), -math.inf, r"maximum of 'zh', neuron 0\.0: -inf; expected -inf where no token"),
        ("maximum", (2, 1, 4), 0.0, r"maximum of '日本', neuron 1\.4: 0\.0; expected -inf where no token"),
    ],
)
def test_activations_that_no_tokens_have_together_are_refused(
    name: str, place: tuple[int, ...], value: float, word: str
) -> None:
    fields = statistics()
    fields[name][place] = value
    with pytest.raises(InputError, match=word):
        make(**fields)


def test_sums_of_real_activations_fit_together_whatever_the_rounding() -> None:
    """Constant activations meet Cauchy and Schwarz with equality; half precision rounds each of them."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.full((2, 1), 4000)
    for activations in (
        torch.full((2, 4000, 3, 7), -0.27, dtype=torch.bfloat16),
        torch.full((2, 4000, 3, 7), 1e-30),
        torch.full((2, 4000, 3, 7), 3e38),
        torch.zeros(2, 4000, 3, 7),
        torch.randn(2, 4000, 3, 7, generator=random),
        torch.randn(2, 4000, 3, 7, generator=random).half() * 1e-3 + 100,
    ):
        ActivationCounts(
            ("en", "sw"), (activations > 0).sum(dim=1, keepdim=True), tokens, tokens, "mlp.act", "all",
            activation_sum=activations.double().sum(dim=1), activation_squares=activations.double().square().sum(dim=1),
            maximum=activations.amax(dim=1).float(),
        )  # fmt: skip


def test_more_firings_than_tokens_are_refused_and_located() -> None:
    counts = make()
    counts.firings[1, 2, 1, 3] = counts.tokens[1, 2] + 1
    with pytest.raises(InputError, match="'sw', shard 2"):
        dataclasses.replace(counts)
    counts.firings[1, 2, 1, 3] -= 1
    assert dataclasses.replace(counts).totals()[1, 1, 3] == counts.firings[1, :, 1, 3].sum()


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        make(languages=("zh", "zh", "sw"), tokens=torch.ones(1), documents=torch.ones(1))
    assert [problem.where for problem in caught.value.problems] == ["languages", "tokens", "documents"]


def saved(folder: Path) -> Path:
    make().save(folder / "a.safetensors")
    return folder / "a.safetensors"


def rewritten(path: Path, tensors: dict[str, Any] | None = None, **metadata: str | None) -> Path:
    """The file with some tensors and some of its header changed, as others may write it; None leaves one out."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() | {"checksum": None, "header_checksum": None} | metadata
    changed = load_file(path) | (tensors or {})
    save_file(
        {name: tensor for name, tensor in changed.items() if tensor is not None},
        path,
        {name: value for name, value in header.items() if value is not None},
    )
    return path


@pytest.mark.parametrize("read", [ActivationCounts.load, read_header])
def test_what_is_no_whole_file_is_refused(read: Any, tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.safetensors"):
            read(path)
    for content in (b"\x80\x04K\x01.", b'{"a": 1}' * 100, whole[:20] + b"\xff" + whole[21:], whole + b"\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.safetensors"):
            read(path)
    for other in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError):
            read(other)


@pytest.mark.parametrize("read", [ActivationCounts.load, read_header])
@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"format": None}, "format"),
        ({"format": "pt"}, "'pt'"),
        ({"format_version": "2"}, "version '2'"),
        ({"format_version": None}, "version None"),
        ({"languages": None}, "'languages'"),
        ({"languages": "zh, sw"}, "languages"),
        ({"languages": '"zh"'}, "languages"),
        ({"languages": "[1, 2, 3]"}, "languages"),
        ({"trained_languages": "{}"}, "trained_languages"),
        ({"step": "true"}, "step"),
        ({"step": "twenty"}, "step"),
        ({"subtracted": "1"}, "subtracted"),
        ({"site": None}, "'site'"),
    ],
)
def test_foreign_headers_are_refused(read: Any, metadata: dict[str, str | None], word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=word):
        read(rewritten(saved(tmp_path), **metadata))


def test_a_safetensors_file_of_a_model_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="alignlab-counts"):
        ActivationCounts.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("tensors", "metadata", "word"),
    [
        ({"tokens": None}, {}, "'tokens'"),
        ({"tokens": torch.zeros(3, 4, dtype=torch.int64)}, {}, "a.safetensors, firings of 'zh'"),
        ({"documents": torch.zeros(3, dtype=torch.int64)}, {}, "a.safetensors, documents"),
        ({"firings": torch.zeros(3, 4, 2, 5)}, {}, "integer"),
        ({"loss_sum": None}, {}, "both"),
        ({}, {"languages": json.dumps(["zh", "sw"])}, "firings"),
    ],
)
def test_files_that_contradict_themselves_are_refused(
    tensors: dict[str, Any], metadata: dict[str, str], word: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=word):
        ActivationCounts.load(rewritten(saved(tmp_path), tensors, **metadata))


def statistics(seed: int = 0) -> dict[str, Any]:
    """The optional tensors, as a pass over tokens would leave them for `make()`."""
    random = torch.Generator().manual_seed(seed)
    documents = make().documents
    share = torch.rand(3, 4, 2, 5, generator=random)
    maximum = 1 + torch.rand(3, 2, 5, generator=random)
    total = 2 * torch.rand(3, 2, 5, generator=random, dtype=torch.float64) - 1
    squares = maximum.double().square() + torch.rand(3, 2, 5, generator=random, dtype=torch.float64)
    maximum[2], total[2], squares[2] = -torch.inf, 0, 0  # a language without a token
    return {
        "document_firings": (share * (documents[..., None, None] + 1))
        .floor()
        .long()
        .minimum(documents[..., None, None]),
        "activation_sum": total,
        "activation_squares": squares,
        "maximum": maximum,
    }


def test_optional_statistics_survive_the_file_in_small_types(tmp_path: Path) -> None:
    counts = make(max_tokens=300, **statistics())
    counts.save(tmp_path / "a.safetensors")
    loaded = ActivationCounts.load(tmp_path / "a.safetensors")
    assert fields_of(loaded) == fields_of(counts)
    assert loaded.document_firings is not None
    assert loaded.document_firings.dtype == torch.uint8
    assert loaded.firings.dtype == torch.uint16


def test_differences_of_two_passes_may_exceed_the_tokens_and_survive_the_file(tmp_path: Path) -> None:
    counts = make(max_tokens=250)
    firings = counts.firings.clone()
    firings[0, 0, 0, 0] = 300
    with pytest.raises(InputError, match="fires on 300 of 250"):
        dataclasses.replace(counts, firings=firings)
    kept = dataclasses.replace(counts, firings=firings, subtracted=True)
    kept.save(tmp_path / "a.safetensors")
    loaded = ActivationCounts.load(tmp_path / "a.safetensors")
    assert fields_of(loaded) == fields_of(kept)
    assert loaded.firings[0, 0, 0, 0].item() == 300
    assert kept.merge(make(data_fingerprint="beef")).subtracted
    assert make(data_fingerprint="beef").merge(kept).subtracted
    # A file from before there were such counts holds none.
    counts.save(tmp_path / "old.safetensors")
    assert not read_header(rewritten(tmp_path / "old.safetensors", subtracted=None)).subtracted


def test_what_shards_are_dealt_by_survives_the_file(tmp_path: Path) -> None:
    counts = make(clusters="templates")
    assert (counts.over, make().over) == ("clusters", "shards")
    assert "4 shards, clusters: templates, step 20" in repr(counts)
    assert "cluster" not in repr(make())
    path = tmp_path / "a.safetensors"
    counts.save(path)
    assert read_header(path).clusters == ActivationCounts.load(path).clusters == "templates"
    assert counts.merge(make(clusters="templates", data_fingerprint="beef")).clusters == "templates"
    with pytest.raises(InputError, match="clusters ''; expected clusters 'templates'"):
        counts.merge(make(data_fingerprint="beef"))
    # Files from before there were clusters know of none.
    assert read_header(rewritten(path, clusters=None)).clusters == ""
    assert ActivationCounts.load(path).clusters == ""


def test_merged_counts_are_the_sums_of_every_shard_by_name() -> None:
    first = make(max_tokens=255, **statistics(1))
    other = make(max_tokens=255, seed=3, data_fingerprint="beef", **statistics(2))
    order = [2, 0, 1]
    moved = {
        field.name: value[order]
        for field in dataclasses.fields(other)
        if isinstance(value := getattr(other, field.name), torch.Tensor)
    }
    moved["firings"] = moved["firings"].to(torch.uint8)
    narrow = dataclasses.replace(first, firings=first.firings.to(torch.uint8))
    both = merge(narrow, dataclasses.replace(other, languages=("日本", "zh", "sw"), **moved))
    assert both.languages == first.languages
    for name in ("firings", "tokens", "documents", "document_firings", "loss_sum", "loss_tokens", "activation_sum"):
        expected = getattr(first, name) + getattr(other, name)
        assert getattr(both, name).tolist() == expected.tolist(), name
    assert both.activation_squares.tolist() == (first.activation_squares + other.activation_squares).tolist()
    assert both.maximum.tolist() == [
        [[max(pair) for pair in zip(*rows, strict=True)] for rows in zip(*layers, strict=True)]
        for layers in zip(first.maximum.tolist(), other.maximum.tolist(), strict=True)
    ]
    assert both.firings.long().max() > 255
    assert both.totals().tolist() == (first.totals() + other.totals()).tolist()
    assert both.data_fingerprint not in ("f00d", "beef", "")
    assert both.data_fingerprint == merge(other, first).data_fingerprint
    assert (both.site, both.step, both.trained_languages) == (first.site, first.step, first.trained_languages)


def test_losses_over_all_shards_are_read_merged_and_divided() -> None:
    """As files from before hold them: a number a language."""
    whole = make(seed=3, data_fingerprint="beef")
    sums = torch.tensor([[12.5], [1 / 3], [0.0]], dtype=torch.float64)
    old = make(loss_sum=sums, loss_tokens=torch.tensor([[4], [2], [0]]))
    assert old.losses().tolist()[:2] == [12.5 / 4, 1 / 3 / 2]
    assert math.isnan(old.losses()[2])
    assert make().losses().tolist()[:2] == pytest.approx([12.5 / 4, 1 / 3 / 2])
    assert make(loss_sum=None, loss_tokens=None).losses() is None
    for one, other in ((old, whole), (whole, old)):
        both = merge(one, other)
        assert both.loss_sum.tolist() == (2 * sums).tolist()
        assert both.loss_tokens.tolist() == [[8], [4], [0]]


def test_a_file_from_before_is_read(tmp_path: Path) -> None:
    counts = make()
    counts.save(tmp_path / "new.safetensors")
    tensors = load_file(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if "checksum" not in name}
    tensors |= {name: tensors[name].sum(dim=1) for name in ("loss_sum", "loss_tokens")}
    save_file(tensors, tmp_path / "old.safetensors", metadata=metadata)
    old = ActivationCounts.load(tmp_path / "old.safetensors")
    assert old.loss_sum.shape == (3, 1)
    assert old.losses().tolist()[:2] == counts.losses().tolist()[:2]


def test_merging_one_or_without_fingerprints_changes_nothing() -> None:
    counts = make(**statistics())
    assert fields_of(merge(counts)) == fields_of(counts)
    blank = make(data_fingerprint="", **statistics(1))
    assert merge(blank, blank).data_fingerprint == ""
    assert merge(counts, blank).data_fingerprint == "f00d"
    assert fields_of(counts.merge(blank)) == fields_of(merge(counts, blank))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"languages": ("zh", "sw", "de")}, "counts 2: languages zh, sw, de"),
        ({"site": "mlp.up"}, "site 'mlp.up'"),
        ({"scope": "all"}, "scope 'all'"),
        ({"model": "other"}, "model 'other'"),
        ({"revision": "def"}, "revision 'def'"),
        ({"step": None}, "step None"),
        ({"trained_languages": ("zh",)}, "trained_languages"),
        ({"firings": torch.zeros(3, 4, 2, 6).long()}, "4 shards of 2 x 6 neurons"),
        ({"loss_sum": None, "loss_tokens": None}, "loss_sum is missing, and there in the first"),
        ({"maximum": statistics()["maximum"]}, "maximum is there, and missing in the first"),
        ({"data_fingerprint": "f00d"}, "the same texts as counts 1"),
    ],
)
def test_what_does_not_match_is_not_merged(changes: dict[str, Any], word: str) -> None:
    other = make(**{"data_fingerprint": "beef"} | changes)
    with pytest.raises(InputError, match=word) as caught:
        merge(make(), other)
    assert len(caught.value.problems) == 1


def test_all_mismatches_of_all_records_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        merge(make(), make(site="mlp.up", data_fingerprint="beef"), make(scope="all", data_fingerprint="beef"))
    assert [problem.where for problem in caught.value.problems] == ["counts 2", "counts 3", "counts 3"]
    with pytest.raises(InputError, match="none given"):
        merge()


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(f"os.{name}", fail)
    with pytest.raises(OSError, match="no space left"):
        make(seed=1).save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    script = f"""
import dataclasses, resource, torch
from alignlab.neurons import ActivationCounts
counts = ActivationCounts.load({str(path)!r})
counts = dataclasses.replace(counts, firings=counts.firings.repeat(1, 1, 1, 2000))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
counts.save({str(path)!r})
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "OSError: [Errno 27] it could not be written" in process.stderr
    assert f"'{path}'" in process.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_the_file_is_on_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path | str | None] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").resolve() if sys.platform == "linux" else None)
        fsync(descriptor)

    def note_replace(source: Any, target: Any) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr("os.replace", note_replace)
    make().save(tmp_path / "a.safetensors")
    if sys.platform == "linux":
        partial, *rest = calls
        assert isinstance(partial, Path)
        assert partial.parent == tmp_path
        assert partial.name.startswith("a.safetensors.")
        assert partial.suffix == ".partial"
        assert rest == ["replace", tmp_path]


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "counts.safetensors")
    with pytest.raises(InputError, match="it is no file"):
        ActivationCounts.load(tmp_path / "counts.safetensors")
