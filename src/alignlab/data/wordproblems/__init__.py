"""The embedded data: parallel maths word problems with worked answers, without end, from templates.

Problem `index` is the same problem in every language: same template, numbers, and places in the lists of names and
things. To add a language, add one file to `languages/`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from alignlab.data.records import Record
from alignlab.data.wordproblems.languages import LANGUAGE_FILES
from alignlab.data.wordproblems.problems import SPLITS, WordProblem, problem_at
from alignlab.data.wordproblems.shapes import SHAPES
from alignlab.errors import InputError, Problem, did_you_mean

__all__ = ["LANGUAGES", "SPLITS", "TASKS", "TEMPLATES", "generate"]

LANGUAGES: tuple[str, ...] = tuple(LANGUAGE_FILES)
TEMPLATES: tuple[str, ...] = tuple(shape.name for shape in SHAPES)
TASKS: tuple[str, ...] = ("solve", "solve_in_english", "translate", "translate_then_solve")


def generate(
    languages: Sequence[str],
    count: int,
    split: str = "train",
    seed: int = 0,
    task: str = "solve",
    templates: Sequence[str] | None = None,
) -> list[Record]:
    """The first `count` problems of a split in each of `languages`, language by language.

    languages: codes from `LANGUAGES`.
    count: problems per language; records that say the same thing in two languages have the same id. Those of one
        template, in all languages and splits, are a cluster.
    split: `train`, `probe` or `test`; no template has the same numbers in two of them.
    seed: another seed draws other problems from the same split.
    task: `solve` answers with the worked answer in the language of the question, `solve_in_english` with the English
        one, `translate` with the question in English, `translate_then_solve` with both of these, one below the other.
    templates: take the first `count` problems of these only, by their names in `TEMPLATES`; None takes all. A problem
        has the same id whatever else is taken.
    """
    refuse_unknown(languages, count, split, task, templates)
    drawn = ((index, problem_at(split, seed, index)) for index in itertools.count())
    problems = list(itertools.islice((one for one in drawn if templates is None or one[1].shape in templates), count))
    return [
        Record(f"{split}-{seed}-{index:06d}", code, *texts(problem, code, task), cluster=problem.shape)
        for code in languages
        for index, problem in problems
    ]


def texts(problem: WordProblem, code: str, task: str) -> tuple[str, str]:
    """(prompt, answer) of a problem in the language `code`."""
    words = LANGUAGE_FILES[code].words(problem.woman, problem.man, problem.thing, problem.numbers)
    question = LANGUAGE_FILES[code].question(problem.shape, words)
    if task == "solve":
        return question, LANGUAGE_FILES[code].answer(problem.shape, words, problem.steps)
    english, worked = texts(problem, "en", "solve")
    answers = {"solve_in_english": worked, "translate": english, "translate_then_solve": f"{english}\n{worked}"}
    return question, answers[task]


def refuse_unknown(
    languages: Sequence[str], count: int, split: str, task: str, templates: Sequence[str] | None = None
) -> None:
    """Raise an InputError that names everything in the request that wordproblems does not have."""
    asked = [("languages", code, LANGUAGES) for code in languages]
    asked += [("split", split, tuple(SPLITS)), ("task", task, TASKS)]
    problems = [unknown(where, found, choices) for where, found, choices in asked if found not in choices]
    problems += [unknown("templates", name, TEMPLATES) for name in templates or () if name not in TEMPLATES]
    if templates is not None and not templates:
        problems.append(Problem("wordproblems templates", "none", "one or more, or null for all"))
    if count < 0:
        problems.append(Problem("wordproblems count", f"{count}", expected="0 or more problems per language"))
    if problems:
        raise InputError(*problems)


def unknown(where: str, found: str, choices: Iterable[str]) -> Problem:
    """The problem that `found` is not one of `choices`."""
    return Problem(
        f"wordproblems {where}", repr(found), f"one of {', '.join(choices)}", fix=did_you_mean(found, choices)
    )
