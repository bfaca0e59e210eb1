"""What is chosen, against loops; how options are tokenised; that shuffled answers give chance."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors

from alignlab.data.choices import Choice, continued, filled_in
from alignlab.data.prompts import Prompts
from alignlab.errors import InputError
from alignlab.evaluation.multiple_choice import chance, choose, encode_choices, right_share

from .scored_documents import scored


def question(name: str, prompt: str, *options: str, gold: int = 0) -> Choice:
    return continued(prompt, options, gold, id=name, language="en")


def test_the_likeliest_option_against_a_loop() -> None:
    torch.manual_seed(0)
    nats, lengths = torch.rand(30, 3, 4, dtype=torch.float64) * 10, torch.randint(1, 9, (30, 4))
    nats[5:9, :, 3] = torch.nan
    lengths[5:9, 3] = 0
    for divided in (None, lengths):
        found = choose(nats, divided)
        for item in range(30):
            for arm in range(3):
                scores = [
                    nats[item, arm, option].item() / (1 if divided is None else int(lengths[item, option]))
                    for option in range(4)
                    if not (5 <= item < 9 and option == 3)
                ]
                assert found.option[item, arm] == scores.index(min(scores))
        assert not found.tied.any()


def test_of_equally_likely_options_it_is_the_first_and_that_is_told() -> None:
    nats = torch.tensor([[[2.0, 1.0, 1.0]], [[2.0, 1.0, 3.0]]], dtype=torch.float64)
    found = choose(nats)
    assert found.option.tolist() == [[1], [1]]
    assert found.tied.tolist() == [[True], [False]]
    # Longer, so that a unit of it is likelier.
    assert choose(nats, torch.tensor([[4, 1, 1], [1, 1, 1]])).option.tolist() == [[0], [1]]
    assert found.right(torch.tensor([1, 2])).tolist() == [[True], [False]]


def test_shuffled_answers_give_chance() -> None:
    """400 questions of two and three options: .4 and .6 of them; four standard errors."""
    random, count = np.random.default_rng(0), 400
    options = np.where(np.arange(count) < 160, 2, 3)
    nats = torch.from_numpy(random.random((count, 1, 3)))
    nats[:160, :, 2] = torch.nan
    gold = torch.from_numpy(random.integers(options))
    lengths = torch.from_numpy((np.arange(3) < options[:, None]).astype(np.int32))
    expected = chance(lengths)
    assert expected == pytest.approx(0.4 / 2 + 0.6 / 3)
    (found,) = right_share(choose(nats).right(gold), [str(i) for i in range(count)])
    assert abs(found.value - expected) < 4 * math.sqrt(expected * (1 - expected) / count)
    assert found.low < expected < found.high


def test_only_the_continuation_is_scored(tiny_llama: Any, tokenizer: Any) -> None:
    first = question("0", "The street is", "long", "green, and the house is asleep")
    second = filled_in(
        "The house is green. ", " is long.", ["The house", "Anna", "The street"], 1, id="1", language="en"
    )
    texts = encode_choices([first, second], tokenizer)
    assert [[option.id for option in options] for options in texts.by_item] == [["0"] * 2, ["1"] * 3]
    assert [option for options in texts.by_item for option in options] == texts.documents
    spans = [tokenizer.decode(document.tokens[document.answer]) for document in texts.documents]
    assert spans == [" long", " green, and the house is asleep", " is long.", " is long.", " is long."]
    assert texts.tokens.tolist()[0][:2] == [len(tokenizer(text).input_ids) - 1 for text in spans[:2]]
    assert texts.characters.tolist() == [[4, 30, 0], [9, 4, 10]]
    assert texts.gold.tolist() == [0, 1]
    nats = texts.by_option(scored(tiny_llama, texts.documents))
    assert nats.shape == (2, 1, 3)
    assert nats.isnan().tolist() == [[[False, False, True]], [[False] * 3]]
    assert chance(texts.tokens) == pytest.approx((1 / 2 + 1 / 3) / 2)
    chosen = choose(nats, texts.lengths("token"))
    assert chosen.option.shape == (2, 1)


def test_white_space_at_the_end_of_a_context_is_scored(tokenizer: Any) -> None:
    spaced = continued("Anna ", ["has", "hat"], 0, delimiter="", id="0", language="en")
    (document, _) = encode_choices([spaced], tokenizer).documents
    assert tokenizer.decode(document.tokens[document.answer]) == " has"


def test_bytes_are_not_characters(tokenizer: Any) -> None:
    texts = encode_choices([question("0", "Äpfel", "Äpfel", "苹果")], tokenizer, Prompts(template="Frage: {prompt}"))
    assert (texts.characters.tolist(), texts.bytes.tolist()) == ([[5, 2]], [[6, 6]])
    assert tokenizer.decode(texts.documents[0].tokens, skip_special_tokens=True) == "Frage: Äpfel Äpfel"


def test_what_is_wrong_is_told(tokenizer: Any) -> None:
    nats = torch.zeros(1, 1, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"lengths: the shape \(1, 3\); expected \(1, 2\)"):
        choose(nats, torch.ones(1, 3))
    with pytest.raises(InputError, match="lengths: 0 of an option that is there"):
        choose(nats, torch.tensor([[1, 0]]))
    with pytest.raises(InputError, match="infinite nats"):
        choose(nats + torch.inf)
    with pytest.raises(InputError, match="a question without any option"):
        choose(nats * torch.nan)
    with pytest.raises(InputError, match="questions: none"):
        encode_choices([], tokenizer)
    bare = copy.deepcopy(tokenizer)
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    found = "questions: 2 options of which tokens have no likelihood: number 0 of '0' (en), number 1 of '0' (en)"
    with pytest.raises(InputError, match=re.escape(found)):
        encode_choices([continued("", ["b", "c"], 0, id="0", language="en", delimiter="")], bare)
    with pytest.raises(
        InputError, match=r"'tokens'; expected one of: sum, token, character, byte. Did you mean 'token'"
    ):
        encode_choices([question("0", "a", "b", "c")], tokenizer).lengths("tokens")  # type: ignore[arg-type]
