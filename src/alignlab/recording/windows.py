"""The text around a token, as people read it: cut, without secrets, and in whole characters."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.data.encoding import Document
from alignlab.redaction import hide

CUT = "…"
_LONGEST = 200  # characters of a token
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
_MOST_MARKS = 16  # on one letter, for which a window is made longer


@dataclass(frozen=True)
class Window:
    """A token in its context.

    before, token, after: text; what was cut of it is `…`.
    whole: the token is all of `token`. Else it is some bytes of that character, or what it says cannot be told apart
        from a secret beside it.
    """

    before: str
    token: str
    after: str
    whole: bool = True


class Windows:
    """Reads the context of tokens. What was last decoded is kept: ask of one document after another.

    around: characters on each side of the token.
    """

    def __init__(self, tokenizer: Any, around: int) -> None:
        self.tokenizer = tokenizer
        self.around = around
        self._last: tuple[Document, str, str] | None = None

    def of(self, document: Document, position: int) -> Window:
        """The context of a document's token.

        A tokenizer of bytes may give a character in several tokens: then the character is shown. Secrets are looked for
        in the whole document, since a window may hold half of one.
        """
        text, hidden = self._texts(document)
        first, last = position, position + 1
        while not text.startswith(before := self._decode(document.tokens[:first])):
            first -= 1
        while not text.startswith(until := self._decode(document.tokens[:last])):
            last += 1
        start, end = len(before), max(len(before), len(until))
        left, token, right, apart = _without_secrets(text, hidden, start, end)
        whole = last - first == 1 and apart
        # Such as the mark of a word's beginning, where a decoder drops it.
        token = token or self._piece(int(document.tokens[position]))
        token = token if len(token) <= _LONGEST else token[:_LONGEST] + CUT
        return Window(last_of(left, self.around), token, first_of(right, self.around), whole)

    def _texts(self, document: Document) -> tuple[str, str]:
        """A document's text, and the same with its secrets hidden."""
        if self._last is None or self._last[0] is not document:
            text = self._decode(document.tokens)
            self._last = document, text, hide(text)
        return self._last[1:]

    def _decode(self, tokens: npt.NDArray[np.int32]) -> str:
        # As the model reads it: nothing cleaned up, so that the beginning of a text is the text of its beginning.
        decoded = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(decoded)

    def _piece(self, token: int) -> str:
        piece = self.tokenizer.convert_ids_to_tokens(token)
        return f"<{token}>" if piece is None else str(piece)


def _without_secrets(text: str, hidden: str, start: int, end: int) -> tuple[str, str, str, bool]:
    """What is before, in and after a part of a text, secrets hidden; and whether that part has none in it."""
    if text == hidden:
        return text[:start], text[start:end], text[end:], True
    # All secrets lie between what both texts begin with and what they end with.
    same = _alike(text, hidden)
    last = len(text) - _alike(text[same:][::-1], hidden[same:][::-1])
    longer = len(hidden) - len(text)
    if end <= same:
        return hidden[:start], hidden[start:end], hidden[end:], True
    if start >= last:
        return hidden[: start + longer], hidden[start + longer : end + longer], hidden[end + longer :], True
    start, end = min(start, same), max(end, last)
    return hidden[:start], hidden[start : end + longer], hidden[end + longer :], False


def _alike(one: str, other: str) -> int:
    """Characters that two texts begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def last_of(text: str, number: int) -> str:
    """The end of a text, not begun within a letter and its marks."""
    start = least = max(0, len(text) - number)
    while max(0, least - _MOST_MARKS) < start < len(text) and _joins(text[start - 1 : start + 1]):
        start -= 1
    return (CUT if start else "") + text[start:]


def first_of(text: str, number: int) -> str:
    """The beginning of a text, with all marks of its last letter."""
    end = most = min(len(text), number)
    while 0 < end < min(len(text), most + _MOST_MARKS) and _joins(text[end - 1 : end + 1]):
        end += 1
    return text[:end] + (CUT if end < len(text) else "")


def _joins(pair: str) -> bool:
    """Whether the second of two characters is a mark on the first, or either joins them."""
    return unicodedata.category(pair[1]).startswith("M") or pair[1] in _JOINERS or pair[0] == "\u200d"
