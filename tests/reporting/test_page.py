"""The page against the neurons that its rows were counted from, read back as HTML and JSON; tests/browser uses it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from alignlab.analysis.languages import EXCESS
from alignlab.errors import InputError
from alignlab.neurons.table import Row
from alignlab.reporting import page as page_package
from alignlab.reporting.page import PageRun, render, write_page
from alignlab.reporting.page.cards import cards
from alignlab.reporting.page.data import HOW_TO, frame
from alignlab.reporting.page.figures import degree_histogram, kinds_over_steps, layer_heatmaps
from alignlab.reporting.page.relation_figures import overlap_heatmaps
from alignlab.reporting.page.render import MAX_BYTES
from alignlab.reporting.page.theme import BEHIND_NUMBERS, DARK, LIGHT

from .page_data import KINDS, LANGUAGES, bare_run, page_run, random_neurons, wide_rows

VOID = {"meta", "link", "input", "br", "hr", "img"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'{{ 7 * 7 }}<!--"


class Page(HTMLParser):
    """Elements with their attributes and text; raises where they are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[int] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append([])
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self.open:
            self.texts[place].append(data)

    def all(self, tag: str, **wanted: str) -> list[str]:
        """Texts of the elements of a tag with these attributes."""
        found = zip(self.elements, self.texts, strict=True)
        return [
            " ".join((" " if tag != "script" else "").join(text).split())
            for (name, attributes), text in found
            if name == tag and wanted.items() <= attributes.items()
        ]


@pytest.fixture(scope="module")
def run() -> PageRun:
    return page_run()


@pytest.fixture(scope="module")
def text(run: PageRun) -> str:
    return render([run])


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def data_of(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.all("script", id="data")[0])
    return found


def test_the_page_is_small_well_formed_and_asks_for_nothing(text: str, page: Page) -> None:
    assert len(text.encode()) < MAX_BYTES == 6_000_000
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:,"))
    assert not re.search(r"url\(|@import", page.all("style")[0])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("for", "aria-labelledby"):
            assert set(attributes.get(name, "").split()) <= set(ids)


def test_only_the_two_scripts_of_the_page_may_run(text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    allowed = policy[1].replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; script-src 'sha256-")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-([^']*)'", allowed) == hashes
    assert "unsafe" not in allowed.split("style-src")[0]


def test_the_answer_has_the_counts_of_the_neurons(page: Page, run: PageRun) -> None:
    at = random_neurons(run.steps)
    first, last = at[0], at[200]
    sentences = page.all("li")
    whole = next(text for text in sentences if text.startswith("Over 200 steps, of 12,800 neurons"))
    cells = page.all("td")
    for code in (1, 2, 3, 4):
        before, after = (int((neurons.codes == code).sum()) for neurons in (first, last))
        assert f"{KINDS[code]} neurons rose from {before} to {after} (+{after - before}; beyond noise)" in whole
        at_row = cells.index(KINDS[code])
        assert cells[at_row : at_row + 3] == [KINDS[code], str(before), str(after)]
        assert cells[at_row + 3].split()[0] == f"+{after - before}"
    for group in ("trained", "unseen"):
        members = [place for place, language in enumerate(LANGUAGES) if language.group == group]
        sentence = next(text for text in sentences if f"{group} language (" in text)
        for code in (1, 2):
            owned = [np.mean([(n.owned[g] & (n.codes == code)).sum() for g in members]) for n in (first, last)]
            assert f"its {KINDS[code]} neurons rose from {owned[0]:.1f} to {owned[1]:.1f} (+{owned[1] - owned[0]:.1f};"
            assert f"{KINDS[code]} neurons rose from {owned[0]:.1f} to {owned[1]:.1f}" in sentence
    assert page.all("p", **{"class": "lead"})[0].startswith(
        "Changed beyond noise (reassigned movement not computed): specific (+"
    )


def test_the_tables_have_the_counts_of_the_neurons(page: Page, run: PageRun) -> None:
    first, last = (random_neurons(run.steps)[step] for step in (0, 200))
    rows = page.all("tr")
    for g, language in enumerate(LANGUAGES):
        counts = [[(n.owned[g] & (n.codes == code)).sum() for n in (first, last)] for code in (1, 2)]
        courses = " ".join(f"{before} → {after}" for before, after in counts)
        (found,) = (row for row in rows if row.startswith(f"{language.code} {language.name}"))
        assert courses in " ".join(found.split())
        assert f"{language.tokens:,}" in found
        assert language.own_name in found
    moved = ((first.codes == 1) & (last.codes == 2)).sum()
    stayed = ((first.codes == 0) & (last.codes == 0)).sum()
    table = next(text for text in page.all("table") if "step 200 (columns), anchored" in text)
    cells = table.split("from / to")[1].split()
    assert cells[cells.index("all") + 3] == f"{moved:,}"
    assert f"{stayed:,}" in cells


def test_no_band_stands_between_steps_that_have_an_interval(run: PageRun) -> None:
    mine = [row for row in run.rows if row.analysis == "kinds" and row.thresholds == "anchored" and not row.since]
    ends = [row if row.step in (0, 200) else replace(row, low=None, high=None) for row in mine]
    whole, partly = (kinds_over_steps({"": frame(rows)}).data[0] for rows in (mine, ends))
    assert (whole["fill"], len(whole["x"])) == ("toself", 10)
    assert partly["fill"] == "none"
    assert partly["x"] == [0, 0, None, 200, 200, None]
    totals = [row for row in mine if (row.kind, row.group, row.layer) == ("specific", "all", None)]
    at = {row.step: (row.low, row.high) for row in totals}
    assert partly["y"] == pytest.approx([*at[0], None, *at[200], None], abs=0.05)


def test_tables_of_numbers(page: Page) -> None:
    rows = [" ".join(row.split()) for row in page.all("tr")]

    def row(what: str, *, change: bool = False) -> str:
        """In the table of the numbers, or in that of their changes behind it."""
        return [text[len(what) :].strip() for text in rows if text.startswith(what)][change]

    assert row("The reference over the mean of the others: specific") == "1.10 1.10 0.80 to 1.40 within noise"
    assert row("The reference over the mean of the others: related") == "1.50 1.75 1.20 to 2.30 beyond noise"
    assert row("unseen without en, mean a language: related") == "31.5 31.5 20.2 to 41.2"
    assert row("The reference over the mean of the others: related", change=True) == "−0.25 −0.50 to −0.12 beyond noise"
    missing = row("The reference over the mean of the others: selected")
    assert missing == "not defined not defined no interval no interval computed"
    assert row("Jaccard beyond the margins, within a family, 1 pairs") == "−0.125 +0.125 −0.250 to +0.500 within noise"
    assert row("related, all: of 40") == "0.825 0.750 to 0.875"
    (said,) = (text for text in page.all("li") if text.startswith("The loss"))
    assert re.search(
        r"on trained languages \(beyond noise\), rose .* on the reference .* on unseen languages \(within noise\)\.",
        said,
    )
    assert row("unseen, mean", change=True) == "+0.240 −0.125 to +0.625 within noise"
    captions = " ".join(page.all("caption"))
    assert "Against noise: whether at step 200 it is told from 1, p corrected" in captions
    assert "Against noise: whether at step 200 it is told from 0, p corrected" in captions


def test_intervals_of_moves_and_of_overlaps(run: PageRun) -> None:
    codes = [language.code for language in LANGUAGES]
    ends = {(codes[a], codes[b]): value for a, b, value in ((0, 1, 0.1), (2, 5, 0.2), (3, 4, -0.1))}
    rows = []
    for row in run.rows:
        end = ends.get((row.language, row.other), 0.0)
        if row.analysis == "transitions":
            row = row.within(1.25, 9.5, 1, 0)
        elif row.measure == EXCESS and row.group == "pair" and (row.language, row.other) != ("en", "de"):
            # One pair has no interval. The value is as large as it is, but for its sign.
            row = replace(row, value=end or row.value).within(end, end, 0, 0)
            if row.step == 200:
                row = replace(row, beyond_noise=end != 0)
                rows.append(replace(row, since="step 0", beyond_noise=end > 0.15))
        rows.append(row)
    page = Page(render([replace(run, rows=rows)]))
    assert "1.2 to 9.5" in page.all("small", **{"class": "interval"})
    assert "small: 95 % intervals" in " ".join(page.all("caption"))
    said = [text for text in page.all("p") if "Step 200: beyond noise" in text]
    verdicts = [row for row in run.rows if row.p_adjusted == 1e-3 and row.step == 200]
    more = sum(row.value > 0 for row in verdicts)
    assert 0 < more < len(verdicts) == 15
    assert (
        f"Step 200: given the margins, {more} of 45 pairs share more than others and {15 - more} less "
        "(false-discovery rate 5 %)."
    ) in said[0]
    assert "Step 200: of pairs within a language family, less others: z +3.2, p 0.004." in said[0]
    assert "Step 200: beyond noise, 1 of 44 pairs share more beyond the margins than at step 0 and 0 less." in said[0]
    table = data_of(page)["figures"]["chance"]["tables"]["0"]
    place = [table["columns"].index(name) for name in ("a", "b", "excess_low")]
    ends = {(row[place[0]], row[place[1]]): row[place[2]] for row in table["rows"] if row[1] == 200}
    assert (ends["en", "zh"], ends["bn", "ar"], ends["en", "de"]) == (0.1, -0.1, None)


def test_the_embedded_rows_are_those_given(page: Page, run: PageRun) -> None:
    data = data_of(page)
    rows = data["runs"][0]["rows"]
    found = []
    for thresholds, steps in rows["values"].items():
        for step, tables in steps.items():
            for part, columns in tables.items():
                for place, key in enumerate(rows["keys"][part]):
                    line = {"thresholds": thresholds, "step": int(step), **dict.fromkeys(data["values"])}
                    line |= zip(data["keys"], key, strict=True)
                    line |= {name: column[place] for name, column in columns.items()}
                    line["denominator"] = line["denominator"] or rows["same"][part][place]
                    assert set(line) == set(data["columns"])
                    if line["value"] is not None:  # null: the step has no such row
                        found.append(line)
    expected = wide_rows(run)
    assert len(found) == len(expected) > 1500

    def ordered(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(lines, key=lambda line: [str(line[name]) for name in ("thresholds", "step", *data["keys"])])

    assert ordered(found) == ordered(expected)


def test_every_figure_is_one_that_plotly_knows(run: PageRun) -> None:
    runs = [run, replace(bare_run(), parts_refused="4 layers")]
    made = cards(runs)
    assert {name for name, card in made.items() if not card.variants} == set()
    for card in made.values():
        for wide, narrow in list(card.variants.values())[:2]:
            for figure in (wide, narrow):
                assert isinstance(figure.plotly(), go.Figure)  # raises for a property that plotly has not
            assert narrow.data == wide.data  # one set of traces fits both layouts
        assert all(card.labels.values())


def test_figures_for_wandb_are_made_of_the_trackers_rows(run: PageRun) -> None:
    rows = frame(row for row in run.rows if row.analysis == "kinds" and row.thresholds == "anchored")
    figure = layer_heatmaps(rows).plotly()
    at = random_neurons(run.steps)
    for code, trace in zip((1, 2, 3, 4), figure.data, strict=True):
        counts = np.stack([(at[step].codes == code).sum(axis=1) for step in run.steps], axis=1)
        assert np.array_equal(np.array(trace.z), counts)
    degrees = degree_histogram(rows).plotly().data
    last = at[200].owned.sum(axis=0)
    assert list(degrees[3].y) == [int((last == degree).sum()) for degree in range(1, 11)]
    lines = [trace for trace in kinds_over_steps({"": rows}).plotly().data if trace.mode == "lines+markers"]
    assert list(lines[2].y) == [int((at[step].codes == 3).sum()) for step in run.steps]


def test_what_is_missing_is_named() -> None:
    run = replace(bare_run(), how_to={"overlaps": "python -m alignlab.analyze run=runs/bare"})
    page = Page(render([run]))
    said = " ".join(page.all("p") + page.all("li"))
    for part, how in HOW_TO.items():
        if part not in ("overlaps", "totals"):
            assert how in said, part
    assert "Not computed. To have it: python -m alignlab.analyze run=runs/bare." in said
    assert "no interval computed" in said
    assert page.all("p", **{"class": "lead"})[0].startswith("Not tested against noise: specific (")
    anchored = [row for row in page_run().rows if row.analysis != "transitions" or row.thresholds == "anchored"]
    (said,) = [card for name, card in cards([replace(page_run(), rows=anchored)]).items() if name == "transitions"]
    assert [(one.text[:29], one.thresholds) for one in said.missing] == [
        ("At anchored thresholds only: ", "reestimated")
    ]
    refused = replace(run, parts_refused="4 layers, and parts need 12 or more")
    assert "Not computed: 4 layers, and parts need 12 or more" in Page(render([refused])).all("p")


def test_text_of_data_stays_text(run: PageRun) -> None:
    hostile = replace(
        page_run(HOSTILE, steps=(0, 10), shape=(12, 40)),
        folder=HOSTILE,
        model=HOSTILE,
        languages=[replace(language, name=HOSTILE, own_name=HOSTILE, family=HOSTILE) for language in LANGUAGES],
        config=HOSTILE,
        environment={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        options={HOSTILE: HOSTILE},
        how_to={"config": HOSTILE},
        step_names={0: HOSTILE},
        parts_refused=HOSTILE,
    )
    hostile = replace(hostile, rows=[row for row in hostile.rows if row.analysis != "layer_parts"])
    text = render([hostile])
    page, ordinary = Page(text), Page(render([run]))
    for tag in ("script", "img"):
        assert len(page.all(tag)) == len(ordinary.all(tag))
    assert "7 * 7" in text
    assert HOSTILE in page.all("h1")[0]
    embedded = text.split('id="data">')[1].split("</script>")[0]
    assert "<" not in embedded
    assert data_of(page)["runs"][0]["name"] == HOSTILE


def totals(rows: list[Row], verdicts: dict[str, dict[str, Any]]) -> list[Row]:
    """The rows, with what is said of the changes of each kind over all layers at anchored thresholds."""
    return [
        replace(row, **verdicts.get(row.kind, {}))
        if (row.analysis, row.thresholds, row.group, row.layer, row.is_change)
        == ("kinds", "anchored", "all", None, True)
        else row
        for row in rows
    ]


def test_the_lead_has_both_verdicts(run: PageRun) -> None:
    known: dict[str, dict[str, Any]] = {
        "specific": {"beyond_noise": True, "beyond_movement": True, "movement_low": 1.25, "movement_high": 6.5},
        "related": {"beyond_noise": True, "beyond_movement": False, "movement_low": -3.0, "movement_high": 500.0},
        "general": {"beyond_noise": False, "beyond_movement": True},
        "unassigned": {"low": None, "high": None, "beyond_noise": None, "status": "too few"},
    }
    known = {kind: {"correction": "holm", "family": "kinds, in all", **said} for kind, said in known.items()}
    page = Page(render([replace(run, rows=totals([*run.rows], known))]))
    at = random_neurons(run.steps)
    change = {KINDS[c]: int((at[200].codes == c).sum()) - int((at[0].codes == c).sum()) for c in (1, 2, 3, 4)}
    assert page.all("p", **{"class": "lead"}) == [
        f"Changed beyond noise and beyond reassigned movement: specific (+{change['specific']}); "
        f"beyond noise, but not told from what reassigned movement brings: related (+{change['related']}); "
        f"not told from noise: general (+{change['general']}); too few to tell: unassigned (+{change['unassigned']})."
    ]
    rows = page.all("tr")
    assert next(row for row in rows if row.startswith("all specific")).endswith(
        "beyond noise beyond movement +1.2 to +6.5"
    )
    assert next(row for row in rows if row.startswith("all unassigned")).endswith("too few to tell not computed")
    figure = data_of(page)["figures"]["answer"]
    own = figure["own"]["0|anchored"]["traces"]
    bars, points = ({**figure["traces"][place], **own[place]} for place in range(2))
    assert bars["x"][:6] == [1.25, 6.5, None, -3, 500, None]
    assert points["x"] == [change[kind] for kind in KINDS[1:]]
    assert points["marker"]["symbol"] == ["circle", "circle-open", "circle-open", "circle-open"]
    terms = " ".join(page.all("dl", **{"class": "glossary"}))
    assert "corrected for the questions asked together (kinds, in all: Holm's correction)" in terms
    assert "shards of documents" in terms


def test_four_terms_are_explained_first(page: Page, text: str) -> None:
    assert text.index('class="glossary"') < text.index('id="kinds"')
    (glossary,) = page.all("dl", **{"class": "glossary"})
    for term in ("Kinds", "Anchored", "Noise", "Unseen"):
        assert f"{term} " in glossary
    assert "(bn ar fr ja ru sw th); trained: zh de; reference, that others are aligned to: en." in glossary


def test_controls_say_what_they_mean(run: PageRun) -> None:
    def control(kind: str, measure: str, value: float, found: int | None) -> Row:
        return Row(analysis="stability", step=200, kind=kind, measure=measure, value=value, denominator=found)

    rows = [row for row in run.rows if row.analysis != "stability"]
    rows += [control("general", "stable", 3, 4), control("specific", "stable", 70, 70)]
    rows += [control("general", "by chance", 104.06, None), control("specific", "by chance", 9.8, None)]
    said = [row for row in Page(render([replace(run, rows=rows)])).all("tr") if "Resamples of one language" in row]
    assert said == [
        "specific 70 70 9.8 70 of the 70 found keep their kind in at least 95 % of the resamples. Resamples of one "
        "language, taken for 10 languages, give 9.8 specific neurons: so many of the 70 found may be noise, and not "
        "differences between languages.",
        "general 4 3 104.1 3 of the 4 found keep their kind in at least 95 % of the resamples; for the rest it "
        "depends on the documents. Resamples of one language, taken for 10 languages, give 104.1 general neurons: so "
        "many would be shared if the languages did not differ; 4 found means that they do.",
    ]


def test_overlaps_stand_family_by_family_with_their_numbers_and_their_change(run: PageRun) -> None:
    overlaps = [row for row in run.rows if row.analysis == "language_overlap"]
    before = {(row.language, row.other, row.measure): row for row in overlaps if row.step == 0}
    changes = [
        replace(row.less(before[row.language, row.other, row.measure], since="step 0"), beyond_noise=row.other == "th")
        for row in overlaps
        if row.step == 200
    ]
    figures = cards([replace(run, rows=[*run.rows, *changes])])["overlap"].variants["0|jaccard"]
    families = {language.code: language.family for language in LANGUAGES}
    order = sorted(families, key=lambda code: (families[code], code))
    for figure in figures:
        first, _, change = figure.data
        assert change["y"] == order
        at = {(row.language, row.other): row for row in changes if row.measure == "jaccard"}
        for y, x in combinations(order, 2):
            row = at.get((y, x)) or at[x, y]
            value = change["z"][order.index(y)][order.index(x)]
            assert value == pytest.approx(row.value, abs=1e-4)
            star = "*" if row.other == "th" else ""
            assert change["text"][order.index(y)][order.index(x)] == as_said(value, "+") + star
            of_first = first["z"][order.index(x)][order.index(y)]
            assert first["text"][order.index(x)][order.index(y)] == as_said(of_first)
        assert figure.layout["yaxis"]["ticktext"][:3] == ["Bantu sw", "Germanic de", "en"]
        assert len(figure.layout["shapes"]) == 3 * 2 * (len(set(families.values())) - 1)


def as_said(value: float, sign: str = "") -> str:
    """With two decimals, a minus as long as the plus, and none before zero."""
    text = f"{abs(value):.2f}"
    return ("−" if value < 0 and float(text) else sign) + text


def test_every_row_of_very_many_languages_has_room_for_its_label() -> None:
    codes = [f"{first}{second}" for first in "abcdefghij" for second in "abcdef"]
    pairs = pd.DataFrame(
        {EXCESS: 0.1, "jaccard": 0.2}, index=pd.MultiIndex.from_tuples(combinations(codes, 2), names=["a", "b"])
    )
    for number, columns, narrowest in ((10, 3, 660), (10, 1, 260), (24, 3, 660), (60, 3, 660), (60, 1, 260)):
        some = pairs[[a in codes[:number] and b in codes[:number] for a, b in pairs.index]]
        figure = overlap_heatmaps([("first", some), ("last", some)], {}, columns=columns)
        for which, pixels in (("yaxis", figure.inner_height), ("xaxis", narrowest)):
            axis = figure.layout[which]
            bottom, top = axis["domain"]
            letters = axis.get("tickfont", {"size": 12})["size"]
            assert pixels * (top - bottom) / number * axis["dtick"] > letters, (number, columns, which)
        assert figure.layout["yaxis"]["dtick"] == 1
        assert len(figure.layout["yaxis"]["ticktext"]) == number


def test_axes_of_small_counts_have_whole_ticks_from_zero(run: PageRun) -> None:
    few = [
        replace(row, value=min(row.value, 2.0) if not row.since else 1.0, low=None, high=None)
        for row in run.rows
        if row.analysis == "kinds"
    ]
    none = [replace(row, value=0.0) for row in few]
    for rows in (few, none):
        made = cards([replace(run, rows=rows)])
        for name in ("kinds", "heatmaps", "layers", "languages", "degrees", "answer"):
            along = "xaxis" if name in ("languages", "answer") else "yaxis"
            for figure in made[name].variants["anchored" if name == "kinds" else "0|anchored"]:
                axes = [axis for title, axis in figure.layout.items() if title.startswith(along)]
                if name == "heatmaps":
                    axes = [axis["colorbar"] for title, axis in figure.layout.items() if title.startswith("coloraxis")]
                if name == "answer":
                    axes = axes[:1]  # means over languages have fractions
                assert axes
                for axis in axes:
                    assert axis["dtick"] == 1, name
                    low, high = axis.get("range", (0, 1))
                    assert -0.05 * high < low <= 0 or name == "answer", name


def test_intervals_are_drawn_wherever_the_table_has_them(run: PageRun) -> None:
    rows = [
        row.within(row.value - 0.125, row.value + 0.25, 1, 0) if row.analysis in ("losses", "language_overlap") else row
        for row in run.rows
    ]
    made = cards([replace(run, rows=rows)])
    for trace in made["losses"].variants["0"][0].data[1:]:
        bars = trace.get("error_x") or trace["error_y"]
        assert bars["array"] == pytest.approx([0.25] * len(trace["x"]))
        assert bars["arrayminus"] == pytest.approx([0.125] * len(trace["x"]))
    for trace in made["chance"].variants["0"][0].data:
        if trace["mode"] == "markers":
            assert trace["error_y"]["array"] == pytest.approx([0.25] * len(trace["x"]), abs=2e-4)
    dots = made["languages"].variants["0|anchored"][0].data
    assert [("error_x" in trace) for trace in dots] == [False, True, True] * 2
    for trace in made["layers"].variants["0|anchored"][0].data:
        assert ("error_y" in trace) == (trace["type"] == "bar" or trace["mode"] == "markers")


def test_parts_are_those_of_the_table(page: Page) -> None:
    figure = data_of(page)["figures"]["parts"]
    traces = [{**shared, **own} for shared, own in zip(figure["traces"], figure["own"]["0|200"]["traces"], strict=True)]
    assert [trace.get("name") for trace in traces[:3]] == ["specific", "related", "general"]
    for place, trace in enumerate(traces[:3]):
        assert trace["x"] == list(range(32))
        assert trace["y"] == pytest.approx([math.sin(layer + place) for layer in range(32)], abs=6e-4)
    assert traces[3]["y"] == [96, 61.5, 40.1, 27.3, 23.9, 21]
    assert "1 0 to 4 understanding" in page.all("tr")
    assert "4 28 to 31 no label: no signature holds 98%" in page.all("tr")


def test_within_noise_and_step_names_are_said() -> None:
    run = page_run(steps=(0, 1), shape=(28, 300))
    quiet = [
        replace(row, beyond_noise=None if row.beyond_noise is None else False)
        for row in run.rows
        if row.analysis in ("kinds", "thresholds")
    ]
    text = render([replace(run, rows=quiet, step_names={0: "the base model", 1: "the tuned model"})])
    page = Page(text)
    assert page.all("p", **{"class": "lead"})[0].startswith("Not told from noise: specific (+")
    assert "From the base model to the tuned model, of 8,400 neurons" in " ".join(page.all("li"))
    assert "beyond noise" not in " ".join(page.all("li") + page.all("td"))


def test_one_snapshot_has_nothing_to_compare(run: PageRun) -> None:
    first = replace(run, steps=(0,), rows=[row for row in run.rows if row.step == 0])
    page = Page(render([first]))
    assert page.all("p", **{"class": "lead"}) == ["One snapshot: there is nothing yet to compare it with."]
    specific = int((random_neurons((0,))[0].codes == 1).sum())
    assert f"Step 0, of 12,800 neurons: {specific} specific," in " ".join(page.all("li"))
    # Nothing is drawn or named as if it were the last of several.
    words = " ".join(page.all("p") + page.all("summary") + page.all("td"))
    assert "last step" not in words
    assert "give rows by language" not in words
    assert page.all("p", **{"class": "missing"}).count("One snapshot: there is nothing to compare it with.") == 2
    owned = int((random_neurons((0,))[0].owned[0] & (random_neurons((0,))[0].codes == 1)).sum())
    assert any(line.startswith("en English") and f" {owned} " in line for line in page.all("tr"))
    made = cards([first])
    for name in ("answer", "languages", "losses"):
        (figure, _) = made[name].variants["0" if name == "losses" else "0|anchored"]
        symbols = [trace["marker"]["symbol"] for trace in figure.data if "marker" in trace]
        symbols = [some for some in symbols if isinstance(some, list)]
        assert symbols
        assert all(symbol.endswith("-open") for some in symbols for symbol in some), name
    for bars in made["degrees"].variants["0|anchored"][0].data:
        assert all(fill.startswith("rgba(") for fill in bars["marker"]["color"])


def test_counts_that_are_of_no_run_have_names_as_they_are(run: PageRun) -> None:
    counts = replace(
        run, name="my_model", step_names={0: "my_model", 200: "other_model"}, is_run=False, steps=(0, 200),
        rows=[row for row in run.rows if row.step in (0, 200)], training_loss=None, environment=None,
    )  # fmt: skip
    text = render([counts])
    page = Page(text)
    assert "my_model" in text
    assert "My_model" not in text
    assert "Other_model" not in text
    assert "None: these counts are not those of a run." in page.all("p", **{"class": "missing"})
    assert "beside the run" not in text
    assert "the run" not in " ".join(page.all("p") + page.all("dt"))


def test_the_marks_of_languages_are_all_explained(page: Page) -> None:
    notes = [note for note in page.all("p", **{"class": "note"}) if "Circles: " in note]
    assert len(notes) == 2
    assert all("squares: the reference; diamonds: unseen ones." in note for note in notes)


def test_several_runs_stand_side_by_side(run: PageRun) -> None:
    runs = [run, page_run("other", seed=1), page_run("third", seed=2), bare_run()]
    text = render(runs)
    page = Page(text)
    assert len(text.encode()) < MAX_BYTES
    assert len(page.all("p", **{"class": "lead"})) == 4
    assert [name for name in page.all("option") if name[:1] in "ABCD"][:4] == [
        "A zh-de",
        "B other",
        "C third",
        "D bare",
    ]
    assert "D: Not computed. To have it: keep metrics.csv beside the run." in page.all("p")


@pytest.mark.slow
def test_very_many_snapshots_are_thinned_and_said_to_be() -> None:
    run = page_run(steps=tuple(range(0, 600, 10)), shape=(32, 20))
    text = render([run])
    assert len(text.encode()) < MAX_BYTES
    page = Page(text)
    (note,) = [said for said in page.all("p") if said.startswith("Layers, degrees and transitions are shown at")]
    shown = int(note.split()[7])
    values = data_of(page)["runs"][0]["rows"]
    kept = [int(step) for step, tables in values["values"]["anchored"].items() if "layer" in tables]
    assert len(kept) == shown
    assert (kept[0], kept[-1]) == (0, 590)
    assert len(values["values"]["anchored"]) == 60  # totals of all


@pytest.mark.parametrize("number", [0, 5])
def test_other_numbers_of_runs_are_refused(number: int) -> None:
    with pytest.raises(InputError, match="1 to 4"):
        render([bare_run()] * number)


def test_a_run_without_snapshots_is_refused() -> None:
    with pytest.raises(InputError, match="no snapshots"):
        render([replace(bare_run(), steps=())])


def test_the_page_is_written_whole(tmp_path: Path, run: PageRun, text: str) -> None:
    write_page([run], tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]


# --- colours --------------------------------------------------------------------------------------------------------

# Machado et al. 2009, severity 1: what the red-, green- and blue-blind see of linear RGB.
_BLIND = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(_XYZ[1] @ linear(colour)) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = _XYZ @ np.clip(rgb, 0, 1) / _XYZ.sum(axis=1)
    root = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_kinds_are_told_apart_with_any_colour_vision(theme: dict[str, str]) -> None:
    for eye in _BLIND:
        for a, b in combinations(KINDS[1:], 2):
            assert np.linalg.norm(lab(eye @ linear(theme[a])) - lab(eye @ linear(theme[b]))) > 25, (a, b)
    for kind in (*KINDS[1:], "more", "less"):
        assert contrast(theme[kind], theme["page"]) > 3
    for name in ("text", "muted"):
        assert contrast(theme[name], theme["page"]) > 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_numbers_can_be_read_on_their_cells(theme: dict[str, str]) -> None:
    for name in (*KINDS[1:], "more", "less"):
        mixed = [
            round(
                BEHIND_NUMBERS * int(theme[name][start : start + 2], 16)
                + (1 - BEHIND_NUMBERS) * int(theme["page"][start : start + 2], 16)
            )
            for start in (1, 3, 5)
        ]
        assert contrast(theme["text"], "#{:02x}{:02x}{:02x}".format(*mixed)) > 4.5, name


def test_the_style_sheet_has_the_colours_of_the_figures() -> None:
    css = (Path(page_package.__file__).parent / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", css)
    assert [sorted(theme.items()) for theme in map(dict, map(variables, blocks))] == [
        sorted(theme.items()) for theme in (LIGHT, DARK, DARK)
    ]


def variables(block: str) -> Iterator[tuple[str, str]]:
    for name, value in re.findall(r"--(\w+): (#[0-9a-f]{6})", block):
        if name in LIGHT:
            yield name, value


@pytest.mark.slow
def test_pairs_of_very_many_languages_are_left_out_before_a_page_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = page_run(shape=(12, 100))
    whole = render([run])
    module = sys.modules[render.__module__]
    monkeypatch.setattr(module, "MAX_BYTES", len(whole.encode()) - 1)
    monkeypatch.setattr(module, "_SNAPSHOTS", (len(run.steps),))
    pairs = len({(row.language, row.other) for row in run.rows if row.group == "pair"})
    smaller = render([replace(run, how_to={"overlaps": "python -m alignlab.analyze run=x"})])
    assert smaller.count("Left out, to keep this page small. To have it: python -m alignlab.analyze run=x.") == 2
    assert pairs > 3
    assert f"What each of {pairs} pairs of languages shares is left out" in smaller
    assert "is left out, to keep this page small" not in whole
    assert len(smaller.encode()) < len(whole.encode())


def test_the_ends_of_stages_are_marked_in_figures_over_steps(run: PageRun) -> None:
    staged = replace(run, stage_ends={"<b>one</b>": 50, "two": 120}, training_units="answer tokens, then pairs")
    plain, marked = cards([run]), cards([staged])
    axes = {"kinds": 4, "groups": 2, "losses": 1, "training": 1}
    assert {name: len(_marks(card)) for name, card in marked.items() if _marks(card)} == {
        name: 2 * panels for name, panels in axes.items()
    }
    assert _marks(marked["training"]) == [("<b>one</b>", 50), ("two", 120)]
    assert not any(_marks(card) for card in plain.values())
    # Of runs side by side a line would be of one of them only.
    assert not _marks(cards([run, staged])["kinds"])
    assert "loss, mean over answer tokens, then pairs" in str(marked["training"].variants[""][0].layout)
    text = render([staged])
    assert "&lt;b&gt;one&lt;/b&gt; to step 50; two to step 120; then one more." in text
    for card in marked.values():
        for figure in card.variants.values():
            for layout in figure:
                layout.plotly()


def _marks(card: Any) -> list[tuple[str, int]]:
    """Names and steps of the vertical lines with a name, in the first variant of a card."""
    layout = next(iter(card.variants.values()))[0].layout
    lines = [shape["x0"] for shape in layout.get("shapes", ()) if shape["x0"] == shape["x1"]]
    names = {note["x"]: html.unescape(note["text"]) for note in layout["annotations"] if note["x"] in lines}
    return [(names[step], step) for step in lines if step in names]
