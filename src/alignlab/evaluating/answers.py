"""The task of problems: what a model answers, drawn or greedy, and whether it is right."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from alignlab.analysis.capability import RIGHT, capability_rows
from alignlab.analysis.consistency import SAME, consistency_rows
from alignlab.data.encoding import Document
from alignlab.evaluating.options import Problems
from alignlab.evaluating.task import BuiltTask, Measured, Measuring
from alignlab.evaluation.answering import check_can_answer, checked
from alignlab.evaluation.answers import last_number
from alignlab.evaluation.tasks import TaskConfig
from alignlab.manifest import checksum_of
from alignlab.neurons.table import Row
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.effects import NO_INTERVENTION, ArmLabel, Effects, joined
from alignlab.recording.likelihoods import labelled
from alignlab.recording.responses_file import read_answers
from alignlab.recording.sampling import Sampling
from alignlab.reporting.wording import number


class ProblemsTask(BuiltTask):
    """Problems that a model answers."""

    lead = RIGHT
    reads_as = (
        "right: the last number of the answer is the expected one; in language: the answer is in the language of the "
        "question, as far as its text tells. A group is all problems of its languages."
    )

    def __init__(self, name: str, options: Problems, tokenizer: Any, reference: str) -> None:
        super().__init__(name)
        shared = ("source", "prompts", "max_texts", "max_new_tokens", "seed")
        config = TaskConfig(name=name, **{key: getattr(options, key) for key in shared})
        self.task = config.build(tokenizer)
        self.reference = reference
        names = [f"{prompt.language}\0{prompt.id}" for prompt in self.task.prompts]
        drawn = Sampling(options.seed, names, options.temperature, options.top_p)
        self.sampling = drawn if options.temperature > 0 else None

    @property
    def texts(self) -> Sequence[Document]:
        return self.task.prompts

    @property
    def fingerprint(self) -> str:
        # The reference is one of the languages that answers are told apart among.
        about: list[object] = [self.task.fingerprint, self.reference]
        if self.sampling is not None:
            about += [self.sampling.seed, self.sampling.temperature, self.sampling.top_p]
        return hashlib.sha256(repr(about).encode()).hexdigest()[:16]

    @property
    def new_tokens(self) -> int:
        return self.task.max_new_tokens

    def check(self, outline: nn.Module) -> None:
        check_can_answer(self.task, outline)

    def measure(self, on: Measuring) -> Measured:
        eos = self.task.tokenizer.eos_token_id
        responses = generate_under(
            on.model,
            [prompt.tokens for prompt in self.task.prompts],
            on.arms,
            max_new_tokens=self.task.max_new_tokens,
            max_tokens_per_batch=on.max_tokens_per_batch,
            eos_ids=() if eos is None else (eos,),
            sampling=self.sampling,
            sites=on.sites,
            context=on.context,
            advance=on.advance,
            kept=on.kept,
        )
        by_arm = [
            checked(self.task, list(of_arm), on.origin, _told_of(label), label)
            for of_arm, label in zip(zip(*responses, strict=True), labelled(on.labels, on.arms), strict=True)
        ]
        if len(by_arm) == 1:
            return Measured(by_arm[0].effects, by_arm[0].text)
        text = "".join(one.text for one in by_arm)
        effects = joined([one.effects for one in by_arm])
        return Measured(replace(effects, answers_checksum=checksum_of(text.encode())), text)

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        return capability_rows(effects, first, label=label, since=since)

    def rows_of_answers(self, effects: Effects, answers: Path, label: str, arm: str = "") -> list[Row]:
        lines = [line for line in read_answers(answers).values() if line.get("arm", "") == arm]
        numbers = {(line["language"], line["id"]): last_number(line["text"], line["language"]) for line in lines}
        return consistency_rows(effects, numbers, label=label)

    def sentence(self, rows: Sequence[Row]) -> str:
        same = [row for row in rows if row.measure == SAME]
        if not same:
            return ""
        mean = sum(row.value for row in same) / len(same)
        by_chance = sum(row.reference or 0.0 for row in same) / len(same)
        pairs = f"{len(same)} pairs of languages" if len(same) > 1 else f"{same[0].language} and {same[0].other}"
        return (
            f"The same number in two languages, right or wrong: {number(mean, 3)} of the problems, on average over "
            f"{pairs}; {number(by_chance, 3)} by chance."
        )


def _told_of(label: ArmLabel) -> dict[str, object]:
    """What the lines of the answers under an arm say of it; by its digest, as it may be called otherwise later."""
    return {} if label.name == NO_INTERVENTION else {"arm": label.digest}
