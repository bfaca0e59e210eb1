"""Several sources at once, each with its weight and prompts."""

from __future__ import annotations

from typing import Literal

from alignlab.config import REQUIRED, Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources.single import Source


class Part(Options):
    """A source of a mixture."""

    source: Source = section(REQUIRED, "where its records come from")
    weight: int = option(
        1, "its examples, in proportion to the weights of the others: 3 beside 1 are 12 of 16", ge=1, le=10_000
    )
    prompts: Prompts | None = section(None, "how its records become text; null: as data.prompts")


class Mixture(Options):
    """Sources by a name of their own; every step holds its share of each, and small ones begin again."""

    name: Literal["mixture"] = "mixture"
    parts: dict[str, Part] = section(REQUIRED, "the sources, by any name")
