"""Whether what is computed from a model's parts is what the model computes: else a closed form is not of this model."""

from __future__ import annotations

import torch
from torch import Tensor

from alignlab.errors import UnsupportedModelError

# Relative differences that rounding alone can make, by the type of the model; norms compute in float32 in all of them.
_ROUNDING = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 8e-2}


def require_close(computed: Tensor, by_model: Tensor, what: str) -> None:
    """Raises UnsupportedModelError, which names `what`, unless both are the same but for rounding."""
    wide = torch.promote_types(by_model.dtype, torch.float32)
    computed, of_model = computed.to(wide), by_model.to(wide)
    if computed.shape == of_model.shape:
        far = torch.linalg.vector_norm(computed - of_model)
        # Where the model has diverged, nothing is close: the recording says so.
        if not far.isfinite() or far <= _ROUNDING[by_model.dtype] * torch.linalg.vector_norm(of_model):
            return
    found = f"removal is not known of {what}"
    fix = "Leave its sites out (identifier.sites), or take a model with plain attention."
    raise UnsupportedModelError.of("model.source", found, "a block whose output follows from its columns", fix)
