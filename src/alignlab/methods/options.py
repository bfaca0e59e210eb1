"""How a model is trained, as options. A new method adds a class with a `name`, and its place in `MethodOptions`."""

from __future__ import annotations

from typing import Literal

from alignlab.config import Options, option, section


class OptimizerOptions(Options):
    """AdamW (Loshchilov & Hutter 2019) with a schedule of transformers."""

    lr: float = option(2e-5, "highest learning rate", gt=0)
    weight_decay: float = option(0.0, "decoupled decay of weight matrices (not of biases and norms)", ge=0)
    beta1: float = option(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = option(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = option(1e-8, "added to the root of the mean of squares", gt=0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt"] = option(
        "cosine", "how the learning rate falls after the warm-up"
    )
    warmup: float = option(0.03, "share of the steps in which the learning rate rises", ge=0, lt=1)


class Lora(Options):
    """Low-rank adaptation (Hu et al. 2021), as PEFT does it."""

    rank: int = option(16, "rank of the adapters", ge=1, le=65_536)
    alpha: float = option(32, "scale of the adapters, divided by the rank", gt=0)
    dropout: float = option(0.0, "dropout on the adapters' input while training", ge=0, lt=1)
    targets: list[str] = option(
        ["q_proj", "v_proj"],
        "modules that get an adapter, by the end of their name; [all-linear] takes every linear one",
    )


class QuestionTranslationOptions(Options):
    """Question translation: questions of other languages into English ones."""

    name: Literal["question_translation"] = "question_translation"
    trainable: Literal["lora", "full"] = option("lora", "weights trained: low-rank adapters or all")
    lora: Lora = section(Lora, "low-rank adapters, used where trainable is lora")
    optimizer: OptimizerOptions = section(OptimizerOptions, "AdamW and its schedule")


MethodOptions = QuestionTranslationOptions
