"""How often intervals hold what is expected, how often nothing is taken for something, and which changes are found.

    python scripts/simulations/intervals.py --runs 2000 --sections changes counts null power controls

Texts are made up: a neuron fires on some share of a document's tokens, which differs from document to document
(logit-normal), by language, and from one snapshot to the next; a shard is three documents. Records of these go through
the default path: ternary with the largest lambda, found anew in every run, convention `paper`, tau and lambda anchored
to the first record in changes. What is expected is the mean over the runs. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from alignlab.neurons import ActivationCounts, Classification, Kind
from alignlab.neurons.corrections import ALPHA, adjusted
from alignlab.neurons.dynamics import overlap_ratios, survival_by_language, transitions
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.overlaps import share
from alignlab.neurons.summary import COUNTED_KINDS, KINDS_OF_A_LANGUAGE
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import (
    ClassifiedResample,
    bootstrap,
    bootstrap_difference,
    chance_level,
    over_classified,
    resampled_losses,
    with_intervals,
)

LANGUAGES = ("en", "de", "sv", "sw", "zh", "th")
TRAINED = ("de", "sw", "zh")
SHARDS = 20
# How much the share of active tokens differs, in logits: between documents, and between snapshots on one document.
BETWEEN_DOCUMENTS, BETWEEN_SNAPSHOTS = 0.6, 0.3
DOCUMENTS = 3  # a shard


@dataclass(frozen=True)
class World:
    """A model of so many neurons, and how they are classified; `languages`: how far languages differ."""

    name: str
    layers: int
    width: int
    top_rate: float
    bar: float
    languages: float = 1.0
    resamples: int = 100

    @property
    def identifier(self) -> TernaryConfig:
        return TernaryConfig(top_rate=self.top_rate, bar=self.bar)

    def logits(self) -> np.ndarray:
        """What each neuron's activity in each language is around, (G, L, N)."""
        random, shape = np.random.default_rng(0), (1, self.layers, self.width)
        common, differs = random.normal(-2.2, 1.3, shape), 1.5 * random.random(shape)
        apart = random.normal(0, 1, (len(LANGUAGES), *shape[1:]))
        return np.asarray(common + self.languages * differs * apart)


MANY = World("many", 12, 100, top_rate=0.1, bar=0.8)
SOME = World("some", 12, 60, top_rate=0.05, bar=0.9)
FEW = World("few", 12, 30, top_rate=0.05, bar=0.95)


def records(seed: int, *snapshots: np.ndarray) -> list[ActivationCounts]:
    """A record of each snapshot's (G, L, N) logits, on the same documents."""
    random, of_losses = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    g, layers, width = snapshots[0].shape
    shape = (g, SHARDS * DOCUMENTS, layers, width)
    tokens = random.integers(20, 60, shape[:2])
    documents = BETWEEN_DOCUMENTS * random.normal(size=shape)
    difficulty = of_losses.normal(2, 0.5, shape[:2])

    def by_shard(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.reshape(g, SHARDS, DOCUMENTS, *values.shape[2:]).sum(axis=2))

    made = []
    for step, logits in enumerate(snapshots):
        activity = 1 / (1 + np.exp(-logits[:, None] - documents - BETWEEN_SNAPSHOTS * random.normal(size=shape)))
        losses = (difficulty - 0.1 * step + of_losses.normal(0, 0.1, shape[:2])) * tokens
        made.append(
            ActivationCounts(
                LANGUAGES,
                by_shard(random.binomial(tokens[:, :, None, None], activity)),
                by_shard(tokens),
                by_shard(np.ones_like(tokens)),
                "mlp.act",
                "all",
                step=step,
                loss_sum=by_shard(losses),
                loss_tokens=by_shard(tokens),
            )
        )
    return made


def planted(world: World, part: float) -> np.ndarray:
    """The logits after `part` of the specific neurons has become as active in a second language as in its own."""
    logits = world.logits()
    p = torch.from_numpy(1 / (1 + np.exp(-logits)))
    kinds = world.identifier.identify(records(0, logits)[0]).kinds()
    places = np.argwhere((kinds == Kind.SPECIFIC).numpy())
    random = np.random.default_rng(1)
    for layer, neuron in random.permutation(places)[: round(part * len(places))]:
        order = p[:, layer, neuron].argsort(descending=True).tolist()
        logits[order[1], layer, neuron] = logits[order[0], layer, neuron]
    return logits


def drifted(world: World) -> np.ndarray:
    """The logits after every neuron has moved a little, in every language by itself."""
    logits = world.logits()
    return np.asarray(logits + np.random.default_rng(5).normal(0.05, 0.25, logits.shape))


# Numbers of two records that are no counts of kinds. Those of one run are in one order.


def moves(before: Classification, now: Classification) -> list[Row]:
    """Transitions, survival, what languages keep of their sets, and the Jaccard of pairs of languages."""
    codes = [result.kinds() for result in (before, now)]
    rows = [
        Row(analysis="transitions", value=number, kind=old.label, to_kind=new.label, denominator=sum(line))
        for old, line in zip(Kind, transitions(*codes).tolist(), strict=True)
        for new, number in zip(Kind, line, strict=True)
    ]
    of = partial(Row, analysis="survival", unit="share")
    for kind in Kind:
        had = codes[0] == kind
        rows.append(of(value=share(int((had & (codes[1] == kind)).sum()), int(had.sum())), denominator=int(had.sum())))
    for name, kept in survival_by_language(before, now).items():
        sizes = [int((before.above[name] & (codes[0] == kind)).sum()) for kind in KINDS_OF_A_LANGUAGE]
        rows += [of(value=kept[kind], denominator=n) for kind, n in zip(KINDS_OF_A_LANGUAGE, sizes, strict=True)]
    of = partial(Row, analysis="overlap ratio", unit="share")
    for name, ratio in overlap_ratios(before, now).items():
        rows.append(of(value=ratio, denominator=int(before.sets[name].sum())))
    return rows + jaccards(now)


def jaccards(result: Classification) -> list[Row]:
    """Of the related neurons of every pair of languages, with the size of their union as the denominator."""
    related = (result.kinds() == Kind.RELATED).numpy()
    owned = np.stack([(above.numpy() & related).ravel() for above in result.above.values()]).astype(np.float64)
    common, size = owned @ owned.T, owned.sum(axis=1)
    a, b = np.triu_indices(len(size), 1)
    union = size[a] + size[b] - common[a, b]
    return [
        Row(analysis="jaccard", unit="share", value=share(x, n), denominator=int(n))
        for x, n in zip(common[a, b].tolist(), union.tolist(), strict=True)
    ]


def moved(resamples: Sequence[ClassifiedResample]) -> list[float]:
    return [row.value for row in moves(*(one.result for one in resamples))]


def changed(world: World, run: int) -> list[Row]:
    """The changes of one run at the thresholds of its first record, moves and shares, with their intervals."""
    seed = 1000 + run
    first, second = records(seed, world.logits(), drifted(world))
    identifier = world.identifier
    resampling: dict[str, Any] = {"resamples": world.resamples, "seed": seed}
    changes = bootstrap_difference(first, second, identifier, TRAINED, **resampling).intervals
    before = identifier.identify(first)
    two = moves(before, identifier.identify(second, before))
    drawn = np.array(list(over_classified([first, second], identifier, moved, anchor=before, **resampling)))
    return [*(replace(row, thresholds="change") for row in changes), *with_intervals(two, drawn, SHARDS)]


def counted(world: World, anchor: Classification, run: int) -> list[Row]:
    """The counts of one run, at its own thresholds and at those of `anchor`; losses and their changes."""
    seed = 1000 + run
    first, second = records(seed, world.logits(), drifted(world))
    resampling: dict[str, Any] = {"resamples": world.resamples, "seed": seed}
    own = bootstrap(first, world.identifier, TRAINED, **resampling).intervals
    held = bootstrap(second, world.identifier, TRAINED, anchor=anchor, **resampling).intervals
    table = [
        replace(row, thresholds=name) for name, rows in (("re-estimated", own), ("anchored", held)) for row in rows
    ]
    losses = [
        [Row(analysis="loss", unit="nats a token", value=value) for value in record.losses().tolist()]
        for record in (first, second)
    ]
    drawn = [resampled_losses(record, **resampling) for record in (first, second)]
    less = [row.less(old, since="first") for old, row in zip(*losses, strict=True)]
    table += with_intervals(losses[0], drawn[0], SHARDS)
    return table + with_intervals(less, drawn[1] - drawn[0], SHARDS)


def lead(rows: Iterable[Row]) -> list[Row]:
    """The changes that a report begins with: the kinds over all layers, of all neurons and of groups of languages."""
    return [
        row for row in rows
        if row.is_change and row.kind and row.layer is None and not row.language and row.analysis == "kinds"
    ]  # fmt: skip


def lead_of(world: World, snapshots: Sequence[np.ndarray], run: int) -> list[Row]:
    first, second = records(100_000 + run, *snapshots)
    found = bootstrap_difference(first, second, world.identifier, TRAINED, resamples=world.resamples, seed=run)
    return lead(found.intervals)


# What is made of the runs


def sort_of(row: Row) -> str:
    """The line of the table that a number belongs to."""
    if row.analysis != "kinds":
        return f"change of {row.analysis}" if row.is_change else row.analysis
    if row.degree is not None:
        what = "by degree"
    elif row.layer is not None:
        what = "by layer"
    elif row.language:
        what = "by language"
    else:
        what = row.kind if row.group == "all" else "mean over a group"
    return f"{row.thresholds}: {what}"


def sizes_of(row: Row, expected: float) -> str:
    """Many or few neurons: by what is counted, or by what a share is of."""
    if row.unit == "nats a token":
        return ""
    of = expected if row.unit == "neurons" else row.denominator or 0
    return "under 1" if of < 1 else "1 to 10" if of < 10 else "10 or more"


@dataclass
class Held:
    """How a number's intervals did: of how many runs, of how many there was an interval, and how many held it."""

    runs: int
    given: int
    held: int
    impossible: int


def coverage(tables: Sequence[Sequence[Row]]) -> Iterator[tuple[str, str, Held]]:
    """Of every number that varies, how often its interval holds the mean over the runs."""
    for column in zip(*tables, strict=True):
        values = [row.value for row in column if row.value == row.value]
        if not values or min(values) == max(values):
            continue
        row, expected = column[0], float(np.mean(values))
        typical = replace(row, denominator=round(np.median([one.denominator or 0 for one in column])) or None)
        given = [one for one in column if one.low is not None and one.high is not None]
        held = sum(one.low - 1e-9 <= expected <= one.high + 1e-9 for one in given)
        impossible = sum(not _possible(one) for one in given)
        size = abs(expected) if not row.is_change else float(np.std(values)) ** 2
        yield sort_of(row), sizes_of(typical, size), Held(len(column), len(given), held, impossible)


def _possible(row: Row) -> bool:
    neurons = float("inf") if row.to_kind else row.denominator or float("inf")
    most = {"share": 1.0, "neurons": neurons}.get(row.unit, float("inf"))
    return (row.low or 0) >= (-most if row.is_change else 0) and (row.high or 0) <= most


def coverage_lines(world: World, tables: Sequence[Sequence[Row]]) -> list[str]:
    groups: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for sort, size, held in coverage(tables):
        groups[sort, size].append(held)
    lines = []
    for (sort, size), cells in groups.items():
        given, runs = (sum(getattr(cell, name) for cell in cells) for name in ("given", "runs"))
        shares = [cell.held / cell.given for cell in cells if cell.given >= cell.runs / 5]
        if not shares:
            continue
        mean = sum(cell.held for cell in cells) / given
        impossible = sum(cell.impossible for cell in cells)
        lines.append(
            f"| {world.name} | {sort} | {size} | {len(cells)} | {mean:.3f} | {min(shares):.3f} | "
            f"{1 - given / runs:.3f} | {impossible} |"
        )
    return lines


def verdicts(tables: Sequence[Sequence[Row]]) -> tuple[float, float]:
    """The share of runs with any verdict among these rows: uncorrected, and by Holm."""
    p = np.array([[np.nan if row.p is None else row.p for row in rows] for rows in tables])
    corrected = np.array([adjusted(one, "holm") for one in p])
    return tuple(float((np.nan_to_num(one, nan=1.0) < ALPHA).any(axis=1).mean()) for one in (p, corrected))  # type: ignore[return-value]


def found_share(tables: Sequence[Sequence[Row]], kind: str) -> float:
    """The share of runs in which the change of a kind over all neurons is a verdict by Holm."""
    hits = []
    for rows in tables:
        p = adjusted([np.nan if row.p is None else row.p for row in rows], "holm").tolist()
        hits += [q < ALPHA for row, q in zip(rows, p, strict=True) if row.kind == kind and row.group == "all"]
    return float(np.mean(hits))


# Sections


COVERAGE = [
    "| model | number | expected | cells | held, mean | held, least cell | too few | outside the range |",
    "|---|---|---|---|---|---|---|---|",
]


def section_changes(runs: int, pool: ProcessPoolExecutor) -> list[str]:
    lines = list(COVERAGE)
    for world in (MANY, SOME, FEW):
        lines += coverage_lines(world, list(pool.map(partial(changed, world), range(runs), chunksize=10)))
    return lines


def anchor_of(world: World) -> Classification:
    """Thresholds of a text of its own."""
    return world.identifier.identify(records(999, world.logits())[0])


def section_counts(runs: int, pool: ProcessPoolExecutor) -> list[str]:
    lines = list(COVERAGE)
    for world in (MANY, SOME, FEW):
        work = partial(counted, world, anchor_of(world))
        lines += coverage_lines(world, list(pool.map(work, range(runs), chunksize=10)))
    return lines


def section_null(runs: int, pool: ProcessPoolExecutor) -> list[str]:
    lines = ["| model | rows | any verdict, uncorrected | any verdict, Holm |", "|---|---|---|---|"]
    for world in (MANY, FEW):
        work = partial(lead_of, world, (world.logits(), world.logits()))
        tables = list(pool.map(work, range(runs), chunksize=10))
        plain, holm = verdicts(tables)
        lines.append(f"| {world.name} | {len(tables[0])} | {plain:.3f} | {holm:.3f} |")
    return lines


def section_power(runs: int, pool: ProcessPoolExecutor) -> list[str]:
    lines = [
        "| model | specific neurons planted as related | change of specific, mean | found (Holm) "
        "| change of related, mean | found (Holm) |",
        "|---|---|---|---|---|---|",
    ]
    for world in (MANY, FEW):
        for part in (0.1, 0.2, 0.3, 0.4, 0.5):
            work = partial(lead_of, world, (world.logits(), planted(world, part)))
            tables = list(pool.map(work, range(max(runs // 5, 20)), chunksize=10))
            cells = []
            for kind in ("specific", "related"):
                change = np.mean(
                    [row.value for rows in tables for row in rows if (row.kind, row.group) == (kind, "all")]
                )
                cells += [f"{change:+.1f}", f"{found_share(tables, kind):.2f}"]
            lines.append(f"| {world.name} | {part:.0%} | {' | '.join(cells)} |")
    return lines


def controls_of(world: World, run: int) -> tuple[float, float, float, float]:
    """Neurons told apart where languages are alike, and by chance; stable ones, and those of one kind in new text."""
    alike = replace(world, languages=0.0)
    (counts,) = records(200_000 + run, alike.logits())
    identifier = world.identifier
    apart = (Kind.SPECIFIC, Kind.RELATED)
    codes = identifier.identify(counts).kinds()
    real = float(sum((codes == kind).sum() for kind in apart))
    level = chance_level(counts, identifier, draws=4, seed=run)
    first, fresh = (records(seed + run, world.logits())[0] for seed in (300_000, 400_000))
    drawn = bootstrap(first, identifier, TRAINED, resamples=world.resamples, seed=run)
    kinds = drawn.result.kinds()
    stable = drawn.stable & torch.stack([kinds == kind for kind in COUNTED_KINDS]).any(dim=0)
    again = identifier.identify(fresh, drawn.result).kinds()
    return real, sum(level[kind] for kind in apart), float(stable.sum()), float((stable & (again == kinds)).sum())


def section_controls(runs: int, pool: ProcessPoolExecutor) -> list[str]:
    lines = [
        "| model | alike languages: specific and related, mean | chance level, mean | stable neurons, mean "
        "| of the same kind in new text |",
        "|---|---|---|---|---|",
    ]
    for world in (MANY, FEW):
        found = np.array(list(pool.map(partial(controls_of, world), range(max(runs // 5, 20)), chunksize=10)))
        real, chance, stable, again = found.mean(axis=0)
        lines.append(f"| {world.name} | {real:.1f} | {chance:.1f} | {stable:.1f} | {again / stable:.3f} |")
    return lines


SECTIONS = {
    "changes": section_changes,
    "counts": section_counts,
    "null": section_null,
    "power": section_power,
    "controls": section_controls,
}


def main(argv: Collection[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="runs a cell; power and controls take a fifth of them")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    asked = parser.parse_args(None if argv is None else list(argv))
    context = get_context("spawn")
    with ProcessPoolExecutor(asked.processes, context, torch.set_num_threads, (1,)) as pool:
        for name in asked.sections:
            print(f"\n{name}, {asked.runs} runs\n", *SECTIONS[name](asked.runs, pool), sep="\n", flush=True)


if __name__ == "__main__":
    main()
