"""The task of lm-evaluation-harness: what it measures of each document, in each language."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.analysis.arm_outcomes import Outcome
from alignlab.analysis.capability import Measure, capability_rows
from alignlab.checksums import of_values
from alignlab.data.encoding import Document
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.evaluating.options import Harness
from alignlab.evaluating.task import BuiltTask, Measured, Measuring
from alignlab.evaluation.harness import HarnessResult, HarnessTexts, check_one_rank, harness, run_tasks, texts_of_tasks
from alignlab.manifest import checksum_of
from alignlab.models.edits import Arm, edited
from alignlab.neurons.table import Row
from alignlab.parts import lines
from alignlab.recording.arms import digest_of
from alignlab.recording.effects import NO_INTERVENTION, Effects, Item
from alignlab.recording.kept import kept_or_made
from alignlab.recording.likelihoods import labelled
from alignlab.regular_files import read_regular

ANALYSIS = "harness"
# Of what is chosen among options, one over their number, which stands among the values of each document.
CHANCE = "chance"


class HarnessTask(BuiltTask):
    """One task of the harness in each language."""

    reads_as = (
        "Metrics are the harness's own, document by document; those that it has of the whole corpus have no interval. "
        "A group is all documents of its languages; those of one number are taken to say the same in every language."
    )

    names_texts = False
    tells_prompts = False

    def __init__(self, name: str, options: Harness, tokenizer: Any) -> None:
        super().__init__(name)
        self.options, self.tokenizer = options, tokenizer
        problems = _problems(options, tokenizer, f"tasks.{name}")
        try:
            harness()
        except InputError as error:
            problems += error.problems
        refuse_any(problems)
        self.folder = None if options.folder is None else Path(options.folder).expanduser()
        self.names = {
            code: options.task.replace("{language}", options.spelled.get(code, code)) for code in options.languages
        }
        self.asked = self._ask()
        each = [one for of in self.asked.values() for one in of]
        self.metrics = tuple(name for name in each[0].metrics if all(name in one.metrics for one in each))
        self.chances = all(one.options for one in each)
        # A task whose metrics are all of the corpus shows the first of these.
        self.lead = next(iter([*self.metrics, *each[0].totals]), "")
        self._texts = [text for code, of in self.asked.items() for one in of for text in self._documents(code, one)]

    @property
    def texts(self) -> Sequence[Document]:
        return self._texts

    @property
    def items(self) -> Counter[str]:
        return Counter({code: sum(len(one.items) for one in of) for code, of in self.asked.items()})

    @property
    def fingerprint(self) -> str:
        about = [(code, one.digest) for code, of in self.asked.items() for one in of]
        return hashlib.sha256(repr([about, self.options.seed]).encode()).hexdigest()[:16]

    @property
    def new_tokens(self) -> int:
        return max(new for of in self.asked.values() for one in of for _, _, new in one.requests)

    def check(self, outline: nn.Module) -> None:
        del outline
        check_one_rank()

    def measure(self, on: Measuring) -> Measured:
        labels = labelled(on.labels, on.arms)
        by_arm, told = [], list[dict[str, Any]]()
        for label, arm in zip(labels, on.arms, strict=True):
            values: list[list[float]] = []
            for code, of in self.asked.items():
                rows = self._kept(on, code, of, arm)
                values += [[row["values"][name] for name in self.metrics] for row in rows if "values" in row]
                of_arm = {"arm": label.digest} if label.name != NO_INTERVENTION else {}
                told += [{"language": code, **of_arm, **row} for row in rows]
                on.advance(sum(len(one.requests) for one in of))
            by_arm.append(values)
        found = torch.tensor(by_arm, dtype=torch.float64).transpose(0, 1)
        chances = torch.tensor([[[one] for _ in by_arm] for one in self._chances()], dtype=torch.float64)
        text = lines([row | {"checksum": of_values(row)} for row in told])
        effects = Effects(
            items=tuple(
                Item(name := self._id(code, one.task, number), code, name)
                for code, of in self.asked.items()
                for one in of
                for number, _ in one.items
            ),
            labels=labels,
            values=torch.cat([found, chances], dim=2).contiguous() if self.chances else found.contiguous(),
            measures=(*self.metrics, *([CHANCE] if self.chances else [])),
            task=self.name,
            model=on.origin.model,
            revision=on.origin.revision,
            step=on.origin.step,
            trained_languages=on.origin.trained_languages,
            reference=on.origin.reference,
            data_fingerprint=self.fingerprint,
            answers_checksum=checksum_of(text.encode()),
        )
        return Measured(effects, text)

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        both = [effects] if first is None else [effects, first]
        measures = {
            name: Measure(
                partial(_values, name=name),
                "share" if all(_is_share(_values(one, name)) for one in both) else "mean",
                _chance if CHANCE in effects.measures and name.partition(",")[0].startswith("acc") else None,
            )
            for name in effects.measures
            if name != CHANCE
        }
        return capability_rows(effects, first, label=label, since=since, measures=measures, analysis=ANALYSIS)

    def outcomes(self, effects: Effects) -> list[Outcome]:
        ones = np.ones(len(effects.items))
        return [
            Outcome(name, "share" if _is_share(found) else "mean", found.numpy(), ones)
            for name in effects.measures
            if name != CHANCE
            for found in [_values(effects, name)]
        ]

    def rows_of_answers(self, effects: Effects, answers: Path, label: str, arm: str = "") -> list[Row]:
        """What the harness has of a whole corpus alone, such as BLEU."""
        codes = {item.language for item in effects.items}
        read = [json.loads(line) for line in read_regular(answers).decode("utf-8").split("\n")[:-1]]
        totals = [row for row in read if "totals" in row and row["language"] in codes and row.get("arm", "") == arm]
        sizes = Counter(item.language for item in effects.items)
        alone = Counter(row["language"] for row in totals)
        return [
            Row(
                analysis=ANALYSIS,
                record=label,
                step=effects.step,
                group="language",
                language=row["language"],
                task=effects.task,
                measure=metric,
                # Of several tasks behind one name each has its own.
                label=row["task"] if alone[row["language"]] > 1 else "",
                value=value,
                unit=metric,
                denominator=sizes[row["language"]] if alone[row["language"]] == 1 else None,
            )
            for row in totals
            for metric, value in row["totals"].items()
            if metric not in effects.measures
        ]

    def sentence(self, rows: Sequence[Row]) -> str:
        del rows
        versions = sorted({one.version for of in self.asked.values() for one in of})
        return (
            f"By lm-evaluation-harness {harness().__version__}, {self.options.task} of version {', '.join(versions)}."
        )

    def _ask(self) -> dict[str, list[HarnessTexts]]:
        """By language what is asked. Raises InputError with what is wrong in all of them."""
        asked, problems = {}, list[Problem]()
        for code, name in self.names.items():
            try:
                asked[code] = texts_of_tasks(self.tokenizer, [name], **self._settings())
            except InputError as error:
                problems += [
                    Problem(f"tasks.{self.name}.task", one.found, one.expected, one.fix) for one in error.problems
                ]
        refuse_any(problems)
        return asked

    def _documents(self, code: str, asked: HarnessTexts) -> list[Document]:
        """What goes through the model, as far as it is known before the harness cuts it: that may leave out a BOS."""
        ids = self.tokenizer([text for _, text, _ in asked.requests], verbose=False)["input_ids"]
        found = []
        for (number, _, _), tokens in zip(asked.requests, ids, strict=True):
            none = np.zeros(len(tokens), dtype=bool)
            name = self._id(code, asked.task, number)
            found.append(Document(name, code, np.array(tokens, dtype=np.int32), none, none))
        return found

    def _settings(self) -> dict[str, Any]:
        options = self.options
        return {
            "folder": self.folder,
            "limit": options.limit,
            "few_shot": options.few_shot,
            "chat": options.chat,
            "seed": options.seed,
        }

    def _id(self, code: str, task: str, number: int) -> str:
        """The same for a document of the same number in every language; of several tasks behind a name each its own."""
        if len(self.asked[code]) == 1:
            return str(number)
        return f"{task.replace(self.options.spelled.get(code, code), '{language}')} {number}"

    def _chances(self) -> list[float]:
        return [1 / count for of in self.asked.values() for one in of for count in one.options]

    def _kept(self, on: Measuring, code: str, of: Sequence[HarnessTexts], arm: Arm) -> list[dict[str, Any]]:
        """What was found in a language: a row for each document, then one for each task with its totals."""
        count = sum(len(one.items) + 1 for one in of)
        what = [*(one.digest for one in of), self.options.seed, digest_of(arm)]
        return kept_or_made(on.kept, what, count, lambda: self._run(on, code, of, arm))

    def _run(self, on: Measuring, code: str, of: Sequence[HarnessTexts], arm: Arm) -> list[dict[str, Any]]:
        @contextmanager
        def intervention() -> Iterator[None]:
            with edited(on.model, [arm], sites=on.sites), on.context():
                yield

        results = run_tasks(
            on.model,
            self.tokenizer,
            [self.names[code]],
            intervention=intervention,
            batch_size=self.options.batch_size,
            **self._settings(),
        )
        by_name = {result.task: result for result in results}
        return [row for one in of for row in _rows_of(by_name[one.task], one)]


def _rows_of(result: HarnessResult, asked: HarnessTexts) -> Iterator[dict[str, Any]]:
    if [(item.number, item.fingerprint) for item in result.items] != list(asked.items):
        found = f"{asked.task} asks other documents than when it was planned"
        raise InputError.of(
            "tasks", found, "the same", "Its files were changed meanwhile: give the same command again."
        )
    for item in result.items:
        yield {
            "task": result.task,
            "id": str(item.number),
            "hash": item.fingerprint,
            "values": dict(item.values),
            "nats": list(item.nats),
            "answers": list(item.answers),
        }
    yield {"task": result.task, "version": result.version, "totals": dict(result.totals)}


def _values(effects: Effects, name: str) -> torch.Tensor:
    return effects.measured("values")[:, :, effects.measures.index(name)]


def _chance(effects: Effects) -> torch.Tensor:
    return _values(effects, CHANCE)[:, 0]


def _is_share(values: torch.Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _problems(options: Harness, tokenizer: Any, key: str) -> list[Problem]:
    problems = []
    if "{language}" not in options.task and len(options.languages) > 1:
        found = f"{options.task!r} for {len(options.languages)} languages"
        problems.append(Problem(f"{key}.task", found, "{language} in it, or one language", "Such as xcopa_{language}."))
    for code in [code for code in options.spelled if code not in options.languages]:
        expected = f"some of the languages: {', '.join(options.languages)}"
        problems.append(Problem(f"{key}.spelled", f"{code!r}", expected, did_you_mean(code, options.languages)))
    if options.folder is not None and not Path(options.folder).expanduser().is_dir():
        problems.append(Problem(f"{key}.folder", f"there is no folder {options.folder}", "one with task files (.yaml)"))
    if options.chat and not getattr(tokenizer, "chat_template", None):
        fix = "Set chat: false, or take a model that was trained on chats."
        problems.append(Problem(f"{key}.chat", "true, but the tokenizer has no chat template", "one", fix))
    return problems
