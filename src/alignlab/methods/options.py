"""How a model is trained, as options. A new method adds a class with a `name`, and its place in `MethodOptions`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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
        "modules that get an adapter: attention, mlp or all, the linear maps of that part of every decoder layer; or "
        "the ends of names; [all-linear] takes every linear map but the output layer",
    )
    dora: bool = option(
        False, "also learn the length of every weight vector apart from its direction (DoRA, 2402.09353)"
    )
    rslora: bool = option(False, "divide the scale by the root of the rank instead of by the rank (rsLoRA, 2312.03732)")
    modules_to_save: list[str] = option([], "modules trained whole and kept with the adapter, by the end of their name")


class TrainedNeurons(Options):
    """Neurons whose weights alone are trained (Xu et al. 2025, 2503.17456; 2510.13580).

    A neuron of the MLP has a row of the gate and up projections and a column of the down projection. One of another
    site has the row of the projection that gives it. A row has its bias with it.
    """

    run: str | None = option(None, "folder of a run that has counted the neurons, and whose identifier finds the sets")
    step: int = option(0, "the snapshot of that run; 0 is of its base", unit="optimiser steps", ge=0)
    kinds: list[Literal["specific", "related", "general"]] = option(
        ["specific", "related"],
        "kinds of neurons of a run, general ones from all neurons, the others from the selection",
    )
    file: str | None = option(
        None,
        "file of neuron sets (NeuronSets.save), or hub:OWNER/NAME of shared ones, taken as they are",
    )
    languages: list[str] | None = option(None, "sets that are taken together, by name; null takes all")
    control: Literal["none", "random", "matched"] = option(
        "none",
        "train instead neurons that are in no set, as many in every layer: random, or matched in probability",
    )
    seed: int = option(0, "of the control", ge=0)


class TrainableOptions(Options):
    """Which weights are trained, and by which optimiser: what all methods share."""

    trainable: Literal["lora", "full", "neurons"] = option(
        "lora", "weights trained: low-rank adapters, all, or those of some neurons"
    )
    lora: Lora = section(Lora, "low-rank adapters, used where trainable is lora")
    neurons: TrainedNeurons = section(TrainedNeurons, "which neurons, used where trainable is neurons")
    optimizer: OptimizerOptions = section(OptimizerOptions, "AdamW and its schedule")


class SupervisedOptions(TrainableOptions):
    """Supervised fine-tuning: the answers are learnt, and of conversations what the assistant says."""

    name: Literal["supervised"] = "supervised"


class QuestionTranslationOptions(TrainableOptions):
    """Question translation: questions of other languages into English ones. The same as supervised."""

    name: Literal["question_translation"] = "question_translation"


class CausalOptions(TrainableOptions):
    """Language modelling: every token of the texts is learnt."""

    name: Literal["causal"] = "causal"


class PreferenceOptions(TrainableOptions):
    """Preference optimisation against the model as it was before: chosen answers over rejected ones."""

    name: Literal["preference"] = "preference"
    loss: Literal["dpo", "ipo"] = option(
        "dpo",
        "dpo: Rafailov et al. 2023, on summed log-probabilities; ipo: Azar et al. 2024, on those averaged per token",
    )
    beta: float = option(0.1, "how strongly the model is held to the reference", gt=0)
    label_smoothing: float = option(0.0, "share of pairs that dpo takes to be the wrong way round", ge=0, lt=0.5)

    @model_validator(mode="after")
    def _smoothing_of_dpo(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError(
                f"label_smoothing is {self.label_smoothing} and loss is ipo; expected 0, as only dpo has it"
            )
        return self


class ConsistencyOptions(TrainableOptions):
    """Direct consistency optimisation (2603.04678): two languages learn to prefer the same of two answers."""

    name: Literal["consistency"] = "consistency"
    beta: float = option(1.0, "how strongly the model is held to the reference", gt=0)
    gamma_1: float | None = option(
        None, "pull of the second language on the first, in the order in which they come in the data; null: beta", gt=0
    )
    gamma_2: float | None = option(
        None,
        "pull of the first language on the second; null: beta^2 / gamma_1, with which both come to prefer the same",
        ge=0,
    )

    @property
    def gammas(self) -> tuple[float, float]:
        """Both, as they are where they are null."""
        first = self.beta if self.gamma_1 is None else self.gamma_1
        return first, self.beta**2 / first if self.gamma_2 is None else self.gamma_2


MethodOptions = Annotated[
    SupervisedOptions | QuestionTranslationOptions | CausalOptions | PreferenceOptions | ConsistencyOptions,
    Field(discriminator="name"),
]
