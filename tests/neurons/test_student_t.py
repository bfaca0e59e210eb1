"""Student's t against published tables and against the distribution's integral, done numerically."""

from __future__ import annotations

import math

import pytest

from alignlab.errors import InputError
from alignlab.neurons.student_t import t_quantile


@pytest.mark.parametrize(
    ("share", "degrees", "value"),
    [
        # Two-sided 95 %: any statistics textbook.
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 10, 2.228),
        (0.975, 19, 2.093),
        (0.975, 30, 2.042),
        (0.975, 120, 1.980),
        (0.95, 5, 2.015),
        (0.995, 7, 3.499),
        (0.9995, 1, 636.619),
        (0.5, 6, 0.0),
        (0.025, 19, -2.093),
    ],
)
def test_published_tables(share: float, degrees: int, value: float) -> None:
    assert t_quantile(share, degrees) == pytest.approx(value, abs=5.1e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 7, 19, 40, 199])
def test_the_density_up_to_the_quantile_is_the_share(degrees: int) -> None:
    log_c = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)

    def density(t: float) -> float:
        return math.exp(log_c - (degrees + 1) / 2 * math.log1p(t * t / degrees))

    t = t_quantile(0.975, degrees)
    # Simpson's rule from 0.
    steps = 20_000
    width = t / steps
    inner = sum((4 if i % 2 else 2) * density(i * width) for i in range(1, steps))
    assert (density(0) + inner + density(t)) * width / 3 == pytest.approx(0.475, abs=1e-9)


def test_closed_forms() -> None:
    for share in (0.6, 0.9, 0.975, 0.999):
        assert t_quantile(share, 1) == pytest.approx(math.tan(math.pi * (share - 0.5)), rel=1e-12)
        a = 4 * share * (1 - share)
        assert t_quantile(share, 2) == pytest.approx((2 * share - 1) * math.sqrt(2 / a), rel=1e-12)


@pytest.mark.parametrize(("share", "degrees"), [(0.0, 3), (1.0, 3), (math.nan, 3), (0.9, 0)])
def test_what_has_no_quantile_is_refused(share: float, degrees: int) -> None:
    with pytest.raises(InputError):
        t_quantile(share, degrees)
