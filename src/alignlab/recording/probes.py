"""The probe: the documents of every language on which neurons are counted, the same at every snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alignlab.data.batching import token_budget_batches
from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.options import SiteName
from alignlab.recording.dealing import cluster_count, cluster_problems, deal, dealing_text, in_order
from alignlab.recording.options import Denominator, ProbeOptions, Scope

OwnResponses = Literal["generated_once", "regenerated"]


@dataclass(frozen=True)
class ProbeTexts:
    """Documents by language, in the seeded order by which they are dealt to shards: what probes of both kinds share.

    scope: which tokens are counted; `response`: those of the answer, `all`: every one.
    shards: S; the i-th cluster of a language, in the order of its documents, is in shard i mod S.
    count_special_tokens: count BOS, EOS and the special tokens of templates too.
    truncated: documents that lost tokens at the end.
    site: where the neurons are read, of `models.sites.SiteName`.
    clusters: what the clusters of documents are, such as `templates`; empty where each document is one.
    shards_asked: shards asked for, where some language has fewer clusters; else None.
    denominator: of what probabilities at experts are shares, `all` tokens or `routed` ones.
    """

    documents: Mapping[str, Sequence[Document]]
    scope: Scope
    shards: int
    max_tokens_per_batch: int
    count_special_tokens: bool = False
    truncated: int = 0
    site: SiteName = "mlp.act"
    clusters: str = ""
    shards_asked: int | None = None
    denominator: Denominator = "all"

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.documents)

    @property
    def fingerprint(self) -> str:
        """Changes with any token, mask, scope or language, and with what is in which shard."""
        texts = "".join(fingerprint(documents) for documents in self.documents.values())
        return hashlib.sha256(f"{self._settings()} {texts}".encode()).hexdigest()[:16]

    def counted(self, document: Document) -> npt.NDArray[np.bool_]:
        """Which tokens of a document are counted: (T,) bool."""
        counted = document.answer if self.scope == "response" else np.ones(len(document), dtype=bool)
        return counted if self.count_special_tokens else counted & ~document.special

    def tokens(self, language: str) -> npt.NDArray[np.int64]:
        """Counted tokens by shard: (S,) int64."""
        return self._by_shard(language, [self.counted(document).sum() for document in self.documents[language]])

    def most_tokens(self, language: str) -> npt.NDArray[np.int64]:
        """The counted tokens by shard if all responses that are still to come were as long as they may: (S,) int64."""
        return self.tokens(language)

    def shard_documents(self, language: str) -> npt.NDArray[np.int64]:
        """Documents by shard: (S,) int64."""
        return self._by_shard(language, [1] * len(self.documents[language]))

    def shards_of(self, language: str) -> npt.NDArray[np.int64]:
        """The shard of each document: (D,) int64."""
        return self._dealt[language]

    @property
    def dealing(self) -> str:
        """How the documents were dealt, in words; empty where each is its own cluster and no shard was saved."""
        return dealing_text(self.documents, self.shards, self.clusters, self.shards_asked)

    def check(self) -> None:
        """Refuse a probe in which a language has nothing to count, or an empty prompt that a model is to answer."""
        refuse_any(self._problems())

    @cached_property
    def _dealt(self) -> dict[str, npt.NDArray[np.int64]]:
        return {language: deal(documents, self.shards) for language, documents in self.documents.items()}

    def _by_shard(self, language: str, values: Sequence[int]) -> npt.NDArray[np.int64]:
        """Values of a language's documents, added up: (S,) int64."""
        return np.bincount(self.shards_of(language), values, self.shards).astype(np.int64)

    def _settings(self) -> str:
        settings = f"{self.scope} {self.shards} {self.count_special_tokens}"
        # Without clusters the order of the documents tells all.
        if any(cluster_count(documents) < len(documents) for documents in self.documents.values()):
            dealt = b"".join(shards.tobytes() for shards in self._dealt.values())
            settings += f" clusters {hashlib.sha256(dealt).hexdigest()}"
        return settings

    def _problems(self) -> list[Problem]:
        named = f"one language ({' '.join(self.languages)})" if self.languages else "no language"
        few = [Problem("probe", named, "two or more: kinds compare languages")] if len(self.languages) < 2 else []
        if self.denominator == "routed" and self.site != "experts.act":
            found, fix = f"routed, at {self.site}", "Set probe.site=experts.act, the neurons of routed experts."
            few.append(Problem("probe.denominator", found, "all: every token meets these neurons", fix))
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
        return self.build_from(self.source.load(), tokenizer, self.source.clusters or "documents of one id")

    def build_from(
        self, records: Sequence[Record], tokenizer: Any, clusters: str = "named by the records"
    ) -> Probe | PromptProbe:
        """The probe of these records: see `build_probe`. clusters: what their clusters are."""
        refuse_any(cluster_problems(records))
        asked = self.responses != "reference"
        if asked and any(record.messages for record in records):
            found = f"{self.responses}, and records are conversations, which have the assistant's answers in them"
            raise InputError.of("probe.responses", found, "reference", "Or take prompts as probe.source.")
        closing = tokenizer.eos_token_id if asked else None
        by_language: dict[str, list[Record]] = {}
        for record in records:
            by_language.setdefault(record.language, []).append(replace(record, answer="") if asked else record)
        documents: dict[str, list[Document]] = {}
        truncated = 0
        for language, all_records in by_language.items():
            chosen = in_order(self.seed, all_records, self.max_texts)
            encoded = encode(
                chosen, tokenizer, self.prompts, max_length=self.max_length, append_eos=False, needs_answer=False
            )
            documents[language] = [without_last(document, closing) for document in encoded.documents]
            truncated += encoded.truncated
        settings = self.model_dump(include={one.name for one in fields(ProbeTexts)})
        numbers = {language: cluster_count(texts) for language, texts in documents.items()}
        if any(numbers[language] < len(texts) for language, texts in documents.items()):
            settings["clusters"] = clusters
        if (fewest := min(numbers.values(), default=self.shards)) < self.shards:
            settings |= {"shards": fewest, "shards_asked": self.shards}
        probe: Probe | PromptProbe = Probe(documents, truncated=truncated, **settings)
        if asked:
            own: Any = {"responses": self.responses, "max_new_tokens": self.max_new_tokens, "tokenizer": tokenizer}
            probe = PromptProbe(documents, truncated=truncated, **settings, **own)
        probe.check()
        return probe


def build_probe(records: Sequence[Record], tokenizer: Any, **options: Any) -> Probe | PromptProbe:
    """The probe of the records' languages, in the order in which the records first name them.

    Documents are taken in the order of a seeded hash of their id, and dealt to shards by their cluster, in the order of
    a seeded hash of its name: parallel documents, which share id and cluster, are taken or left together and, where
    every language has them all, are in the same shard in every language. There are no more shards than the language
    with the fewest clusters has clusters.
    options: those of `recording.options.ProbeOptions`. With other than `reference` responses the answers of the records
        are left out, for the model to give its own, and the probe is one of prompts.
    Raises `InputError` where a language has no token to count, or parallel documents are in different clusters.
    """
    return ProbeConfig(**options).build_from(records, tokenizer)


def without_last(document: Document, token: int | None) -> Document:
    """The document without its last token if that is `token`: behind an EOS that a tokenizer adds comes no answer."""
    if token is None or len(document) < 2 or document.tokens[-1] != token:
        return document
    tokens, answer, special = document.tokens[:-1], document.answer[:-1], document.special[:-1]
    return replace(document, tokens=tokens, answer=answer, special=special)
