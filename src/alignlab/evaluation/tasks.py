"""A task: problems as prompts, and the number that is right for each."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.records import Contents, Record, prompt_key
from alignlab.errors import Problem, refuse_any, some_of
from alignlab.evaluation.answers import last_number
from alignlab.evaluation.options import TaskOptions
from alignlab.recording.dealing import cluster_problems, in_order
from alignlab.recording.probes import without_last


@dataclass(frozen=True)
class Task:
    """Problems that a model is to answer.

    prompts: P, language by language.
    expected: for each prompt the number that is right.
    seen: for each prompt whether its cluster is in the training data too; None where that is not known.
    max_new_tokens: at which an answer is cut.
    clusters: what the clusters of problems are, such as `templates`; empty where each document is one.
    """

    name: str
    prompts: Sequence[Document]
    expected: Sequence[Fraction]
    max_new_tokens: int
    max_tokens_per_batch: int
    tokenizer: Any = field(repr=False, compare=False)
    clusters: str = ""
    seen: Sequence[bool | None] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(prompt.language for prompt in self.prompts))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))

    @property
    def fingerprint(self) -> str:
        """Changes with any prompt, expected number or cluster, and with the length of answers."""
        about = [str(self.max_new_tokens), self.clusters, *map(str, self.expected), *map(str, self.seen)]
        about += [prompt.cluster for prompt in self.prompts]
        return hashlib.sha256(f"{fingerprint(self.prompts)} {about}".encode()).hexdigest()[:16]

    def after(self, clusters: Collection[str]) -> Task:
        """The same task for a model that is trained on documents of these clusters."""
        return replace(self, seen=tuple(prompt.cluster in clusters for prompt in self.prompts))


class TaskConfig(TaskOptions):
    """Problems that a model is to answer."""

    def build(self, tokenizer: Any) -> Task:
        """Load, choose and tokenise the problems."""
        return self.build_from(self.source.load(), tokenizer, self.source.clusters)

    def build_from(self, records: Sequence[Record], tokenizer: Any, clusters: str = "") -> Task:
        """The task of these records: see `build_task`. clusters: what their clusters are."""
        by_language: dict[str, list[Record]] = {}
        for record in records:
            by_language.setdefault(record.language, []).append(record)
        chosen = [record for of in by_language.values() for record in in_order(self.seed, of, self.max_texts)]
        expected = [last_number(record.answer, record.language) for record in chosen]
        refuse_any([*_problems(chosen, expected), *cluster_problems(chosen, "evaluation.source")])
        bare = [replace(record, answer="") for record in chosen]
        # A prompt is never cut: what is left of a question has another answer.
        encoded = encode(bare, tokenizer, self.prompts, max_length=2**31, append_eos=False, needs_answer=False)
        prompts = [without_last(document, tokenizer.eos_token_id) for document in encoded.documents]
        empty = [record.id for record, prompt in zip(chosen, prompts, strict=True) if not len(prompt)]
        refuse_any([Problem("evaluation", f"empty prompts: {some_of(empty)}", "text to answer")] if empty else [])
        return Task(
            self.name,
            prompts,
            [number for number in expected if number is not None],
            self.max_new_tokens,
            self.max_tokens_per_batch,
            tokenizer,
            clusters=(clusters or "clusters") if any(one.cluster != one.id for one in chosen) else "",
            seen=(None,) * len(prompts),
        )


def build_task(records: Sequence[Record], tokenizer: Any, **options: Any) -> Task:
    """The task of the records' languages, in the order in which the records first name them.

    What is expected of a model is the last number of a record's answer. Of each language as many records are taken as
    `max_texts` says, by a seeded hash of their id: parallel problems are taken or left together.
    options: those of `evaluation.options.TaskOptions`.
    Raises `InputError` for answers without a number, empty prompts, and parallel problems in different clusters.
    """
    return TaskConfig(**options).build_from(records, tokenizer)


def in_training(problems: Sequence[Record], training: Contents, *, same_source: bool) -> list[str]:
    """The ids of problems that are in the training data too, in their order.

    These are: a problem whose text is a training prompt of its language, in whatever source, and all that say the same
    in other languages; and, where the two come from one source, every problem whose id the training data have.
    """
    ids = {record.id for record in problems if prompt_key(record) in training.prompts}
    if same_source:
        ids |= training.ids
    return list(dict.fromkeys(record.id for record in problems if record.id in ids))


def _problems(records: Sequence[Record], expected: Sequence[Fraction | None]) -> list[Problem]:
    if not records:
        return [Problem("evaluation.source", "no record", "one or more")]
    without = [
        f"{record.id!r} ({record.language}): {record.answer[:60]!r}"
        for record, number in zip(records, expected, strict=True)
        if number is None
    ]
    if not without:
        return []
    found = f"{len(without):,} of {len(records):,} records whose answer has no number: {some_of(without)}"
    fix = "Name the column of the answers in evaluation.source.answer, or leave these records out."
    return [Problem("evaluation.source", found, "answers whose last number is what is right", fix)]
