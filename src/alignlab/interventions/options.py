"""What becomes of neurons, as options: the operations of an intervention."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignlab.config import REQUIRED, Options, option

# Activations are changed in float32.
LARGEST = (2 - 2**-23) * 2.0**127


def _in_range(value: float) -> str | None:
    return None if abs(value) <= LARGEST else "a number, none beyond 3.4e38"


DocumentStatistic = Literal["mean", "maximum", "median", "percentile"]


class ZeroOptions(Options):
    """The activation is set to 0: the neurons are switched off."""

    name: Literal["zero"] = "zero"


class ConstantOptions(Options):
    """The activation is set to a number, the same for all neurons."""

    name: Literal["constant"] = "constant"
    value: float = option(REQUIRED, "what the activation is set to", check=_in_range)


class ScaleOptions(Options):
    """The activation is multiplied: amplified above 1, weakened below, inverted by negative strengths."""

    name: Literal["scale"] = "scale"
    strength: float = option(REQUIRED, "what the activation is multiplied with", check=_in_range)


class AddOptions(Options):
    """The mean activation in the target language is added."""

    name: Literal["add"] = "add"
    strength: float = option(1.0, "how many times the mean is added", check=_in_range)


class ReplaceOptions(Options):
    """The activation is replaced by a statistic of the target language, whatever the input is."""

    name: Literal["replace"] = "replace"
    by: DocumentStatistic = option(
        "mean",
        "mean over tokens; or, over documents, the maximum, the lower median or a percentile of their mean activations",
    )
    percentile: float = option(90.0, "which percentile (the value at or below it)", ge=0, le=100)


class DiffMeanOptions(Options):
    """What the mean activation in the target language has over the mean of the other languages' is added."""

    name: Literal["diff_mean"] = "diff_mean"
    strength: float = option(1.0, "how many times the difference is added", check=_in_range)


OperationOptions = Annotated[
    ZeroOptions | ConstantOptions | ScaleOptions | AddOptions | ReplaceOptions | DiffMeanOptions,
    Field(discriminator="name"),
]
