"""Watch a model's neurons while it trains: count, classify and log them at every snapshot."""

from __future__ import annotations

import lightning as L

from alignlab.callbacks.schedule import ScheduledCallback
from alignlab.callbacks.snapshot_taker import SnapshotTaker
from alignlab.callbacks.whole_layers import check_weights
from alignlab.reporting.counts_table import scalars


class NeuronTracker(SnapshotTaker, ScheduledCallback):
    """Snapshots in a Lightning training: at step 0, every `every_n_steps` optimiser steps, and at the end.

    Their scalars go to every logger of the trainer under `neurons/...` with `neurons/step` as x-axis, their tables to
    the terminal. Parameters and files are those of `SnapshotTaker`; `model` is handed the Lightning module.

    Raises `UnsupportedModelError` at the start of the fit when the model's neurons cannot be counted exactly, by what
    it is or as the strategy shares it out over ranks: those of ddp are counted, and of `ModelParallelStrategy` with
    `fully_shard` and one rank a tensor (`tensor_parallel_size=1`).

        >>> import lightning, torch
        >>> from alignlab import NeuronTracker, load_run
        >>> from alignlab.models.load import DEMO_FOLDER
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer
        >>> class Tuning(lightning.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
        ...     def training_step(self, batch, index):
        ...         return self.model(input_ids=batch, labels=batch).loss
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> texts = {"en": ["seven birds sing", "run"], "de": ["sieben Vögel singen", "lauf"]}
        >>> tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
        >>> tracker = NeuronTracker(texts, tokenizer, every_n_steps=1, folder="runs/mine", show=False)
        >>> off = ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"]
        >>> trainer = lightning.Trainer(max_steps=2, callbacks=[tracker], **dict.fromkeys(off, False))
        >>> trainer.fit(Tuning(), torch.utils.data.DataLoader(torch.randint(3, 300, (4, 6)), batch_size=2))
        >>> load_run("runs/mine").steps
        (0, 1, 2)
    """

    charts = "neurons/"

    def begin(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        model = self.find_model(pl_module)
        check_weights(model)
        self.start(model, trainer.global_step, main=trainer.is_global_zero)

    def look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float] | None:
        """Count, write and show, and give the scalars; every rank has to call it."""
        snapshot = self.take(
            self.find_model(pl_module),
            trainer.global_step,
            context=trainer.precision_plugin.forward_context,
            main=trainer.is_global_zero,
        )
        return None if snapshot is None else scalars(snapshot)
