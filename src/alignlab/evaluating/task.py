"""What every task is: texts for a model, a record of what it did with them, and the numbers in that record."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from alignlab.analysis.arm_outcomes import ItemLike, Outcome, outcomes
from alignlab.analysis.capability import same_items
from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.models.edits import Arm
from alignlab.models.options import SiteName
from alignlab.models.sites import Site
from alignlab.neurons.table import Row
from alignlab.recording.counting import Origin
from alignlab.recording.effects import BASELINE, TENSORS, ArmLabel, Effects
from alignlab.recording.kept import Advance, Kept

# Where parts that know no tasks find the options of one.
_PART = re.compile(r"\bevaluation\.(?=\w)")


@dataclass(frozen=True)
class Measuring:
    """With what a task is measured: model, precision, the size of a forward, and where its parts are kept.

    advance: told how much is done, of texts times arms.
    labels, arms: what is done to the model meanwhile, A of both, one or more; `()` is the model as it is. The record
        has them in their order.
    sites: those of the model by name, as far as arms change something there.
    """

    model: nn.Module
    origin: Origin
    context: Callable[[], AbstractContextManager[object]]
    max_tokens_per_batch: int
    kept: Kept
    advance: Advance
    labels: tuple[ArmLabel, ...] = (BASELINE,)
    arms: tuple[Arm, ...] = ((),)
    sites: Mapping[SiteName, list[Site]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """effects: the record.  answers: the text of the file of the answers; empty where there are none."""

    effects: Effects
    answers: str = ""


class BuiltTask(ABC):
    """A task with its texts, as one tokenizer cuts them.

    lead: the measure that tables on the terminal show.
    reads_as: what its measures are, for the line below a table.
    names_texts: whether its ids and clusters name texts, as those of a probe do, and not places in a list of its own.
    tells_prompts: whether its forwards know where prompts end, for interventions at the prompt or behind it alone.
    """

    lead: str
    reads_as: ClassVar[str]
    names_texts: ClassVar[bool] = True
    tells_prompts: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def texts(self) -> Sequence[Document]:
        """What goes through the model: prompts, or whole texts."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes with whatever decides the record, beside the model."""

    @property
    def items(self) -> Counter[str]:
        """Items of each language."""
        return Counter(text.language for text in self.texts)

    @property
    def new_tokens(self) -> int:
        """Tokens that the model may write to each text at most."""
        return 0

    def check(self, outline: nn.Module) -> None:
        """Refuse a model that cannot do the task; on the meta device. Raises InputError."""
        del outline

    @abstractmethod
    def measure(self, on: Measuring) -> Measured:
        """The record; a collective call where there are several ranks."""

    def compares(self, effects: Effects, first: Effects) -> bool:
        """Whether changes between two records are changes of the same thing."""
        return same_items(effects, first)

    @abstractmethod
    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        """Every number of a record, and its paired changes since the first; both of languages and their groups."""

    def rows_of_answers(self, effects: Effects, answers: Path, label: str, arm: str = "") -> list[Row]:
        """What is told by the texts of the answers alone.

        answers: their file.  arm: the digest of the arm whose answers are meant; empty for the model as it is.
        """
        del effects, answers, label, arm
        return []

    def outcomes(self, effects: Effects) -> list[Outcome]:
        """By measure a number of every item under every arm, for what is compared with controls."""
        return outcomes(effects)

    def sentence(self, rows: Sequence[Row]) -> str:
        """What the rows of one model say beside the table; empty for nothing."""
        del rows
        return ""


@contextmanager
def placed(name: str) -> Iterator[None]:
    """Let what is refused within, of the part of a config that a task is, name the keys of this task."""
    key = f"tasks.{name}"
    try:
        yield
    except InputError as error:
        told = [replace(one, where=_place(one.where, key), fix=_PART.sub(f"{key}.", one.fix)) for one in error.problems]
        raise type(error)(*told) from error


def _place(where: str, key: str) -> str:
    """The key of the task for that of a part that knows no tasks; before a file the task, so that it is known whose."""
    if where.startswith(key):
        return where
    part, rest = re.match(r"(\w*)(.*)", where, re.DOTALL).groups()  # type: ignore[union-attr]
    if part == "evaluation" and (not rest or rest[0] in ". "):
        return f"{key}{rest}"
    return f"{key}.{where}" if part == "questions" and not rest else f"{key}: {where}"


def selected(effects: Effects, languages: Sequence[str] | None) -> Effects | None:
    """The record of the items in some languages, in its order; None where there are none. Of null it is the whole."""
    if languages is None:
        return effects
    return _at(effects, [number for number, item in enumerate(effects.items) if item.language in languages])


def apart(effects: Effects, ids: Collection[str], clusters: Collection[str]) -> Effects | None:
    """The record of the items that share neither an id nor a cluster with these; None where there are none."""
    if not ids and not clusters:
        return effects
    return _at(effects, [number for number, item in enumerate(effects.items) if apart_from(item, ids, clusters)])


def apart_from(item: ItemLike, ids: Collection[str], clusters: Collection[str]) -> bool:
    return item.id not in ids and item.cluster not in clusters


def alone(effects: Effects, arm: int) -> Effects:
    """The record of one arm, as if it were of a model as it is: what is asked of such, can be asked of it."""
    tensors = {name: getattr(effects, name)[:, [arm]] for name in _tensors(effects) if "A" in TENSORS[name][1]}
    return replace(effects, labels=(BASELINE,), answers_checksum="", **tensors)


def _at(effects: Effects, places: Sequence[int]) -> Effects | None:
    if not places:
        return None
    tensors: dict[str, Any] = {name: getattr(effects, name)[list(places)] for name in _tensors(effects)}
    return replace(effects, items=tuple(effects.items[place] for place in places), answers_checksum="", **tensors)


def _tensors(effects: Effects) -> list[str]:
    """The names of those that a record has."""
    return [name for name in TENSORS if getattr(effects, name) is not None]
