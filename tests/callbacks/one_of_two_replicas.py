"""A training under Lightning's `ModelParallelStrategy()` as it is by default; used by test_whole_layers.

Usage: torchrun --nproc-per-node=2 one_of_two_replicas.py MODEL_FOLDER FOLDER. Leaves FOLDER/rank-RANK.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import transformers
from lightning.pytorch.strategies import ModelParallelStrategy

from alignlab import InputError, NeuronTracker


class Tuning(L.LightningModule):
    """A model that its strategy may share out, and that nobody does."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        self.steps = 0

    def configure_model(self) -> None:
        """Nothing: each rank keeps a replica of its own."""

    def training_step(self, batch: Any, index: int) -> Any:
        self.steps += 1
        return self.model(input_ids=batch, labels=batch).loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    """Train, and write down what was refused, and after how many steps."""
    model_folder, folder = Path(sys.argv[1]), Path(sys.argv[2])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    tracker = NeuronTracker({"en": ["seven birds"], "de": ["sieben"]}, tokenizer, folder=folder / "run")
    off = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=ModelParallelStrategy(), max_steps=1, callbacks=[tracker], **off
    )
    tuning, said = Tuning(model_folder), "nothing"
    try:
        trainer.fit(tuning, torch.utils.data.DataLoader(torch.randint(3, 300, (4, 6)), batch_size=2))
    except InputError as error:
        said = str(error)
    (folder / f"rank-{trainer.global_rank}.txt").write_text(f"steps {tuning.steps}; {said}")


if __name__ == "__main__":
    main()
