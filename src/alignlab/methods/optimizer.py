"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from alignlab.methods.options import OptimizerOptions


class OptimizerConfig(OptimizerOptions):
    """AdamW with a schedule of transformers."""

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
