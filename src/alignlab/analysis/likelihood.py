"""How likely texts are to a model, from the record of their likelihoods: nats a token, perplexity and paired changes.

A language has the ratio of its summed nats to its summed tokens. A group has the mean of its languages, so that one
whose text is cut into more tokens does not count more; its interval is that of the mean of these ratios, linearised
language by language, over clusters that languages share where documents are parallel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.analysis.verdicts import with_verdicts
from alignlab.errors import InputError, Problem
from alignlab.evaluation.estimates import Estimate, ratio
from alignlab.evaluation.perplexity import as_nats, perplexity
from alignlab.neurons.groups import group_languages
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import Row
from alignlab.recording.effects import NO_INTERVENTION, Effects

NATS, PERPLEXITY = "nats", "perplexity"


def likelihood_rows(
    effects: Effects, first: Effects | None = None, *, label: str, since: str = "", arm: str = NO_INTERVENTION
) -> list[Row]:
    """Nats a token and perplexity of each language and group, and the paired changes of nats since `first`.

    label, since: of the record and of the first one.
    Raises InputError for records of other texts, or of texts that were tokenised in another way: their tokens are not
    the same, so nats a token cannot be compared.
    """
    if first is not None and first.data_fingerprint != effects.data_fingerprint:
        found = f"it read other tokens than {since or 'the first'}"
        raise InputError(Problem(label, found, "the same texts, tokenised alike"))
    place = effects.arms.index(arm)
    nats = effects.measured("nats")[:, place].numpy()
    before = None if first is None else first.measured("nats")[:, first.arms.index(arm)].numpy()
    counted = effects.measured("counted").numpy().astype(np.float64)
    languages = np.array([item.language for item in effects.items])
    clusters = np.array([item.cluster for item in effects.items])
    groups = group_languages(effects.item_languages, effects.trained_languages, effects.reference or None)
    asked = [("language", name, (name,)) for name in effects.item_languages]
    rows, changes = [], []
    for group, language, members in [*asked, *((group, "", members) for group, members in groups.items())]:
        taken = np.isin(languages, members)
        columns: dict[str, Any] = {
            "analysis": "likelihood",
            "record": label,
            "step": effects.step,
            "group": group,
            "language": language,
            "task": effects.task,
            "denominator": int(counted[taken].sum()),
        }
        of = counted[taken], languages[taken], clusters[taken].tolist()
        over = "clusters" if effects.clusters else "documents"
        ratios = mean_of_ratios(nats[taken], *of)
        now = None if ratios is None else as_nats(ratios)
        rows.append(_row(now, over, {**columns, "measure": NATS, "unit": "nats a token"}))
        exp = None if now is None else perplexity(now)
        rows.append(_row(exp, over, {**columns, "measure": PERPLEXITY, "unit": "perplexity"}))
        if before is not None:
            change = mean_of_ratios(nats[taken] - before[taken], *of)
            told = {"measure": NATS, "unit": "nats a token", "since": since, "reference": 0.0}
            changes.append(_row(change, over, {**columns, **told}))
    return rows + with_verdicts(changes)


def mean_of_ratios(
    numerators: Floats, denominators: Floats, strata: NDArray[np.str_], clusters: Sequence[str]
) -> Estimate | None:
    """The mean over strata, such as languages, of the ratio of sums in each, with its interval over clusters.

    All (n,). A cluster may have documents in several strata. The residual of a document is that of its own stratum:
    strata are fixed, and how they differ is no noise. None where a numerator is not finite.
    """
    if not np.isfinite(numerators).all():
        return None
    names, of = np.unique(strata, return_inverse=True)
    sums = np.bincount(of, weights=denominators)
    if not (sums > 0).all():
        found = f"no token counts in {' '.join(names[sums <= 0].tolist())}"
        raise InputError(Problem("texts", found, "one or more in every language"))
    ratios = np.bincount(of, weights=numerators) / sums
    weights = 1 / (sums[of] * len(names))
    below = denominators * weights
    # The numerators whose residual about the mean is the document's about the ratio of its stratum.
    above = (numerators - ratios[of] * denominators) * weights + ratios.mean() * below
    return ratio(above, below, clusters)


def _row(found: Estimate | None, over: str, columns: dict[str, Any]) -> Row:
    if found is None:
        return Row(value=math.nan, status="diverged", **columns)
    row = Row(value=found.value, **columns)
    if math.isnan(found.low):
        return replace(row, status="too few")
    p = found.p if row.is_change and not math.isnan(found.p) else None
    return replace(row, low=found.low, high=found.high, over=over, p=p)
