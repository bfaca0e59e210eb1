"""Published files of counts: laid out by hand as the published code writes them, read, written, refused."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts
from alignlab.neurons.formats import (
    COUNT_FORMATS,
    load_arithmetic_counts,
    load_lape_counts,
    load_ternary_counts,
    save_arithmetic_counts,
    save_lape_counts,
    save_ternary_counts,
)

LANGUAGES = ["zh", "sw", "en"]
TAG = "MistralMathOctopus-7B.v2"
FULL = {
    "zh": (10, [[5, 0, 10], [7, 3, 7]]),
    "sw": (8, [[1, 2, 3], [4, 5, 6]]),
    "en": (20, [[20, 0, 1], [2, 3, 4]]),
}
PREFIX = {
    "zh": (4, [[2, 0, 4], [1, 3, 2]]),
    "sw": (8, [[1, 2, 3], [4, 5, 6]]),
    "en": (5, [[5, 0, 0], [1, 1, 1]]),
}


def write_ternary(folder: Path, tag: str = TAG, **changes: Any) -> Path:
    """The files of FULL and PREFIX; `changes` replace what is written, by the name of a file up to the tag."""
    for start, files in (("", FULL), ("prefix.", PREFIX)):
        for code, (tokens, firings) in files.items():
            content = {"total_tokens": tokens, "over_zero": torch.tensor(firings, dtype=torch.int32)}
            name = f"{start}activation.{code}"
            content = changes.get(name.replace(".", "_"), content)
            if content is not None:
                torch.save(content, folder / f"{name}.{tag}.pt")
    return folder


def test_the_response_is_the_full_text_minus_its_prefix(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = load_ternary_counts(write_ternary(tmp_path), languages=LANGUAGES, tag=TAG)
    assert counts.languages == ("zh", "sw", "en")
    assert counts.tokens.tolist() == [[6], [0], [15]]
    assert counts.firings[:, 0].tolist() == [
        [[3, 0, 6], [6, 0, 5]],
        [[0, 0, 0], [0, 0, 0]],
        [[15, 0, 1], [1, 2, 3]],
    ]
    assert (counts.site, counts.scope, counts.model, counts.step) == ("mlp.act", "response", TAG, None)
    assert not counts.subtracted


def test_languages_come_in_the_order_asked_for(tmp_path: Path) -> None:
    counts = load_ternary_counts(write_ternary(tmp_path), ["en", "zh"])
    assert counts.languages == ("en", "zh")
    assert counts.tokens.tolist() == [[15], [6]]
    assert counts.firings[1, 0].tolist() == [[3, 0, 6], [6, 0, 5]]


def test_the_whole_text_needs_no_prefix(tmp_path: Path) -> None:
    folder = write_ternary(tmp_path, prefix_activation_zh=None)
    counts = load_ternary_counts(folder, LANGUAGES, scope="all")
    assert counts.scope == "all"
    assert {code: counts.firings[i, 0].tolist() for i, code in enumerate(LANGUAGES)} == {
        code: firings for code, (_, firings) in FULL.items()
    }
    with pytest.raises(InputError, match=r"prefix\.activation\.zh\..*no such file"):
        load_ternary_counts(folder, LANGUAGES)


def test_cells_that_two_passes_rounded_apart_are_counted_in_a_warning(tmp_path: Path) -> None:
    # Negative: sw, 2 cells. More than the 15 tokens of en: 1 cell, which published probabilities have as 16/15.
    folder = write_ternary(
        tmp_path,
        prefix_activation_sw={"total_tokens": 6, "over_zero": torch.tensor([[2, 1, 3], [4, 5, 8]])},
        prefix_activation_en={"total_tokens": 5, "over_zero": torch.tensor([[4, 0, 0], [1, 1, 1]])},
    )
    with pytest.warns(UserWarning, match=r"of 18 counts .* 2 are negative and set to 0, 1 exceed the tokens") as caught:
        counts = load_ternary_counts(folder, LANGUAGES)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert counts.firings[:, 0].tolist() == [
        [[3, 0, 6], [6, 0, 5]],
        [[0, 1, 0], [0, 0, 0]],
        [[16, 0, 1], [1, 2, 3]],
    ]
    assert counts.subtracted
    assert counts.probabilities()[2, 0, 0] == 16 / 15


def test_the_tag_is_found_where_there_is_one(tmp_path: Path) -> None:
    write_ternary(tmp_path)
    assert load_ternary_counts(tmp_path, LANGUAGES).model == TAG
    assert load_ternary_counts(tmp_path, LANGUAGES, tag=f"{TAG}.pt").model == TAG
    torch.save(0, tmp_path / "activation.zh.other.pt")
    assert load_ternary_counts(tmp_path, LANGUAGES).model == TAG
    write_ternary(tmp_path, tag="third")
    with pytest.raises(InputError, match=f"several tags: {TAG}, third"):
        load_ternary_counts(tmp_path, LANGUAGES)
    assert load_ternary_counts(tmp_path, LANGUAGES, tag="third").model == "third"


@pytest.mark.parametrize(
    ("languages", "tag", "word"),
    [
        ([], None, "languages: not given"),
        (["zh", "zh"], None, "'zh' is there more than once"),
        (["zh", "de"], None, r"no tag has a file for every language.*zh \(Mistral.*\), de \(none\)"),
        (["zh", "de"], TAG, r"no activation\.de\.Mistral.*'de'; tags that it has: none"),
        (["zh"], "7B", r"no activation\.zh\.7B.*tags that it has: MistralMathOctopus"),
    ],
)
def test_languages_without_their_file_are_refused(
    languages: list[str], tag: str | None, word: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=word):
        load_ternary_counts(write_ternary(tmp_path), languages, tag)
    with pytest.raises(InputError, match="no such folder"):
        load_ternary_counts(tmp_path / "none", ["zh"])


GOOD = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([8, GOOD], "it holds a list"),
        ({"over_zero": GOOD}, "total_tokens or n: None"),
        ({"total_tokens": -1, "over_zero": GOOD}, "-1"),
        ({"total_tokens": 2**62, "over_zero": GOOD}, "4611686018427387904"),
        ({"total_tokens": 1e300, "over_zero": GOOD}, r"1e\+300"),
        ({"total_tokens": torch.tensor(2**62), "over_zero": GOOD}, "from 0 to 2"),
        ({"total_tokens": 8.5, "over_zero": GOOD}, "8.5"),
        ({"total_tokens": float("nan"), "over_zero": GOOD}, "nan"),
        ({"total_tokens": True, "over_zero": GOOD}, "True"),
        ({"total_tokens": torch.tensor([8, 8]), "over_zero": GOOD}, "tensor"),
        ({"total_tokens": 8}, "over_zero: None"),
        ({"total_tokens": 8, "over_zero": GOOD[0]}, r"over_zero: shape \(3,\)"),
        ({"total_tokens": 8, "over_zero": GOOD[:, :0]}, "over_zero: shape"),
        ({"total_tokens": 8, "over_zero": GOOD[:, :2]}, r"shape \(2, 2\); expected \(2, 3\)"),
        ({"total_tokens": 8, "over_zero": -GOOD}, "no negative"),
        ({"total_tokens": 8, "over_zero": GOOD / 4}, "whole numbers"),
        ({"total_tokens": 8, "over_zero": GOOD.float() * torch.nan}, "whole numbers"),
        ({"total_tokens": 1 << 25, "over_zero": GOOD.float() * (1 << 23)}, "float32, which cannot count"),
        ({"total_tokens": 5, "over_zero": GOOD}, "fires on 6 of 5 tokens"),
    ],
)
@pytest.mark.parametrize("load", [load_lape_counts, load_arithmetic_counts])
def test_other_contents_are_refused(load: Callable[..., Any], content: Any, word: str, tmp_path: Path) -> None:
    means = {"average_activations": torch.zeros(2, 3), "activation_counts": torch.ones(2, 3)}
    torch.save({"n": 9, "over_zero": GOOD} | means, tmp_path / "activation.zh.llama")
    if isinstance(content, dict) and isinstance(content.get("over_zero"), torch.Tensor):
        content = content | {name: mean[:, : content["over_zero"].shape[-1]] for name, mean in means.items()}
    torch.save(content, tmp_path / "activation.sw.llama")
    with pytest.raises(InputError, match=word) as caught:
        load(tmp_path, ["zh", "sw"])
    assert "sw" in str(caught.value)


def test_twins_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    short = {"total_tokens": 4, "over_zero": torch.ones(2, 2)}
    with pytest.raises(InputError, match=r"prefix\.activation\.zh.*shape \(2, 2\)"):
        load_ternary_counts(write_ternary(tmp_path, prefix_activation_zh=short), LANGUAGES)
    long = {"total_tokens": 11, "over_zero": torch.ones(2, 3)}
    with pytest.raises(InputError, match=r"prefix\.activation\.zh.*11 tokens; expected at most the 10"):
        load_ternary_counts(write_ternary(tmp_path, prefix_activation_zh=long), LANGUAGES)


def test_tokens_may_be_a_tensor_and_counts_whole_floats(tmp_path: Path) -> None:
    torch.save({"n": torch.tensor(8), "over_zero": GOOD.float()}, tmp_path / "activation.zh.train.llama-70b")
    counts = load_lape_counts(tmp_path, ["zh"], "train.llama-70b")
    assert counts.firings.tolist() == [[GOOD.tolist()]]
    assert counts.tokens.tolist() == [[8]]
    assert counts.scope == "all"


def test_mean_activations_become_their_sums(tmp_path: Path) -> None:
    content = {
        "n": 10,
        "over_zero": GOOD.int(),
        "average_activations": torch.tensor([[0.5, -0.25, torch.nan], [0.0, 2.0, 4.0]]),
        "activation_counts": torch.tensor([[10, 12, 0], [10, 10, 10]], dtype=torch.int32),
        "model_type": "llama",
    }
    torch.save(content, tmp_path / "activation.zh.llama")
    counts = load_arithmetic_counts(tmp_path, ["zh"])
    assert counts.activation_sum is not None
    assert counts.activation_sum.tolist() == [[[5.0, -3.0, 0.0], [0.0, 20.0, 40.0]]]
    for key in ("average_activations", "activation_counts"):
        torch.save({name: value for name, value in content.items() if name != key}, tmp_path / "activation.zh.llama")
        with pytest.raises(InputError, match=f"{key}: missing"):
            load_arithmetic_counts(tmp_path, ["zh"])
        torch.save(content | {key: torch.ones(3, 2)}, tmp_path / "activation.zh.llama")
        with pytest.raises(InputError, match=rf"{key}: shape \(3, 2\)"):
            load_arithmetic_counts(tmp_path, ["zh"])


def make(**changes: Any) -> ActivationCounts:
    random = torch.Generator().manual_seed(0)
    fields: dict[str, Any] = {
        "languages": ("zh", "sw"),
        "firings": torch.randint(0, 50, (2, 3, 2, 5), generator=random),
        "tokens": torch.randint(50, 90, (2, 3), generator=random),
        "documents": torch.ones(2, 3, dtype=torch.int64),
        "site": "mlp.act",
        "scope": "response",
        "activation_sum": torch.randn(2, 2, 5, generator=random, dtype=torch.float64),
    }
    return ActivationCounts(**fields | changes)


@pytest.mark.parametrize(
    ("save", "load", "scope"),
    [
        (save_lape_counts, load_lape_counts, "all"),
        (save_arithmetic_counts, load_arithmetic_counts, "all"),
        (save_ternary_counts, load_ternary_counts, "response"),
    ],
)
def test_written_counts_are_read_back(
    save: Callable[..., None], load: Callable[..., ActivationCounts], scope: str, tmp_path: Path
) -> None:
    counts = make()
    save(counts, tmp_path / "new", "tag")
    loaded = load(tmp_path / "new", ["sw", "zh"])
    assert loaded.scope == scope
    assert loaded.firings[:, 0].tolist() == counts.totals()[[1, 0]].tolist()
    assert loaded.tokens.tolist() == [[total] for total in counts.language_tokens()[[1, 0]].tolist()]
    assert loaded.probabilities().tolist() == counts.probabilities()[[1, 0]].tolist()
    if load is load_arithmetic_counts:
        assert loaded.activation_sum is not None
        assert torch.allclose(loaded.activation_sum, counts.activation_sum[[1, 0]], rtol=1e-14)  # type: ignore[index]


def test_written_files_have_the_published_layout(tmp_path: Path) -> None:
    counts = make(scope="all")
    save_ternary_counts(counts, tmp_path, "tag")
    save_lape_counts(counts, tmp_path, "train.llama")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "activation.sw.tag.pt",
        "activation.sw.train.llama",
        "activation.zh.tag.pt",
        "activation.zh.train.llama",
    ]
    full = torch.load(tmp_path / "activation.zh.tag.pt", weights_only=True)
    assert list(full) == ["total_tokens", "over_zero"]
    assert full["over_zero"].dtype == torch.int32
    assert list(torch.load(tmp_path / "activation.zh.train.llama", weights_only=True)) == ["n", "over_zero"]
    assert load_ternary_counts(tmp_path, ["zh", "sw"], "tag", scope="all").totals().equal(counts.totals())


def test_counts_beyond_int32_keep_their_values(tmp_path: Path) -> None:
    big = make(firings=torch.full((2, 3, 2, 5), 2**30), tokens=torch.full((2, 3), 2**30))
    save_lape_counts(big, tmp_path, "tag")
    assert load_lape_counts(tmp_path, ["zh"]).totals()[0, 0, 0] == 3 * 2**30


def test_sums_that_are_not_there_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="activation_sum"):
        save_arithmetic_counts(make(activation_sum=None), tmp_path, "tag")


class Malicious:
    """Runs a command when it is unpickled the careless way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("load", COUNT_FORMATS.values())
def test_a_file_that_would_execute_is_refused_and_does_not(load: Callable[..., Any], tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "activation.zh.tag.pt"
    content = {"total_tokens": 8, "over_zero": GOOD, "more": Malicious(marker)}
    torch.save(content, path)
    torch.load(path, weights_only=False)
    assert marker.exists()  # the trap works
    marker.unlink()
    for write in (
        lambda: torch.save(content, path),
        lambda: torch.save(content, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(content, protocol=2)),
    ):
        write()
        with pytest.raises(InputError, match=r"activation\.zh\.tag\.pt"):
            load(tmp_path, ["zh"])
        assert not marker.exists()
    torch.save(content, path)
    with pytest.raises(InputError, match=r"it names (posix|os)\.system, which reading it would have to run"):
        load(tmp_path, ["zh"])
    assert not marker.exists()


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = write_ternary(tmp_path) / f"activation.zh.{TAG}.pt"
    whole = path.read_bytes()
    for content in (b"", b"\x80", whole[:100], whole[: len(whole) // 2], b"no torch file at all", b"{}" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"activation\.zh"):
            load_ternary_counts(tmp_path, LANGUAGES)
