"""Claims beside numbers: verdicts against loops over the corrected p, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats

from alignlab.analysis.over_seeds import over_seeds
from alignlab.studying.claim_checks import claim_problems
from alignlab.studying.claims import claim_sections, findings_of, said_of, verdict_of
from alignlab.studying.options import ClaimOptions, Expectation, StudyOptions
from alignlab.studying.summary import Question, Summary

RANDOM = np.random.default_rng(0)
SHIFTS = {"zh": 2.0, "sw": -2.0, "nine": 0.0}


def row(level: str, group: str, values: Any, moved: Any = None, **changed: Any) -> Summary:
    about: dict[str, Any] = dict.fromkeys(Question._fields, "") | {"strength": None, "layer": None}
    about |= {"source": "capability", "measure": "right", "group": group, "unit": "share"} | changed
    return Summary("change", (level,), Question(**about), over_seeds(values, moved), len(values), 100)


def claim(**changed: Any) -> ClaimOptions:
    given: dict[str, Any] = {"title": "It rises", "says": "A paper.", "source": "capability", "measure": "right"}
    return ClaimOptions(**(given | changed))


@pytest.fixture
def rows() -> list[Summary]:
    found = []
    for level, shift in SHIFTS.items():
        for group in ("trained", "unseen", "reference"):
            sums = shift + RANDOM.normal(0, 0.3, (5, 1)) + RANDOM.normal(0, 1, 30) + RANDOM.normal(0, 1, (5, 30))
            found.append(row(level, group, sums.mean(axis=1), (sums - sums.mean(axis=1, keepdims=True)) / 30))
    return [*found, row("zh", "trained", [1.0, 2.0, 3.0], measure="in language")]


@pytest.mark.parametrize("expect", ["rises", "falls", "nothing"])
def test_verdicts_are_those_of_holm_by_hand(rows: list[Summary], expect: Any) -> None:
    found, both = findings_of(claim(expect=expect), ["aligned"], rows)
    assert both
    assert [(one.row.levels[0], one.row.question.group) for one in found] == [
        (level, group) for level in SHIFTS for group in ("trained", "unseen")
    ]
    p = [one.row.over.over_both.p for one in found if one.row.over is not None]
    order = np.argsort(p)
    worst = 0.0
    for place, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - place) * p[at]))
        assert found[at].p == pytest.approx(worst)
        if worst >= 0.05:
            assert found[at].verdict == "not told"
        elif expect == "nothing":
            assert found[at].verdict == "the opposite"
        else:
            up = SHIFTS[found[at].row.levels[0]] > 0
            assert found[at].verdict == ("as claimed" if up == (expect == "rises") else "the opposite")
    told = {level: {one.verdict for one in found if one.row.levels == (level,)} for level in SHIFTS}
    assert told["nine"] == {"not told"}
    assert "not told" not in told["zh"] | told["sw"]


def test_only_the_levels_and_groups_that_are_asked(rows: list[Summary]) -> None:
    found, _ = findings_of(claim(groups=["reference"], levels={"aligned": ["sw"]}), ["aligned"], rows)
    assert [(one.row.levels, one.row.question.group) for one in found] == [(("sw",), "reference")]
    assert found[0].p == pytest.approx(found[0].row.over.over_both.p)  # type: ignore[union-attr]
    assert findings_of(claim(measure="nothing of that name"), ["aligned"], rows)[0] == []


def test_without_documents_the_verdict_is_over_seeds_and_says_so() -> None:
    rows = [row("zh", "trained", [1.0, 1.1, 0.9, 1.0]), row("sw", "trained", [1.0, -1.0, 2.0, -2.0])]
    found, both = findings_of(claim(), ["aligned"], rows)
    assert not both
    assert [one.verdict for one in found] == ["as claimed", "not told"]
    assert found[0].p == pytest.approx(2 * stats.ttest_1samp([1.0, 1.1, 0.9, 1.0], 0).pvalue)
    assert "on these very documents" in said_of(claim(), found, both)


def test_one_seed_or_seeds_that_are_alike_are_too_few_to_tell() -> None:
    rows = [row("zh", "trained", [1.0]), row("sw", "trained", [1.0, 1.0])]
    found, both = findings_of(claim(), ["aligned"], rows)
    assert [one.verdict for one in found] == ["too few to tell"] * 2
    assert all(math.isnan(one.p) for one in found)
    assert "2 too few to tell" in said_of(claim(), found, both)


def test_a_section_says_the_claim_what_was_found_and_every_number(rows: list[Summary]) -> None:
    options = StudyOptions(claims={"up": claim()}, axes={"aligned": {level: {} for level in SHIFTS}})
    (section,) = claim_sections(options, ["aligned"], rows)
    assert section.title == "It rises"
    assert section.said[0] == "A paper."
    assert section.said[1].startswith("Found: of 6 numbers 2 as claimed, 2 the opposite, 2 not told")
    assert [line[:2] for line in section.lines] == [
        [level, group] for level in SHIFTS for group in ("trained", "unseen")
    ]
    assert all(len(line) == len(section.header) for line in section.lines)
    assert section.figure is not None
    (trace,) = section.figure.data
    assert trace["x"] == [round(one.row.over.value, 6) for one in findings_of(claim(), ["aligned"], rows)[0] if one.row.over]  # fmt: skip  # noqa: E501


def test_layers_are_asked_apart(rows: list[Summary]) -> None:
    of_layers = [row("zh", "all", [1.0, 2.0, 3.0], measure="kinds", layer=layer) for layer in (0, 1)]
    asked = claim(measure="kinds", groups=["all"], by_layer=True)
    found, _ = findings_of(asked, ["aligned"], [*rows, *of_layers])
    assert [one.row.question.layer for one in found] == [0, 1]
    assert findings_of(claim(measure="kinds", groups=["all"]), ["aligned"], [*rows, *of_layers])[0] == []


def test_a_star_is_any_text_and_what_it_stands_for_is_shown(rows: list[Summary]) -> None:
    more = [row("zh", "all", [1.0 + n, 2.0, 3.0], measure=f"neurons of degree {n}, selection") for n in range(3)]
    more += [row("zh", "all", [9.0, 9.1, 9.2], measure=f"{name} (a+b)") for name in ("related", "general")]
    asked = claim(measure="neurons of degree *, selection", groups=["all"], expect=None)
    found, _ = findings_of(asked, ["aligned"], [*rows, *more])
    assert [one.row.question.measure for one in found] == [one.question.measure for one in more[:3]]
    (section,) = claim_sections(StudyOptions(claims={"x": asked}, axes={"aligned": {"zh": {}}}), ["aligned"], more)
    assert section.header[:3] == ["aligned", "neurons of degree *, selection", "of"]
    assert [list(line[:3]) for line in section.lines] == [["zh", str(n), "all"] for n in range(3)]
    # Nothing else in it is a pattern.
    brackets = findings_of(claim(measure="* (a+b)", groups=["all"]), ["aligned"], more)[0]
    assert [one.row.question.measure for one in brackets] == ["related (a+b)", "general (a+b)"]
    assert findings_of(claim(measure="neurons of degree ., selection", groups=["all"]), ["aligned"], more)[0] == []


def test_where_nothing_is_claimed_the_numbers_are_told_from_0(rows: list[Summary]) -> None:
    found, both = findings_of(claim(expect=None), ["aligned"], rows)
    expected = {"zh": "above 0", "sw": "below 0", "nine": "not told"}
    assert [one.verdict for one in found] == [expected[one.row.levels[0]] for one in found]
    assert "2 above 0, 2 below, 2 not told" in said_of(claim(expect=None), found, both)


def test_values_of_which_nothing_is_claimed_have_no_verdict() -> None:
    values = [replace(row(level, "all", [3.0, 4.0, 5.0]), what="value") for level in SHIFTS]
    asked = claim(expect=None, what="value", groups=["all"])
    (section,) = claim_sections(StudyOptions(claims={"x": asked}, axes={"aligned": {"zh": {}}}), ["aligned"], values)
    assert list(section.header) == ["aligned", "of", "seeds", "at the end", "over seeds"]
    assert "3 numbers" in section.said[1]
    assert section.figure is not None


def test_claims_of_which_no_cell_can_tell() -> None:
    axes: dict[str, dict[str, dict[str, Any]]] = {"aligned": {"zh": {}, "sw": {}}}
    claims = {
        "source": claim(source="capabilty"),
        "baseline": claim(what="difference"),
        "axis": claim(levels={"algned": ["zh"]}),
        "level": claim(levels={"aligned": ["zw"]}),
        "groups": claim(groups=[]),
        "group": claim(groups=["traned", "xx"]),
        "good": claim(levels={"aligned": ["zh"]}),
    }
    options = StudyOptions(claims=claims, axes=axes)
    problems = claim_problems(options, axes, {name: f"claims.{name}" for name in claims})
    assert [problem.where for problem in problems] == [
        "claims.source", "claims.baseline", "claims.axis", "claims.level", "claims.groups", "claims.group"
    ]  # fmt: skip
    said = " ".join(map(str, problems))
    assert all(part in said for part in ("'capability'", "Set baseline", "'aligned'", "one of: zh, sw"))


def test_every_expectation_has_a_verdict_of_its_own() -> None:
    """Of numbers told from 0, one above and one below; no two expectations say the same of both."""
    said = {one: tuple(verdict_of(one, value, 0.01) for value in (1.0, -1.0)) for one in get_args(Expectation)}
    docs = (Path(__file__).parents[2] / "docs/study.md").read_text(encoding="utf-8")
    (line,) = [one for one in docs.splitlines() if one.strip().startswith("expect:")]
    for one in get_args(Expectation):
        assert one in line, f"docs/study.md: {one} is not beside `expect`"
    assert len(set(said.values())) == len(said), f"two expectations say the same: {said}"
    assert said == {
        "rises": ("as claimed", "the opposite"),
        "falls": ("the opposite", "as claimed"),
        "nothing": ("the opposite", "the opposite"),
    }
