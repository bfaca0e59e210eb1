"""What is planted, and which identifiers are to find it, as options."""

from __future__ import annotations

from typing import Any, get_args

from alignlab.config import Options, option, section
from alignlab.neurons.options import IdentifierOptions
from alignlab.options import check_folder

# What no identifier is: a draw, and the plainest ranking there is.
CONTROLS = ("random", "difference")
NAMES: tuple[str, ...] = tuple(kind.model_fields["name"].default for kind in get_args(get_args(IdentifierOptions)[0]))


def check_identifiers(names: list[str]) -> str | None:
    """What names of identifiers have to be, if these are not."""
    known = {*NAMES, *CONTROLS}
    if names and len(set(names)) == len(names) and known.issuperset(names):
        return None
    return f"one or more, each once, of: {', '.join([*NAMES, *CONTROLS])}"


def _range(low: float, high: float, ends: list[float]) -> str | None:
    right = len(ends) == 2 and low <= ends[0] <= ends[1] <= high and ends[0] > 0
    return None if right else f"[lowest, highest], over {low:g} and under {high:g}"


def check_rates(ends: list[float]) -> str | None:
    """What the ends of a range of firing rates have to be, if these are not."""
    return _range(0, 0.99, ends)


def check_effects(ends: list[float]) -> str | None:
    """What the ends of a range of effects have to be, if these are not."""
    return _range(0, 10, ends)


class PlantedOptions(Options):
    """A small decoder, and what is planted in it."""

    families: int = option(3, "families of languages", ge=2, le=20)
    languages: int = option(2, "languages of each family", ge=2, le=20)
    layers: int = option(4, "layers of the decoder", ge=1, le=64)
    neurons: int = option(192, "neurons of each layer", ge=16, le=16_384)
    width: int = option(64, "of the residual stream; a multiple of 8", ge=32, le=4096)
    concepts: int = option(60, "each has a word in every language", unit="tokens a language", ge=10, le=10_000)
    shared: int = option(12, "tokens that all languages share, such as digits", unit="tokens", ge=0, le=10_000)
    specific: int = option(5, "of each language: fire for it, and their removal costs it", unit="neurons", ge=0)
    family: int = option(3, "of each family: the same for all of its languages", unit="neurons", ge=0)
    pairs: int = option(3, "in all: the same for two languages of different families", unit="neurons", ge=0)
    idle: int = option(4, "of each language: fire for it, without effect", unit="neurons", ge=0)
    hidden: int = option(
        4, "of each language: their removal costs it, but they fire alike in all", unit="neurons", ge=0
    )
    general: int = option(20, "in all: fire alike in all languages, and their removal costs all", unit="neurons", ge=0)
    own_rate: list[float] = option([0.4, 0.95], "range of firing rates in a neuron's own languages", check=check_rates)
    other_rate: list[float] = option([0.02, 0.1], "range of its firing rates in others", check=check_rates)
    hidden_rate: list[float] = option([0.3, 0.6], "range of firing rates of hidden ones, anywhere", check=check_rates)
    background_rate: list[float] = option(
        [0.02, 0.4], "range of firing rates of all other neurons, even in logarithms", check=check_rates
    )
    effect: list[float] = option(
        [0.15, 0.6], "range of what a neuron adds to the logits of its languages, even in logarithms", unit="nats",
        check=check_effects,
    )  # fmt: skip
    kinship: float = option(0.3, "share of a language's direction that its family shares", ge=0, le=0.9)
    leak: float = option(0.08, "how far languages move the gates of unplanted neurons", unit="deviations", ge=0, le=10)
    noise: float = option(
        0.01, "what an unplanted neuron adds to the logits of each language, where it fires", unit="nats", ge=0, le=10
    )


class TextOptions(Options):
    """Texts that say the same in every language: chains of concepts."""

    documents: int = option(40, "that identifiers see", unit="documents a language", ge=2, le=100_000)
    truth_documents: int = option(
        12, "others, on which the truth is measured", unit="documents a language", ge=2, le=100_000
    )
    tokens: int = option(24, "of each document", unit="tokens", ge=2, le=2048)


class IdentifiersOptions(Options):
    """The benchmark of identifiers."""

    dry_run: bool = option(False, "print the plan and stop")
    folder: str = option("benchmarks/identifiers", "where tables and page are kept", check=check_folder)
    seeds: int = option(10, "models; intervals are over these", unit="seeds", ge=2, le=1000)
    first_seed: int = option(0, "seed of the first model", ge=0, le=1_000_000_000)
    identifiers: list[str] = option([*NAMES, *CONTROLS], "which are compared", check=check_identifiers)
    bar: float = option(0.95, "of the identifiers that have it", gt=0, lt=1)
    planted: PlantedOptions = section(PlantedOptions, "the models, and what is planted in them")
    text: TextOptions = section(TextOptions, "what they read")
    max_tokens_per_batch: int = option(8192, "size of a batch, under all removals", unit="tokens", ge=1)


def plain(values: Any) -> str:
    """Settings in a line, such as `top_rate=0.1 bar=0.95`."""
    return " ".join(f"{name}={_plain(value)}" for name, value in values)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
