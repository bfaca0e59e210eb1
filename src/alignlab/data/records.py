"""The one record type: a document of one language, as a prompt and an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Message(NamedTuple):
    """A turn of a conversation; its role is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One document.

    id: the same for the documents of all languages that say the same thing (parallel documents).
    language: ISO 639 code of the prompt.
    prompt: the text that is given, e.g. a question.
    answer: the text that is to follow it; empty where there is only a text.
    cluster: what it shares with documents that are not independent of it, such as the template or the article that they
        come from; by default its id, so that it is on its own. Parallel documents are in the same cluster.
    rejected: an answer that is worse than `answer`, where the document is a pair of preference; empty where it is none.
    messages: the turns of a conversation, which then is the document; prompt and answer are empty.
    """

    id: str
    language: str
    prompt: str
    answer: str = ""
    cluster: str = ""
    rejected: str = ""
    messages: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        if not self.cluster:
            object.__setattr__(self, "cluster", self.id)


@dataclass(frozen=True)
class Contents:
    """What a source has, by which the same is found in another: ids, and keys of prompts."""

    ids: frozenset[str]
    prompts: frozenset[bytes]

    @classmethod
    def of(cls, records: Iterable[Record]) -> Contents:
        records = list(records)
        return cls(frozenset(record.id for record in records), frozenset(map(prompt_key, records)))


def prompt_key(record: Record) -> bytes:
    """The same for prompts of one language and text, 16 bytes whatever their length; spaces around it do not count."""
    text = f"{record.language}\0{record.prompt.strip()}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
