"""A tiny model of every type of decoder that transformers knows, from its own defaults, offline.

The defaults of a type's configuration are kept (which layers it has, which are of experts, how they attend), and its
sizes are made small by one list of rules for all types, by the names of settings. What the rules do not fit is in
`OVERRIDES`: settings, no code.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

LAYERS, WIDTH, NEURONS, HEADS, VOCABULARY, POSITIONS = 4, 32, 40, 4, 80, 64


# What the settings of these names are in every tiny model.
_SIZES: list[tuple[int, str]] = [
    (
        WIDTH,
        "hidden_size d_model n_embd emb_dim word_embed_proj_dim embedding_dim embedding_size embed_dim lru_width "
        "input_embedding_size output_embedding_size out_hidden_size",
    ),
    (
        NEURONS,
        "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim n_inner dim_ff dff d_inner d_ff ffn_hidden_size "
        "feed_forward_size moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size mlp_dim "
        "intermediate_size_mlp expert_ffn_hidden_size moe_shared_expert_intermediate_size dense_intermediate_size "
        "shared_experts_intermediate_size",
    ),
    (
        HEADS,
        "num_attention_heads num_heads n_head n_heads decoder_attention_heads encoder_attention_heads attention_heads "
        "num_encoder_attention_heads num_decoder_attention_heads index_n_heads linear_num_value_heads linear_num_heads "
        "swa_num_attention_heads num_experts num_local_experts n_routed_experts moe_num_experts",
    ),
    (
        2,
        "encoder_layers num_encoder_layers linear_num_key_heads swa_num_key_value_heads num_experts_per_tok moe_topk "
        "num_experts_per_token moe_top_k moe_k",
    ),
    (1, "n_group topk_group num_expert_group num_nextn_predict_layers first_k_dense_replace num_dense_layers"),
    (
        8,
        "head_dim qk_nope_head_dim qk_rope_head_dim v_head_dim index_head_dim linear_key_head_dim linear_head_dim "
        "linear_value_head_dim dim_head d_kv swa_head_dim kv_channels rotary_dim d_head attention_head_size "
        "sliding_window local_attention window_size attention_window_size sliding_window_size index_topk "
        "hidden_size_per_layer_input laurel_rank",
    ),
    (16, "kv_lora_rank q_lora_rank qk_head_dim state_size mamba_d_state ssm_state_size"),
    (VOCABULARY, "vocab_size vocab_size_per_layer_input decoder_vocab_size audio_vocab_size unpadded_vocab_size"),
    (
        POSITIONS,
        "max_position_embeddings n_positions n_ctx max_seq_len context_length max_target_positions "
        "max_source_positions",
    ),
]
_LAYERS = "num_hidden_layers num_layers n_layer n_layers decoder_layers num_decoder_layers num_blocks depth"
_KEYS = ("num_key_value_heads", "num_kv_heads", "kv_n_heads")


_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8}
_INDEXER = {
    "indexer_n_heads": HEADS,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
}
_SHARED_CACHE = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2}
_ROPE_OF_TWO = {
    kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    for kind in ("sliding_attention", "full_attention")
}

# By type, settings that the rules do not give: sizes that must fit, settings without a default that is accepted, and
# more layers where a kind of them comes late.
OVERRIDES: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"num_hidden_layers": 8},
    "bamba": _MAMBA,
    "blt": {
        part: {"hidden_size": WIDTH, "hidden_size_global": WIDTH, "num_attention_heads": HEADS, "head_dim": 8}
        for part in ("patcher_config", "encoder_config", "decoder_config", "global_config")
    }
    | {"hidden_size_global": WIDTH, "encoder_hash_byte_group_vocab": 100},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "rope_parameters": _ROPE_OF_TWO,
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"hidden_size": WIDTH, "ffn_hidden_size": NEURONS, "moe_num_experts": HEADS, "moe_top_k": 2},
    },
    # Layers that look experts up by the token have a table that only a checkpoint fills.
    "deepseek_v4": {"mlp_layer_types": ["moe"] * LAYERS},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": HEADS, "num_experts_per_tok": 2},
    "dots3_note": {
        "vision_config": {
            "mlp_layer_types": ["dense", "dense", "sparse"],
            "adapter_in_dim": WIDTH,
            "adapter_out_dim": WIDTH,
        },
        "audio_config": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH},
    },
    "falcon_h1": {"mamba_d_ssm": 2 * WIDTH, "mamba_n_heads": 8, "mamba_d_head": 8, "mlp_multipliers": [0.5, 2.0]},
    "gemma3n_text": {**_SHARED_CACHE, "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.0]},
    "gemma4_assistant": {  # its default has settings of the text model that it refuses
        "text_config": {
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
            "use_double_wide_mlp": False,
        }
    },
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "granitemoehybrid": _MAMBA,
    "inkling2_text": {"num_hidden_layers": 8},
    "jamba": {"num_hidden_layers": 8},
    "kimi_linear": {"num_hidden_layers": 8},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "qwen4_exp_text": _INDEXER,
    "qwen4_exp": {"text_config": _INDEXER},
    "reformer": {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 12},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}
# Types with other settings than by default, where another structure follows from them: the type, and the settings.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert, both directions": ("bert", {"is_decoder": False}),
    "falcon, grouped heads": ("falcon", {"new_decoder_architecture": True}),
    "gemma3n_text, MLP as wide as the stream": ("gemma3n_text", {"intermediate_size": WIDTH}),
    "gemma4_text, gate as wide as the MLP": ("gemma4_text", {"hidden_size_per_layer_input": NEURONS}),
    "gemma4_text, layers of two widths": (
        "gemma4_text",
        {**_SHARED_CACHE, "use_double_wide_mlp": True},
    ),
    "granitemoehybrid, no experts": ("granitemoehybrid", {"num_local_experts": 0}),
    "granitemoehybrid, attention alone": (
        "granitemoehybrid",
        {"num_local_experts": 0, "layer_types": ["attention"] * LAYERS},
    ),
    "qwen2_moe, dense layers alone": ("qwen2_moe", {"mlp_only_layers": [*range(LAYERS)]}),
}
# What marks texts: within the small vocabulary. And the half of a model that reads what it has written.
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True}


def types() -> list[str]:
    """Every type that `AutoModelForCausalLM` maps."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def names() -> list[str]:
    """Types and variants of them."""
    known = types()
    return [*known, *(name for name, (of, _) in VARIANTS.items() if of in known)]


def settings(kind: type[PreTrainedConfig], layers: int = LAYERS) -> dict[str, Any]:
    """The settings by which the rules make the default configuration of a class small."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    defaults |= {name: defaults.get(other) for name, other in kind.attribute_map.items()}
    rules = _TOKENS | dict.fromkeys(_LAYERS.split(), layers)
    rules |= {name: size for size, names in _SIZES for name in names.split()}
    # As many heads for keys as for queries where that is so by default.
    grouped = {name for name in _KEYS if defaults.get(name) not in (None, defaults.get("num_attention_heads"))}
    rules |= {name: HEADS // 2 if name in grouped else HEADS for name in _KEYS}
    small = {name: value for name, value in rules.items() if name in defaults}
    for name, spec in kind.sub_configs_defaults.items():
        part = CONFIG_MAPPING[spec.model_type] if spec.config_class is AutoConfig else spec.config_class
        of_text = "text" in name or "decoder" in name
        small[name] = {**(spec.init_kwargs or {}), **settings(part, layers if of_text else layers - 1)}
    return small


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    return {
        **below,
        **{
            name: _laid_over(below[name], value)
            if isinstance(value, dict) and isinstance(below.get(name), dict)
            else value
            for name, value in above.items()
        },
    }


def tiny_config(name: str) -> PreTrainedConfig:
    """Of a type or a variant."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    kind = CONFIG_MAPPING[model_type]
    return kind(**_laid_over(_laid_over(settings(kind), OVERRIDES.get(model_type, {})), changes))


def tiny_model(name: str) -> PreTrainedModel:
    """Random weights, the same at every call, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_config(name), attn_implementation="eager")
        for parameter in model.parameters():
            # At the usual scale a random model hardly reacts to its input, and all biases are 0.
            parameter.data += 0.15 * torch.randn_like(parameter)
    return model.eval()
