"""Every family's activations, recomputed from the weights alone in double precision: what sites show, what is counted.

Of the model only the input of each MLP is taken. Its first projection and its activation are written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from alignlab.data.encoding import Document
from alignlab.models.access import observe
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe

LAYERS, SHARDS = 3, 2
RANK, ALPHA = 2, 5
TOLERANCE = 2e-5  # float32 against float64, and a padded batch against a text alone
FIRST = ("gate_proj", "gate_up_proj", "fc1", "fc_in", "c_fc", "dense_h_to_4h", "up_proj")  # up_proj where no gate is
# `gate, up = gate_up_proj(x).chunk(2)` in the modelling code of both: the gate is the first half.
FUSED = {"phi3", "glm"}


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_bloom(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def gelu_exact(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": gelu_exact,
    "relu": relu,
}
FIXED = {"bloom": gelu_bloom, "mpt": gelu_exact}  # their modelling code has no other, and no setting for it


def form_of(family: str, config: PreTrainedConfig) -> Callable[[Tensor], Tensor]:
    """The closed form of the activation that the model's configuration names."""
    if family in FIXED:
        return FIXED[family]
    settings = ("hidden_act", "hidden_activation", "activation_function", "activation")
    (name,) = {getattr(config, setting) for setting in settings if hasattr(config, setting)}
    return FORMS[name]


def mlps_of(model: nn.Module) -> list[nn.Module]:
    """What holds the first projection of each layer: its MLP, or in OPT and XGLM the layer itself."""
    (layers,) = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == LAYERS)
    return [getattr(layer, "mlp", getattr(layer, "ffn", layer)) for layer in layers]


def first_of(mlp: nn.Module) -> nn.Module:
    return next(getattr(mlp, name) for name in FIRST if hasattr(mlp, name))


def weight_of(linear: nn.Module) -> Tensor:
    """(outputs, inputs) float64, with what LoRA adds to it."""
    base = getattr(linear, "base_layer", linear)
    weight = base.weight.detach().double()
    weight = weight.T if isinstance(base, Conv1D) else weight
    if base is linear:
        return weight
    low, high = linear.lora_A["default"].weight.detach(), linear.lora_B["default"].weight.detach()
    return weight + ALPHA / RANK * high.double() @ low.double()


def projected(mlp: nn.Module, inputs: Tensor) -> Tensor:
    """What the activation reads, from the input of the MLP and the weights: (tokens, outputs) float64."""
    linear = first_of(mlp)
    bias = getattr(linear, "base_layer", linear).bias
    outputs = inputs @ weight_of(linear).T
    return outputs if bias is None else outputs + bias.detach().double()


def gate_of(family: str, outputs: Tensor) -> Tensor:
    return outputs[:, : outputs.shape[1] // 2] if family in FUSED else outputs


def forward(model: nn.Module, input_ids: Tensor) -> tuple[list[Tensor], dict[int, Tensor]]:
    """The input of every MLP, (tokens, hidden) float64, and what the sites show of the same forward, as float64."""
    inputs: list[Tensor] = []
    seen: dict[int, Tensor] = {}

    def read(_module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs.append(args[0].detach().flatten(0, -2).double())

    sites, mlps = find_sites(model), mlps_of(model)
    # A layer that is its own MLP has attention in front: what fc1 reads is the input meant.
    readers = [first_of(mlp) if hasattr(mlp, "self_attn") else mlp for mlp in mlps]
    handles = [reader.register_forward_pre_hook(read) for reader in readers]
    with torch.no_grad(), observe(sites, lambda layer, out: seen.update({layer: out.flatten(0, -2).double()})):
        model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs, seen


def close(seen: Tensor, expected: Tensor) -> bool:
    return torch.allclose(seen, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.fixture(params=["plain", "lora"])
def model(request: pytest.FixtureRequest, family: str, make: Any) -> nn.Module:
    """The family's small model, as it is, and with LoRA on the first projection of every MLP."""
    plain: nn.Module = make(family)
    if request.param == "plain":
        return plain
    firsts = [first_of(mlp) for mlp in mlps_of(plain)]
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=[name for name, module in plain.named_modules() if any(module is first for first in firsts)],
        fan_in_fan_out=isinstance(firsts[0], Conv1D),
        init_lora_weights=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return peft.get_peft_model(plain, config).eval()


def test_sites_show_the_activation_recomputed_from_the_weights(family: str, model: Any) -> None:
    form = form_of(family, model.config)
    ids = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(1))
    inputs, seen = forward(model, ids)
    others = {silu, gelu_tanh, gelu_exact, relu} - {form, *([gelu_tanh] if form is gelu_bloom else [])}
    assert len(inputs) == len(seen) == LAYERS
    for layer, mlp in enumerate(mlps_of(model)):
        outputs = projected(mlp, inputs[layer])
        gate = gate_of(family, outputs)
        assert close(seen[layer], form(gate))
        assert not any(close(seen[layer], other(gate)) for other in others)  # the tolerance tells the forms apart
        if family in FUSED:
            assert not close(seen[layer], form(outputs[:, outputs.shape[1] // 2 :]))


def make_probe() -> Probe:
    """Random tokens in documents of 3 to 12 tokens, the first of each a special one, which is not counted."""
    rng = np.random.default_rng(0)

    def document(number: int, language: str) -> Document:
        length = int(rng.integers(3, 13))
        tokens = rng.integers(3, 60, size=length).astype(np.int32)
        return Document(str(number), language, tokens, np.zeros(length, dtype=bool), np.arange(length) == 0)

    documents = {language: [document(number, language) for number in range(5)] for language in ("en", "sw")}
    return Probe(documents, "all", SHARDS, max_tokens_per_batch=30)


def test_counted_are_the_positive_ones_of_the_recomputed_activations(family: str, model: Any) -> None:
    probe, form = make_probe(), form_of(family, model.config)
    assert any(len(batch) > 1 for batch in probe.batches("en"))  # padding is really met
    counts = count_firings(model, find_sites(model), probe, origin=Origin()).firings.long()
    expected, unsure = torch.zeros_like(counts), torch.zeros_like(counts)
    for at, language in enumerate(probe.languages):
        for number, document in enumerate(probe.documents[language]):
            inputs, _ = forward(model, torch.from_numpy(document.tokens).long()[None])
            for layer, mlp in enumerate(mlps_of(model)):
                gate = gate_of(family, projected(mlp, inputs[layer][1:]))
                expected[at, number % SHARDS, layer] += (form(gate) > 0).sum(dim=0)
                # All forms have the sign of what they read, which float32 may get wrong next to 0.
                unsure[at, number % SHARDS, layer] += (gate.abs() < TOLERANCE).sum(dim=0)
    activations = counts[0, 0].numel() * int(sum(probe.tokens(language).sum() for language in probe.languages))
    assert 0.1 * activations < int(expected.sum()) < 0.9 * activations
    assert int(unsure.sum()) < 1e-3 * activations
    assert bool(((counts - expected).abs() <= unsure).all())
