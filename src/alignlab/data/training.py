"""The training data of a run: examples, their plan, and the loader that is the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from alignlab.data.batching import StepPlan, steps_of_epochs
from alignlab.data.encoding import Document
from alignlab.data.examples import Example, Examples, Found
from alignlab.data.mixing import MixedPlan, steps_of_mixed_epochs
from alignlab.data.options import DataConfig
from alignlab.data.overlap import Evaluated, texts_of
from alignlab.data.prompts import Prompts
from alignlab.data.records import Contents, Record
from alignlab.data.sources import Mixture, Part
from alignlab.data.validation import held_out
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.signals import start_worker


@dataclass(frozen=True)
class TrainingPart:
    """A source of the training data. size: its examples.  weight: its share, in proportion to those of the others."""

    name: str
    size: int
    weight: int = 1


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained on.

    examples: those of all parts, one part after another.  kind: what they are.
    truncated, dropped: texts that were cut, and examples left out as nothing to learn remained of them.
    validation: examples that are held out.
    contents: what the source of each part has, by the part's name; what is held out of it and left out included.
    """

    examples: Sequence[Example]
    kind: Examples[Any]
    parts: tuple[TrainingPart, ...]
    truncated: int = 0
    dropped: int = 0
    validation: Sequence[Example] = ()
    contents: Mapping[str, Contents] = field(default_factory=dict)

    @property
    def documents(self) -> list[Document]:
        """All texts that are trained on."""
        return [document for example in self.examples for document in example.documents]

    @property
    def validation_documents(self) -> list[Document]:
        """All texts that are held out."""
        return [document for example in self.validation for document in example.documents]

    def plan(self, examples_per_step: int, total_steps: int, seed: int) -> StepPlan:
        """Which examples each step takes."""
        lengths = tuple(len(example) for example in self.examples)
        if len(self.parts) == 1:
            return StepPlan(lengths, examples_per_step, total_steps, seed)
        sizes, weights = (tuple(getattr(part, name) for part in self.parts) for name in ("size", "weight"))
        return MixedPlan(lengths, examples_per_step, total_steps, seed, sizes=sizes, weights=weights)

    def steps_of_epochs(self, examples_per_step: int, epochs: float) -> int:
        """Optimiser steps of so many epochs; of a mixture those of the part that lasts longest."""
        if len(self.parts) == 1:
            return steps_of_epochs(len(self.examples), examples_per_step, epochs)
        sizes, weights = ([getattr(part, name) for part in self.parts] for name in ("size", "weight"))
        return steps_of_mixed_epochs(sizes, weights, examples_per_step, epochs)


def load_training(
    config: DataConfig, tokenizer: Any, kind: Examples[Any], *, seed: int, evaluated: Evaluated | None = None
) -> TrainingData:
    """Load and tokenise the training records, and hold out what validation asks for.

    seed: of what is held out.  evaluated: documents that are looked for in the texts, those held out included.
    Raises `InputError` where nothing to train on is left, for every part that is so.
    """
    parts = parts_of(config)
    found: dict[str, Found[Any]] = {}
    contents: dict[str, Contents] = {}
    problems: list[Problem] = []
    for name, part in parts.items():
        where = f"data.train.parts.{name}" if name else "data.train"
        try:
            records = part.source.load()
            if evaluated is not None:
                evaluated.look_in(texts_of(records))
            found[name] = _examples(records, where, part.prompts or config.prompts, config, tokenizer, kind)
            contents[name] = Contents.of(records)
        except InputError as error:
            problems += error.problems
    refuse_any(problems)
    data = TrainingData(
        [example for each in found.values() for example in each.examples],
        kind,
        tuple(TrainingPart(name, len(each.examples), parts[name].weight) for name, each in found.items()),
        sum(each.truncated for each in found.values()),
        sum(each.dropped for each in found.values()),
        contents=contents,
    )
    return _with_validation(data, config, tokenizer, seed)


def parts_of(config: DataConfig) -> dict[str, Part]:
    """The sources by name, in the order of the names: the one in which a config has them changes nothing."""
    if not isinstance(config.train, Mixture):
        return {"": Part(source=config.train)}
    if not config.train.parts or "" in config.train.parts:
        found = "a source without a name" if config.train.parts else "no source"
        raise InputError.of("data.train.parts", found, "one or more, each by a name of its own")
    return dict(sorted(config.train.parts.items()))


def _examples(
    records: Sequence[Record], where: str, prompts: Prompts, config: DataConfig, tokenizer: Any, kind: Examples[Any]
) -> Found[Any]:
    """The examples of a source that the key `where` has set."""
    try:
        found = kind.of(records, tokenizer, prompts, max_length=config.max_length)
    except InputError as error:
        own = [
            replace(problem, where=where) if problem.where == "data.train" else problem for problem in error.problems
        ]
        raise InputError(*own) from None
    if not found.examples:
        raise InputError.of(
            where,
            f"of {len(records)} records none has {kind.needs} within {config.max_length} tokens",
            "one or more",
            "Raise data.max_length, or name the answers' column.",
        )
    return found


def _with_validation(data: TrainingData, config: DataConfig, tokenizer: Any, seed: int) -> TrainingData:
    asked = config.validation
    if asked is None:
        return data
    if asked.source is not None:
        records, prompts = asked.source.load(), asked.prompts or config.prompts
        own = _examples(records, "data.validation.source", prompts, config, tokenizer, data.kind)
        return replace(data, validation=own.examples)
    wanted = asked.examples if asked.examples is not None else round(float(asked.share or 0) * len(data.examples))
    out = held_out(data.examples, max(wanted, 1), seed)
    parts, start = [], 0
    for part in data.parts:
        left = out[start : start + part.size].count(False)
        parts.append(replace(part, size=left))
        if not left:
            name = f"part {part.name!r}" if part.name else "the training data"
            raise InputError.of(
                "data.validation",
                f"all {part.size:,} examples of {name} would be held out, with those that share an id or a cluster",
                "examples to train on",
                "Hold out fewer, or give data.validation a source of its own.",
            )
        start += part.size
    return replace(
        data,
        examples=[example for example, held in zip(data.examples, out, strict=True) if not held],
        parts=tuple(parts),
        validation=[example for example, held in zip(data.examples, out, strict=True) if held],
    )


class MicroBatches(Dataset[dict[str, Tensor]]):
    """This rank's micro-batches of the run, by number: a pure function of the plan.

    Micro-batch i belongs to step i // accumulation. An item has the tensors of the examples' kind, `number`, `index`,
    the examples' numbers, and of the whole step, over all ranks: `step_weight`, by which losses are divided;
    `step_size`, the tokens of its texts, the sum of the squares of their tokens, and the tokens that are learnt; and
    `examples_seen`, the examples of this step and all before, and how many there are.
    """

    def __init__(
        self,
        examples: Sequence[Any],
        kind: Examples[Any],
        plan: StepPlan,
        *,
        accumulation: int,
        rank: int,
        ranks: int,
        pad_id: int,
    ) -> None:
        if plan.examples_per_step < ranks * accumulation:
            found = f"{plan.examples_per_step} examples for {ranks} ranks x {accumulation} accumulated micro-batches"
            raise InputError.of("data.examples_per_step", found, f"{ranks * accumulation} or more")
        self.examples = examples
        self.kind = kind
        self.plan = plan
        self.accumulation = accumulation
        self.rank, self.ranks, self.pad_id = rank, ranks, pad_id
        self._weights = [kind.weight(example) for example in examples]
        self._sizes = np.array([size_of(example) for example in examples], dtype=np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return self.plan.total_steps * self.accumulation

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        step, part = divmod(number, self.accumulation)
        groups = self.plan.micro_batches(step, self.ranks * self.accumulation)
        own = groups[part * self.ranks + self.rank]
        return {
            **self.kind.collate([self.examples[index] for index in own], self.pad_id),
            "index": torch.tensor(own),
            "number": torch.tensor(number),
            "step_weight": torch.tensor(sum(self._weights[index] for group in groups for index in group)),
            "step_size": torch.from_numpy(self._sizes[[index for group in groups for index in group]].sum(axis=0)),
            "examples_seen": torch.tensor([(step + 1) * self.plan.examples_per_step, len(self.examples)]),
        }


def size_of(example: Example) -> tuple[int, int, int]:
    """Of an example's texts: tokens, the sum of the squares of their tokens, and tokens learnt."""
    texts = example.documents
    # The first token has no prediction, so it is never learnt.
    return (
        sum(len(text) for text in texts),
        sum(len(text) ** 2 for text in texts),
        sum(int(text.answer[1:].sum()) for text in texts),
    )


class FromMicroBatch(Sampler[int]):
    """Micro-batch numbers from `first` on. Its length is that of the whole run, by which Lightning counts."""

    def __init__(self, total: int, first: int) -> None:
        self.total, self.first = total, first

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.total))


def training_loader(micro_batches: MicroBatches, *, first: int, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """The loader of a run that has done `first` micro-batches."""
    return DataLoader(
        micro_batches,
        batch_size=None,
        sampler=FromMicroBatch(len(micro_batches), first),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=False,
        worker_init_fn=start_worker,
    )
