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
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem
from alignlab.models.options import SiteName
from alignlab.recording.options import ProbeOptions, Responses, Scope

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
        tokens = np.zeros(self.shards, dtype=np.int64)
        for index, document in enumerate(self.documents[language]):
            tokens[index % self.shards] += int(self.counted(document).sum())
        return tokens

    def most_tokens(self, language: str) -> npt.NDArray[np.int64]:
        """The counted tokens by shard if all responses that are still to come were as long as they may: (S,) int64."""
        return self.tokens(language)

    def shard_documents(self, language: str) -> npt.NDArray[np.int64]:
        """Documents by shard: (S,) int64."""
        return np.bincount(np.arange(len(self.documents[language])) % self.shards, minlength=self.shards)

    def check(self) -> None:
        """Refuse a probe in which a language has nothing to count, or an empty prompt that a model is to answer."""
        problems = self._problems()
        if problems:
            raise InputError(*problems)

    def _settings(self) -> str:
        return f"{self.scope} {self.shards} {self.count_special_tokens}"

    def _problems(self) -> list[Problem]:
        problems = []
        if len(self.languages) < 2:
            found = f"one language ({' '.join(self.languages)})" if self.languages else "no language"
            problems.append(Problem("probe", found, "two or more: kinds compare languages"))
        for language in self.languages:
            if self.most_tokens(language).sum() == 0:
                fix = "Give answers, or set probe.scope=all." if self.scope == "response" else ""
                found = f"language {language!r} has no token to count in {len(self.documents[language])} documents"
                problems.append(Problem(f"probe (scope {self.scope})", found, "one or more", fix))
        return problems


@dataclass(frozen=True)
class Probe(ProbeTexts):
    """The texts that pass through a model, with all they are to hold."""

    _batches: dict[str, list[list[int]]] = field(default_factory=dict, compare=False, repr=False)

    def batches(self, language: str) -> list[list[int]]:
        """Documents of a language, by number, in length-sorted batches of at most `max_tokens_per_batch` tokens."""
        if language not in self._batches:
            lengths = [len(document) for document in self.documents[language]]
            self._batches[language] = token_budget_batches(lengths, self.max_tokens_per_batch)
        return self._batches[language]


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
        return build_probe(
            self.source.load(),
            tokenizer,
            prompts=self.prompts,
            scope=self.scope,
            site=self.site,
            responses=self.responses,
            max_new_tokens=self.max_new_tokens,
            max_texts=self.max_texts,
            max_length=self.max_length,
            max_tokens_per_batch=self.max_tokens_per_batch,
            shards=self.shards,
            seed=self.seed,
            count_special_tokens=self.count_special_tokens,
        )


def build_probe(
    records: Sequence[Record],
    tokenizer: Any,
    *,
    prompts: Prompts | None = None,
    scope: Scope = "response",
    site: SiteName = "mlp.act",
    responses: Responses = "reference",
    max_new_tokens: int = 256,
    max_texts: int = 250,
    max_length: int = 1024,
    max_tokens_per_batch: int = 2048,
    shards: int = 20,
    seed: int = 0,
    count_special_tokens: bool = False,
) -> Probe | PromptProbe:
    """The probe of the records' languages, in the order in which the records first name them.

    Documents are taken, and dealt to shards, in the order of a seeded hash of their id: parallel documents, which share
    an id, are taken or left together and are in the same shard in every language.
    responses: with other than `reference` ones the answers of the records are left out, for the model to give its own,
        and the probe is one of prompts.
    Raises `InputError` where a language has no token to count.
    """
    closing = None if responses == "reference" else tokenizer.eos_token_id
    by_language: dict[str, list[Record]] = {}
    for record in records:
        given = record if responses == "reference" else replace(record, answer="")
        by_language.setdefault(record.language, []).append(given)
    documents: dict[str, list[Document]] = {}
    truncated = 0
    for language, all_records in by_language.items():
        chosen = sorted(all_records, key=lambda record: _order(seed, record.id))[:max_texts]
        encoded = encode(
            chosen, tokenizer, prompts or Prompts(), max_length=max_length, append_eos=False, needs_answer=False
        )
        documents[language] = [_without_last(document, closing) for document in encoded.documents]
        truncated += encoded.truncated
    settings: Any = (documents, scope, shards, max_tokens_per_batch, count_special_tokens, truncated, site)
    probe: Probe | PromptProbe = Probe(*settings)
    if responses != "reference":
        probe = PromptProbe(*settings, responses=responses, max_new_tokens=max_new_tokens, tokenizer=tokenizer)
    probe.check()
    return probe


def _without_last(document: Document, token: int | None) -> Document:
    """The document without its last token if that is `token`: behind an EOS that a tokenizer adds comes no answer."""
    if token is None or len(document) < 2 or document.tokens[-1] != token:
        return document
    tokens, answer, special = document.tokens[:-1], document.answer[:-1], document.special[:-1]
    return replace(document, tokens=tokens, answer=answer, special=special)


def _order(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
