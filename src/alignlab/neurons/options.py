"""How neurons are classified, as options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignlab.config import Options, option

Convention = Literal["paper", "selection", "all"]
Ends = Literal["both", "top", "bottom"]
AnswerProbability = Literal["token", "answer"]
Elsewhere = Literal["less", "none", "any"]
# Where the removal of a neuron is known.
RemovalSite = Literal["mlp.act", "mlp.product", "mlp.up", "attention.q", "attention.k", "attention.v", "attention.o"]
_BAR = "tau is this quantile of all probabilities; a language owns a neuron above it"


class TernaryOptions(Options):
    """Language-specific, language-related and general neurons (Zhang et al. 2025)."""

    name: Literal["ternary"] = "ternary"
    top_rate: float = option(0.01, "share of all neurons that is selected", gt=0, le=1)
    bar: float = option(0.95, _BAR, gt=0, lt=1)
    lambda_: Literal["largest"] | Annotated[float, Field(ge=0)] = option(
        "largest", "weight of the peak in the score; largest: the largest in [0, 0.2] that selects no general neuron"
    )


class LapeOptions(Options):
    """Neurons that few languages activate, by the entropy of their probabilities (Tang et al. 2024)."""

    name: Literal["lape"] = "lape"
    top_rate: float = option(0.01, "share of all neurons that is selected", gt=0, le=1)
    bar: float = option(0.95, _BAR, gt=0, lt=1)


class EqualSizeLapeOptions(Options):
    """Equally many neurons of each language, of lowest entropy among those above tau in it (Kargaran et al. 2025)."""

    name: Literal["equal_size_lape"] = "equal_size_lape"
    size: int = option(400, "neurons of each language; all above tau where they are fewer", ge=1)
    bar: float = option(0.95, _BAR, gt=0, lt=1)
    exclusive: bool = option(False, "leave out of each set what is in another language's")


class ActivationFrequencyOptions(Options):
    """The neurons that fire most, the fewest of a layer with a share of a language's firings (Tan et al. 2024)."""

    name: Literal["activation_frequency"] = "activation_frequency"
    share: float = option(0.9, "share of a language's firings in a layer that its neurons hold", gt=0, le=1)


class AveragePrecisionOptions(Options):
    """Neurons whose mean activation in a document tells its language from the others (Kojima et al. 2024)."""

    name: Literal["average_precision"] = "average_precision"
    k: int = option(1000, "neurons of each language with the highest average precision, and as many lowest", ge=1)
    ends: Ends = option("both", "top: the highest alone; bottom: the lowest alone")


class AttributionOptions(Options):
    """Neurons that raise the probability of a language's right answers, by activation x gradient (CULNIG, 2025)."""

    name: Literal["attribution"] = "attribution"
    top_rate: float = option(0.003, "share of all neurons that is taken of each language, by its score", gt=0, le=1)
    least_z: float | None = option(
        0.5, "how far the language's score lies over the mean of all languages, in their SDs; null takes all", ge=0
    )
    probability: AnswerProbability = option(
        "token",
        "of an answer; token: the geometric mean of its tokens', answer: of it as a whole, which long answers make 0. "
        "The same for answers of one token, as are the paper's",
    )


class RelevanceOptions(Options):
    """Neurons that the likelihood of a language's text needs, by activation x gradient (after CRANE, 2026)."""

    name: Literal["relevance"] = "relevance"
    top_rate: float = option(0.01, "share of all neurons that is taken of each language, of most relevance", gt=0, le=1)
    elsewhere: Elsewhere = option(
        "less",
        "what a neuron of a language may be for others; less: no larger share of their relevance, none: not among "
        "theirs, any: as it is",
    )


class PlndOptions(Options):
    """Neurons without which a block's output changes most in every text of a language (PLND: Zhao et al. 2024)."""

    name: Literal["plnd"] = "plnd"
    sites: list[RemovalSite] = option(
        ["mlp.act", "attention.q", "attention.k", "attention.v", "attention.o"],
        "where neurons are removed, each site apart; probe.site is one of them, and its neurons are analysed",
        check=lambda sites: None if sites and len(set(sites)) == len(sites) else "one or more, each once",
    )
    ffn: int = option(2000, "most important neurons of a layer's MLP and document", ge=1)
    attention: int = option(1000, "most important columns of each of a layer's projections and document", ge=1)


IdentifierOptions = Annotated[
    TernaryOptions
    | LapeOptions
    | EqualSizeLapeOptions
    | ActivationFrequencyOptions
    | AveragePrecisionOptions
    | AttributionOptions
    | RelevanceOptions
    | PlndOptions,
    Field(discriminator="name"),
]
