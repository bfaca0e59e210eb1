"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from torch import nn

from alignlab.config import option


@dataclass
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2019) with a schedule of transformers."""

    lr: float = option(2e-5, "highest learning rate", gt=0)
    weight_decay: float = option(0.0, "decoupled decay of weight matrices (not of biases and norms)", ge=0)
    beta1: float = option(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = option(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = option(1e-8, "added to the root of the mean of squares", gt=0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt"] = option(
        "cosine", "how the learning rate falls after the warm-up"
    )
    warmup: float = option(0.03, "share of the steps in which the learning rate rises", ge=0, lt=1)

    def build(self, model: nn.Module, total_steps: int) -> dict[str, Any]:
        """Optimiser and schedule, as Lightning's `configure_optimizers` returns them."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps
        )
        schedule = transformers.get_scheduler(
            self.schedule,
            optimizer,
            num_warmup_steps=round(self.warmup * total_steps),
            num_training_steps=total_steps,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
