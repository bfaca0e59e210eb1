"""Modules found inside others: the outermost of some, and the one Hugging Face model."""

from __future__ import annotations

from typing import TypeVar

import peft
import transformers
from torch import nn

from alignlab.errors import UnsupportedModelError

M = TypeVar("M", bound=nn.Module)


def outermost(modules: list[tuple[str, M]]) -> list[tuple[str, M]]:
    """Of modules by name those that lie in none of the others."""
    return [(name, module) for name, module in modules if not any(_lies_in(name, other) for other, _ in modules)]


def find_model(module: nn.Module, remedy: str = "NeuronTracker(..., model=lambda module: module.student)") -> nn.Module:
    """The one Hugging Face model in a module, in its PEFT wrapper if it has one, uncompiled and without ddp around it.

    remedy: what to pass where there are several, for the `UnsupportedModelError` then raised.
    """
    kinds = (transformers.PreTrainedModel, peft.PeftModel)
    found = outermost([(name, child) for name, child in module.named_modules() if isinstance(child, kinds)])
    if len(found) != 1:
        raise UnsupportedModelError.of(
            type(module).__name__,
            f"Hugging Face models found: {', '.join(name for name, _ in found) or 'none'}",
            "one",
            f"Pass {remedy} or whatever it is called.",
        )
    return found[0][1]  # type: ignore[no-any-return]


def _lies_in(name: str, other: str) -> bool:
    return name != other and (other == "" or name.startswith(f"{other}."))
