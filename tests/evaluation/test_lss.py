"""LSS on a case worked by hand, on a model whose weights prefer a language, and what is left out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.evaluation.lss import alike, beyond_control, language_shift, preference, shift_items, shift_matrix
from alignlab.evaluation.multiple_choice import encode_choices

from .scored_documents import scored

NAMES = ("a", "b", "c", "d", "e")
NOTHING = torch.zeros(5, dtype=torch.bool)


def by_hand() -> torch.Tensor:
    """Five English prompts, arms (none, target off, control), objects (en, de), as nats.

    d = nats(en) - nats(de):    none      -1   2  -3   0  1
                                arm       -2   3  -1   0  4   up, but for the first and the fourth: 3 of 5
                                control   -1   3  -4  -1  1   up once: 1 of 5
    """
    english = torch.tensor([[5.0, 4, 5], [4, 5, 5], [2, 4, 1], [3, 3, 3], [3, 6, 3]])
    shift = torch.tensor([[-1.0, -2, -1], [2, 3, 3], [-3, -1, -4], [0, 0, -1], [1, 4, 1]])
    return torch.stack([english, english - shift], dim=2)


def test_a_case_by_hand() -> None:
    nats, own = by_hand(), torch.zeros(5, dtype=torch.int64)
    assert preference(nats, own, 1)[:, 1].tolist() == [-2, 3, -1, 0, 4]
    found = language_shift(nats, own, 1, NOTHING, NAMES, arm=1)
    assert found.share.value == 3 / 5
    assert found.shift.value == pytest.approx((-1 + 1 + 2 + 0 + 3) / 5)
    assert (found.dropped, found.share.documents) == (0, 5)
    assert language_shift(nats, own, 1, NOTHING, NAMES, arm=2).share.value == 1 / 5
    assert beyond_control(nats, own, 1, NOTHING, NAMES, arm=1, control=2).value == pytest.approx(2 / 5)
    # What changes nothing shifts nothing.
    assert language_shift(nats, own, 1, NOTHING, NAMES, arm=0).share.value == 0


def test_by_length_and_without_the_dropped() -> None:
    nats, own = by_hand(), torch.zeros(5, dtype=torch.int64)
    lengths = torch.tensor([[1, 2], [1, 1], [1, 2], [3, 1], [1, 1]])
    found = language_shift(nats, own, 1, NOTHING, NAMES, arm=1, lengths=lengths)
    d = [
        [ours / first - theirs / second for ours, theirs in item]
        for item, (first, second) in zip(nats.tolist(), lengths.tolist(), strict=True)
    ]
    assert found.share.value == sum(after > before for before, after, _ in d) / 5
    assert found.shift.value == pytest.approx(sum(after - before for before, after, _ in d) / 5)
    some = language_shift(nats, own, 1, torch.tensor([True, False, False, False, True]), NAMES, arm=1)
    assert (some.share.value, some.dropped, some.share.documents) == (2 / 3, 2, 3)


RECORDS = [
    Record(name, language, prompt, answer, f"c{name}")
    for name, *texts in (
        ("0", ("en", "The street is", "long"), ("de", "Die Straße ist", "lang"), ("sw", "Mtaa ni", "mrefu")),
        ("1", ("en", "Anna buys", "apples"), ("de", "Anna kauft", "Äpfel"), ("sw", "Anna ananunua", "matofaa")),
        ("2", ("en", "She is called", "Anna"), ("de", "Sie heißt", "Anna"), ("sw", "Anaitwa", "Anna")),
        ("3", ("en", "The house is", "green"), ("de", "Das Haus ist", "grün")),
    )
    for language, prompt, answer in texts
]


def test_items_and_those_whose_objects_are_alike(tokenizer: Any) -> None:
    items = shift_items(RECORDS)
    assert (items.languages, items.left_out) == (("en", "de", "sw"), ("3",))
    assert [(choice.language, choice.id, choice.gold) for choice in items.choices[:4]] == [
        ("en", "0", 0),
        ("en", "1", 0),
        ("en", "2", 0),
        ("de", "0", 1),
    ]
    assert items.choices[3].options == ("long", "lang", "mrefu")
    assert items.choices[3].contexts == ("Die Straße ist",) * 3
    same = alike(encode_choices(items.choices, tokenizer))
    expected = [[one.id == "2" or place == one.gold for place in range(3)] for one in items.choices]
    assert same.tolist() == expected


def test_a_model_made_to_prefer_a_language(tiny_llama: Any, tokenizer: Any) -> None:
    """The output weights of the tokens that only the German objects have are made likelier, whatever the context."""
    items = shift_items(RECORDS)
    texts = encode_choices(items.choices, tokenizer)
    before = texts.by_option(scored(tiny_llama, texts.documents))
    scored_on = [{*document.tokens[document.answer].tolist()} for document in texts.documents]
    ids = {place: set().union(*(scored_on[i] for i in range(6) if i % 3 == place)) for place in range(3)}
    head = tiny_llama.lm_head
    biased = torch.nn.Linear(head.in_features, head.out_features)
    bias = torch.zeros(head.out_features)
    bias[list(ids[1] - ids[0] - ids[2])] = 5
    biased.weight, biased.bias = head.weight, torch.nn.Parameter(bias)
    tiny_llama.lm_head = biased
    nats = torch.cat([before, texts.by_option(scored(tiny_llama, texts.documents))], dim=1)
    cells = shift_matrix(nats, texts, items, arm=1)
    assert {pair for pair, cell in cells.items() if cell is None} == {(code, code) for code in items.languages}
    for language, target, expected in (("en", "de", 1), ("sw", "de", 1), ("de", "en", 0), ("de", "sw", 0)):
        cell = cells[language, target]
        assert cell is not None
        assert (cell.share.value, cell.dropped, cell.share.documents) == (expected, 1, 2)
        assert math.copysign(1, cell.shift.value) == (1 if expected else -1)
    by_token = shift_matrix(nats, texts, items, arm=1, normalised=True)["en", "de"]
    assert by_token is not None
    lengths = texts.tokens
    own = [nats[i, :, 0] / lengths[i, 0] - nats[i, :, 1] / lengths[i, 1] for i in range(2)]
    assert by_token.shift.value == pytest.approx(sum(float(d[1] - d[0]) for d in own) / 2)


def test_what_is_wrong_is_told() -> None:
    nats, own = by_hand(), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(InputError, match="LSS has no diagonal"):
        language_shift(nats, own, 0, NOTHING, NAMES, arm=1)
    with pytest.raises(InputError, match="the objects of all 5 tokenise alike"):
        language_shift(nats, own, 1, ~NOTHING, NAMES, arm=1)
    with pytest.raises(InputError, match="0 ids that all of en, de have; expected parallel records"):
        shift_items([Record("0", "en", "a", "b"), Record("1", "de", "a", "b")])
    with pytest.raises(InputError, match=r"objects: '0' \(de\) without an answer"):
        shift_items([Record("0", "en", "a", "b"), Record("0", "de", "a", " ")])
