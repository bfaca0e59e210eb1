"""Means and ratios over clusters against scipy, the jackknife, a closed form and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from alignlab.errors import InputError
from alignlab.evaluation.estimates import mean, ratio


def test_of_single_documents_a_mean_has_the_interval_of_students_t() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    found, test = mean(values, [str(i) for i in range(40)]), ttest_1samp(values, 0)
    expected = test.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), expected.low, expected.high))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.documents, found.clusters) == (40, 40)


def test_of_clusters_of_one_size_it_is_students_t_of_their_means() -> None:
    values = np.random.default_rng(1).normal(size=60)
    means, found = values.reshape(20, 3).mean(axis=1), mean(values, [f"c{i // 3}" for i in range(60)])
    expected = ttest_1samp(means, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.low == pytest.approx(expected.confidence_interval(0.95).low)
    assert found.clusters == 20


def test_a_ratio_has_nearly_the_standard_error_of_the_jackknife() -> None:
    random = np.random.default_rng(2)
    below = random.integers(20, 40, 400).astype(float)
    above, clusters = below * random.normal(2, 0.3, 400), random.integers(200, size=400)
    found = ratio(above, below, [str(name) for name in clusters])
    left_out = []
    for name in np.unique(clusters):
        kept = clusters != name
        left_out.append(above[kept].sum() / below[kept].sum())
    m = len(left_out)
    error = math.sqrt((m - 1) / m * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    assert found.value == above.sum() / below.sum()
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, m - 1) * error, rel=0.01)


def test_the_interval_holds_the_true_ratio_in_95_of_100_corpora() -> None:
    """Documents of unequal length, correlated within 30 clusters: 2,000 corpora; four standard errors of .95."""
    random, held, corpora = np.random.default_rng(3), 0, 2000
    names = [f"c{i}" for i in np.arange(120) % 30]
    for _ in range(corpora):
        below = random.integers(10, 60, 120)
        rate = 2 + random.normal(0, 0.3, 30)[np.arange(120) % 30] + random.normal(0, 0.2, 120)
        found = ratio(rate * below, below, names)
        held += found.low <= 2 <= found.high
    assert abs(held / corpora - 0.95) < 4 * math.sqrt(0.95 * 0.05 / corpora)


def test_what_tells_nothing_of_spread_has_no_interval() -> None:
    one, same = mean([1.0, 2.0], ["a", "a"]), ratio([2.0, 4.0], [1, 2], ["a", "b"])
    assert (one.value, same.value) == (1.5, 2)
    assert all(math.isnan(end) for found in (one, same) for end in (found.low, found.high, found.p))


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(InputError, match=r"numerators: the shape \(3,\); expected \(2,\)"):
        ratio([1.0, 2.0, 3.0], [1, 1], ["a", "b"])
    with pytest.raises(InputError, match="numerators: 1 of 2 are not finite"):
        mean([1.0, math.nan], ["a", "b"])
    with pytest.raises(InputError, match="denominators: 0 to 0"):
        ratio([1.0, 1.0], [0, 0], ["a", "b"])
    with pytest.raises(InputError, match="clusters: none"):
        mean([], [])
