"""Selections of few neurons are told, with a rate that selects enough; the sizes are counted by round() itself."""

from __future__ import annotations

import re

import pytest

from alignlab.neurons.selection import small_selection


@pytest.mark.parametrize("n", [101, 137, 180, 720, 2560, 3001, 9999, 10001, 458752])
def test_the_rate_named_is_the_least_of_two_digits_that_selects_a_hundred(n: int) -> None:
    text = small_selection(2 / n, n)
    assert f"selects 2 of {n:,} neurons" in text
    (rate, selected) = re.findall(r"identifier\.top_rate=([\d.e-]+) selects ([\d,]+)", text)[0]
    assert round(float(rate) * n) == int(selected.replace(",", "")) >= 100
    digits, power = f"{float(rate):.1e}".split("e")
    lower = (float(digits) - 0.1) * 10.0 ** int(power)
    assert round(lower * n) < 101
    assert small_selection(float(rate), n) == ""


def test_it_is_said_of_fewer_than_a_hundred_only() -> None:
    assert small_selection(0.1, 2560) == small_selection(0.01, 32 * 14336) == small_selection(0.1, 1000) == ""
    assert "selects 99 of 990 neurons" in small_selection(0.1, 990)
    assert "selects 26 of 2,560 neurons" in small_selection(0.01, 2560)
    assert small_selection(0.5, 96).endswith("the model has no more than 96")
