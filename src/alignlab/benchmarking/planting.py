"""Which neurons are planted where, drawn from a seed: what is then true of a model by construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from alignlab.benchmarking.options import PlantedOptions
from alignlab.errors import Problem, refuse_any

Class = Literal["specific", "family", "pair", "idle", "hidden", "general", "background"]
CLASSES: tuple[Class, ...] = ("specific", "family", "pair", "idle", "hidden", "general", "background")
Truth = Literal["selective", "necessary"]
TRUTHS: tuple[Truth, ...] = ("selective", "necessary")
# What is true of the languages of a neuron of each class; of a general neuron nothing sets one language apart.
OF_TRUTH: dict[Truth, tuple[Class, ...]] = {
    "selective": ("specific", "family", "pair", "idle"),
    "necessary": ("specific", "family", "pair", "hidden"),
}


@dataclass(frozen=True)
class Neuron:
    """A neuron of a model.

    languages: numbers of those that it is for; of a neuron that is for none in particular, empty.
    rate: how often it fires in its languages, or in any where it has none.  other: how often elsewhere.
    effect: what it adds to the logits, in nats, on average where it is for.
    """

    kind: Class
    layer: int
    place: int
    languages: tuple[int, ...]
    rate: float
    other: float
    effect: float


def language_names(options: PlantedOptions) -> tuple[str, ...]:
    """Names of languages, family after family: a1, a2, b1 and so on."""
    return tuple(
        f"{chr(97 + family)}{one + 1}" for family in range(options.families) for one in range(options.languages)
    )


def family_of(options: PlantedOptions, language: int) -> int:
    return language // options.languages


def plant(options: PlantedOptions, seed: int) -> list[Neuron]:
    """All neurons of the model of a seed, layer after layer. Raises InputError for more than there is room for."""
    check(options)
    draw = np.random.default_rng([seed, 0])
    wanted = _wanted(options, draw)
    places = draw.permutation(options.layers * options.neurons)
    planted = {int(place): one for place, one in zip(places, wanted, strict=False)}
    found = []
    for at in range(options.layers * options.neurons):
        kind, languages = planted.get(at, ("background", ()))
        rate = _between(draw, options.hidden_rate if kind == "hidden" else options.own_rate)
        if kind == "background":
            rate = _between(draw, options.background_rate, logarithms=True)
        other = min(rate, _between(draw, options.other_rate)) if languages and kind != "hidden" else rate
        effect = _between(draw, options.effect, logarithms=True)
        layer, place = divmod(at, options.neurons)
        effect = {"idle": 0.0, "background": options.noise}.get(kind, effect)
        found.append(Neuron(kind, layer, place, languages, rate, other, effect))
    return found


def unplanted(options: PlantedOptions, neurons: Sequence[Neuron], seed: int) -> list[Neuron]:
    """The same model with nothing planted: in the places of planted neurons are more of the others."""
    draw = np.random.default_rng([seed, 7])
    rates = [_between(draw, options.background_rate, logarithms=True) for _ in neurons]
    return [
        one if one.kind == "background" else Neuron("background", one.layer, one.place, (), rate, rate, options.noise)
        for one, rate in zip(neurons, rates, strict=True)
    ]


def truth_of(neurons: Sequence[Neuron], truth: Truth, languages: int) -> np.ndarray:
    """(G, n) bool: what is true by construction of each language and neuron."""
    table = np.zeros((languages, len(neurons)), dtype=np.bool_)
    for number, one in enumerate(neurons):
        if one.kind in OF_TRUTH[truth]:
            table[list(one.languages), number] = True
    return table


def kinds_of(neurons: Sequence[Neuron]) -> np.ndarray:
    """(n,) the number of each neuron's class in CLASSES."""
    return np.array([CLASSES.index(one.kind) for one in neurons])


def planted_number(options: PlantedOptions) -> int:
    """How many neurons are planted."""
    g = options.families * options.languages
    each = options.specific + options.idle + options.hidden
    return g * each + options.families * options.family + options.pairs + options.general


def size_of(options: PlantedOptions, truth: Truth) -> float:
    """How many neurons a truth has of a language, on average."""
    g = options.families * options.languages
    own = options.specific + options.family + (options.idle if truth == "selective" else options.hidden)
    return own + 2 * options.pairs / g


def check(options: PlantedOptions) -> None:
    """Refuse what cannot be built. Raises InputError with all that is wrong."""
    g = options.families * options.languages
    number, there = planted_number(options), options.layers * options.neurons
    problems = []
    if 2 * number > there:
        found = f"{number:,} neurons to plant in {options.layers} x {options.neurons:,}"
        fix = "Set a larger planted.neurons, or plant fewer."
        problems.append(Problem("planted", found, "at most half of all", fix))
    if (room := 2 * g + options.families + 4 + 8) > options.width:
        found = f"{options.width}, for {g} languages of {options.families} families"
        problems.append(Problem("planted.width", found, f"{room} or more"))
    if options.width % 8:
        problems.append(Problem("planted.width", str(options.width), "a multiple of 8: of two numbers in four heads"))
    if options.families > 26:
        problems.append(Problem("planted.families", str(options.families), "at most 26"))
    for truth in TRUTHS:
        if size_of(options, truth) < 1:
            fix = "Plant specific or family neurons, or decoys."
            problems.append(Problem("planted", f"no neuron of a language is {truth}", "one or more of each", fix))
    if options.own_rate[0] <= options.other_rate[1]:
        found = f"{options.own_rate[0]:g}, and others fire up to {options.other_rate[1]:g}"
        problems.append(Problem("planted.own_rate", found, "a lowest rate over the highest of planted.other_rate"))
    refuse_any(problems)


def _wanted(options: PlantedOptions, draw: np.random.Generator) -> list[tuple[Class, tuple[int, ...]]]:
    """Class and languages of every neuron that is planted."""
    g = options.families * options.languages
    every: list[tuple[Class, tuple[int, ...]]] = []
    for language in range(g):
        each: tuple[tuple[Class, int], ...] = (
            ("specific", options.specific),
            ("idle", options.idle),
            ("hidden", options.hidden),
        )
        every += [(kind, (language,)) for kind, number in each for _ in range(number)]
    for family in range(options.families):
        first = family * options.languages
        every += [("family", tuple(range(first, first + options.languages)))] * options.family
    strangers = [
        pair for pair in combinations(range(g), 2) if family_of(options, pair[0]) != family_of(options, pair[1])
    ]
    # All pairs before one comes again.
    order = [
        int(number) for _ in range(-(-options.pairs // len(strangers))) for number in draw.permutation(len(strangers))
    ]
    every += [("pair", strangers[number]) for number in order[: options.pairs]]
    return every + [("general", ())] * options.general


def _between(draw: np.random.Generator, ends: Sequence[float], *, logarithms: bool = False) -> float:
    low, high = ends
    return math.exp(draw.uniform(math.log(low), math.log(high))) if logarithms else draw.uniform(low, high)
