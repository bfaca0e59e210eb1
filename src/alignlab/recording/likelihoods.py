"""Records of how likely texts, or the options of choices, are under arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from alignlab.data.encoding import Document
from alignlab.models.edits import Arm
from alignlab.recording.arms import digest_of
from alignlab.recording.counting import Origin
from alignlab.recording.effects import ArmLabel, Effects, Item
from alignlab.recording.scoring import Masks, Scores, items_fingerprint


@dataclass(frozen=True)
class ScoredChoice:
    """A prompt and the texts that may follow it.

    options: the prompt with each of them; their answer is the option.
    characters: how many each option has.
    expected: the place of the right one, from 0; None where none is.
    """

    options: tuple[Document, ...]
    characters: tuple[int, ...]
    expected: int | None = None

    @property
    def item(self) -> Item:
        """What it is in a record: the id, language and cluster of its options, which share them."""
        first, right = self.options[0], "" if self.expected is None else str(self.expected)
        return Item(first.id, first.language, first.cluster, right)


def texts_of(choices: Sequence[ScoredChoice]) -> list[Document]:
    """What is to be scored: the options of all choices, one after another."""
    return [option for choice in choices for option in choice.options]


def by_item(values: Tensor, counts: Sequence[int], missing: float) -> Tensor:
    """Values of the options of items, one after another, (D, ...), as (I, O, ...).

    counts: (I,), how many options each item has.  missing: what stands where an item has fewer than O.
    """
    filled = values.new_full((len(counts), max(counts), *values.shape[1:]), missing)
    items = torch.repeat_interleave(torch.tensor(counts))
    places = torch.tensor([place for count in counts for place in range(count)])
    filled[items, places] = values
    return filled


def labelled(labels: Sequence[ArmLabel], arms: Sequence[Arm]) -> tuple[ArmLabel, ...]:
    """The labels with the digests of their arms."""
    return tuple(replace(label, digest=digest_of(arm)) for label, arm in zip(labels, arms, strict=True))


def effects_on_texts(
    documents: Sequence[Document],
    arms: Sequence[ArmLabel],
    scores: Scores,
    *,
    origin: Origin,
    task: str = "",
    clusters: str = "",
    counted: Masks | None = None,
) -> Effects:
    """The record of what `score` has found for documents.

    arms: what each arm is, in the order in which they were scored.
    counted: as `score` was given it.
    Raises InputError for documents that have an id twice in a language.
    """
    return Effects(
        items=tuple(Item(document.id, document.language, document.cluster) for document in documents),
        labels=tuple(arms),
        nats=scores.nats,
        counted=scores.counted,
        task=task,
        clusters=clusters,
        data_fingerprint=items_fingerprint(documents, counted),
        **_from(origin),
    )


def effects_on_choices(
    choices: Sequence[ScoredChoice],
    arms: Sequence[ArmLabel],
    scores: Scores,
    *,
    origin: Origin,
    task: str = "",
    clusters: str = "",
) -> Effects:
    """The record of what `score` has found for `texts_of(choices)`, which may have different numbers of options."""
    counts = [len(choice.options) for choice in choices]
    characters = torch.tensor([count for choice in choices for count in choice.characters])
    return Effects(
        items=tuple(choice.item for choice in choices),
        labels=tuple(arms),
        option_nats=by_item(scores.nats, counts, torch.nan).transpose(1, 2).contiguous(),
        option_tokens=by_item(scores.counted, counts, 0),
        option_characters=by_item(characters, counts, 0),
        task=task,
        clusters=clusters,
        data_fingerprint=items_fingerprint(texts_of(choices)),
        **_from(origin),
    )


def _from(origin: Origin) -> dict[str, Any]:
    """Where a record comes from, by the names of its fields."""
    names = ("model", "revision", "step", "trained_languages", "reference")
    return {name: getattr(origin, name) for name in names}
