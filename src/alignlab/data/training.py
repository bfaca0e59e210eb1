"""The training data of a run: documents, their plan, and the loader that is the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from alignlab.data.batching import StepPlan, pad
from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.signals import start_worker


class MicroBatches(Dataset[dict[str, Tensor]]):
    """This rank's micro-batches of the run, by number: a pure function of the plan.

    Micro-batch i belongs to step i // accumulation. An item has `input_ids`, `attention_mask`, `answer` (B, T),
    `number`, and `step_tokens`, the answer tokens of the whole step over all ranks, by which losses are divided.
    """

    def __init__(
        self, documents: Sequence[Document], plan: StepPlan, *, accumulation: int, rank: int, ranks: int, pad_id: int
    ) -> None:
        if plan.examples_per_step < ranks * accumulation:
            found = f"{plan.examples_per_step} examples for {ranks} ranks x {accumulation} accumulated micro-batches"
            raise InputError.of("data.examples_per_step", found, f"{ranks * accumulation} or more")
        self.documents = documents
        self.plan = plan
        self.accumulation = accumulation
        self.rank, self.ranks, self.pad_id = rank, ranks, pad_id
        # The first token has no prediction, so it is never part of a loss.
        self._answer_tokens = [int(document.answer[1:].sum()) for document in documents]

    def __len__(self) -> int:
        return self.plan.total_steps * self.accumulation

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        step, part = divmod(number, self.accumulation)
        groups = self.plan.micro_batches(step, self.ranks * self.accumulation)
        batch = pad([self.documents[index] for index in groups[part * self.ranks + self.rank]], self.pad_id)
        tokens = sum(self._answer_tokens[index] for group in groups for index in group)
        return {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "answer": batch.answer,
            "number": torch.tensor(number),
            "step_tokens": torch.tensor(tokens),
        }


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
