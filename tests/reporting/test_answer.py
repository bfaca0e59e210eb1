"""What the page says in words, against sentences written by hand."""

from __future__ import annotations

from dataclasses import replace

from alignlab.neurons.table import Row
from alignlab.reporting.page.answer import lead, sentences

from .page_data import bare_run


def test_both_verdicts_stand_in_the_lead() -> None:
    verdicts = {
        "specific": (True, False),
        "related": (True, True),
        "general": (False, True),
        "unassigned": (None, None),
    }
    rows = []
    for kind, (noise, movement) in verdicts.items():
        count = Row(analysis="kinds", thresholds="anchored", convention="paper", kind=kind, step=0, value=1.0)
        later = replace(count, step=9, value=10.0)
        change = replace(later.less(count, since="step 0"), beyond_noise=noise, beyond_movement=movement)
        rows += [count, later, change]
    # Of the groups, only what is beyond both.
    for group, movement in (("trained", True), ("unseen", False)):
        count = Row(analysis="kinds", thresholds="anchored", group=group, kind="related", step=0, value=12.5)
        later = replace(count, step=9, value=2.0)
        change = replace(later.less(count, since="step 0"), beyond_noise=True, beyond_movement=movement)
        rows += [count, later, change]
    run = replace(bare_run(), steps=[0, 9], rows=rows)
    assert lead(run) == (
        "Changed beyond noise and beyond reassigned movement: related (+9) and related of a trained language (−10.5); "
        "beyond noise, but not told from what reassigned movement brings: specific (+9); not told from noise: "
        "general (+9); not tested against noise: unassigned (+9)."
    )
    assert "specific neurons rose from 1 to 10 (+9; beyond noise; not told from movement)" in sentences(run)[0]
