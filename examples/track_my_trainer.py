"""Track the neurons of a training of your own: a plain Lightning module, and a callback.

    python examples/track_my_trainer.py [FOLDER]

The demo model of the package learns to solve German maths problems for 20 steps; neurons are counted on other problems
in four languages. It needs no network. Put your module, your data and your texts in place of these.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignlab import NeuronTracker, load_run
from alignlab.data.wordproblems import generate
from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons.identifiers import TernaryConfig

LANGUAGES = ["en", "de", "zh", "sw"]


def texts(code: str, split: str, count: int) -> list[str]:
    """Problems with their worked answers; text i says the same in every language."""
    return [f"{problem.prompt}\n{problem.answer}" for problem in generate([code], count, split)]


def batches(tokenizer: AutoTokenizer) -> torch.utils.data.DataLoader:
    """What the model is trained on."""
    tokens = [tokenizer(text, return_tensors="pt").input_ids[0, :64] for text in texts("de", "train", 80)]
    padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=-100)
    return torch.utils.data.DataLoader(padded, batch_size=4)


class MyModule(lightning.LightningModule):
    """A module that knows nothing of alignlab."""

    def __init__(self) -> None:
        super().__init__()
        self.model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).train()

    def training_step(self, labels: Tensor, index: int) -> Tensor:
        seen = labels >= 0
        return self.model(input_ids=labels.clamp(min=0), attention_mask=seen.long(), labels=labels).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=5e-4)


def main(folder: Path) -> None:
    """Train, track, and read what the tracker wrote."""
    warnings.filterwarnings("ignore", ".*does not have many workers")
    lightning.seed_everything(0, verbose=False)
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    probe = {code: texts(code, "probe", 40) for code in LANGUAGES}
    # The demo model is small: 1 % of its neurons, the default, would be a handful.
    tracker = NeuronTracker(
        probe, tokenizer, every_n_steps=10, folder=folder, trained=["de"], identifier=TernaryConfig(top_rate=0.1),
        overwrite=True,
    )  # fmt: skip
    trainer = lightning.Trainer(
        max_steps=20, callbacks=[tracker], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(MyModule(), batches(tokenizer))

    run = load_run(folder)
    losses = run.table.query("analysis == 'losses' and group == 'language' and since.isna()")
    print("\nLoss of the probe, nats a token, by step:")
    print(losses.pivot_table(index="language", columns="step", values="value").loc[LANGUAGES].round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/track_my_trainer"))
