"""Runs for the page, made of random neurons: every row is counted from them, so that all numbers fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alignlab.reporting.page.data import (
    LanguageOverlap,
    LayerParts,
    LossRow,
    PageLanguage,
    PageNumber,
    PageRow,
    PageRun,
    Thresholds,
    Transition,
)

LANGUAGES = (
    PageLanguage("en", "English", "English", "Latn", "Germanic", False, 14_200, 120),
    PageLanguage("zh", "Chinese", "中文", "Hans", "Sinitic", True, 15_310, 120),
    PageLanguage("de", "German", "Deutsch", "Latn", "Germanic", True, 14_977, 120),
    PageLanguage("bn", "Bengali", "বাংলা", "Beng", "Indo-Aryan", False, 33_004, 120),
    PageLanguage("ar", "Arabic", "العربية", "Arab", "Semitic", False, 16_118, 120),
    PageLanguage("fr", "French", "français", "Latn", "Romance", False, 15_600, 120),
    PageLanguage("ja", "Japanese", "日本語", "Jpan", "Japonic", False, 17_450, 120),
    PageLanguage("ru", "Russian", "русский", "Cyrl", "Slavic", False, 15_902, 120),
    PageLanguage("sw", "Swahili", "Kiswahili", "Latn", "Bantu", False, 18_243, 120),
    PageLanguage("th", "Thai", "ไทย", "Thai", "Kra-Dai", False, 21_090, 120),
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


def count_rows(neurons: Neurons, step: int, languages: Sequence[PageLanguage], thresholds: str) -> list[PageRow]:
    """The tidy rows of a snapshot, without intervals."""
    codes, (layers, width) = neurons.codes, neurons.selected.shape

    def row(group: str, language: str, layer: int | None, kind: str, count: float) -> PageRow:
        out_of = layers * width if layer is None else width
        return PageRow(step, group, language, layer, kind, None, "paper", float(count), out_of, thresholds)

    rows = [row("all", "", None, KINDS[code], (codes == code).sum()) for code in (1, 2, 3, 4)]
    for layer in range(layers):
        rows += [row("all", "", layer, KINDS[code], (codes[layer] == code).sum()) for code in (1, 2, 3, 4)]
    of = {
        (language.code, code): (owned & (codes == code)).sum()
        for language, owned in zip(languages, neurons.owned, strict=True)
        for code in (1, 2)
    }
    rows += [row("language", name, None, KINDS[code], count) for (name, code), count in of.items()]
    for group, trained in (("trained", True), ("unseen", False)):
        members = [language.code for language in languages if language.trained is trained]
        for code in (1, 2) if members else ():
            rows.append(row(group, "", None, KINDS[code], sum(of[name, code] for name in members) / len(members)))
    degree = neurons.owned.sum(axis=0)
    for convention, pool in (("all", np.ones_like(neurons.selected)), ("selection", neurons.selected)):
        rows += [
            PageRow(
                step, "all", "", None, "", value, convention, float((degree[pool] == value).sum()), int(pool.sum()),
                thresholds,
            )
            for value in range(len(neurons.owned) + 1)
        ]  # fmt: skip
    return rows


def with_intervals(rows: Sequence[PageRow], first: int) -> list[PageRow]:
    """Intervals as wide as a Poisson count would have, and the changes since the first step."""
    start = {_place(row): row.count for row in rows if row.step == first}
    found = []
    for row in rows:
        width = 1.96 * max(row.count, 1) ** 0.5 * 0.6
        row = replace(row, low=row.count - width, high=row.count + width)
        if row.step != first:
            change = row.count - start[_place(row)]
            row = replace(
                row,
                change=change,
                change_low=change - width,
                change_high=change + width,
                beyond_noise=abs(change) > width,
            )
        found.append(row)
    return found


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
    rows = []
    for thresholds, neurons in (("anchored", at), ("reestimated", reestimated(at))):
        counted = [row for step in steps for row in count_rows(neurons[step], step, languages, thresholds)]
        rows += with_intervals(counted, steps[0]) if intervals else counted
    random = np.random.default_rng(seed)
    losses = [
        LossRow(step, language.code, round(float(0.4 + 0.1 * place + 0.3 * number / len(steps)), 4))
        for number, step in enumerate(steps)
        for place, language in enumerate(languages)
    ]
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
        anchored=Thresholds(0.6118, 0.023),
        reestimated={step: Thresholds(0.6118 - step / 10_000, 0.023 + step / 100_000) for step in steps},
        losses=losses,
        training_loss=[(step, float(2 * 0.98**step + 0.1 * random.random())) for step in range(1, steps[-1] + 1)],
        transitions=[
            Transition(step, transition_table(at[steps[0]], neurons[step]), thresholds)
            for step in steps[1:]
            for thresholds, neurons in (("anchored", at), ("reestimated", reestimated(at)))
        ],
        overlaps=[overlap(at[step], step, languages) for step in (steps[0], steps[-1])],
        parts=[
            LayerParts(
                step,
                (5, 18, 28),
                ("understanding", "shared semantic space", "output space transformation", ""),
                {1: 96.0, 2: 61.5, 3: 40.1, 4: 27.3, 5: 23.9, 6: 21.0},
                (0.91, 0.63, 0.985),
            )
            for step in (steps[0], steps[-1])
        ],
        numbers=page_numbers(steps) if intervals else None,
        config=f"run:\n  name: {name}\nmodel:\n  source: models/some-model\n",
        environment={"python": "3.11.7", "packages": {"torch": "2.13.0"}, "data_fingerprint": "49d091c3ed565a59"},
        notes=("Made of random neurons.",),
    )


def page_numbers(steps: Sequence[int]) -> list[PageNumber]:
    """Some of each table; the middle one of English is beyond noise, the last is not defined."""
    found, english = [], "English over the mean of the others"
    family = "Jaccard less chance, within a family"
    for step, shift in ((steps[0], 0.0), (steps[-1], 0.25)):
        found += [
            PageNumber(step, "english", f"{english}: specific", 1.1, "ratio", 0.8, 1.4, 1.0),
            PageNumber(step, "english", f"{english}: related", 1.5 + shift, "ratio", 1.2, 2.3, 1),
            PageNumber(step, "english", "unseen without en, mean a language: related", 31.5, "neurons", 20.25, 41.25),
            PageNumber(step, "english", f"{english}: selected", float("nan"), "ratio", None, None, 1),
            PageNumber(step, "family", f"{family}, 1 pairs", shift - 0.125, "share", -0.25, 0.5, 0),
        ]  # fmt: skip
    found.append(PageNumber(steps[-1], "survival", "related, all", 0.825, "share", 0.75, 0.875))
    found.append(PageNumber(steps[-1], "control", "related, by chance", 4.25, "neurons"))
    found.append(PageNumber(steps[-1], "loss change", "trained, mean", 0.24, "nats a token", 0.125, 0.375, 0))
    found.append(PageNumber(steps[-1], "loss change", "unseen, mean", 0.24, "nats a token", -0.125, 0.625, 0))
    found.append(PageNumber(steps[-1], "ratio", "de", 0.9, "share"))
    return found


def transition_table(before: Neurons, after: Neurons) -> list[list[int]]:
    first, last = before.codes, after.codes
    return [[int(((first == a) & (last == b)).sum()) for b in range(5)] for a in range(5)]


def overlap(neurons: Neurons, step: int, languages: Sequence[PageLanguage]) -> LanguageOverlap:
    """Of related neurons, against chance over the selection as a whole; undefined on the diagonal."""
    related = neurons.owned & (neurons.codes == 2)
    pool = neurons.selected.sum()
    g = len(languages)
    jaccard, chance, z = np.full((3, g, g), np.nan)
    for a in range(g):
        for b in range(g):
            if a != b:
                sizes = related[a].sum() + related[b].sum()
                common, expected = (related[a] & related[b]).sum(), related[a].sum() * related[b].sum() / pool
                jaccard[a, b], chance[a, b] = common / (sizes - common), expected / (sizes - expected)
                z[a, b] = (common - expected) / np.sqrt(max(expected, 1))
    codes = [language.code for language in languages]
    of = "related neurons, chance among those selected"
    return LanguageOverlap(step, of, codes, jaccard.tolist(), chance.tolist(), z.tolist())


def bare_run(name: str = "bare", languages: Sequence[PageLanguage] = LANGUAGES) -> PageRun:
    """A run that has its totals at anchored thresholds and nothing else."""
    full = page_run(name, steps=(0, 100), shape=(4, 640), intervals=False)
    totals = [
        row
        for row in full.rows
        if row.thresholds == "anchored" and row.kind and row.group == "all" and row.layer is None
    ]
    return replace(
        full,
        languages=[replace(language, tokens=None, documents=None, own_name="") for language in languages],
        rows=totals,
        anchored=None,
        reestimated=None,
        losses=None,
        training_loss=None,
        transitions=None,
        overlaps=None,
        parts=None,
        config=None,
        environment=None,
        notes=(),
    )


def _place(row: PageRow) -> tuple[object, ...]:
    return row.group, row.language, row.layer, row.kind, row.degree, row.convention
