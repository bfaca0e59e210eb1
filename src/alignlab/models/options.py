"""Which model, and where its neurons are read, as options."""

from __future__ import annotations

from typing import Literal

from alignlab.config import Options, option

DEMO = "builtin:demo"
PrecisionName = Literal["32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed"]
SiteName = Literal[
    "mlp.act",
    "mlp.product",
    "mlp.up",
    "mlp.out",
    "attention.q",
    "attention.k",
    "attention.v",
    "attention.o",
    "residual",
    "experts.act",
    "experts.shared",
]


class ModelOptions(Options):
    """Which model is fine-tuned."""

    source: str = option(DEMO, f"folder, Hub id such as mistralai/Mistral-7B-v0.1, or {DEMO} (in the package)")
    revision: str | None = option(None, "branch, tag or commit on the Hub; null takes the newest")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", "weights as stored (auto) or converted")
    four_bit: bool = option(
        False, "load the linear maps in 4 bits (NF4 by bitsandbytes, on a GPU), as the frozen base of adapters (QLoRA)"
    )
    attention: str | None = option(None, "transformers' attn_implementation; null leaves the choice to transformers")
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass: less memory, more time")
