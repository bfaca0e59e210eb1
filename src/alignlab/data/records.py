"""The one record type: a document of one language, as a prompt and an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One document.

    id: the same for the documents of all languages that say the same thing (parallel documents).
    language: ISO 639 code of the prompt.
    prompt: the text that is given, e.g. a question.
    answer: the text that is to follow it; empty where there is only a text.
    """

    id: str
    language: str
    prompt: str
    answer: str = ""
