"""Interventions: neurons switched off, amplified, replaced or steered while a model runs, or in its weights.

Names are imported when they are asked for: the options in here are read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignlab.interventions.export import export_model
    from alignlab.interventions.expressions import select_neurons
    from alignlab.interventions.intervention import Intervention, residual_diff_mean
    from alignlab.interventions.layers import layer_mask
    from alignlab.interventions.operations import Add, Constant, DiffMean, Operation, Replace, Scale, Zero, operation_of
    from alignlab.interventions.running import intervene, notes

_PLACES = {
    "expressions": "select_neurons",
    "export": "export_model",
    "intervention": "Intervention residual_diff_mean",
    "layers": "layer_mask",
    "operations": "Add Constant DiffMean Operation Replace Scale Zero operation_of",
    "running": "intervene notes",
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Add",
    "Constant",
    "DiffMean",
    "Intervention",
    "Operation",
    "Replace",
    "Scale",
    "Zero",
    "export_model",
    "intervene",
    "layer_mask",
    "notes",
    "operation_of",
    "residual_diff_mean",
    "select_neurons",
]
