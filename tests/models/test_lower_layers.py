"""Lower layers run once, against the same batch with every row run through all layers, in every family."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from alignlab.errors import UnsupportedModelError
from alignlab.models.edits import NeuronEdit, edited
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.lower_layers import LowerLayers, find_lower_layers

from .conftest import LAYERS, Make

# As many texts as the models have heads: an argument with an entry a head looks like one with an entry a row.
GROUPS, COPIES = 4, 3
IDS = torch.randint(3, 60, (GROUPS, 7), generator=torch.Generator().manual_seed(1)).repeat_interleave(COPIES, 0)
MASK = (torch.arange(7) < torch.tensor([7, 4, 6, 2]).unsqueeze(1)).long().repeat_interleave(COPIES, 0)


def logits_of(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS, attention_mask=MASK, use_cache=False).logits
    return found[MASK.bool()]


def arms_of(first: int) -> list[tuple[NeuronEdit, ...]]:
    """None, and two that change all neurons of one layer, the one more than the other."""
    layers, neurons, ones = torch.full((20,), first), torch.arange(20), torch.ones(20)
    return [(), *((NeuronEdit(layers, neurons, gain * ones, ones),) for gain in (0.0, 2.0))]


def rows_of_layers(model: nn.Module) -> tuple[list[int], list[Any]]:
    """Of every forward the rows that each layer is given; and the hooks, to be removed."""
    seen: list[int] = []
    _, layers = decoder_layers(model)
    return seen, [
        layer.register_forward_hook(
            lambda _m, _a, out: seen.append((out[0] if isinstance(out, tuple) else out).shape[0])
        )
        for layer in layers
    ]


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_same_logits_in_every_family_from_fewer_rows(family: str, implementation: str, make: Make) -> None:
    model = make(family)
    if implementation == "sdpa":
        if not model._supports_sdpa:
            return
        model.set_attn_implementation("sdpa")
    lower = find_lower_layers(model)
    for until in range(LAYERS):
        rows = torch.arange(COPIES).repeat(GROUPS)
        with edited(model, arms_of(until), rows):
            plain = logits_of(model)
            seen, hooks = rows_of_layers(model)
            with lower.once(model, until, COPIES):
                shared = logits_of(model)
        for hook in hooks:
            hook.remove()
        assert seen == [GROUPS] * until + [GROUPS * COPIES] * (LAYERS - until)
        # By rounding alone: a batch of another shape is multiplied in another order.
        assert (shared - plain).abs().max() <= 1e-5 * plain.abs().max()
        # The first text without an edit and with one.
        assert not torch.allclose(plain[:7], plain[7:14], atol=1e-2)


def test_in_double_precision_nothing_but_rounding_differs(make: Make) -> None:
    model = make("llama").double()
    lower, plain = find_lower_layers(model), logits_of(model)
    with lower.once(model, 2, COPIES):
        assert torch.allclose(logits_of(model), plain, rtol=0, atol=1e-12 * float(plain.abs().max()))


def test_an_adapter_is_run_on_fewer_rows_too(make: Make) -> None:
    config = peft.LoraConfig(r=4, target_modules=["gate_proj", "q_proj"], init_lora_weights=False)
    model = peft.get_peft_model(make("llama"), config)
    lower, plain = find_lower_layers(model), logits_of(model)
    with lower.once(model, 2, COPIES):
        assert torch.allclose(logits_of(model), plain, rtol=0, atol=1e-5 * float(plain.abs().max()))
    with model.disable_adapter():
        assert not torch.allclose(logits_of(model), plain, atol=1e-2)


def test_the_model_is_as_it_was_whatever_happens(make: Make) -> None:
    model = make("llama")
    lower, plain = find_lower_layers(model), logits_of(model)

    def halt(_module: nn.Module, _inputs: object, _output: object) -> None:
        raise RuntimeError("halt")

    with (
        pytest.raises(RuntimeError, match="halt"),
        lower.once(model, 2, COPIES),
        model.model.norm.register_forward_hook(halt),
    ):
        logits_of(model)
    assert torch.equal(logits_of(model), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_layers_that_talk_to_other_rows_are_refused(make: Make) -> None:
    """Its logits are others on fewer rows, which no shape of an argument shows."""
    model = make("llama")
    model.model.layers[0].register_forward_hook(lambda _m, _a, output: output + output.shape[0])
    with pytest.raises(UnsupportedModelError, match="logits differ by"):
        find_lower_layers(model)


def test_arguments_that_grow_along_another_axis_are_refused(make: Make) -> None:
    model = make("llama")

    def add(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        return args, kwargs | {"other": torch.zeros(3, len(args[0]))}

    model.model.layers[1].register_forward_pre_hook(add, with_kwargs=True)
    with pytest.raises(UnsupportedModelError, match=r"layer 1 is given at \('other',\)"):
        find_lower_layers(model)


def test_what_the_third_forward_is_for(make: Make) -> None:
    """Entries that are wrong give other logits or an error, never the same numbers by chance."""
    model = make("bloom")
    lower = find_lower_layers(model)
    assert 4 in lower.entries.values()  # its alibi: one entry for each head of each row
    wrong = LowerLayers({path: entries for path, entries in lower.entries.items() if entries == 1})
    with pytest.raises(RuntimeError), wrong.once(model, 2, COPIES):
        logits_of(model)
