"""Lightning's precisions outside a trainer, for passes that have none."""

from __future__ import annotations

from typing import Any, get_args

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision

from alignlab.models.options import PrecisionName


def precision_of(name: PrecisionName, device: torch.device) -> Precision:
    """The plugin of a `lightning.Trainer(precision=name)`: it converts the module, and gives the autocast."""
    if name == "64-true":
        return DoublePrecision()
    if name in ("bf16-true", "16-true"):
        return HalfPrecision(name)
    if name in ("bf16-mixed", "16-mixed"):
        return MixedPrecision(name, device.type)
    return Precision()


def precision_name(given: Any) -> PrecisionName | None:
    """The precision that a trainer's argument means, such as `32` or `bf16`; None where it is not known here."""
    short = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "None": "32-true"}
    name = short.get(str(given), str(given))
    return next((known for known in get_args(PrecisionName) if known == name), None)
