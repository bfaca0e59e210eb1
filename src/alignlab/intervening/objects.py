"""The parallel items of LSS: prompts in each language, and their answers, the objects, in all languages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignlab.data.encoding import Document
from alignlab.data.prompts import Prompts, Rendered
from alignlab.data.records import Record
from alignlab.errors import InputError, refuse_any
from alignlab.evaluation.lss import ShiftItems, alike, shift_items
from alignlab.evaluation.multiple_choice import ChoiceTexts, encode_choices
from alignlab.evaluation.options import ObjectOptions
from alignlab.recording.counting import Origin
from alignlab.recording.dealing import cluster_problems, in_order
from alignlab.recording.effects import ArmLabel, Effects
from alignlab.recording.likelihoods import ScoredChoice, effects_on_choices
from alignlab.recording.scoring import Scores, items_fingerprint

OBJECTS = "objects"


@dataclass(frozen=True)
class Objects:
    """items: in all languages.  texts: every item with every object.  clusters: what they are, such as `templates`."""

    items: ShiftItems
    texts: ChoiceTexts
    clusters: str = ""

    @property
    def documents(self) -> list[Document]:
        """What is scored."""
        return self.texts.documents

    @property
    def languages(self) -> tuple[str, ...]:
        return self.items.languages

    @cached_property
    def alike(self) -> Tensor:
        """(I, O) bool, objects that are scored on the same tokens as that of the prompt's language."""
        return alike(self.texts)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any prompt or object."""
        return items_fingerprint(self.documents)

    def effects(self, labels: Sequence[ArmLabel], scores: Scores, origin: Origin, task: str) -> Effects:
        """The record of what `score` has found for `documents`."""
        choices = [
            ScoredChoice(documents, tuple(map(len, choice.options)), choice.gold)
            for documents, choice in zip(self.texts.by_item, self.items.choices, strict=True)
        ]
        found = effects_on_choices(choices, labels, scores, origin=origin, task=task, clusters=self.clusters)
        return replace(found, languages=self.languages, option_alike=self.alike)


def build_objects(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    options: ObjectOptions,
    prompts: Prompts,
    *,
    clusters: str = "",
    languages: Collection[str] | None = None,
    used: tuple[Collection[str], Collection[str]] = ((), ()),
) -> Objects:
    """The items of these records that all languages have.

    clusters: what those of records are.  languages: those that are asked; None for all.
    used: ids and clusters of documents on which neurons were found, which are left out.
    Raises InputError for records that are not parallel, and where fewer than two clusters are left.
    """
    ids, their_clusters = used
    asked = [one for one in records if languages is None or one.language in languages]
    refuse_any(cluster_problems(asked, "objects.source"))
    left = [one for one in asked if one.id not in ids and one.cluster not in their_clusters]
    codes = dict.fromkeys(one.language for one in asked)
    if len(codes) < 2:
        found = f"items in {next(iter(codes), 'no language')} alone"
        fix = "Name more languages, or leave lss out of measures."
        raise InputError.of("objects", found, "items in two languages or more, of what is asked for", fix)
    there: dict[str, dict[str, Record]] = {}
    for one in left:
        there.setdefault(one.id, {})[one.language] = one
    whole = [next(iter(of.values())) for of in there.values() if len(of) == len(codes)]
    chosen = {one.id for one in in_order(options.seed, whole, options.max_texts)}
    if len({one.cluster for one in whole if one.id in chosen}) < 2:
        found = (
            f"{len(chosen)} items that {', '.join(codes) or 'no languages'} share, and no document on which neurons "
        )
        fix = "Take other items with objects.source, or other identify_shards."
        raise InputError.of("objects", f"{found}were found", "items of two clusters or more", fix)
    delimiter = _between(whole[0], prompts, tokenizer) if options.delimiter is None else options.delimiter
    items = shift_items([one for one in left if one.id in chosen], delimiter=delimiter)
    texts = encode_choices(items.choices, tokenizer, prompts)
    named = any(one.cluster != one.id for one in whole)
    return Objects(items, texts, (clusters or "clusters") if named else "")


def _between(record: Record, prompts: Prompts, tokenizer: PreTrainedTokenizerBase) -> str:
    """Nothing where the text of a prompt ends in white space, as answers stand in training; else a space."""
    text = prompts.render(replace(record, prompt=record.prompt.rstrip()), tokenizer)
    return "" if isinstance(text, Rendered) and text.prompt[-1:].isspace() else " "


def longest(objects: Objects) -> int:
    """Tokens of the longest text."""
    return max(map(len, objects.documents))


def dropped(objects: Objects) -> int:
    """How many pairs of an item and another language have objects that are alike, and tell nothing."""
    own = torch.nn.functional.one_hot(objects.texts.gold, len(objects.languages)).bool()
    return int((objects.alike & ~own).sum())
