"""The questions that a model is asked: tokenised, and dealt to batches with the answers they are to get."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.preparation.options import ResponsesOptions
from alignlab.recording.generation import prompt_batches
from alignlab.recording.probes import without_last


@dataclass(frozen=True)
class Questions:
    """Questions of Q records, language by language, and `samples` answers to each, numbered question by question.

    records, prompts: (Q).  left_out: questions of each language whose prompts are too long.
    """

    records: Sequence[Record]
    prompts: Sequence[Document]
    samples: int
    left_out: dict[str, int]

    @property
    def languages(self) -> list[str]:
        return list(dict.fromkeys(record.language for record in self.records))

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any id, token or right answer."""
        answers = "\0".join(record.answer for record in self.records)
        return hashlib.sha256(f"{fingerprint(self.prompts)} {answers}".encode()).hexdigest()[:16]

    def prompt(self, number: int) -> Document:
        """The prompt of an answer."""
        return self.prompts[number // self.samples]

    def name(self, number: int) -> str:
        """What an answer's draws belong to."""
        record = self.records[number // self.samples]
        return f"{record.language}\0{record.id}\0{number % self.samples}"

    def batches(self, max_new_tokens: int, max_tokens: int, *, padded: bool = True) -> list[list[int]]:
        """The numbers of the answers of each batch: the same whatever is done already, and on any number of ranks.

        Answers of two languages are in no batch together, so that a language is whole before the next begins.
        """
        by_language: dict[str, list[int]] = {}
        for place, record in enumerate(self.records):
            numbers = range(place * self.samples, (place + 1) * self.samples)
            by_language.setdefault(record.language, []).extend(numbers)
        return [
            [numbers[index] for index in batch]
            for numbers in by_language.values()
            for batch in prompt_batches(
                [len(self.prompt(number)) for number in numbers], max_new_tokens, max_tokens, padded=padded
            )
        ]


def load_questions(options: ResponsesOptions, tokenizer: Any) -> Questions:
    """Load and tokenise the questions. Raises InputError where there are none, or two of one id in one language."""
    records = options.source.load()
    _check_languages(records, options.languages)
    chosen = [record for record in records if options.languages is None or record.language in options.languages]
    order = {code: place for place, code in enumerate(dict.fromkeys(record.language for record in chosen))}
    chosen.sort(key=lambda record: order[record.language])
    _check_ids(chosen)
    longest = options.max_prompt_tokens
    encoded = encode(
        [replace(record, answer="") for record in chosen],
        tokenizer,
        options.prompts,
        max_length=longest + 2,  # room for one that is too long, and for an EOS behind it
        append_eos=False,
        needs_answer=False,
    )
    prompts = [without_last(document, tokenizer.eos_token_id) for document in encoded.documents]
    kept = [(record, prompt) for record, prompt in zip(chosen, prompts, strict=True) if len(prompt) <= longest]
    left_out = dict.fromkeys(order, 0)
    for record, prompt in zip(chosen, prompts, strict=True):
        left_out[record.language] += len(prompt) > longest
    if not kept:
        found = f"all {len(chosen):,} questions are of more than {longest} tokens"
        raise InputError.of("max_prompt_tokens", found, "some that are shorter")
    if any(not len(prompt) for _, prompt in kept):
        raise InputError.of("source", "a question of no token", "text to answer")
    return Questions([record for record, _ in kept], [prompt for _, prompt in kept], options.samples, left_out)


def batches_fingerprint(batches: Sequence[Sequence[int]]) -> str:
    """Changes when an answer comes to lie in another batch, beside others."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(np.array([len(batch), *batch], dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


def _check_languages(records: Sequence[Record], languages: Sequence[str] | None) -> None:
    have = list(dict.fromkeys(record.language for record in records))
    missing = [code for code in languages or () if code not in have]
    problems = [
        Problem("languages", f"the source has none in {code}", f"some of: {', '.join(have)}") for code in missing
    ]
    if not records:
        problems.append(Problem("source", "it has no questions", "one or more"))
    refuse_any(problems)


def _check_ids(records: Sequence[Record]) -> None:
    seen: set[tuple[str, str]] = set()
    problems = []
    for record in records:
        if (record.language, record.id) in seen:
            found = f"two questions in {record.language} have the id {record.id!r}"
            problems.append(Problem("source", found, "an id of its own for each: answers are drawn by it"))
        seen.add((record.language, record.id))
    refuse_any(problems)
