"""A Llama's forward, written out, in which something is done to what each site shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaForCausalLM

# (site, layer, what it shows, (B, T, width)) -> what the model goes on with.
Done = Callable[[str, int, Tensor], Tensor]


def logits_by_hand(model: LlamaForCausalLM, ids: Tensor, done: Done) -> Tensor:
    """(B, T, V), of whole texts without padding, in double precision."""
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    weights = {name: value.detach().double() for name, value in model.state_dict().items()}
    base, length = config.rope_parameters["rope_theta"], ids.shape[1]
    angles = torch.outer(torch.arange(length).double(), base ** -(torch.arange(0, head, 2).double() / head))
    angles = angles.repeat(1, 2)

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + config.rms_norm_eps)

    def turned(x: Tensor) -> Tensor:
        return x * angles.cos() + torch.cat([-x[..., head // 2 :], x[..., : head // 2]], dim=-1) * angles.sin()

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, head)).transpose(1, 2)

    hidden = weights["model.embed_tokens.weight"][ids]
    for layer in range(config.num_hidden_layers):
        of = {name.partition(f"layers.{layer}.")[2]: value for name, value in weights.items()}
        x = norm(hidden, of["input_layernorm.weight"])
        q, k, v = (heads(done(f"attention.{name}", layer, x @ of[f"self_attn.{name}_proj.weight"].T)) for name in "qkv")
        k, v = (one.repeat_interleave(q.shape[1] // one.shape[1], dim=1) for one in (k, v))
        scores = turned(q) @ turned(k).transpose(2, 3) / head**0.5
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
        mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        hidden = hidden + done("attention.o", layer, mixed @ of["self_attn.o_proj.weight"].T)
        x = norm(hidden, of["post_attention_layernorm.weight"])
        act = done("mlp.act", layer, F.silu(x @ of["mlp.gate_proj.weight"].T))
        up = done("mlp.up", layer, x @ of["mlp.up_proj.weight"].T)
        product = done("mlp.product", layer, act * up)
        hidden = hidden + done("mlp.out", layer, product @ of["mlp.down_proj.weight"].T)
        hidden = done("residual", layer, hidden)
    return norm(hidden, weights["model.norm.weight"]) @ weights["lm_head.weight"].T
