"""Small mixtures of experts, and what their experts compute: one token and one expert at a time, from the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

LAYERS, EXPERTS, CHOSEN, COLUMNS = 2, 4, 2, 12
COMMON: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": COLUMNS, "moe_intermediate_size": COLUMNS, "num_hidden_layers": LAYERS,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SHARED = {"shared_expert_intermediate_size": 20}
HYBRID = {**SHARED, "layer_types": ["linear_attention", "full_attention"]}
# All layers of these are of experts.
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {}, "qwen2_moe": SHARED, "qwen3_moe": {}, "qwen3_next": HYBRID, "olmoe": {}, "granitemoe": {},
    "granitemoeshared": {}, "phimoe": {}, "minimax": {}, "minimax_m2": {}, "hunyuan_v1_moe": {},
    "deepseek_v2": {},
}  # fmt: skip
WITH_SHARED = ("qwen2_moe", "qwen3_next", "hunyuan_v1_moe", "deepseek_v2")
WAYS = ("eager", "grouped_mm", "batched_mm")


def build(
    family: str, *, vocabulary: int = 300, experts: int = EXPERTS, chosen: int = CHOSEN,
    dtype: torch.dtype = torch.float64, **changes: Any,
) -> Any:  # fmt: skip
    """A small mixture with weights that let every token's routing differ."""
    sizes = dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), experts)
    settings = {**COMMON, **MIXTURES.get(family, {}), **sizes, "num_experts_per_tok": chosen, **changes}
    settings["vocab_size"] = vocabulary
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # a router of small or equal weights would send every token to the same experts
                parameter.normal_(std=0.3)
    if dtype == torch.float64:
        model.set_experts_implementation("eager")  # grouped_mm takes no float64
    return model.to(dtype).eval()


def experts_of(model: Any) -> list[Any]:
    """The experts modules, layer after layer."""
    return [module for module in model.modules() if isinstance(getattr(module, "gate_up_proj", None), nn.Parameter)]


def slow_activations(experts: Any, hidden: Tensor, chosen: Tensor) -> Tensor:
    """(T, E * C), 0 where a token is not sent to an expert: the gate of one pair at a time, from the weights."""
    weights, hidden = experts.gate_up_proj.double(), hidden.double()
    count, columns = len(weights), weights.shape[1] // 2
    found = torch.zeros(len(hidden), count * columns, dtype=hidden.dtype)
    for token in range(len(hidden)):
        for expert in chosen[token].tolist():
            gate = torch.stack([(weights[expert, column] * hidden[token]).sum() for column in range(columns)])
            found[token, expert * columns : (expert + 1) * columns] = experts.act_fn(gate)
    return found
