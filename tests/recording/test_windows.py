"""The text around a token: whole characters, no secrets, cut but between letters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from alignlab.data.encoding import Document
from alignlab.recording.windows import CUT, Window, Windows, first_of, last_of

TEXTS = (
    "Anna has 12 apples.\nHow many?",
    "小明有12个苹果，又买了7个。",
    "كم تفاحة لدى آنا الآن؟",
    "זה בית ירוק",
    "नमस्ते दुनिया",
    "می‌خواهم 👩‍👩‍👧 é é \u202eabc",
    "<b>&amp;</b> `x` \x1b[31mred",
)


def document(tokenizer: Any, text: str) -> Document:
    tokens = np.array(tokenizer(text).input_ids, dtype=np.int32)
    none = np.zeros(len(tokens), dtype=bool)
    return Document("0", "en", tokens, ~none, none)


def bytes_of(tokenizer: Any, tokens: Any) -> list[bytes]:
    """The bytes of every token of a byte-level tokenizer, by its alphabet."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]  # they stand for themselves, the others follow
    others = [byte for byte in range(256) if byte not in seen]
    back = {chr(byte): byte for byte in seen} | {chr(256 + number): byte for number, byte in enumerate(others)}
    return [
        piece.encode() if piece == "<bos>" else bytes(back[character] for character in piece)
        for piece in tokenizer.convert_ids_to_tokens(tokens.tolist())
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_a_token_is_shown_in_whole_characters(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    """Where it is is told by its bytes: characters from the first to the last that it has a byte of."""
    one = document(tokenizer, text)
    pieces = bytes_of(tokenizer, one.tokens)
    assert b"".join(pieces).decode() == f"<bos>{text}"
    whole = "".join(piece.decode() for piece in [b"".join(pieces)])
    ends = np.cumsum([len(character.encode()) for character in whole])
    windows, split = Windows(tokenizer, 1000), 0
    at = 0
    for position, piece in enumerate(pieces):
        last = at + len(piece)
        first = int(np.searchsorted(ends, at, side="right"))  # the character that has the byte
        end = int(np.searchsorted(ends, last - 1, side="right")) + 1
        clean = (first == 0 or ends[first - 1] == at) and ends[end - 1] == last
        found = windows.of(one, position)
        assert found == Window(whole[:first], whole[first:end], whole[end:], clean)
        split += not clean
        at = last
    if text.startswith("小"):
        assert split > 0


@pytest.mark.parametrize("around", [0, 1, 5])
def test_long_texts_are_cut_on_both_sides(tokenizer: PreTrainedTokenizerFast, around: int) -> None:
    one = document(tokenizer, "a" * 50 + " b" + "c" * 50)
    (position,) = [
        place for place, piece in enumerate(bytes_of(tokenizer, one.tokens)) if b"b" in piece and b"o" not in piece
    ]
    found = Windows(tokenizer, around).of(one, position)
    assert found.before in (CUT + "a" * around, CUT + "a" * (around - 1) + " ")
    assert found.after == "c" * around + CUT


def test_a_letter_keeps_its_marks() -> None:
    assert last_of("xe\u0301y", 2) == CUT + "e\u0301y"
    assert first_of("xe\u0301y", 2) == "xe\u0301" + CUT
    assert last_of("👩\u200d👧", 1) == "👩\u200d👧"
    assert first_of("👩\u200d👧z", 1) == "👩\u200d👧" + CUT
    assert last_of("abc", 3) == first_of("abc", 3) == "abc"
    assert last_of("", 3) == first_of("", 0) == ""
    endless = "e" + "\u0301" * 10_000
    assert len(first_of(endless, 5)) < 30
    assert len(last_of(endless, 5)) < 30


def test_secrets_are_hidden_wherever_the_token_is(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cr3t-Value-of-mine"  # noqa: S105 of nothing
    monkeypatch.setenv("MY_SERVICE_TOKEN", secret)
    one = document(tokenizer, f"Say {secret} twice, {secret}, or hf_{'abcdefgh' * 5} and go home.")
    parts = {secret[start : start + 6] for start in range(len(secret) - 5)}
    for around in (3, 8, 1000):
        windows = Windows(tokenizer, around)
        for position in range(len(one)):
            found = windows.of(one, position)
            shown = found.before + found.token + found.after
            assert not any(part in shown for part in parts), shown
            assert "abcdefgh" not in shown
    windows = Windows(tokenizer, 1000)
    assert windows.of(one, 1).whole
    assert windows.of(one, len(one) - 1).whole
    middle = windows.of(one, len(one) // 2)
    assert not middle.whole
    assert "<MY_SERVICE_TOKEN hidden>" in middle.token
    assert middle.before + middle.token + middle.after == windows.of(one, 1).before + windows.of(one, 1).token + (
        windows.of(one, 1).after
    )


def test_a_token_that_is_not_in_the_vocabulary_or_says_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    none = np.zeros(3, dtype=bool)
    one = Document("0", "en", np.array([0, len(tokenizer) + 5, 4], dtype=np.int32), none, none)
    assert Windows(tokenizer, 10).of(one, 1).token == f"<{len(tokenizer) + 5}>"


def test_a_very_long_token_is_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    longer = copy.deepcopy(tokenizer)
    assert longer.add_tokens(["x" * 5000]) == 1
    one = document(longer, "A" + "x" * 5000)
    found = Windows(longer, 10).of(one, len(one) - 1)
    assert found == Window("<bos>A", "x" * 200 + CUT, "")
