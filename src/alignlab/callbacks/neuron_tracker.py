"""Watch a model's neurons while it trains: count, classify and log them at every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import peft
import transformers
from lightning.pytorch.loggers import WandbLogger
from torch import nn

from alignlab import console
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, UnsupportedModelError
from alignlab.models.load import identity
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.ternary import Ternary
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, build_probe
from alignlab.reporting.snapshots import (
    TABLE_ALIGN,
    TABLE_HEADER,
    Snapshot,
    collect_csv,
    scalars,
    summarise,
    table_note,
    table_rows,
    table_title,
    write_csv,
)
from alignlab.runs import step_name


class NeuronTracker(L.Callback):
    """Snapshots at step 0, every `every_n_steps` optimiser steps, and at the end.

    A snapshot is a counting pass of its own over the probe; it changes neither the model nor the random numbers of the
    training. Its counts go to `<folder>/neurons/step-*.safetensors`, their classification beside them as CSV, its
    scalars to every logger of the trainer under `neurons/...` with `neurons/step` as x-axis, its table to the terminal.

        tracker = NeuronTracker({"en": english, "de": german}, tokenizer, every_n_steps=100, folder="runs/mine")
        trainer = L.Trainer(callbacks=[tracker], ...)

    probe: a `Probe`, or for each language (ISO 639 code) its texts, all tokens of which are counted; text i says the
        same in every language.
    tokenizer: needed with texts only.
    every_n_steps: optimiser steps between snapshots; None takes the first and the last only.
    folder: where the folder `neurons` is made.
    trained: languages in training; all others of the probe are unseen.
    identifier: how neurons are classified.
    loss: also measure the loss over the counted tokens.
    model: gives the Hugging Face model of a Lightning module that holds several; by default the one it holds.
    show: print a table at every snapshot.

    Raises `UnsupportedModelError` at the start of the fit when the model's neurons cannot be counted exactly.
    """

    def __init__(
        self,
        probe: Probe | Mapping[str, Sequence[str]],
        tokenizer: Any = None,
        *,
        folder: Path | str,
        every_n_steps: int | None = None,
        trained: Sequence[str] = (),
        identifier: TernaryConfig | None = None,
        loss: bool = True,
        model: Callable[[L.LightningModule], nn.Module] | None = None,
        show: bool = True,
    ) -> None:
        self.probe = probe if isinstance(probe, Probe) else _probe_of_texts(probe, tokenizer)
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.trained = tuple(trained)
        self.identifier = identifier or TernaryConfig()
        self.loss = loss
        self.find_model = model or find_model
        self.show = show
        self.first: Snapshot | None = None
        self.last: Snapshot | None = None
        self._sites: list[Site] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.define_metric("neurons/step", hidden=True)
                logger.experiment.define_metric("neurons/*", step_metric="neurons/step")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._sites = find_sites(self.find_model(pl_module))
        if trainer.global_step == 0:
            self.take_snapshot(trainer, pl_module)
        else:
            self._pick_up(trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        due = self.every_n_steps is not None and step % self.every_n_steps == 0
        if due and (self.last is None or self.last.step != step):
            self.take_snapshot(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.last is None or self.last.step != trainer.global_step:
            self.take_snapshot(trainer, pl_module)

    def take_snapshot(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count, write, classify, log and show; every rank has to call it."""
        model, step = self.find_model(pl_module), trainer.global_step
        name, revision = identity(model)
        total = sum(len(document) for documents in self.probe.documents.values() for document in documents)
        with console.progress(f"Counting at step {step}", total) as advance:
            counts = count_firings(
                model,
                self._sites,
                self.probe,
                origin=Origin(name, revision, step, self.trained),
                loss=self.loss,
                context=trainer.precision_plugin.forward_context,
                advance=advance,
            )
        self._keep(summarise(counts, self.identifier, self.trained, self._anchor))
        if trainer.is_global_zero:
            self._write(counts)
            assert self.last is not None
            for logger in trainer.loggers:
                logger.log_metrics(scalars(self.last), step=step)
            self._print()

    @property
    def _anchor(self) -> Ternary | None:
        return self.first.result if self.first else None

    def _keep(self, snapshot: Snapshot) -> None:
        self.first = self.first or snapshot
        self.last = snapshot

    def _write(self, counts: ActivationCounts) -> None:
        assert self.last is not None
        folder = self.folder / "neurons"
        counts.save(folder / f"{step_name(self.last.step)}.safetensors")
        write_csv(folder / f"{step_name(self.last.step)}.csv", self.last)
        collect_csv(folder, self.folder / "neurons.csv")

    def _print(self) -> None:
        if self.show and self.last is not None:
            console.say()
            console.heading(table_title(self.last))
            console.table(table_rows(self.last, self.first), TABLE_HEADER, TABLE_ALIGN)
            console.say(table_note(self.last))
            if self.last.result.reason:
                console.say(f"note: {self.last.result.reason}")

    def _pick_up(self, step: int) -> None:
        """Go on from the snapshots of an earlier process: the first is the anchor, this step's need not be redone."""
        folder = self.folder / "neurons"
        steps = (0, step) if (folder / f"{step_name(step)}.safetensors").is_file() else (0,)
        for done in steps:
            counts = ActivationCounts.load(folder / f"{step_name(done)}.safetensors")
            self._keep(summarise(counts, self.identifier, self.trained, self._anchor))


def find_model(module: L.LightningModule) -> nn.Module:
    """The one Hugging Face model in a Lightning module, in its PEFT wrapper if it has one, uncompiled."""
    kinds = (transformers.PreTrainedModel, peft.PeftModel)
    found = [(name, child) for name, child in module.named_modules() if isinstance(child, kinds)]
    outermost = [(name, child) for name, child in found if not any(_inside(name, other) for other, _ in found)]
    if len(outermost) != 1:
        names = ", ".join(name for name, _ in outermost) or "none"
        fix = "Pass NeuronTracker(..., model=lambda module: module.student) or whatever it is called."
        raise UnsupportedModelError(Problem(type(module).__name__, f"Hugging Face models found: {names}", "one", fix))
    model: nn.Module = outermost[0][1]
    return model


def _inside(name: str, other: str) -> bool:
    return name != other and (other == "" or name.startswith(f"{other}."))


def _probe_of_texts(texts: Mapping[str, Sequence[str]], tokenizer: Any) -> Probe:
    if tokenizer is None:
        raise InputError(Problem("NeuronTracker", "texts without a tokenizer", "the model's tokenizer"))
    records = [Record(str(number), code, text) for code, lines in texts.items() for number, text in enumerate(lines)]
    return build_probe(records, tokenizer, scope="all")
