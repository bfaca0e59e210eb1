"""The folder of a language's rewards: in parts while they are made, then a line for each question."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignlab.atomic import whole_file
from alignlab.begun_folder import BegunFolder
from alignlab.checksums import damaged
from alignlab.errors import InputError, Problem
from alignlab.parts import lines
from alignlab.regular_files import read_regular

ANSWERS = "answers_fingerprint"
MODEL = "model_fingerprint"


@dataclass(frozen=True)
class QuestionRewards:
    """The rewards of the answers to a question.

    id: of the question.
    places: of each answer the place of its text among those scored; None where there is none to score.
    nats: of each text that was scored and each of the pivot's answers the loss of their pair, in nats a token.
    """

    id: str
    places: Sequence[int | None]
    nats: Sequence[Sequence[float]]

    @property
    def rewards(self) -> list[float | None]:
        """Of each answer the mean over the pivot's answers of 1 / loss; None where there is none."""
        of_texts = [reward(losses) for losses in self.nats]
        return [None if place is None else of_texts[place] for place in self.places]


def reward(losses: Sequence[float]) -> float:
    """MAPO's reward of an answer: the mean of 1 / mean NLL over the pivot's answers (She et al. 2024)."""
    return sum(1 / loss for loss in losses) / len(losses)


class RewardsFolder(BegunFolder):
    """Names of all that is in it, and what may be done with it."""

    kind = "rewards"
    holds = "rewards"
    key = "rule.folder"
    ignored = ("folder", "max_tokens_per_batch")  # the size of batches changes no more than rounding
    made_from: ClassVar[Mapping[str, tuple[str, str]]] = {
        ANSWERS: ("responses", "the answers"),
        "tokens_fingerprint": ("rule.model.source", "the answers, as tokenised for the translation model,"),
        MODEL: ("rule.model.source", "the weights of the translation model"),
    }

    @property
    def rewards(self) -> Path:
        return self.path / "rewards.jsonl"

    @property
    def results(self) -> Sequence[Path]:
        return (self.rewards,)

    def check_answers(self, fingerprint: str) -> None:
        """Refuse rewards of other answers than these. Raises InputError."""
        stored = json.loads(read_regular(self.environment))[ANSWERS]
        if stored != fingerprint:
            found = f"it holds rewards of other answers ({stored} then, {fingerprint} now)"
            fix = f"Restore the answers, or set {self.key} to another folder."
            raise InputError(Problem(self._where, found, "rewards of the answers that pairs are made of", fix))

    def check_model(self, fingerprint: str) -> None:
        """Refuse rewards of other weights than these. Raises InputError."""
        stored = json.loads(read_regular(self.environment)).get(MODEL)
        if stored not in (None, fingerprint):
            found = f"it holds rewards by other weights of the translation model ({stored} then, {fingerprint} now)"
            fix = (
                f"Restore the weights, or set {self.key} to another folder: all languages are then scored by one model."
            )
            raise InputError(Problem(self._where, found, "rewards of all languages by one model", fix))

    def done(self, pieces: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """The pieces that are there, and those that are but damaged. pieces: the numbers of the pairs of each."""
        good, bad = [], []
        for number, pairs in enumerate(pieces):
            if self.parts.part(number).is_file():
                try:
                    self.read_part(number, pairs)
                except InputError:
                    bad.append(number)
                else:
                    good.append(number)
        return good, bad

    def write_part(self, number: int, pairs: Sequence[int], nats: Sequence[float]) -> None:
        """Write the losses of the pairs of a piece, whole or not at all."""
        self.parts.write(number, [{"pairs": list(pairs), "nats": list(nats)}])

    def read_part(self, number: int, pairs: Sequence[int]) -> list[float]:
        """The losses of the pairs of a piece. Raises InputError where they are not those that were written."""
        rows = self.parts.read(number)
        if len(rows) != 1 or rows[0].get("pairs") != list(pairs) or len(rows[0].get("nats", ())) != len(pairs):
            raise damaged(self.parts.part(number))
        return list(rows[0]["nats"])

    def finish(self, questions: Iterator[QuestionRewards]) -> None:
        """Write the rewards of all questions; remove the parts."""
        with whole_file(self.rewards) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            for one in questions:
                row = {"id": one.id, "places": one.places, "rewards": one.rewards, "nats": one.nats}
                file.write(lines([row]))
        self.end()

    def read(self) -> dict[str, QuestionRewards]:
        """The rewards of every question, by its id. Raises InputError where they are not whole."""
        self.check_written()
        with self.rewards.open(encoding="utf-8", newline="\n") as file:
            rows = [json.loads(line) for line in file]
        return {row["id"]: QuestionRewards(row["id"], row["places"], row["nats"]) for row in rows}
