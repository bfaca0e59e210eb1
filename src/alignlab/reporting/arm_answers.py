"""From the answers that interventions left to those that the page shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.console import plain
from alignlab.errors import InputError
from alignlab.recording.effects import ArmLabel, Effects
from alignlab.recording.responses_file import read_answers
from alignlab.reporting.page.arm_answers import CHANGES, ArmAnswer, Changed, PageAnswers, SampleUnderArms
from alignlab.reporting.wording import shortened

_LONGEST, _MOST_LINES = 400, 12  # characters and lines of a text that are shown


def read_samples(record: Path, texts: Path, own: Mapping[str, str]) -> PageAnswers:
    """Some answers of a record and the file of its texts: of every set some problems of its language.

    own: by set the language whose neurons they are; sets of no one language are left out.

    These are the first problem in each class of `CHANGES`. Raises InputError for files that are damaged, or do not fit.
    """
    effects = Effects.load(record)
    compared = [one for one in _compared(effects.labels, own) if one.language in effects.item_languages]
    size = len(effects.items)
    [base] = [place for place, label in enumerate(effects.labels) if not (label.set or label.control)]
    wanted = {
        arm * size + item
        for one in compared
        for arm in (base, one.arm, one.control)
        if arm is not None
        for item in _items(effects, one.language)
    }
    rows = read_answers(texts, wanted)

    def answer(arm: int, item: int) -> ArmAnswer:
        row, of = rows[arm * size + item], effects.items[item]
        if (row["arm"], row["language"], row["id"]) != (effects.arms[arm], of.language, of.id):
            raise InputError.of(f"{texts}", f"line {arm * size + item + 1} is of another answer", f"that of {record}")
        return ArmAnswer(row["text"], bool(row["right"]), row["output_language"])

    samples = []
    for one in compared:
        items = _items(effects, one.language)
        classes: dict[Changed, list[int]] = {name: [] for name in CHANGES}
        for item in items:
            classes[_changed(answer(base, item), answer(one.arm, item))].append(item)
        for changed, those in classes.items():
            if those:
                item = those[0]
                prompt = rows[base * size + item]["prompt"]
                samples.append(
                    SampleUnderArms(
                        plain(one.set), one.done, one.language, changed, len(those), len(items),
                        _shown(effects.items[item].id), _shown(prompt), effects.items[item].expected,
                        _of(answer(base, item)), _of(answer(one.arm, item)),
                        "" if one.control is None else plain(effects.labels[one.control].name),
                        None if one.control is None else _of(answer(one.control, item)),
                    )
                )  # fmt: skip
    label = "the model" if effects.step is None else f"step {effects.step:,}"
    return PageAnswers(label, plain(str(texts)), samples)


@dataclass(frozen=True)
class _Compared:
    """A set under its first operation at its largest strength: the places of its arm and of its control's."""

    set: str
    done: str
    language: str
    arm: int
    control: int | None


def _compared(labels: tuple[ArmLabel, ...], own: Mapping[str, str]) -> Iterator[_Compared]:
    for name in dict.fromkeys(label.set for label in labels if own.get(label.set)):
        arms = [place for place, label in enumerate(labels) if label.set == name and not label.control]
        first = labels[arms[0]].operation
        arm = max(
            (place for place in arms if labels[place].operation == first), key=lambda at: labels[at].strength or 0
        )
        label = labels[arm]
        draws = {
            labels[place].control: place
            for place in reversed(range(len(labels)))
            if labels[place].control
            and (labels[place].set, labels[place].operation, labels[place].strength) == (name, first, label.strength)
        }
        done = first if label.strength is None else f"{first} {label.strength:g}"
        yield _Compared(name, done, own[name], arm, draws.get("matched", draws.get("random")))


def _items(effects: Effects, language: str) -> list[int]:
    return [place for place, item in enumerate(effects.items) if item.language == language]


def _changed(before: ArmAnswer, after: ArmAnswer) -> Changed:
    if (before.right, before.language) != (after.right, after.language):
        return "right or wrong, or language"
    return "nothing" if before.text == after.text else "words only"


def _of(answer: ArmAnswer) -> ArmAnswer:
    return ArmAnswer(_shown(answer.text), answer.right, answer.language)


def _shown(text: Any) -> str:
    """A text of data as a reader may see it: cut, and what would change other text made visible."""
    return plain(shortened(str(text), _LONGEST, _MOST_LINES))
