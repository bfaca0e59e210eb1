"""How neurons are classified, as options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignlab.config import Options, option

Convention = Literal["paper", "selection", "all"]
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


IdentifierOptions = Annotated[TernaryOptions | LapeOptions, Field(discriminator="name")]
