"""The record of answers: what it refuses, and that it comes back from its file as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from alignlab.errors import InputError
from alignlab.marks import is_ours
from alignlab.recording.effects import BASELINE, ArmLabel, Effects, Item, joined

OFF = ArmLabel("zero de, matched 3", "de", "zero", None, "matched", 3, "0f0f")


NAN = float("nan")


def make(count: int = 6, **changes: Any) -> Effects:
    """Items in English and German, the same problems; two arms; random results."""
    generator = torch.Generator().manual_seed(0)

    def random(most: int, least: int = 0) -> torch.Tensor:
        return torch.randint(least, most, (2 * count, 2), generator=generator)

    named = tuple(
        Item(f"{number}", language, f"template {number % 3} =ü", f"{number}/7", [True, False, None][number % 3])
        for language in ("en", "de")
        for number in range(count)
    )
    fields: dict[str, Any] = {
        "items": named,
        "labels": (BASELINE, OFF),
        "languages": ("en", "de", "sw"),
        "right": random(2).bool(),
        "output_language": random(3, -1).to(torch.int16),
        "tokens": random(40).to(torch.int32),
        "ended": random(2).bool(),
        "task": "sums",
        "model": "demo",
        "revision": "abc",
        "step": 40,
        "trained_languages": ("de",),
        "reference": "en",
        "data_fingerprint": "f00",
        "clusters": "templates",
        "answers_checksum": "c0ffee",
    }
    return Effects(**{**fields, **changes})


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    effects = make()
    effects.save(tmp_path / "step-000040.safetensors")
    found = Effects.load(tmp_path / "step-000040.safetensors")
    for name in Effects.__dataclass_fields__:
        one, other = getattr(effects, name), getattr(found, name)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, name
    assert is_ours(tmp_path / "step-000040.safetensors")


def test_one_tensor_may_be_two_of_a_record(tmp_path: Path) -> None:
    right, told = torch.tensor([[True], [False]]), torch.zeros(2, 1, dtype=torch.int16)
    items = (Item("0", "en", "0", "12"), Item("1", "en", "1", "3"))
    Effects(items, (BASELINE,), ("en",), right, told, torch.ones(2, 1, dtype=torch.int32), right).save(tmp_path / "it")
    again = Effects.load(tmp_path / "it")
    assert again.measured("right").tolist() == again.measured("ended").tolist() == [[True], [False]]


LABELLED = {
    "labels": (BASELINE, OFF),
    "nats": torch.tensor([[1.0, 2.5], [3.0, torch.inf], [4.0, NAN]], dtype=torch.float64),
    "counted": torch.tensor([2, 1, 0]),
    "option_nats": torch.tensor([[[1, 2], [3, 4]], [[1, NAN], [2, NAN]], [[1, 2], [NAN, 4]]], dtype=torch.float64),
    "option_tokens": torch.tensor([[3, 4], [5, 0], [1, 1]]),
    "option_characters": torch.tensor([[7, 8], [9, 0], [0, 2]]),
}


def likelihoods(**changes: Any) -> Effects:
    """Three items, two arms, likelihoods of texts and of up to two options."""
    items = (Item("0", "en", "0", "1"), Item("1", "en", "0", "0"), Item("0", "de", "0"))
    return Effects(items, **{**LABELLED, **changes})


def test_likelihoods_come_back_from_their_file(tmp_path: Path) -> None:
    effects = likelihoods(task="texts", data_fingerprint="f00")
    effects.save(tmp_path / "mine.safetensors")
    found = Effects.load(tmp_path / "mine.safetensors")
    assert (found.items, found.labels, found.right) == (effects.items, effects.labels, None)
    for name in LABELLED.keys() - {"labels"}:
        assert torch.equal(found.measured(name).nan_to_num(-1), effects.measured(name).nan_to_num(-1)), name
    with pytest.raises(InputError, match="they hold likelihoods and likelihoods of options, and no right"):
        found.measured("right")


def objects(**changes: Any) -> Effects:
    """Two items in two languages, each with an object in both; those of the second are alike."""
    items = tuple(Item(name, code, name, str(place)) for place, code in enumerate(("en", "de")) for name in ("0", "1"))
    lengths = torch.tensor([[3, 4], [5, 1], [1, 1], [2, 2]])
    alike = torch.tensor([[True, False], [True, True], [False, True], [True, True]])
    nats = torch.rand(4, 1, 2, dtype=torch.float64)
    given = {"option_nats": nats, "option_tokens": lengths, "option_characters": lengths, "option_alike": alike}
    return Effects(items, (BASELINE,), ("en", "de"), **{**given, **changes})


def test_objects_in_languages_come_back_and_those_that_fit_no_language_are_refused(tmp_path: Path) -> None:
    effects = objects()
    effects.save(tmp_path / "mine.safetensors")
    found = Effects.load(tmp_path / "mine.safetensors")
    assert torch.equal(found.measured("option_alike"), effects.measured("option_alike"))
    assert found.languages == ("en", "de")
    with pytest.raises(InputError, match="option_alike: 2 options in 3 languages"):
        replace(effects, languages=("en", "de", "zh"))
    with pytest.raises(InputError, match="another place of the option in the item's language"):
        replace(effects, languages=("de", "en"))
    with pytest.raises(InputError, match="an option that is unlike itself"):
        objects(option_alike=torch.zeros(4, 2, dtype=torch.bool))


def test_a_record_from_before_arms_had_labels_is_read(tmp_path: Path) -> None:
    """With the keys and tensors that such files have, written by safetensors itself."""
    text = dict.fromkeys(("model", "revision", "reference", "data_fingerprint", "clusters", "answers_checksum"), "x")
    header = {"format": "alignlab-effects", "format_version": "1", "task": "sums", "arms": '["none", "off"]',
              "languages": '["en"]', "trained_languages": "[]", "step": "3"}  # fmt: skip
    items = torch.frombuffer(bytearray(b'[["0", "en", "0", "12", null]]'), dtype=torch.uint8)
    hits, told = torch.tensor([[True, False]]), torch.zeros((1, 2), dtype=torch.int16)
    tensors = {"items": items, "right": hits, "ended": hits, "output_language": told, "tokens": told.int()}
    safetensors.torch.save_file({name: one.clone() for name, one in tensors.items()}, tmp_path / "old", header | text)
    found = Effects.load(tmp_path / "old")
    assert found.labels == (ArmLabel("none"), ArmLabel("off"))
    assert torch.equal(found.measured("right"), hits)
    assert found.nats is None


def test_arms_of_several_records_become_one_record() -> None:
    both = make()
    one, other = (
        make(labels=(label,), **{name: both.measured(name)[:, [place]] for name in
                                 ("right", "output_language", "tokens", "ended")})
        for place, label in enumerate((BASELINE, OFF))
    )  # fmt: skip
    found = joined([one, other, one])
    assert found.labels == (BASELINE, OFF)
    assert torch.equal(found.measured("right"), both.measured("right"))
    assert torch.equal(found.measured("tokens"), both.measured("tokens"))
    texts = likelihoods()
    again = joined([texts, likelihoods(labels=(ArmLabel("a"), ArmLabel("b")))])
    assert again.arms == ("none", "zero de, matched 3", "a", "b")
    assert torch.equal(again.measured("nats")[:, 2:].nan_to_num(), texts.measured("nats").nan_to_num())
    assert torch.equal(again.measured("counted"), texts.measured("counted"))
    with pytest.raises(InputError, match="data_fingerprint: not the same"):
        joined([one, make(data_fingerprint="other")])
    with pytest.raises(InputError, match="counted: not the same"):
        joined([texts, likelihoods(labels=(ArmLabel("a"), ArmLabel("b")), counted=torch.tensor([2, 1, 1]))])
    with pytest.raises(InputError, match="arm 'none': not the same"):
        joined([texts, likelihoods(labels=(ArmLabel("none", digest="ff"), ArmLabel("b")))])
    with pytest.raises(InputError, match="nats: not the same"):
        joined([texts, likelihoods(nats=None, counted=None)])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"counted": None}, "likelihoods: only nats"),
        ({"counted": torch.tensor([[2], [1], [1]])}, r"counted: the shape \(3, 1\)"),
        ({"counted": torch.tensor([2, 1, -1])}, "counted: -1"),
        ({"nats": LABELLED["nats"].float()}, "nats: torch.float32"),  # type: ignore[attr-defined]
        ({"nats": -LABELLED["nats"]}, "nats: -"),  # type: ignore[operator]
        ({"option_tokens": torch.tensor([[3, 4], [0, 5], [1, 1]])}, "gaps"),
        ({"option_tokens": torch.tensor([[3, 4], [5, 1], [1, 0]])}, "numbers where an item has no option"),
        ({"option_characters": torch.tensor([[3, 4], [5, 1], [1, 0]])}, "numbers where an item has no option"),
        ({"items": (Item("0", "en", "0", "1"), Item("1", "en", "0", "1"), Item("2", "en", "0"))}, "expected '1'"),
        (dict.fromkeys(("nats", "counted", "option_nats", "option_tokens", "option_characters")), "nothing was"),
    ],
)
def test_likelihoods_that_contradict_themselves_are_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        Effects(**{"items": likelihoods().items, **LABELLED, **changes})


def test_its_file_is_ours_however_many_items_it_has(tmp_path: Path) -> None:
    make(count=3000).save(tmp_path / "step-000040.safetensors")
    assert (tmp_path / "step-000040.safetensors").stat().st_size > 1 << 17
    assert is_ours(tmp_path / "step-000040.safetensors")


def test_answers_are_in_their_language_where_the_told_language_is_the_items() -> None:
    effects = make()
    expected = [
        [int(told) >= 0 and effects.languages[int(told)] == item.language for told in row]
        for item, row in zip(effects.items, effects.output_language, strict=True)
    ]
    assert effects.in_language.tolist() == expected
    assert any(map(any, expected))


def test_two_lines_at_a_prompt() -> None:
    effects = make()
    right = {
        language: sum(
            bool(hit) for item, hit in zip(effects.items, effects.right[:, 0], strict=True) if item.language == language
        )
        for language in ("en", "de")
    }
    assert repr(effects) == (
        "<Effects: sums, 12 items x 2 arms, step 40, model demo\n"
        f" right (none) in 2 languages: en {right['en']} of 6, de {right['de']} of 6>"
    )


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"right": torch.zeros(3, 2, dtype=torch.bool)}, r"right: the shape \(3, 2\)"),
        ({"right": torch.zeros(12, 2)}, "right: torch.float32"),
        ({"labels": (BASELINE, BASELINE)}, "arms: 'none' twice"),
        ({"languages": ("en", "sw")}, "items: in de"),
        ({"output_language": torch.full((12, 2), 3, dtype=torch.int16)}, "output_language: 3 to 3"),
        ({"output_language": torch.full((12, 2), -2, dtype=torch.int16)}, "output_language: -2 to -2"),
        ({"tokens": torch.full((12, 2), -1, dtype=torch.int32)}, "tokens: -1"),
        ({"items": (make().items[0],) * 12}, "'0' twice in 'en'"),
        ({"values": torch.zeros(12, 2, 3, dtype=torch.float64), "measures": ("a",)}, r"values: the shape \(12, 2, 3\)"),
        ({"values": torch.zeros(12, 2, 2, dtype=torch.float64), "measures": ("a", "a")}, "measures: 'a' twice"),
        ({"measures": ("a",)}, "values: none for 1 measures"),
        ({"tokens": None}, "answers: only right, output_language, ended"),
    ],
)
def test_records_that_contradict_themselves_are_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        make(**changes)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "step-000040.safetensors"
    make().save(path)
    whole = path.read_bytes()
    for place in (40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match="step-000040"):
            Effects.load(path)
    path.write_bytes(whole[:-7])
    with pytest.raises(InputError, match="step-000040"):
        Effects.load(path)
    with pytest.raises(InputError, match="no such file"):
        Effects.load(tmp_path / "none.safetensors")


def test_items_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    make().save(path)
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        # Without checksums, which earlier files do not have.
        metadata = {name: text for name, text in file.metadata().items() if name not in ("header_checksum", "checksum")}
    safetensors.torch.save_file({**tensors, "items": torch.tensor([91, 49, 93], dtype=torch.uint8)}, path, metadata)
    with pytest.raises(InputError, match="its items are no such list"):
        Effects.load(path)


def test_values_by_measure_come_back_and_join_and_answers_need_no_number(tmp_path: Path) -> None:
    values = torch.arange(12 * 2 * 3, dtype=torch.float64).view(12, 2, 3)
    values[0, 0, 0] = NAN
    effects = make(right=None, values=values, measures=("a", "b", "c"))
    effects.save(tmp_path / "one.safetensors")
    found = Effects.load(tmp_path / "one.safetensors")
    assert found.right is None
    assert found.measures == ("a", "b", "c")
    assert torch.equal(found.measured("values").nan_to_num(-1), values.nan_to_num(-1))
    assert "values: a, b, c" in repr(found)
    first, second = (
        make(right=None, values=values[:, [place]], measures=("a", "b", "c"), labels=(label,),
             **{name: getattr(effects, name)[:, [place]] for name in ("output_language", "tokens", "ended")})
        for place, label in enumerate(effects.labels)
    )  # fmt: skip
    assert torch.equal(joined([first, second]).measured("values").nan_to_num(-1), values.nan_to_num(-1))
