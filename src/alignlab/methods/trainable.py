"""Which weights a method trains: low-rank adapters (LoRA, by PEFT), all of them, or those of some neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
from torch import nn

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.methods.neuron_weights import train_neurons
from alignlab.methods.options import Lora, TrainableOptions
from alignlab.methods.trained_neurons import ChosenNeurons
from alignlab.models.roles import ROLES, maps_of_role
from alignlab.models.sites import find_maps


def make_trainable(model: Any, options: TrainableOptions) -> Any:
    """The model as it is trained: in a PEFT adapter, or itself with some or all of its weights trainable.

    Works on the meta device. Raises `InputError` for target modules that the model has not, and for neurons that are
    not found, or not this model's.
    """
    return WAYS[options.trainable](model, options)


def neurons_fingerprint(options: TrainableOptions) -> str:
    """Changes with the neurons whose weights are trained; empty where other weights are."""
    return ChosenNeurons(options.neurons).digest() if options.trainable == "neurons" else ""


def _whole(model: nn.Module, options: TrainableOptions) -> nn.Module:
    return model.requires_grad_(True)


def _only_neurons(model: nn.Module, options: TrainableOptions) -> nn.Module:
    chosen = ChosenNeurons(options.neurons)
    maps = find_maps(model, chosen.site)  # type: ignore[arg-type]
    layers, width = len(maps), maps[0][0].width
    if tuple(chosen.mask.shape) != (layers, width):
        found = f"sets of {chosen.mask.shape[0]} x {chosen.mask.shape[1]:,} neurons at {chosen.site}"
        raise InputError.of(
            "method.neurons", found, f"{layers} x {width:,}, as the model has", "They are of another model."
        )
    train_neurons(model, maps, chosen.mask)
    return model


def _with_adapter(model: nn.Module, options: TrainableOptions) -> Any:
    lora = options.lora
    adapter = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(model, lora),
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        modules_to_save=lora.modules_to_save or None,
    )
    if getattr(model, "is_loaded_in_4bit", False):
        # Checkpointing is another option's; norms go to float32.
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    prepared = peft.get_peft_model(model, adapter)
    # PEFT makes a set of them, which every process would write in another order.
    adapter.target_modules = sorted(adapter.target_modules or ())
    return prepared


def _targets(model: nn.Module, lora: Lora) -> str | list[str]:
    """The target modules as PEFT takes them: roles as the names of their modules."""
    if lora.targets == ["all-linear"]:
        _check_names(model, {"method.lora.modules_to_save": (lora.modules_to_save, ())})
        return "all-linear"
    if not lora.targets:
        fix = "To train all weights without an adapter set method.trainable=full."
        raise InputError.of("method.lora.targets", "no module", "one or more, or [all-linear]", fix)
    words = ("all-linear", *ROLES)
    named = [target for target in lora.targets if target not in ROLES]
    _check_names(
        model, {"method.lora.targets": (named, words), "method.lora.modules_to_save": (lora.modules_to_save, ())}
    )
    roles = [name for role in lora.targets if role in ROLES for name in maps_of_role(model, role)]  # type: ignore[arg-type]
    return list(dict.fromkeys([*named, *roles]))


def _check_names(model: nn.Module, given: dict[str, tuple[list[str], tuple[str, ...]]]) -> None:
    """Refuse names, by option, that no module with weights ends in; with each the words it also knows."""
    names = [name for name, module in model.named_modules() if getattr(module, "weight", None) is not None]
    endings = sorted({name.rpartition(".")[2] for name in names})
    refuse_any(
        [
            Problem(
                where,
                f"the model has no module {target!r}",
                f"some of: {', '.join([*words, *endings])}",
                did_you_mean(target, [*words, *endings]),
            )
            for where, (targets, words) in given.items()
            for target in dict.fromkeys(targets)
            if not any(f".{name}".endswith(f".{target}") for name in names)
        ]
    )


# By `TrainableOptions.trainable`.
WAYS: dict[str, Callable[[Any, TrainableOptions], Any]] = {
    "lora": _with_adapter,
    "full": _whole,
    "neurons": _only_neurons,
}
