"""Tokens a character and beside the reference, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from alignlab.data.encoding import Document
from alignlab.data.fertility import Counted, fertility

TEXTS = {
    "en": {"1": "How many apples?", "2": "The house is green"},
    "de": {"1": "Wie viele Äpfel hat sie?", "2": "Das Haus ist grün"},
    "zh": {"1": "现在有多少个苹果", "9": "他又买了"},
    "th": {"9": ""},
}


def counted(tokenizer: PreTrainedTokenizerFast) -> Counted:
    found: dict[str, list[tuple[Document, np.ndarray]]] = {}  # type: ignore[type-arg]
    for language, texts in TEXTS.items():
        for name, text in texts.items():
            ids = np.array(tokenizer(text)["input_ids"], dtype=np.int32)  # BOS in front is not counted
            none = np.zeros(len(ids), dtype=bool)
            document = Document(name, language, ids, none, none)
            found.setdefault(language, []).append((document, np.arange(len(ids)) > 0))
    return found


def test_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    found = fertility(counted(tokenizer), tokenizer, "en")
    tokens = {
        language: {name: len(tokenizer(text, add_special_tokens=False)["input_ids"]) for name, text in texts.items()}
        for language, texts in TEXTS.items()
    }
    for language in ("en", "de", "zh"):
        characters = sum(not letter.isspace() for text in TEXTS[language].values() for letter in text)
        assert found[language].tokens == sum(tokens[language].values())
        assert found[language].per_character == pytest.approx(sum(tokens[language].values()) / characters)
    assert found["en"].premium == 1
    both = tokens["de"], tokens["en"]
    assert found["de"].premium == pytest.approx(sum(both[0].values()) / sum(both[1].values()))
    assert found["zh"].premium == pytest.approx(tokens["zh"]["1"] / tokens["en"]["1"])
    assert found["zh"].shared == 1


def test_of_nothing_no_number(tokenizer: PreTrainedTokenizerFast) -> None:
    found = fertility(counted(tokenizer), tokenizer, "sw")
    assert math.isnan(found["th"].per_character)
    assert all(math.isnan(one.premium) and one.shared == 0 for one in found.values())
