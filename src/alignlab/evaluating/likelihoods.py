"""Tasks of likelihood: the perplexity of texts, and the choice among options."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from alignlab import console
from alignlab.analysis.arm_outcomes import Outcome
from alignlab.analysis.capability import RIGHT, capability_rows
from alignlab.analysis.choices import BY_BYTE, CHOICES, by_byte
from alignlab.analysis.likelihood import NATS, likelihood_rows
from alignlab.data.choices import Choice
from alignlab.data.encoding import Document, encode
from alignlab.data.records import Record
from alignlab.errors import Problem, UnsupportedModelError, refuse_any
from alignlab.evaluating.options import MultipleChoice, Perplexity
from alignlab.evaluating.task import BuiltTask, Measured, Measuring
from alignlab.evaluation.multiple_choice import encode_choices
from alignlab.models.lower_layers import LowerLayers, find_lower_layers
from alignlab.neurons.table import Row
from alignlab.recording.dealing import cluster_problems, in_order
from alignlab.recording.effects import Effects
from alignlab.recording.likelihoods import ScoredChoice, effects_on_choices, effects_on_texts, labelled
from alignlab.recording.probes import Probe
from alignlab.recording.scoring import Masks, Scores, items_fingerprint, score


class PerplexityTask(BuiltTask):
    """Texts of which the likelihood is measured."""

    lead = NATS
    reads_as = (
        "nats: the negative log-likelihood a token, of all tokens of a language together; a group is the mean of its "
        "languages. Tokens of languages are not of the same size: compare a language with itself."
    )

    def __init__(self, name: str, options: Perplexity, tokenizer: Any) -> None:
        super().__init__(name)
        records = options.source.load()
        where = f"tasks.{name}.source"
        refuse_any([] if records else [Problem(where, "no record", "one or more")])
        refuse_any(cluster_problems(records, where))
        by_language: dict[str, list[Record]] = {}
        for record in records:
            by_language.setdefault(record.language, []).append(record)
        chosen = [record for of in by_language.values() for record in in_order(options.seed, of, options.max_texts)]
        encoded = encode(
            chosen, tokenizer, options.prompts, max_length=options.max_length, append_eos=False, needs_answer=False
        )
        self._texts = encoded.documents
        self.truncated = encoded.truncated
        # As a probe counts: one place says which tokens these are.
        probe = Probe({}, options.scope, 1, 1, count_special_tokens=options.count_special_tokens)
        self.masks: Masks = [probe.counted(text) for text in self._texts]
        self.clusters = options.source.clusters if any(one.cluster != one.id for one in chosen) else ""
        counted = dict.fromkeys(by_language, 0)
        for text, mask in zip(self._texts, self.masks, strict=True):
            counted[text.language] += int(mask[1:].sum())
        fix = f"Give answers, or set tasks.{name}.scope=all." if options.scope == "response" else ""
        refuse_any(
            [
                Problem(where, f"no token counts in {code!r}", "one or more in every language", fix)
                for code, count in counted.items()
                if not count
            ]
        )

    @property
    def texts(self) -> Sequence[Document]:
        return self._texts

    @cached_property
    def fingerprint(self) -> str:
        return _digest(items_fingerprint(self.texts, self.masks), self.texts, [self.clusters])

    def measure(self, on: Measuring) -> Measured:
        scores = _scores(on, self.texts, self.masks)
        effects = effects_on_texts(
            self.texts,
            labelled(on.labels, on.arms),
            scores,
            origin=on.origin,
            task=self.name,
            clusters=self.clusters,
            counted=self.masks,
        )
        return Measured(effects)

    def compares(self, effects: Effects, first: Effects) -> bool:
        return effects.data_fingerprint == first.data_fingerprint  # the same tokens

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        return likelihood_rows(effects, first, label=label, since=since)


class ChoiceTask(BuiltTask):
    """Questions of which the likeliest option is what the model chooses."""

    lead = RIGHT
    reads_as = (
        "right: of the options' texts the right one is the likeliest, by the sum of its tokens' log-likelihoods; right "
        "by token, by character, by byte: divided by its length; tied: another is as likely. Chance is one over the "
        "number of options. A group is all questions of its languages."
    )

    def __init__(self, name: str, options: MultipleChoice, tokenizer: Any) -> None:
        super().__init__(name)
        by_language: dict[str, list[Choice]] = {}
        for question in options.questions.load():
            by_language.setdefault(question.language, []).append(question)
        chosen = [
            question
            for of in by_language.values()
            for question in (of if options.max_texts is None else in_order(options.seed, of, options.max_texts))
        ]
        encoded = encode_choices(chosen, tokenizer, options.prompts)
        self.choices = [
            ScoredChoice(documents, tuple(map(len, question.options)), question.gold)
            for documents, question in zip(encoded.by_item, chosen, strict=True)
        ]
        bytes_of = {
            (question.language, question.id): [len(option.encode()) for option in question.options]
            for question in chosen
        }
        self.measures = {**CHOICES, BY_BYTE: by_byte(bytes_of)}
        self._texts = encoded.documents
        self.clusters = (
            (options.questions.clusters or "clusters") if any(one.cluster != one.id for one in chosen) else ""
        )

    @property
    def texts(self) -> Sequence[Document]:
        return self._texts

    @property
    def items(self) -> Counter[str]:
        return Counter(one.item.language for one in self.choices)

    @cached_property
    def fingerprint(self) -> str:
        about = [self.clusters, *((one.characters, one.expected) for one in self.choices)]
        return _digest(items_fingerprint(self.texts), self.texts, about)

    def measure(self, on: Measuring) -> Measured:
        scores = _scores(on, self.texts, None)
        labels = labelled(on.labels, on.arms)
        effects = effects_on_choices(
            self.choices, labels, scores, origin=on.origin, task=self.name, clusters=self.clusters
        )
        return Measured(effects)

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        return capability_rows(
            effects, first, label=label, since=since, measures=self.measures, analysis="multiple choice"
        )

    def outcomes(self, effects: Effects) -> list[Outcome]:
        ones = np.ones(len(effects.items))
        return [
            Outcome(name, measure.unit, measure.of(effects).numpy().astype(np.float64), ones)
            for name, measure in self.measures.items()
        ]


def _scores(on: Measuring, texts: Sequence[Document], masks: Masks | None) -> Scores:
    """How likely texts are to the model under every arm."""
    return score(
        on.model,
        texts,
        on.arms,
        lower=_lower_layers(on) if len(on.arms) > 1 else None,
        max_tokens_per_batch=on.max_tokens_per_batch,
        counted=masks,
        sites=on.sites,
        context=on.context,
        advance=on.advance,
        kept=on.kept,
    )


def _lower_layers(on: Measuring) -> LowerLayers | None:
    """How layers that no arm changes are run once for all arms; None for a model of which that is not known."""
    try:
        return find_lower_layers(on.model)
    except UnsupportedModelError as error:
        console.say(f"note: lower layers are run for every arm: {error.problems[0].found}")
        return None


def _digest(texts: str, documents: Sequence[Document], about: Sequence[object]) -> str:
    """Sixteen hexadecimal digits of texts, their clusters and what else decides a record."""
    clusters = [document.cluster for document in documents]
    return hashlib.sha256(repr([texts, clusters, *about]).encode()).hexdigest()[:16]
