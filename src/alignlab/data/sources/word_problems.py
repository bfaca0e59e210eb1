"""The embedded source: parallel maths word problems, which need no network and no file."""

from __future__ import annotations

from typing import Literal

from alignlab.config import Options, option
from alignlab.data.records import Record
from alignlab.data.wordproblems import LANGUAGES, generate
from alignlab.languages import check_codes


class WordProblems(Options):
    """Maths word problems of one to three steps, the same in every language."""

    name: Literal["builtin:wordproblems"] = "builtin:wordproblems"
    languages: list[str] = option(list(LANGUAGES), "languages, by ISO 639 code", check=check_codes)
    split: Literal["train", "probe", "test"] = option("train", "part of the problems; the parts share none")
    task: Literal["solve", "solve_in_english", "translate", "translate_then_solve"] = option(
        "solve",
        "solve: the answer is the worked answer, in the language of the question or in English; translate: it is the "
        "English question; translate_then_solve: that, and below it the worked answer in English",
    )
    count: int = option(1000, "problems of each language", unit="problems", ge=1, le=1_000_000)
    seed: int = option(0, "which problems are drawn", ge=0)

    @property
    def clusters(self) -> str:
        return "templates"

    def load(self) -> list[Record]:
        return generate(self.languages, self.count, split=self.split, seed=self.seed, task=self.task)
