"""The page of a benchmark of identifiers: one file, offline, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from itertools import zip_longest
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import alignlab
from alignlab.benchmarking.measuring import PLANTED, PRECISION
from alignlab.benchmarking.planting import TRUTHS, Truth
from alignlab.benchmarking.results import tables
from alignlab.neurons.table import Row
from alignlab.reporting.wording import number

_LEFT, _WIDTH, _RIGHT, _STEP = 150, 290, 20, 26  # of the drawing; its letters are 13: on a phone, 10


def page_of(rows: Sequence[Row], about: str, plan: Sequence[tuple[str, str]], config: str) -> str:
    """The page of rows over seeds.

    about: what they are of, in a sentence.  plan: terms and values.  config: as YAML.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    css = resources.files("alignlab.reporting.page").joinpath("page.css").read_text(encoding="utf-8")
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        css=Markup(css),  # noqa: S704 - our own file
        version=alignlab.__version__,
        about=about,
        sections=list(zip_longest(tables(rows), [_figure(truth, rows) for truth in TRUTHS])),
        plan=plan,
        config=config,
    )


def _figure(truth: Truth, rows: Sequence[Row]) -> dict[str, Any]:
    """Where on the drawing is what."""
    shown = [row for row in rows if (row.record, row.task, row.measure) == (PLANTED, truth, PRECISION)]
    marks = [
        {
            "name": row.set,
            "y": 20 + place * _STEP,
            "x": _at(row.value),
            "low": None if row.low is None else _at(row.low),
            "high": None if row.high is None else _at(row.high),
        }
        for place, row in enumerate(shown)
    ]
    return {
        "left": _LEFT,
        "width": _LEFT + _WIDTH + _RIGHT,
        "height": 20 + len(shown) * _STEP + 28,
        "ticks": [{"x": _at(share), "text": number(share, 2)} for share in (0, 0.25, 0.5, 0.75, 1)],
        "chance": _at(shown[0].reference or 0),
        "marks": marks,
        "label": ", ".join(f"{row.set} {number(row.value, 2)}" for row in shown),
    }


def _at(share: float) -> float:
    """From left to right, cut off at the ends of the range."""
    return round(_LEFT + _WIDTH * min(max(share, 0), 1), 1)
