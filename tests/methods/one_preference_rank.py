"""Trains a step of DPO, IPO or DCO, as one rank or one of two under torchrun; for test_preference and test_consistency.

Usage: python one_preference_rank.py MODEL_FOLDER FOLDER LOSS RANKS ACCUMULATION. Leaves FOLDER/gradients.pt, and
FOLDER/reference.safetensors.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
import transformers
from torch import Tensor, nn

from alignlab.data.batching import StepPlan
from alignlab.data.examples import AnswerPairs, Example, Examples, Pair, ParallelPair, ParallelPairs
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches, TrainingData, TrainingPart, training_loader
from alignlab.methods.base import Course, Method
from alignlab.methods.consistency import Consistency
from alignlab.methods.options import OptimizerOptions
from alignlab.methods.preference import Preference
from alignlab.models.distributed import join, leave, rank, world_size


def make_pairs(tokenizer: Any, count: int = 11) -> list[Pair]:
    """Pairs of answers of 2 to some 30 tokens."""
    return AnswerPairs().of(_records(["de"], count), tokenizer, Prompts(), max_length=256).examples


def make_parallel_pairs(tokenizer: Any, count: int = 11) -> list[ParallelPair]:
    """Such pairs in two languages."""
    return ParallelPairs().of(_records(["de", "zh"], count), tokenizer, Prompts(), max_length=256).examples


def _records(languages: list[str], count: int) -> list[Record]:
    generator = random.Random(5)
    words = ["eins ", "zwei ", "Äpfel ", "12 ", "有 "]

    def some(most: int) -> str:
        return "".join(generator.choices(words, k=generator.randint(1, most)))

    return [
        Record(str(n), language, some(6), some(9), rejected=some(9)) for language in languages for n in range(count)
    ]


def data_of(pairs: Sequence[Example], kind: Examples[Any] | None = None) -> TrainingData:
    """A run's data that are these pairs."""
    return TrainingData(pairs, kind or AnswerPairs(), (TrainingPart("", len(pairs)),))


def disturb(model: nn.Module) -> nn.Module:
    """Move the trained weights, so that the model is not its own reference any more."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


class _Recorder(L.Callback):
    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.loss = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        disturb(pl_module)  # after the reference was taken

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.gradients = {n: p.grad.clone() for n, p in pl_module.model.named_parameters() if p.grad is not None}
        self.loss = float(trainer.callback_metrics["train/loss"])


def train(model_folder: Path, folder: Path, loss: Any, ranks: int, accumulation: int) -> None:
    """One step on all pairs, from weights that are not the reference's."""
    join()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder)
    rate = OptimizerOptions(lr=1e-3)
    pairs: Sequence[Any]
    method: Method
    if loss == "dco":
        pairs, method = make_parallel_pairs(tokenizer), Consistency(trainable="full", beta=0.3, optimizer=rate)
    else:
        pairs, method = make_pairs(tokenizer), Preference(trainable="full", loss=loss, beta=0.3, optimizer=rate)
    course = Course(
        1, 0, data_of(pairs, method.examples), 2, folder / "reference.safetensors", lambda: {"model": "tiny"}
    )
    recorder = _Recorder()
    trainer = L.Trainer(
        max_steps=1, max_epochs=-1, accumulate_grad_batches=accumulation, callbacks=[recorder], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        use_distributed_sampler=False, devices=ranks, strategy="ddp" if ranks > 1 else "auto",
        default_root_dir=folder,
    )  # fmt: skip

    class Loader(L.LightningDataModule):
        def train_dataloader(self) -> Any:
            plan = StepPlan(tuple(len(pair) for pair in pairs), len(pairs), 1, seed=3)
            batches = MicroBatches(
                pairs, method.examples, plan, accumulation=accumulation, rank=rank(), ranks=world_size(), pad_id=2
            )
            return training_loader(batches, first=0, workers=0, pin_memory=False)

    trainer.fit(method.build(method.prepare(model), course), datamodule=Loader())
    if rank() == 0:
        torch.save({"loss": recorder.loss, "gradients": recorder.gradients}, folder / "gradients.pt")
    leave()


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
