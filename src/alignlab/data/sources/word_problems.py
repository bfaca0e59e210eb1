"""The embedded source: parallel maths word problems, which need no network and no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from alignlab.config import Options, option
from alignlab.data.records import Record
from alignlab.data.wordproblems import LANGUAGES, TEMPLATES, generate
from alignlab.errors import InputError
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
    without_templates: list[str] = option(
        [],
        "leave out problems of these templates, for an evaluation on others than are trained on",
        check=lambda names: _check_templates(names),
    )

    @property
    def clusters(self) -> str:
        return "templates"

    def load(self) -> list[Record]:
        chosen = [name for name in TEMPLATES if name not in self.without_templates]
        if not chosen:
            raise InputError.of("without_templates", "all templates are left out", "one or more that are taken")
        return generate(self.languages, self.count, split=self.split, seed=self.seed, task=self.task, templates=chosen)


def _check_templates(names: Sequence[str]) -> str | None:
    good = all(name in TEMPLATES for name in names)
    return None if good else f"some of: {', '.join(TEMPLATES)}"
