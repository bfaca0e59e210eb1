"""Sites beside the activation, in every family, against weights in double precision and transformers' own states."""

from __future__ import annotations

from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import Tensor, nn

from alignlab.data.encoding import Document
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.access import observe
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe

from .conftest import FAMILIES
from .test_families import FUSED, close, first_of, form_of, gate_of, mlps_of, projected, weight_of

LAYERS = 3
DOWN = ("down_proj", "fc2", "fc_out", "c_proj", "dense_4h_to_h")
OUT = ("o_proj", "out_proj", "dense", "c_proj")
IDS = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(1))


def shown(model: nn.Module, at: Any, input_ids: Tensor = IDS) -> list[Tensor]:
    """What the sites show in a forward, by layer: (tokens, width) float64."""
    seen: dict[int, Tensor] = {}
    sites = find_sites(model, at)
    with torch.no_grad(), observe(sites, lambda layer, out: seen.update({layer: out.flatten(0, -2).double()})):
        model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    assert [site.layer for site in sites] == sorted(seen) == list(range(LAYERS))
    assert {site.at for site in sites} == {at}
    assert [site.width for site in sites] == [seen[layer].shape[-1] for layer in range(LAYERS)]
    return [seen[layer] for layer in range(LAYERS)]


def read_by(model: nn.Module, modules: list[nn.Module]) -> list[Tensor]:
    """What each module reads in a forward."""
    inputs: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _module, args: inputs.append(args[0].detach().flatten(0, -2).double()))
        for module in modules
    ]
    with torch.no_grad():
        model(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs


def mapped(linear: nn.Module, inputs: Tensor) -> Tensor:
    bias = getattr(linear, "base_layer", linear).bias
    outputs = inputs @ weight_of(linear).T
    return outputs if bias is None else outputs + bias.detach().double()


def part(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    return next(getattr(module, name) for name in names if hasattr(module, name))


def attentions_of(model: nn.Module) -> list[nn.Module]:
    """The modules that hold the projections of attention, a layer each."""
    (layers,) = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == LAYERS)
    found = []
    for layer in layers:
        inside = [
            module
            for name, module in layer.named_modules()
            if ("attn" in name.lower() or "attention" in name.lower()) and any(hasattr(module, one) for one in OUT)
        ]
        found.append(inside[0])
    return found


def is_gated(mlp: nn.Module) -> bool:
    return hasattr(mlp, "gate_proj") and hasattr(mlp, "up_proj")


@pytest.fixture(params=[*FAMILIES, "llama lora", "qwen2 lora", "opt lora"])
def case(request: pytest.FixtureRequest) -> str:
    """Each dense family; adapters wrap the maps of any alike, so some have them."""
    return str(request.param)


@pytest.fixture
def family(case: str) -> str:
    return case.split()[0]


@pytest.fixture
def model(case: str, family: str, make: Any) -> nn.Module:
    """The family's small model, as it is, or with LoRA on what the sites read."""
    plain: nn.Module = make(family)
    if case == family:
        return plain
    names = ["up_proj", "down_proj", "fc1", "fc2", "q_proj", "k_proj", "v_proj", "o_proj", "out_proj"]
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=names, init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return peft.get_peft_model(plain, config).eval()


def products(model: nn.Module, family: str) -> list[Tensor]:
    """What the down projections read, from the inputs of the MLPs and the weights."""
    mlps = mlps_of(model)
    readers = [first_of(mlp) if hasattr(mlp, "self_attn") else mlp for mlp in mlps]
    found = []
    for mlp, inputs in zip(mlps, read_by(model, readers), strict=True):
        first = projected(mlp, inputs)
        act = form_of(family, model.config)(gate_of(family, first))
        if family in FUSED:
            act = act * first[:, first.shape[1] // 2 :]
        elif is_gated(mlp):
            act = act * mapped(mlp.up_proj, inputs)
        found.append(act)
    return found


def test_products_and_what_the_mlp_adds(model: nn.Module, family: str) -> None:
    expected = products(model, family)
    assert all(close(*pair) for pair in zip(shown(model, "mlp.product"), expected, strict=True))
    downs = [part(mlp, DOWN) for mlp in mlps_of(model)]
    added = [mapped(down, inputs) for down, inputs in zip(downs, expected, strict=True)]
    assert all(close(*pair) for pair in zip(shown(model, "mlp.out"), added, strict=True))


def test_up_projections(model: nn.Module, family: str) -> None:
    mlps = mlps_of(model)
    if family in FUSED:
        first = [projected(mlp, inputs) for mlp, inputs in zip(mlps, read_by(model, mlps), strict=True)]
        expected = [both[:, both.shape[1] // 2 :] for both in first]
        assert all(close(*pair) for pair in zip(shown(model, "mlp.up"), expected, strict=True))
        return
    if not is_gated(mlps[0]):
        with pytest.raises(UnsupportedModelError, match=r"probe.site, layer 0: mlp.up is not one of the maps"):
            find_sites(model, "mlp.up")
        return
    expected = [mapped(mlp.up_proj, inputs) for mlp, inputs in zip(mlps, read_by(model, mlps), strict=True)]
    assert all(close(*pair) for pair in zip(shown(model, "mlp.up"), expected, strict=True))


def test_projections_of_attention(model: nn.Module) -> None:
    held = attentions_of(model)
    for letter in "qkvo":
        names = OUT if letter == "o" else (f"{letter}_proj",)
        at: Any = f"attention.{letter}"
        if not any(hasattr(held[0], name) for name in names):
            with pytest.raises(UnsupportedModelError, match=f"{at} is not one of the maps"):
                find_sites(model, at)
            continue
        maps = [part(attention, names) for attention in held]
        expected = [mapped(one, inputs) for one, inputs in zip(maps, read_by(model, maps), strict=True)]
        assert all(close(*pair) for pair in zip(shown(model, at), expected, strict=True))


def test_what_leaves_a_layer(model: nn.Module) -> None:
    with torch.no_grad():
        states = model(input_ids=IDS, attention_mask=torch.ones_like(IDS), output_hidden_states=True).hidden_states
    # The last of them has been normed.
    for layer, seen in enumerate(shown(model, "residual")[:-1]):
        assert close(seen, states[layer + 1].flatten(0, -2).double())


def test_counts_name_their_site(make: Any) -> None:
    model = make("llama")
    tokens = np.arange(3, 12, dtype=np.int32)
    document = Document("", "en", tokens, np.zeros(9, dtype=bool), np.zeros(9, dtype=bool))
    probe = Probe({"en": [document] * 4, "de": [document] * 3}, "all", 2, 64, site="mlp.up")
    counts = count_firings(model, find_sites(model, probe.site), probe, origin=Origin())
    assert counts.site == "mlp.up"
    expected = [(seen > 0).sum(dim=0) * 4 for seen in shown(model, "mlp.up", torch.from_numpy(tokens).long()[None])]
    assert counts.totals()[0].tolist() == [line.tolist() for line in expected]


def test_another_name_is_refused(make: Any) -> None:
    with pytest.raises(InputError, match=r"site: 'mlp.upp'; expected mlp.act, .*Did you mean 'mlp.up'"):
        find_sites(make("llama"), "mlp.upp")


def test_sites_are_found_without_weights(make: Any) -> None:
    with torch.device("meta"):
        outline = make("llama")
    for at in ("mlp.product", "mlp.up", "mlp.out", "attention.k", "residual"):
        assert find_sites(outline, at) == find_sites(make("llama"), at)
