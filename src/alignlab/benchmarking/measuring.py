"""What is measured of one seed: a model with planted neurons, every identifier on it, and its controls."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from alignlab.benchmarking import rankings
from alignlab.benchmarking.building_models import Vocabulary, build_model
from alignlab.benchmarking.options import CONTROLS, IdentifiersOptions
from alignlab.benchmarking.planting import (
    CLASSES,
    OF_TRUTH,
    TRUTHS,
    Neuron,
    Truth,
    kinds_of,
    language_names,
    plant,
    planted_number,
    size_of,
    truth_of,
    unplanted,
)
from alignlab.benchmarking.rankings import Found
from alignlab.benchmarking.scores import precision, rank_correlation, recall, taken
from alignlab.benchmarking.texts import probe_of, shuffled
from alignlab.benchmarking.truth import contrast, costs_of_removal, firing_rates
from alignlab.models.sites import find_sites
from alignlab.neurons.probabilities import Bools, Floats
from alignlab.neurons.table import Row
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.importance import record_importance
from alignlab.recording.kept import Advance, nobody
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.probes import Probe

PLANTED, UNPLANTED, SHUFFLED = MODELS = ("planted", "unplanted", "shuffled")
# The truth, measured on other text: what an identifier could reach.
CEILING = "measured truth"
PRECISION, SIZE, SET_PRECISION, SET_RECALL, CORRELATION = (
    "precision at planted size", "neurons of a set", "precision of sets", "recall of sets", "rank correlation",
)  # fmt: skip
FOUND, PICKED = "found of class", "picked of class"
_OTHERS = "another language's"
PICKS = (*CLASSES, _OTHERS)
# Texts by which firing is told, for each on which removals are: firing costs no removal.
_TOLD = 10


@dataclass(frozen=True)
class Known:
    """What is true of a model.

    kinds: (n,) classes.  own: (G, n) whether a neuron is for a language.  true: by truth, (G, n).
    strength: by truth, (G, n), as measured; empty of a model in which nothing is planted.
    """

    kinds: Bools
    own: Bools
    true: Mapping[Truth, Bools]
    strength: Mapping[Truth, Floats]


class Seed:
    """The models and texts of a seed."""

    def __init__(self, options: IdentifiersOptions, seed: int) -> None:
        self.options, self.seed, self.planted = options, seed, options.planted
        self.names = language_names(options.planted)
        self.vocabulary = Vocabulary.of(options.planted, seed)
        self.size = max(1, round(size_of(options.planted, "selective")))

    @cached_property
    def neurons(self) -> list[Neuron]:
        return plant(self.planted, self.seed)

    def probe(self, documents: int, stream: int) -> Probe:
        """Texts of this seed; those of other streams say something else."""
        return probe_of(self.vocabulary, self.names, documents, self.options.text.tokens, [self.seed, stream])


def measure(options: IdentifiersOptions, seed: int, advance: Advance = nobody) -> list[Row]:
    """All numbers of a seed, without intervals. advance: told documents times removals as they are done."""
    of = Seed(options, seed)
    rows: list[Row] = []
    text = of.probe(options.text.documents, 2)
    for model, neurons, read in (
        (PLANTED, of.neurons, text),
        (UNPLANTED, unplanted(options.planted, of.neurons, seed), text),
        (SHUFFLED, of.neurons, shuffled(text, [seed, 5])),
    ):
        built = build_model(options.planted, neurons, seed)
        sites = find_sites(built)
        known = _known(of, built, sites, advance if model == PLANTED else None)
        if model == PLANTED:
            for truth in TRUTHS:
                ranking = contrast(known.strength[truth])
                rows += _rows(of, model, CEILING, truth, Found(ranking, _highest(ranking, of.size)), known)
        with tempfile.TemporaryDirectory(prefix="alignlab-") as folder:
            records = Records(built, sites, read, Path(folder))
            for name in options.identifiers:
                found = _found(of, name, records)
                for truth in TRUTHS:
                    rows += _rows(of, model, name, truth, found, known)
    return rows


@dataclass
class Records:
    """What identifiers read of a model, each recorded when it is first asked for."""

    model: Any
    sites: list[Any]
    probe: Probe
    folder: Path

    @cached_property
    def counts(self) -> Any:
        return count_firings(self.model, self.sites, self.probe, origin=Origin())

    def read_by(self, identifier: Any) -> Any:
        """The record that it reads."""
        if identifier.reads == "importance":
            wanted = identifier.wanted
            # Where none is named it is that of the probe.
            wanted = replace(wanted, sites=wanted.sites or (self.sites[0].at,))
            return record_importance(self.model, wanted, self.probe, self.folder / wanted.measure)
        return getattr(self, identifier.reads)

    @cached_property
    def means(self) -> ActivationMeans:
        return record_means(self.model, self.sites, self.probe, self.folder / "means")


def settings_of(options: IdentifiersOptions, name: str) -> dict[str, Any]:
    """The options by which an identifier is told how much is planted."""
    if name in CONTROLS or name == CEILING:
        return {}
    size = max(1, round(size_of(options.planted, "selective")))
    planted = options.planted
    languages = planted.families * planted.languages
    number = planted_number(planted) - planted.general - languages * planted.hidden
    shape = planted.layers, planted.neurons
    rate = round(number / (shape[0] * shape[1]), 4)
    return rankings.settings(name, size=size, rate=rate, bar=options.bar, shape=shape)


def _found(of: Seed, name: str, records: Records) -> Found:
    if name not in CONTROLS:
        identifier = rankings.identifier_at(name, settings_of(of.options, name))
        return rankings.identify(name, identifier, records.read_by(identifier))
    if name == "random":
        shape = len(of.names), len(of.neurons)
        ranking = np.random.default_rng([of.seed, 6]).random(shape)
    else:
        ranking = contrast(np.stack([records.means.mean(one).flatten().numpy() for one in of.names]))
    return Found(ranking, _highest(ranking, of.size))


def _highest(ranking: Floats, size: int) -> Bools:
    return np.stack([taken(one, size) == 1 for one in ranking])


def _known(of: Seed, model: Any, sites: list[Any], advance: Advance | None) -> Known:
    """The truth of a model; its strength where `advance` is told of it."""
    g = len(of.names)
    own = np.array([[language in one.languages for one in of.neurons] for language in range(g)])
    true = {truth: truth_of(of.neurons, truth, g) for truth in TRUTHS}
    strength: dict[Truth, Floats] = {}
    if advance is not None:
        number = of.options.text.truth_documents
        rates = firing_rates(model, sites, of.probe(_TOLD * number, 4))
        strength["selective"] = _beyond_others(rates, own)
        strength["necessary"] = costs_of_removal(
            model, sites, of.probe(number, 3), of.options.max_tokens_per_batch, advance
        )
    return Known(kinds_of(of.neurons), own, true, strength)


def _beyond_others(rates: Floats, own: Bools) -> Floats:
    """(G, n): by how much a neuron fires more in a language than in those that it is not for."""
    away = ~own | own.all(axis=0)
    away[:, ~own.any(axis=0)] = True
    beyond: Floats = rates - (rates * away).sum(axis=0) / away.sum(axis=0)
    return beyond


def _rows(of: Seed, model: str, name: str, truth: Truth, found: Found, known: Known) -> Iterator[Row]:
    true, n = known.true[truth], len(known.kinds)
    sizes = true.sum(axis=1)
    base = float(sizes.sum() / true.size)
    chosen = np.stack([taken(one, int(size)) for one, size in zip(found.ranking, sizes, strict=True)])

    def row(measure: str, value: float, chance: float | None, label: str = "", unit: str = "share") -> Row:
        return Row(
            analysis="identifiers", record=model, set=name, task=truth, measure=measure, label=label, value=value,
            unit=unit, reference=chance, seed=of.seed,
        )  # fmt: skip

    yield row(PRECISION, precision(chosen, true), base)
    number = float(found.sets.sum() / len(true))
    yield row(SIZE, number, float(sizes.mean()), unit="neurons")
    yield row(SET_PRECISION, precision(found.sets, true), base)
    yield row(SET_RECALL, recall(found.sets, true), number / n)
    if model != PLANTED:
        return
    if min(sizes) > 1:
        orders = [
            rank_correlation(one[these], strong[these])
            for one, these, strong in zip(found.ranking, true, known.strength[truth], strict=True)
        ]
        yield row(CORRELATION, float(np.mean(orders)), 0.0, unit="correlation")
    for kind in OF_TRUTH[truth]:
        these = known.own & (known.kinds == CLASSES.index(kind))
        if these.any():
            yield row(FOUND, recall(chosen, these), float(sizes.mean() / n), kind)
    elsewhere = known.own.any(axis=0) & ~known.own
    for number_of, label in enumerate(PICKS):
        these = elsewhere if label == _OTHERS else (known.kinds == number_of) & ~elsewhere
        yield row(PICKED, precision(chosen, these), float(these.mean()), label)


def plain_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as they are kept: what is set in them; a number that is none is null."""
    kept = ("record", "set", "task", "measure", "label", "value", "unit", "reference", "seed")
    return [{name: _plain(getattr(one, name)) for name in kept} for one in rows]


def rows_of(plain: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows that were kept."""
    return [
        Row(**{**one, "analysis": "identifiers", "value": float("nan") if one["value"] is None else one["value"]})
        for one in plain
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
