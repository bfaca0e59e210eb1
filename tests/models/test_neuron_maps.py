"""The weights that make a site's neurons, in every dense family, found without the names that `find_maps` goes by."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from alignlab.errors import UnsupportedModelError
from alignlab.methods.neuron_weights import train_neurons
from alignlab.models.access import edit, observe
from alignlab.models.sites import find_maps, find_sites

IDS = torch.arange(3, 51).reshape(2, 24)


def descent(model: Any) -> dict[str, Tensor]:
    """What a step down the gradient of a fixed loss changes of the weights."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(input_ids=IDS, labels=IDS).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0).step()
    return {name: value - before[name] for name, value in model.state_dict().items() if ".neurons." not in name}


def every_third(layers: int, width: int) -> Tensor:
    """Neurons of all layers but the first, (L, N) bool."""
    return (torch.arange(width) % 3 == 1) & (torch.arange(layers) > 0).unsqueeze(1)


def test_in_every_family_the_weights_are_those_through_which_the_neurons_pass(make: Any, family: str) -> None:
    """In the MLP: where the gradient of its output is not zero once all other neurons are set to zero."""
    model = make(family) if family == "xglm" else make(family).double()  # it has a constant that float64 alone has not
    mask = every_third(3, find_sites(model)[0].width)
    full = descent(copy.deepcopy(model))
    through = copy.deepcopy(model)
    given: dict[int, Tensor] = {}
    product, out = find_sites(through, "mlp.product"), find_sites(through, "mlp.out")
    keep = lambda layer, values, _: torch.where(mask[layer], values, 0.0)  # noqa: E731
    train_neurons(model, find_maps(model, "mlp.act"), mask)
    trained = descent(model)
    for layer, site in enumerate(out):
        with edit(through, product[layer : layer + 1], keep), observe(out, given.__setitem__):
            through(input_ids=IDS)
        prefix = find_sites(through, "residual")[layer].name
        maps = {
            name: module
            for name, module in through.named_modules()
            if name.startswith(f"{prefix}.") and "attn" not in name and "attention" not in name
            and getattr(getattr(module, "weight", None), "ndim", 0) == 2
        }  # fmt: skip
        assert len(maps) in (2, 3)  # a gate and an up projection, or both in one, or one; and a down projection
        weights = {
            f"{name}.{kind}": value
            for name, module in maps.items()
            for kind, value in module.named_parameters()
            if not (kind == "bias" and name == site.name)  # what is added behind the neurons is nobody's
        }
        random = torch.randn(given[layer].shape, dtype=given[layer].dtype, generator=torch.Generator().manual_seed(0))
        support = torch.autograd.grad((given[layer] * random).sum(), list(weights.values()), retain_graph=True)
        for name, gradient in zip(weights, support, strict=True):
            belongs = gradient != 0
            assert belongs.any() == mask[layer].any(), name
            # A neuron that is active nowhere has no gradient either.
            assert torch.equal(trained[name] != 0, belongs & (full[name] != 0)), name
            assert torch.allclose(trained[name], torch.where(belongs, full[name], 0.0), rtol=1e-4, atol=1e-6), name
            trained.pop(name)
    assert not any(value.any() for value in trained.values())


@pytest.mark.parametrize("letter", ["q", "k", "v"])
def test_a_row_has_its_bias_with_it(make: Any, letter: Any) -> None:
    model = make("qwen2").double()
    full = descent(copy.deepcopy(model))
    mask = every_third(3, find_sites(model, f"attention.{letter}")[0].width)
    train_neurons(model, find_maps(model, f"attention.{letter}"), mask)
    found = descent(model)
    for layer, neurons in enumerate(mask):
        for kind in ("weight", "bias"):
            name = f"model.layers.{layer}.self_attn.{letter}_proj.{kind}"
            value = found.pop(name)
            assert torch.allclose(value[neurons], full[name][neurons], rtol=1e-8, atol=1e-14), name
            assert not value[~neurons].any()
            if letter != "k" or kind == "weight":  # the same number added to all logits of a head changes nothing
                assert value.any() == neurons.any()
    assert not any(value.any() for value in found.values())


def test_projections_that_are_one_matrix_are_refused(make: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"attention\.q is not one of the maps"):
        find_maps(make("phi3"), "attention.q")
