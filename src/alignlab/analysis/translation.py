"""How good translations are, from the record of what sacrebleu counts in each: BLEU, chrF++ and their paired changes.

A language has the score of its corpus, and a group the mean of its languages: scores of different languages are on
different scales, and no corpus. Intervals are of resamples of clusters, the same in all languages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from alignlab.analysis.capability import IN_LANGUAGE, MEASURES, TOKENS, UNTOLD, Measure, capability_rows, same_items
from alignlab.analysis.verdicts import with_verdicts
from alignlab.errors import InputError, Problem
from alignlab.evaluation.estimates import Estimate
from alignlab.evaluation.resampling import Resampled, mean_of
from alignlab.evaluation.translation import MOST, MetricName, resampled_scores
from alignlab.neurons.groups import group_languages
from alignlab.neurons.table import Row
from alignlab.recording.effects import NO_INTERVENTION, Effects

ANALYSIS = "translation"
CHRF, BLEU = "chrF++", "BLEU"
METRICS: dict[str, MetricName] = {CHRF: "chrf++", BLEU: "bleu"}
# How many numbers sacrebleu counts in a sentence.
COUNTS: dict[MetricName, int] = {"chrf++": 24, "bleu": 10}
# The measures of a record, in the order of its last axis.
NAMES = tuple(f"{metric} {number}" for metric, count in COUNTS.items() for number in range(count))


def translation_rows(
    effects: Effects,
    first: Effects | None = None,
    *,
    into: str | None,
    signatures: Mapping[tuple[str, MetricName], str],
    label: str,
    since: str = "",
    arm: str = NO_INTERVENTION,
) -> list[Row]:
    """chrF++ and BLEU of each language and group, their paired changes since `first`, and the language of the answers.

    effects: with `values` by `NAMES`, and answers; every language has the same sentences.
    into: the language that all are translated into; None where each item is translated into its own.
    signatures: of sacrebleu, by language of the items and metric; they are the unit of a score.
    Raises InputError for records of other sentences.
    """
    if first is not None and not same_items(effects, first):
        raise InputError(Problem(label, "translations of other sentences than the first record's", "the same"))
    groups = group_languages(effects.item_languages, effects.trained_languages, effects.reference or None)
    asked = [("language", name, (name,)) for name in effects.item_languages]
    rows, changes = [], []
    for measure, metric in METRICS.items():
        now = _by_language(effects, arm, metric)
        before = None if first is None else _by_language(first, arm, metric)
        for group, language, members in [*asked, *((group, "", members) for group, members in groups.items())]:
            units = {signatures[member, metric] for member in members}
            columns: dict[str, Any] = {
                "analysis": ANALYSIS,
                "record": label,
                "step": effects.step,
                "group": group,
                "language": language,
                "task": effects.task,
                "measure": measure,
                "unit": f"{measure} {units.pop() if len(units) == 1 else 'as of its languages'}",
                "denominator": sum(now[member].documents for member in members),
            }
            over = "clusters" if effects.clusters else "documents"
            score = mean_of([now[member] for member in members])
            rows.append(_row(score.estimate(most=MOST), over, columns))
            if before is not None:
                change = score.since(mean_of([before[member] for member in members]))
                told = {"since": since, "reference": 0.0}
                changes.append(_row(change.estimate(most=MOST, change=True), over, columns | told))
    languages = {IN_LANGUAGE: MEASURES[IN_LANGUAGE] if into is None else _in(into)}
    languages |= {name: MEASURES[name] for name in (UNTOLD, TOKENS)}
    told_rows = capability_rows(
        effects, first, label=label, since=since, arm=arm, measures=languages, analysis=ANALYSIS
    )
    return rows + with_verdicts(changes) + told_rows


def _in(code: str) -> Measure:
    """Whether the answer is in a language."""
    return Measure(lambda effects: effects.measured("output_language") == effects.languages.index(code))


def _by_language(effects: Effects, arm: str, metric: MetricName) -> dict[str, Resampled]:
    """The score of each language's corpus; all of the same resamples."""
    columns = [number for number, name in enumerate(effects.measures) if name.rpartition(" ")[0] == metric]
    counts = effects.measured("values")[:, effects.arms.index(arm), columns].numpy().astype(np.int64)
    languages = np.array([item.language for item in effects.items])
    clusters = np.array([item.cluster for item in effects.items])
    of = {language: languages == language for language in effects.item_languages}
    if len({tuple(clusters[taken].tolist()) for taken in of.values()}) > 1:
        raise InputError.of("effects", "other sentences in other languages", "the same ones in every language")
    return {
        language: resampled_scores(metric, counts[taken], clusters[taken].tolist()) for language, taken in of.items()
    }


def _row(found: Estimate, over: str, columns: dict[str, Any]) -> Row:
    row = Row(value=found.value, **columns)
    if math.isnan(found.low):  # of one cluster, or all alike
        return replace(row, status="too few")
    p = found.p if row.is_change and not math.isnan(found.p) else None
    return replace(row, low=found.low, high=found.high, over=over, p=p)
