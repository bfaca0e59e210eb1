"""Which activation modules of a layer are its MLP's, in layers written here."""

from __future__ import annotations

import torch
from torch import nn
from transformers.activations import ACT2FN

from alignlab.models.activations import mlp_activations, stacked_experts


def block(**parts: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


def experts(**parts: nn.Module) -> nn.Module:
    module = block(**parts)
    module.weight = nn.Parameter(torch.zeros(4, 3, 2))
    return module


def test_by_name_before_class() -> None:
    layer = block(mlp=block(act_fn=nn.Identity(), other=nn.ReLU()), self_attn=block(act_fn=nn.SiLU()))
    assert mlp_activations(layer) == ["mlp.act_fn"]


def test_by_class_where_no_name_is_known() -> None:
    layer = block(attention=block(gate=nn.Sigmoid()), intermediate=block(f=ACT2FN["gelu_new"], dense=nn.Linear(2, 2)))
    assert mlp_activations(layer) == ["intermediate.f"]
    assert mlp_activations(block(ffn=nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))) == ["ffn.1"]
    assert mlp_activations(block(mlp=block(f=ACT2FN["linear"], soft=nn.Softmax(dim=-1)))) == []


def test_what_mixes_tokens_by_a_convolution_has_no_neurons() -> None:
    mixer = block(act=nn.SiLU(), conv1d=nn.Conv1d(2, 2, 1), inner=block(act=nn.SiLU()))
    assert mlp_activations(block(mamba=mixer, feed_forward=block(act_fn=nn.SiLU()))) == ["feed_forward.act_fn"]
    assert mlp_activations(block(mixer=mixer)) == []


def test_the_layers_own_gives_way_to_one_in_a_module() -> None:
    layer = block(act_fn=nn.GELU(), mlp=block(act_fn=nn.GELU()))
    assert mlp_activations(layer) == ["mlp.act_fn"]
    assert mlp_activations(block(activation_fn=nn.GELU(), fc1=nn.Linear(2, 2))) == ["activation_fn"]
    assert mlp_activations(block(a=block(act=nn.GELU()), b=block(act=nn.GELU()))) == ["a.act", "b.act"]


def test_stacked_experts() -> None:
    assert stacked_experts(block(mlp=block(experts=experts(act_fn=nn.SiLU())))) == ["mlp.experts"]
    recurrent = block(conv=nn.Conv1d(2, 2, 1), gates=experts())
    assert stacked_experts(block(temporal=recurrent, self_attn=experts(), mlp=nn.Linear(2, 2))) == []
