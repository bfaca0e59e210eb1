"""Quantiles of Student's t distribution for whole degrees of freedom, without a statistics library."""

from __future__ import annotations

import math

from alignlab.errors import InputError, Problem


def t_quantile(share: float, degrees: int) -> float:
    """The value that a t-distributed variable stays under with probability `share`.

    By halving intervals of the distribution function, which is a finite sum for whole degrees of freedom (Abramowitz
    and Stegun 26.7.3 and 26.7.4). Right to some 1e-12 of itself.
    """
    if not 0 < share < 1 or degrees < 1:
        raise InputError(Problem("t_quantile", f"share {share}, degrees {degrees}", "0 < share < 1, degrees 1 or more"))
    if share < 0.5:
        return -t_quantile(1 - share, degrees)
    low, high = 0.0, 1.0
    while _within(high, degrees) < 2 * share - 1:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, degrees) < 2 * share - 1:
            low = middle
        else:
            high = middle
    return high


def _within(t: float, degrees: int) -> float:
    """The probability of lying between -t and t."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine_squared = math.cos(angle) ** 2
    # 1 + 2/3 c^2 + (2 * 4)/(3 * 5) c^4 ... for odd degrees, 1 + 1/2 c^2 + (1 * 3)/(2 * 4) c^4 ... for even ones.
    odd = degrees % 2
    term = total = 1.0
    for step in range(2 + odd, degrees - 1, 2):
        term *= (step - 1) / step * cosine_squared
        total += term
    if not odd:
        return math.sin(angle) * total
    inner = math.sin(angle) * math.cos(angle) * total if degrees > 1 else 0.0
    return 2 / math.pi * (angle + inner)
