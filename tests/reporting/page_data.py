"""Runs for the page, made of random neurons: every row is counted from them, so that all numbers fit together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.analysis.languages import EXCESS, EXPECTED, PAIRS, Z
from alignlab.neurons.table import Row
from alignlab.reporting.page.data import MEANS, PageLanguage, PageRun

LANGUAGES = (
    PageLanguage("en", "English", "English", "Latn", "Germanic", "reference", 14_200, 120),
    PageLanguage("zh", "Chinese", "中文", "Hans", "Sinitic", "trained", 15_310, 120),
    PageLanguage("de", "German", "Deutsch", "Latn", "Germanic", "trained", 14_977, 120),
    PageLanguage("bn", "Bengali", "বাংলা", "Beng", "Indo-Aryan", "unseen", 33_004, 120),
    PageLanguage("ar", "Arabic", "العربية", "Arab", "Semitic", "unseen", 16_118, 120),
    PageLanguage("fr", "French", "français", "Latn", "Romance", "unseen", 15_600, 120),
    PageLanguage("ja", "Japanese", "日本語", "Jpan", "Japonic", "unseen", 17_450, 120),
    PageLanguage("ru", "Russian", "русский", "Cyrl", "Slavic", "unseen", 15_902, 120),
    PageLanguage("sw", "Swahili", "Kiswahili", "Latn", "Bantu", "unseen", 18_243, 120),
    PageLanguage("th", "Thai", "ไทย", "Thai", "Kra-Dai", "unseen", 21_090, 120),
)
KINDS = ("none", "specific", "related", "general", "unassigned")


@dataclass(frozen=True)
class Neurons:
    """Who owns what at a snapshot. owned: (G, L, N) bool, above tau. selected: (L, N) bool."""

    owned: NDArray[np.bool_]
    selected: NDArray[np.bool_]

    @property
    def codes(self) -> NDArray[np.int64]:
        """(L, N), places in KINDS; by the paper's convention."""
        degree = self.owned.sum(axis=0)
        within = np.select([degree == 0, degree == 1, degree < len(self.owned)], [4, 1, 2], 3)
        codes: NDArray[np.int64] = np.where(self.selected | (degree == len(self.owned)), within, 0)
        return codes


def random_neurons(
    steps: Sequence[int], shape: tuple[int, int] = (32, 400), seed: int = 0, languages: int = 10
) -> dict[int, Neurons]:
    """Neurons of each step: a few change from one to the next, more in the last layers."""
    random = np.random.default_rng(seed)
    layers, width = shape
    depth = np.linspace(0, 1, layers)[:, None]
    share = 0.02 + 0.22 * (2 * depth - 1) ** 2 * random.uniform(0.2, 1, (layers, width))
    selected = random.random((layers, width)) < share
    rate = random.choice([0.03, 0.15, 0.4, 0.97], (layers, width), p=[0.35, 0.4, 0.2, 0.05])
    owned = random.random((languages, layers, width)) < rate
    found = {}
    for number, step in enumerate(steps):
        if number:
            redrawn = random.random((layers, width)) < 0.02 + 0.1 * depth
            fresh = random.random((languages, layers, width)) < rate * 1.1
            owned = np.where(redrawn, fresh, owned)
            selected = selected ^ (random.random((layers, width)) < 0.01)
        found[step] = Neurons(owned, selected)
    return found


def reestimated(at: Mapping[int, Neurons]) -> dict[int, Neurons]:
    """The same at thresholds of their own: after the first step a higher tau, under which some neurons fall."""
    first = min(at)
    return {
        step: neurons
        if step == first
        else Neurons(neurons.owned & (np.arange(neurons.owned.shape[2]) % 11 != step % 7), neurons.selected)
        for step, neurons in at.items()
    }


def count_rows(neurons: Neurons, step: int, languages: Sequence[PageLanguage], thresholds: str) -> list[Row]:
    """The tidy rows of a snapshot, without intervals."""
    codes, (layers, width) = neurons.codes, neurons.selected.shape
    columns: dict[str, Any] = {"analysis": "kinds", "record": f"step {step}", "step": step, "thresholds": thresholds}

    def row(group: str, language: str, layer: int | None, kind: str, count: float) -> Row:
        return Row(
            **columns, group=group, language=language, layer=layer, kind=kind, convention="paper", value=float(count),
            denominator=layers * width if layer is None else width,
        )  # fmt: skip

    rows = [row("all", "", None, KINDS[code], (codes == code).sum()) for code in (1, 2, 3, 4)]
    for layer in range(layers):
        rows += [row("all", "", layer, KINDS[code], (codes[layer] == code).sum()) for code in (1, 2, 3, 4)]
    of = {
        (language.code, code): (owned & (codes == code)).sum()
        for language, owned in zip(languages, neurons.owned, strict=True)
        for code in (1, 2)
    }
    rows += [row("language", name, None, KINDS[code], count) for (name, code), count in of.items()]
    for group in MEANS:
        members = [language.code for language in languages if group in (language.group, "all languages")]
        for code in (1, 2) if members else ():
            rows.append(row(group, "", None, KINDS[code], sum(of[name, code] for name in members) / len(members)))
    degree = neurons.owned.sum(axis=0)
    for convention, pool in (("all", np.ones_like(neurons.selected)), ("selection", neurons.selected)):
        rows += [
            Row(
                **columns, degree=value, convention=convention, value=float((degree[pool] == value).sum()),
                denominator=int(pool.sum()),
            )
            for value in range(len(neurons.owned) + 1)
        ]  # fmt: skip
    return rows


def with_changes(rows: Sequence[Row], first: int, intervals: bool) -> list[Row]:
    """The rows and their changes since the first step, with intervals as wide as a Poisson count would have."""
    start = {place(row): row for row in rows if row.step == first}
    found = []
    for row in rows:
        both = [row, *([row.less(start[place(row)], since=f"step {first}")] if row.step != first else [])]
        width = 1.96 * max(row.value, 1) ** 0.5 * 0.6
        found += [one.within(one.value - width, one.value + width, width / 2, 0) for one in both] if intervals else both
    return found


def place(row: Row) -> tuple[object, ...]:
    return (
        row.analysis, row.thresholds, row.group, row.language, row.layer, row.kind, row.degree, row.convention,
        row.measure,
    )  # fmt: skip


def page_run(
    name: str = "zh-de",
    *,
    steps: Sequence[int] = (0, 50, 100, 150, 200),
    shape: tuple[int, int] = (32, 400),
    languages: Sequence[PageLanguage] = LANGUAGES,
    seed: int = 0,
    intervals: bool = True,
) -> PageRun:
    """A run with every part."""
    at = random_neurons(steps, shape, seed, len(languages))
    rows: list[Row] = []
    for thresholds, neurons in (("anchored", at), ("reestimated", reestimated(at))):
        counted = [row for step in steps for row in count_rows(neurons[step], step, languages, thresholds)]
        rows += with_changes(counted, steps[0], intervals)
    random = np.random.default_rng(seed)
    rows += loss_rows(steps, languages)
    for step in steps:
        for thresholds, less in (("anchored", 0), ("reestimated", step / 10_000)):
            values = {"tau": 0.6118 - less, "lambda": 0.023 + less / 10}
            rows += [
                Row(analysis="thresholds", step=step, thresholds=thresholds, measure=name, value=value, unit="")
                for name, value in values.items()
            ]
    for thresholds, neurons in (("anchored", at), ("reestimated", reestimated(at))):
        for step in steps[1:]:
            rows += transition_rows(at[steps[0]], neurons[step], step, thresholds)
    for step in (steps[0], steps[-1]):
        rows += overlap_rows(at[step], step, languages) + part_rows(step)
    rows += number_rows(steps) if intervals else []
    return PageRun(
        name=name,
        folder=f"runs/{name}",
        model="models/some-model",
        revision="5bc1e80",
        site="mlp.act",
        scope="response",
        shape=shape,
        identifier="ternary",
        options={"top_rate": 0.01, "bar": 0.95, "lambda_": "largest"},
        languages=languages,
        steps=steps,
        rows=rows,
        training_loss=[(step, float(2 * 0.98**step + 0.1 * random.random())) for step in range(1, steps[-1] + 1)],
        config=f"run:\n  name: {name}\nmodel:\n  source: models/some-model\n",
        environment={"python": "3.11.7", "packages": {"torch": "2.13.0"}, "data_fingerprint": "49d091c3ed565a59"},
        notes=("Made of random neurons.",),
    )


def loss_rows(steps: Sequence[int], languages: Sequence[PageLanguage]) -> list[Row]:
    """Losses that rise from step to step and from language to language, and their means."""
    found = []
    for number, step in enumerate(steps):
        columns: dict[str, Any] = {"analysis": "losses", "step": step, "measure": "loss", "unit": "nats a token"}
        of = {one: round(0.4 + 0.1 * place + 0.3 * number / len(steps), 4) for place, one in enumerate(languages)}
        found += [Row(**columns, group="language", language=one.code, value=value) for one, value in of.items()]
        for group in MEANS:
            members = [value for one, value in of.items() if group in (one.group, "all languages")]
            if members:
                found.append(Row(**columns, group=group, value=sum(members) / len(members)))
    return found


def part_rows(step: int) -> list[Row]:
    columns: dict[str, Any] = {"analysis": "layer_parts", "step": step, "thresholds": "anchored"}
    labels = ("understanding", "shared semantic space", "output space transformation", "no signature")
    starts = [
        Row(**columns, value=start, layer=start, unit="layers", measure="first layer", label=label)
        for start, label in zip((0, 5, 18, 28), labels, strict=True)
    ]
    curves = [
        Row(**columns, value=math.sin(layer + place), layer=layer, kind=kind, measure="curve", unit="z")
        for place, kind in enumerate(("specific", "related", "general"))
        for layer in range(32)
    ]
    costs = (96.0, 61.5, 40.1, 27.3, 23.9, 21.0)
    errors = [Row(**columns, value=cost, unit="error", measure=f"{n} parts") for n, cost in enumerate(costs, start=1)]
    within = "resamples with this cut within one layer"
    shares = zip((5, 18, 28), (0.91, 0.63, 0.985), strict=True)
    return (
        starts
        + curves
        + errors
        + [Row(**columns, value=v, layer=cut, unit="share", measure=within) for cut, v in shares]
    )


def number_rows(steps: Sequence[int]) -> list[Row]:
    """Some of each table; the middle one of English is beyond noise, the last is not defined."""
    found = []

    def add(value: float, ends: tuple[float, float] | None, **columns: Any) -> None:
        row = Row(value=value, record=f"step {columns['step']}", thresholds="anchored", **columns)
        found.append(row if ends is None else row.within(*ends, 0.1, 0))

    for step, shift in ((steps[0], 0.0), (steps[-1], 0.25)):
        english: dict[str, Any] = {"analysis": "english_uniqueness", "step": step}
        ratio: dict[str, Any] = english | {"unit": "ratio", "reference": 1.0, "measure": "over the others"}
        add(1.1, (0.8, 1.4), kind="specific", **ratio)
        add(1.5 + shift, (1.2, 2.3), kind="related", **ratio)
        add(31.5, (20.25, 41.25), kind="related", group="unseen without en", **english)
        add(float("nan"), None, kind="selected", **ratio)
        add(
            shift - 0.125, (-0.25, 0.5), analysis="family_overlap", step=step, group="within", unit="share",
            measure=EXCESS, denominator=1, reference=0.0,
        )  # fmt: skip
        family: dict[str, Any] = {"analysis": "family_overlap", "step": step, "group": "within less between"}
        add(3.25, None, **family, measure=Z, unit="z", p=0.004, p_adjusted=0.004, family="families", correction="holm")
    last: dict[str, Any] = {"step": steps[-1]}
    since: dict[str, Any] = last | {"since": f"step {steps[0]}"}
    share: dict[str, Any] = since | {"unit": "share"}
    add(0.825, (0.75, 0.875), analysis="survival", kind="related", denominator=40, **share)
    add(0.9, None, analysis="overlap_ratio", language="de", denominator=40, **share)
    add(4.25, None, analysis="stability", kind="related", measure="by chance", **last)
    add(-0.25, (-0.5, -0.125), analysis="english_uniqueness", kind="related", unit="ratio", reference=0.0, **since)
    loss: dict[str, Any] = since | {"analysis": "losses", "measure": "loss", "unit": "nats a token", "reference": 0.0}
    add(0.24, (0.125, 0.375), group="trained", **loss)
    add(0.24, (-0.125, 0.625), group="unseen", **loss)
    return found


def transition_rows(before: Neurons, after: Neurons, step: int, thresholds: str) -> list[Row]:
    first, last = before.codes, after.codes
    return [
        Row(
            analysis="transitions", step=step, since="step 0", thresholds=thresholds, kind=KINDS[a], to_kind=KINDS[b],
            value=int(((first == a) & (last == b)).sum()), denominator=int((first == a).sum()),
        )
        for a in range(5)
        for b in range(5)
    ]  # fmt: skip


def overlap_rows(neurons: Neurons, step: int, languages: Sequence[PageLanguage]) -> list[Row]:
    """Of related neurons, beside some chance; every third pair is told to be beyond it."""
    related = neurons.owned & (neurons.codes == 2)
    pool = neurons.selected.sum()
    found = []
    for place, (a, b) in enumerate(combinations(range(len(languages)), 2)):
        sizes = related[a].sum() + related[b].sum()
        common, expected = (related[a] & related[b]).sum(), related[a].sum() * related[b].sum() / pool
        jaccard, chance = common / (sizes - common), expected / (sizes - expected)
        z = (common - expected) / np.sqrt(max(expected, 1))
        whose: dict[str, Any] = {
            "analysis": "language_overlap",
            "step": step,
            "thresholds": "anchored",
            "convention": "paper",
            "group": "pair",
            "language": languages[a].code,
            "other": languages[b].code,
        }
        found += [
            Row(**whose, measure="jaccard", value=float(jaccard), unit="share"),
            Row(**whose, measure=EXPECTED, value=float(chance), unit="share"),
            Row(**whose, measure=EXCESS, value=float(jaccard - chance), unit="share", reference=0.0),
            Row(
                **whose,
                measure=Z,
                value=float(z) * (-1) ** place,
                unit="z",
                p=0.3 if place % 3 else 1e-4,
                p_adjusted=0.5 if place % 3 else 1e-3,
                family=PAIRS,
                correction="fdr",
            ),
        ]
    return found


def wide_rows(run: PageRun) -> list[dict[str, Any]]:
    """The counts as the page's own tables have them, each beside its change; ends of intervals to 4 decimals."""
    columns = ("group", "language", "layer", "kind", "degree", "convention", "value", "denominator")
    counts = [row for row in run.rows if row.analysis == "kinds"]
    changes = {(row.step, place(row)): row for row in counts if row.since}

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    found = []
    for row in counts:
        if row.since:
            continue
        line = {"thresholds": row.thresholds, "step": row.step} | {name: getattr(row, name) for name in columns}
        change = changes.get((row.step, place(row)))
        line |= {"low": rounded(row.low), "high": rounded(row.high)}
        line |= {"change": None, "change_low": None, "change_high": None, "beyond_noise": None}
        if change is not None:
            line |= {"change": rounded(change.value), "beyond_noise": change.beyond_noise}
            line |= {"change_low": rounded(change.low), "change_high": rounded(change.high)}
        found.append(line)
    return found


def bare_run(name: str = "bare", languages: Sequence[PageLanguage] = LANGUAGES) -> PageRun:
    """A run that has its totals at anchored thresholds and nothing else."""
    full = page_run(name, steps=(0, 100), shape=(4, 640), intervals=False)
    totals = [
        row
        for row in full.rows
        if (row.analysis, row.thresholds, row.group, row.layer) == ("kinds", "anchored", "all", None) and row.kind
    ]
    return replace(
        full,
        languages=[replace(language, tokens=None, documents=None, own_name="") for language in languages],
        rows=totals,
        training_loss=None,
        config=None,
        environment=None,
        notes=(),
    )
