"""Small models of every dense family that alignlab is to work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from alignlab.models.options import SiteName
from alignlab.models.sites import OF_EXPERTS

# Where a dense model has neurons.
DENSE_SITES = [at for at in get_args(SiteName) if at not in OF_EXPERTS]
LAYERS, WIDTH, VOCABULARY = 3, 40, 60
LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
HEADS_OF_EIGHT = {**LLAMA_LIKE, "head_dim": 8}
GPT_LIKE: dict[str, Any] = {"n_embd": 32, "n_inner": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 64}
OPT_LIKE: dict[str, Any] = {"ffn_dim": WIDTH, "max_position_embeddings": 64}

# family: settings of a small model, and the number of neurons a layer where the family fixes it.
FAMILIES: dict[str, tuple[dict[str, Any], int]] = {
    "llama": (LLAMA_LIKE, WIDTH),
    "mistral": (HEADS_OF_EIGHT, WIDTH),
    "qwen2": (LLAMA_LIKE, WIDTH),
    "qwen3": (HEADS_OF_EIGHT, WIDTH),
    "gemma": (HEADS_OF_EIGHT, WIDTH),
    "gemma2": ({**HEADS_OF_EIGHT, "final_logit_softcapping": 0.5}, WIDTH),
    "gemma3_text": (HEADS_OF_EIGHT, WIDTH),
    "phi": (LLAMA_LIKE, WIDTH),
    "phi3": ({**LLAMA_LIKE, "pad_token_id": 0}, WIDTH),
    "olmo2": (LLAMA_LIKE, WIDTH),
    "cohere": ({**LLAMA_LIKE, "logit_scale": 3.0}, WIDTH),
    "cohere2": ({**LLAMA_LIKE, "logit_scale": 3.0}, WIDTH),
    "granite": ({**LLAMA_LIKE, "logits_scaling": 3.0}, WIDTH),
    "stablelm": (LLAMA_LIKE, WIDTH),
    "starcoder2": (LLAMA_LIKE, WIDTH),
    "smollm3": ({**LLAMA_LIKE, "pad_token_id": 0}, WIDTH),
    "glm": ({**HEADS_OF_EIGHT, "pad_token_id": 0}, WIDTH),
    "gpt2": (GPT_LIKE, WIDTH),
    "gpt_neo": (
        {
            "hidden_size": 32,
            "intermediate_size": WIDTH,
            "num_layers": LAYERS,
            "num_heads": 4,
            "attention_types": [[["global", "local", "global"], 1]],
            "max_position_embeddings": 64,
        },
        WIDTH,
    ),
    "gpt_neox": (LLAMA_LIKE, WIDTH),
    "gptj": ({**GPT_LIKE, "rotary_dim": 4}, WIDTH),
    "bloom": ({"hidden_size": 32, "n_layer": LAYERS, "n_head": 4}, 128),
    "opt": ({**LLAMA_LIKE, **OPT_LIKE, "word_embed_proj_dim": 32}, WIDTH),
    "falcon": (
        {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "ffn_hidden_size": 40},
        WIDTH,
    ),
    "mpt": ({"d_model": 32, "n_layers": LAYERS, "n_heads": 4, "max_seq_len": 64}, 128),
    "xglm": ({**OPT_LIKE, "d_model": 32, "num_layers": LAYERS, "attention_heads": 4}, WIDTH),
}
TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

Make = Callable[..., PreTrainedModel]


def config_of(family: str, **changes: Any) -> PreTrainedConfig:
    return AutoConfig.for_model(family, **{**TOKENS, **FAMILIES[family][0], **changes})


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each dense family."""
    return str(request.param)


@pytest.fixture
def make() -> Make:
    """make("gpt2"): a small model of a family, random weights, the same at every call, in evaluation mode."""

    def build(family: str, **changes: Any) -> PreTrainedModel:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config_of(family, **changes), attn_implementation="eager")
            for parameter in model.parameters():
                # At the usual scale a random model hardly reacts to its input, and all biases are 0.
                parameter.data += 0.15 * torch.randn_like(parameter)
        return model.eval()

    return build


@pytest.fixture
def widths() -> dict[str, int]:
    """The neurons of a layer in the small model of each family."""
    return {family: width for family, (_, width) in FAMILIES.items()}
