"""Which weights a method trains: low-rank adapters (LoRA, by PEFT) or all of them."""

from __future__ import annotations

from typing import Any, Literal

import peft
from torch import nn

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.methods.options import Lora


def make_trainable(model: nn.Module, trainable: Literal["lora", "full"], lora: Lora) -> Any:
    """The model as it is trained: wrapped in a PEFT adapter, or with every weight trainable.

    Raises `InputError` for target modules that the model has not.
    """
    if trainable == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model
    targets = "all-linear" if lora.targets == ["all-linear"] else lora.targets
    if targets != "all-linear":
        _check_targets(model, lora.targets)
    adapter = peft.LoraConfig(
        task_type="CAUSAL_LM", r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets
    )
    return peft.get_peft_model(model, adapter)


def _check_targets(model: nn.Module, targets: list[str]) -> None:
    if not targets:
        fix = "To train all weights without an adapter set method.trainable=full."
        raise InputError.of("method.lora.targets", "no module", "one or more, or [all-linear]", fix)
    names = [name for name, module in model.named_modules() if getattr(module, "weight", None) is not None]
    endings = sorted({name.rpartition(".")[2] for name in names})
    refuse_any(
        [
            Problem(
                "method.lora.targets",
                f"the model has no module {target!r}",
                f"some of: all-linear, {', '.join(endings)}",
                did_you_mean(target, endings),
            )
            for target in dict.fromkeys(targets)
            if not any(f".{name}".endswith(f".{target}") for name in names)
        ]
    )
