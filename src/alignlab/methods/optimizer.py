"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from alignlab.methods.options import OptimizerOptions

_FUSED = ("cpu", "cuda")  # devices for which torch has fused kernels of AdamW


class OptimizerConfig(OptimizerOptions):
    """AdamW with a schedule of transformers."""

    def build(self, model: nn.Module, total_steps: int, *, fused: bool = True) -> dict[str, Any]:
        """Optimiser and schedule, as Lightning's `configure_optimizers` returns them.

        fused: update all weights in one kernel, where the devices have one; it rounds differently than one after
            another. Not for gradients that are scaled: a fused optimiser takes the scale off by itself, behind the back
            of clipping and of who looks at their norm.
        """
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=(fused and all(parameter.device.type in _FUSED for parameter in trained)) or None,
        )
        # Under mixed precision, bfloat16 too, Lightning refuses to clip if an optimiser says that it takes off a scale.
        optimizer._step_supports_amp_scaling = False
        schedule = transformers.get_scheduler(
            self.schedule,
            optimizer,
            num_warmup_steps=round(self.warmup * total_steps),
            num_training_steps=total_steps,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
