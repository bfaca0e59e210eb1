"""Pairs of preference from a model's answers: planned, made language by language, written and told."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import yaml

from alignlab import console
from alignlab.atomic import whole_folder
from alignlab.config import to_plain, to_yaml
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.manifest import check_replaceable
from alignlab.models.adapters import adapter_config
from alignlab.models.distributed import from_first, is_first, join
from alignlab.preparation.answers import Question
from alignlab.preparation.options import PreferencesOptions
from alignlab.preparation.pairs import REASONS, Sides, in_dev, take
from alignlab.preparation.responses_folder import ResponsesFolder
from alignlab.preparation.rules import Rule
from alignlab.preparation.translation_rule import TranslationRule
from alignlab.redaction import hide_all
from alignlab.regular_files import read_regular
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

KIND = "preferences"
TRAIN, DEV, REPORT = "train.jsonl", "dev.jsonl", "report.csv"


@dataclass
class Outcome:
    """What became of the questions of a language.

    found: pairs that there are.  train, dev: pairs taken.  paired: questions that gave them.
    reasons: questions that gave none, by why, of `pairs.REASONS`. With `paired` they sum to `questions`.
    measured: what the rule has measured of the language, by column.
    """

    language: str
    questions: int = 0
    found: int = 0
    train: int = 0
    dev: int = 0
    paired: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    measured: dict[str, float | int | None] = field(default_factory=dict)

    def cells(self) -> list[int]:
        numbers = [self.questions, self.found, self.train, self.dev, self.paired]
        return numbers + [self.reasons[reason] for reason in REASONS]


COLUMNS = ("questions", "found", "train", "dev", "paired", *REASONS)


RULES: dict[str, type[Rule]] = {"right_over_wrong": Rule, "translation_reward": TranslationRule}  # by their `name`
_NAMES = ("folder", "responses", "rule.folder", "rule.model.source")


def run(options: PreferencesOptions) -> None:
    """Plan, make the pairs, write them, and say what was written."""
    check_settings(to_plain(options), _NAMES)
    join()
    source = ResponsesFolder(Path(options.responses).expanduser())
    target = source.path / "preferences" if options.folder is None else Path(options.folder).expanduser()
    counted, ids = _survey(source)
    _check_languages(options, list(counted))
    from_first(lambda: _check_target(target))
    rule = RULES[options.rule.name](options, source, list(counted))
    rule.check()
    console.heading("Plan of the preferences")
    console.table(
        [
            (
                "responses",
                f"{source.path}: {', '.join(f'{counted[code]:,} questions in {code}' for code in rule.languages)}",
            ),
            ("rule", f"{options.rule.name}: {type(options.rule).__doc__}"),
            *rule.plan(),
            ("pairs", _limits(options)),
            ("set apart", "none" if options.dev_every is None else f"every {options.dev_every}th question ({DEV})"),
            ("folder", str(target)),
        ]
    )
    if options.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return
    rule.prepare()
    if is_first():
        # The same whatever languages are asked for: parallel questions share an id, and none is in both files.
        _make(options, source, rule, in_dev(ids, options.dev_every), target)


def _check_target(target: Path) -> None:
    check_replaceable(target, KIND, "folder")
    check_writable(target, "folder")


def _make(options: PreferencesOptions, source: ResponsesFolder, rule: Rule, dev: set[str], target: Path) -> None:
    """Make the pairs, write them, and tell what was written. dev: ids of the questions that are set apart."""
    with whole_folder(target, KIND) as partial:
        outcomes = _write(options, source, rule, dev, partial)
        (partial / REPORT).write_text(_report(outcomes), encoding="utf-8")
        document = to_yaml(options.model_copy(update={"dry_run": False}), hide_all)
        (partial / "config.yaml").write_text(document, encoding="utf-8")
    _show(outcomes, rule, target, source)


def _survey(source: ResponsesFolder) -> tuple[Counter[str], list[str]]:
    """How many questions each language has, and the ids of all in their order, each once."""
    counted: Counter[str] = Counter()
    ids: dict[str, None] = {}
    for question in source.read():
        counted[question.language] += 1
        ids[question.id] = None
    return counted, list(ids)


def _check_languages(options: PreferencesOptions, have: Sequence[str]) -> None:
    refuse_any(
        [
            Problem("languages", f"the responses have none in {code}", f"some of: {', '.join(have)}")
            for code in options.languages or ()
            if code not in have
        ]
    )


def _limits(options: PreferencesOptions) -> str:
    most = f"at most {options.pairs_per_language:,} of a language"
    return most + ("" if options.pairs_per_question is None else f", {options.pairs_per_question:,} of a question")


def _write(
    options: PreferencesOptions, source: ResponsesFolder, rule: Rule, dev: set[str], folder: Path
) -> list[Outcome]:
    """Make the pairs and write them; one language's questions are held at a time. Raises InputError where none is.

    dev: ids of the questions that are set apart.
    """
    outcomes = []
    with (
        (folder / TRAIN).open("w", encoding="utf-8", newline="") as train,
        (folder / DEV).open("w", encoding="utf-8", newline="") as apart,
        console.progress("Comparing answers", len(rule.languages)) as advance,
    ):
        for code, group in groupby(source.read(), key=lambda question: question.language):
            if code in rule.languages:
                outcomes.append(_of_language(options, rule, list(group), dev, train, apart))
                advance(note=code)
    if not any(outcome.train for outcome in outcomes):
        why = sum((outcome.reasons for outcome in outcomes), Counter())
        told = "; ".join(f"{REASONS[reason]}: {why[reason]:,}" for reason in REASONS if why[reason])
        fix = "Draw more answers (samples), at a higher temperature, or of a model that is right sometimes."
        raise InputError(Problem(f"responses ({source.path})", f"no pair for training ({told})", "one or more", fix))
    return outcomes


def _of_language(
    options: PreferencesOptions,
    rule: Rule,
    questions: Sequence[Question],
    dev: set[str],
    train: IO[str],
    apart: IO[str],
) -> Outcome:
    outcome = Outcome(questions[0].language, len(questions))
    rule.begin(outcome.language)
    outcome.measured = rule.measured(questions)
    clean = outcome.language in options.cleaned
    of_both: list[tuple[Question, Sides]] = []
    for question in questions:
        sides = rule.sides(question, clean=clean)
        if isinstance(sides, str):
            outcome.reasons[sides] += 1
        else:
            of_both.append((question, sides))
            outcome.found += len(sides.pairs)
    taken = take(
        [question.id for question, _ in of_both],
        [sides for _, sides in of_both],
        seed=options.seed,
        most=options.pairs_per_language,
        most_per_question=options.pairs_per_question,
    )
    numbers: Counter[str] = Counter()
    for pair in taken:
        question, sides = of_both[pair.question]
        numbers[question.id] += 1
        row: dict[str, str | float] = {
            # Its own in all languages: a model's answers to parallel questions are no translations of each other.
            "id": f"{question.language}/{question.id}/{numbers[question.id]}",
            "question": question.id,
            "cluster": question.cluster,
            "language": question.language,
            "prompt": question.prompt,
            "chosen": sides.chosen[pair.chosen],
            "rejected": sides.rejected[pair.rejected],
        }
        if sides.rewards:
            row["chosen_reward"] = sides.rewards[sides.chosen[pair.chosen]]
            row["rejected_reward"] = sides.rewards[sides.rejected[pair.rejected]]
        in_dev_file = question.id in dev
        (apart if in_dev_file else train).write(f"{json.dumps(row, ensure_ascii=False)}\n")
        outcome.dev += in_dev_file
        outcome.train += not in_dev_file
    outcome.paired = len(numbers)
    outcome.reasons["over_limit"] = len(of_both) - len(numbers)
    return outcome


def _report(outcomes: Sequence[Outcome]) -> str:
    lines = [",".join(("language", *COLUMNS, *outcomes[0].measured))]
    for outcome in outcomes:
        measured = ["" if value is None else repr(value) for value in outcome.measured.values()]
        lines.append(",".join([outcome.language, *map(str, outcome.cells()), *measured]))
    return "".join(f"{line}\n" for line in lines)


def _show(outcomes: Sequence[Outcome], rule: Rule, target: Path, source: ResponsesFolder) -> None:
    """Print how many pairs each language got, why the other questions fell out, and what was written."""
    why = [reason for reason in REASONS if any(outcome.reasons[reason] for outcome in outcomes)]
    console.say()
    console.heading("Pairs")
    rows = [[one.language, *(f"{number:,}" for number in one.cells()[:5])] for one in outcomes]
    rows = [[*row, *(f"{one.reasons[reason]:,}" for reason in why)] for row, one in zip(rows, outcomes, strict=True)]
    header = ("language", *COLUMNS[:5], *(reason.replace("_", " ") for reason in why))
    console.table(rows, header, "l" + "r" * len(header))
    console.note("found: pairs that there are; train and dev: taken; paired: questions with a pair. Of the others:")
    for reason in why:
        console.note(f"  {reason.replace('_', ' ')}: {REASONS[reason]}")
    rule.show([(one.language, one.measured) for one in outcomes])
    console.say()
    console.heading("Written")
    files = {"pairs": TRAIN, "set apart": DEV, "report": REPORT}
    console.table([(what, str(target / name)) for what, name in files.items()])
    stored = yaml.safe_load(read_regular(source.config).decode("utf-8"))
    model = stored["model"]["source"]
    if adapter_config(model) is not None:
        console.say(f"\n{model} is an adapter, and a training begins with a model: merge it into its base first.")
        model = "FOLDER"
    console.say(f"\nNext: python -m alignlab.train {shlex.join(_training(stored, model, target / TRAIN))}")


def _training(stored: Mapping[str, Any], model: str, pairs: Path) -> list[str]:
    """The arguments of a training on the pairs, of the model that has answered, asked as it was.

    stored: the config of the answers.
    """
    settings = {
        "model.source": model,
        **{f"model.{name}": stored["model"].get(name) for name in ("revision", "dtype", "attention")},
        "method.name": "preference",
        "data.train.name": "pairs",
        "data.train.path": str(pairs),
        "data.train.cluster": "cluster",  # pairs of one question, or template, are not independent
        **{f"data.prompts.{name}": value for name, value in stored["prompts"].items()},
    }
    return [f"{name}={_as_value(value)}" for name, value in settings.items() if value not in (None, "auto")]


def _as_value(value: object) -> str:
    """As it is written on the command line, where it is read as YAML."""
    if isinstance(value, str) and re.fullmatch(r"[\w./~:@+-]+", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
