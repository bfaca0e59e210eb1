"""The probe: the documents of every language on which neurons are counted, the same at every snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alignlab.data.batching import token_budget_batches
from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.records import Record
from alignlab.errors import Problem, refuse_any
from alignlab.models.options import SiteName
from alignlab.recording.options import ProbeOptions, Scope

OwnResponses = Literal["generated_once", "regenerated"]


@dataclass(frozen=True)
class ProbeTexts:
    """Documents by language, in the seeded order by which they are dealt to shards: what probes of both kinds share.

    scope: which tokens are counted; `response`: those of the answer, `all`: every one.
    shards: S; document i of a language is in shard i mod S.
    count_special_tokens: count BOS, EOS and the special tokens of templates too.
    truncated: documents that lost tokens at the end.
    site: where the neurons are read, of `models.sites.SiteName`.
    """

    documents: Mapping[str, Sequence[Document]]
    scope: Scope
    shards: int
    max_tokens_per_batch: int
    count_special_tokens: bool = False
    truncated: int = 0
    site: SiteName = "mlp.act"

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.documents)

    @property
    def fingerprint(self) -> str:
        """Changes with any token, mask, scope or language."""
        texts = "".join(fingerprint(documents) for documents in self.documents.values())
        return hashlib.sha256(f"{self._settings()} {texts}".encode()).hexdigest()[:16]

    def counted(self, document: Document) -> npt.NDArray[np.bool_]:
        """Which tokens of a document are counted: (T,) bool."""
        counted = document.answer if self.scope == "response" else np.ones(len(document), dtype=bool)
        return counted if self.count_special_tokens else counted & ~document.special

    def tokens(self, language: str) -> npt.NDArray[np.int64]:
        """Counted tokens by shard: (S,) int64."""
        return self._by_shard([self.counted(document).sum() for document in self.documents[language]])

    def most_tokens(self, language: str) -> npt.NDArray[np.int64]:
        """The counted tokens by shard if all responses that are still to come were as long as they may: (S,) int64."""
        return self.tokens(language)

    def shard_documents(self, language: str) -> npt.NDArray[np.int64]:
        """Documents by shard: (S,) int64."""
        return self._by_shard([1] * len(self.documents[language]))

    def check(self) -> None:
        """Refuse a probe in which a language has nothing to count, or an empty prompt that a model is to answer."""
        refuse_any(self._problems())

    def _by_shard(self, values: Sequence[int]) -> npt.NDArray[np.int64]:
        """Values of a language's documents, added up: (S,) int64."""
        return np.bincount(np.arange(len(values)) % self.shards, values, self.shards).astype(np.int64)

    def _settings(self) -> str:
        return f"{self.scope} {self.shards} {self.count_special_tokens}"

    def _problems(self) -> list[Problem]:
        named = f"one language ({' '.join(self.languages)})" if self.languages else "no language"
        few = [Problem("probe", named, "two or more: kinds compare languages")] if len(self.languages) < 2 else []
        return few + [
            Problem(
                f"probe (scope {self.scope})",
                f"language {language!r} has no token to count in {len(self.documents[language])} documents",
                "one or more",
                "Give answers, or set probe.scope=all." if self.scope == "response" else "",
            )
            for language in self.languages
            if self.most_tokens(language).sum() == 0
        ]


@dataclass(frozen=True)
class Probe(ProbeTexts):
    """The texts that pass through a model, with all they are to hold."""

    def batches(self, language: str) -> list[list[int]]:
        """Documents of a language, by number, in length-sorted batches of at most `max_tokens_per_batch` tokens."""
        return token_budget_batches([len(document) for document in self.documents[language]], self.max_tokens_per_batch)


@dataclass(frozen=True, kw_only=True)
class PromptProbe(ProbeTexts):
    """Prompts, which a model is still to answer: `responses.respond` makes a `Probe` of them.

    responses: `generated_once`, by the model at step 0, or `regenerated`, at every snapshot by the model of then.
    max_new_tokens: at which a response is cut.
    """

    responses: OwnResponses
    max_new_tokens: int
    tokenizer: Any = field(repr=False, compare=False)

    def most_tokens(self, language: str) -> npt.NDArray[np.int64]:
        return self.tokens(language) + self.max_new_tokens * self.shard_documents(language)

    def answered(self, documents: Mapping[str, Sequence[Document]]) -> Probe:
        """The probe of the same documents with their responses."""
        shared = {one.name: getattr(self, one.name) for one in fields(ProbeTexts)}
        return Probe(**{**shared, "documents": documents})

    def _settings(self) -> str:
        return f"{super()._settings()} {self.responses} {self.max_new_tokens}"

    def _problems(self) -> list[Problem]:
        empty = [
            Problem(f"probe (responses {self.responses})", f"language {language!r} has empty prompts", "text to answer")
            for language in self.languages
            if not all(len(prompt) for prompt in self.documents[language])
        ]
        return super()._problems() + empty


class ProbeConfig(ProbeOptions):
    """On which text neurons are counted."""

    def build(self, tokenizer: Any) -> Probe | PromptProbe:
        """Load, choose and tokenise the documents."""
        return self.build_from(self.source.load(), tokenizer)

    def build_from(self, records: Sequence[Record], tokenizer: Any) -> Probe | PromptProbe:
        """The probe of these records: see `build_probe`."""
        asked = self.responses != "reference"
        closing = tokenizer.eos_token_id if asked else None
        by_language: dict[str, list[Record]] = {}
        for record in records:
            by_language.setdefault(record.language, []).append(replace(record, answer="") if asked else record)
        documents: dict[str, list[Document]] = {}
        truncated = 0
        for language, all_records in by_language.items():
            chosen = sorted(all_records, key=lambda record: _order(self.seed, record.id))[: self.max_texts]
            encoded = encode(
                chosen, tokenizer, self.prompts, max_length=self.max_length, append_eos=False, needs_answer=False
            )
            documents[language] = [_without_last(document, closing) for document in encoded.documents]
            truncated += encoded.truncated
        settings = self.model_dump(include={one.name for one in fields(ProbeTexts)})
        probe: Probe | PromptProbe = Probe(documents, truncated=truncated, **settings)
        if asked:
            own: Any = {"responses": self.responses, "max_new_tokens": self.max_new_tokens, "tokenizer": tokenizer}
            probe = PromptProbe(documents, truncated=truncated, **settings, **own)
        probe.check()
        return probe


def build_probe(records: Sequence[Record], tokenizer: Any, **options: Any) -> Probe | PromptProbe:
    """The probe of the records' languages, in the order in which the records first name them.

    Documents are taken, and dealt to shards, in the order of a seeded hash of their id: parallel documents, which share
    an id, are taken or left together and are in the same shard in every language.
    options: those of `recording.options.ProbeOptions`. With other than `reference` responses the answers of the records
        are left out, for the model to give its own, and the probe is one of prompts.
    Raises `InputError` where a language has no token to count.
    """
    return ProbeConfig(**options).build_from(records, tokenizer)


def _without_last(document: Document, token: int | None) -> Document:
    """The document without its last token if that is `token`: behind an EOS that a tokenizer adds comes no answer."""
    if token is None or len(document) < 2 or document.tokens[-1] != token:
        return document
    tokens, answer, special = document.tokens[:-1], document.answer[:-1], document.special[:-1]
    return replace(document, tokens=tokens, answer=answer, special=special)


def _order(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
