"""The page in a real browser, opened from a file: what readers do to it, and that it asks nothing of any network."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from alignlab.neurons.table import Row, unguarded
from alignlab.reporting.driving_texts import text_tables
from alignlab.reporting.page import PageRun, write_page
from alignlab.reporting.page.data import MEANS, Asked
from alignlab.reporting.page_capability import read_capability
from alignlab.reporting.page_interventions import read_interventions

from ..analysis.arm_records import LANGUAGES as ARMS
from ..installed_browser import installed_browser
from ..reporting.page_capability_data import write_run
from ..reporting.page_data import KINDS, LANGUAGES, bare_run, page_run, random_neurons, reestimated, wide_rows
from ..reporting.page_intervention_data import ANSWERING, amplified, switched_off, write_folder
from ..reporting.test_driving_texts import EVERY
from ..reporting.test_driving_texts import LANGUAGES as DRIVEN
from ..reporting.test_driving_texts import texts as neuron_texts

ARGUMENTS = (
    "--no-sandbox",  # as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'><b onclick=hit>&lt;"

pytestmark = pytest.mark.slow  # every test opens a page of 5 MB

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=installed_browser(), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def runs() -> list[PageRun]:
    languages = [
        replace(language, group="trained" if language.code in ("sw", "th") else "unseen") for language in LANGUAGES
    ]
    return [page_run(), page_run("sw-th", seed=1, steps=(0, 100, 300), languages=languages)]


@pytest.fixture(scope="module")
def files(runs: list[PageRun], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of one run, of two, and of one that has hardly anything."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {"one": runs[:1], "two": runs, "bare": [bare_run()]}
    for name, shown in pages.items():
        write_page(shown, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page; at the end of the test nothing may have been said on the console or asked of a network."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened(path: Path, viewport: dict[str, int] = DESKTOP, **options: Any) -> Page:
        context = browser.new_context(viewport=viewport, accept_downloads=True, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            settle(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


def settle(page: Page) -> None:
    """Waits until all figures are drawn."""
    page.wait_for_selector("html[data-drawn=all]", state="attached")


def drawn(page: Page, figure: str) -> list[dict[str, Any]]:
    """The traces that plotly has drawn in a figure."""
    settle(page)
    traces: list[dict[str, Any]] = page.evaluate(
        "name => document.querySelector(`#figure-${name} .plot`)"
        ".data.map(({x, y, z, marker, meta, line}) => ({x, y, z, marker, meta, line}))",
        figure,
    )
    return traces


def downloaded(page: Page, figure: str, kind: str) -> str:
    with page.expect_download() as download:
        page.locator(f"#figure-{figure} [data-save={kind}]").click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_every_figure_is_drawn(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"])
    figures = page.locator("figure").count()
    assert figures == 13
    assert page.locator("figure .plot .main-svg").first.is_visible()
    assert page.locator("figure:has(.plot .main-svg)").count() == figures
    for plot in page.locator(".plot").all():
        assert plot.get_attribute("role") == "img"
        assert len(plot.get_attribute("aria-label") or "") > 20
    assert page.locator(".missing:visible").count() == 0


def test_the_slider_moves_through_the_steps(open_page: Open, files: dict[str, Path], runs: list[PageRun]) -> None:
    page = open_page(files["one"])
    at = random_neurons(runs[0].steps)
    slider, said = page.get_by_label("Step", exact=True), page.locator("#step-said")
    assert said.get_attribute("aria-live") == "polite"
    slider.focus()
    for key, step in (("Home", 0), ("ArrowRight", 50), ("ArrowRight", 100), ("End", 200), ("ArrowLeft", 150)):
        page.keyboard.press(key)
        codes = at[step].codes
        for code in (1, 2, 3, 4):
            assert f"{int((codes == code).sum()):,} {KINDS[code]}" in said.inner_text()
        assert said.inner_text().startswith(f"step {step}: ")
        assert slider.get_attribute("aria-valuetext") == f"step {step}"
        bars = [trace for trace in drawn(page, "layers") if (trace["meta"] or {}).get("at") == "step"]
        assert [trace["y"] for trace in bars] == [(codes == code).sum(axis=1).tolist() for code in (1, 2, 3, 4)]


def test_filters_choose_thresholds_run_and_step(open_page: Open, files: dict[str, Path], runs: list[PageRun]) -> None:
    page = open_page(files["two"])
    at = random_neurons(runs[0].steps)
    other = random_neurons(runs[1].steps, seed=1)

    def last_degrees() -> list[int]:
        counts: list[int] = drawn(page, "degrees")[3]["y"]
        return counts

    def degrees(neurons: Any) -> list[int]:
        return [int((neurons.owned.sum(axis=0) == degree).sum()) for degree in range(1, 11)]

    assert last_degrees() == degrees(at[200])
    page.get_by_role("radio", name="re-estimated").check()
    assert last_degrees() == degrees(reestimated(at)[200])
    assert "compositional" in page.locator("#figure-degrees .basis:visible").first.inner_text()
    page.get_by_label("Run", exact=True).select_option(label="B sw-th")
    assert last_degrees() == degrees(reestimated(other)[300])
    page.get_by_role("radio", name="anchored").check()
    assert last_degrees() == degrees(other[300])
    assert page.locator("#step").get_attribute("max") == "2"

    page.get_by_label("From the first snapshot to").locator("visible=true").select_option(label="step 100")
    moved = int(((other[0].codes == 1) & (other[100].codes == 2)).sum())
    (table,) = page.locator("table.transitions:visible").all()
    assert table.locator("tbody tr").first.locator("td").nth(1).inner_text() == f"{moved:,}"
    ends = table.locator("tbody tr").last.locator("td").all_inner_texts()
    assert ends == [f"{int((other[100].codes == code).sum()):,}" for code in (1, 2, 3, 4, 0)] + ["12,800"]
    assert "step 100 (columns)" in table.locator("caption").inner_text()
    before = drawn(page, "overlap")[0]["z"]
    page.get_by_label("Show").select_option(label="Jaccard")
    assert drawn(page, "overlap")[0]["z"] != before
    page.get_by_label("At", exact=True).locator("visible=true").select_option(label="step 0")
    assert page.locator("[data-parts-at]:visible").count() == 1


def test_themes_change_by_button_and_by_system(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"], color_scheme="light")
    button = page.locator("#theme")
    seen = []
    for offered in ("dark", "light", "dark"):
        assert button.inner_text() == f"Switch to the {offered} theme"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.append((background, drawn(page, "kinds")[1]["line"]["color"]))
        button.press("Enter")
    assert seen == [("rgb(255, 255, 255)", "#1584cc"), ("rgb(20, 23, 28)", "#3f8fe8"), seen[0]]
    dark = open_page(files["one"], color_scheme="dark")
    assert dark.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("name", ["one", "two", "bare"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_overflows(open_page: Open, files: dict[str, Path], name: str, viewport: dict[str, int]) -> None:
    page = open_page(files[name], viewport)
    unfold(page)
    assert clipped(page) == []
    for details in page.locator("details.data:visible").all():
        details.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def unfold(page: Page) -> None:
    """Opens all tables."""
    page.evaluate("document.querySelectorAll('details.fold').forEach(details => { details.open = true; })")


def clipped(page: Page) -> list[str]:
    """What goes over the right edge, and boxes that hide some of what is in them; raw data may be scrolled."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => e.checkVisibility()
            && !e.closest('.data, .plot, .hidden, pre, .stack thead')
            && (e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
                || (getComputedStyle(e).overflow !== 'visible'
                    && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    return found


@pytest.mark.parametrize("name", ["one", "two", "bare"])
def test_nothing_is_clipped_or_folded_on_paper(open_page: Open, files: dict[str, Path], name: str) -> None:
    page = open_page(files[name], {"width": 718, "height": 1000})  # A4 at 96 dots an inch, less its margins
    page.emulate_media(media="print")
    folds = page.locator("details.fold:visible").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.fold[open]:visible").count() == folds > 0
    assert clipped(page) == []
    assert not page.locator("#theme").is_visible()
    for plot in page.locator(".plot:visible .main-svg:first-child").all():
        box = plot.bounding_box()
        assert box
        assert box["width"] == 680
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    settle(page)
    assert page.locator("details.fold[open]").count() == 0


def test_paper_is_white_and_has_the_bands_at_once(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"], color_scheme="dark")
    page.emulate_media(media="print")
    printed = page.evaluate(
        """() => {
            dispatchEvent(new Event('beforeprint'));
            const bands = [...document.querySelectorAll('.sankey-link')].map(band => getComputedStyle(band).opacity);
            const {backgroundColor} = getComputedStyle(document.body);
            return [document.documentElement.dataset.theme, backgroundColor, [...new Set(bands)]];
        }"""
    )
    assert printed == ["light", "rgb(255, 255, 255)", ["1"]]
    assert drawn(page, "kinds")[1]["line"]["color"] == "#1584cc"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    settle(page)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    plots = "[...document.querySelectorAll('.plot')]"
    assert page.evaluate(f"{plots}.every(plot => plot.querySelector('.main-svg').clientWidth == plot.clientWidth)")


def test_the_demos_page_is_eight_screens_of_a_desktop_and_uses_its_width(open_page: Open, tmp_path: Path) -> None:
    run = page_run(shape=(4, 640))
    rows = [row for row in run.rows if row.analysis != "layer_parts"]
    write_page([replace(run, rows=rows, parts_refused="4 layers; expected 12 or more")], tmp_path / "demo.html")
    page = open_page(tmp_path / "demo.html", {"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollHeight") <= 8 * 800
    # The first screen has the answer, the first figure and the four terms.
    for shown in (".lead", "#figure-answer .plot", ".glossary div:nth-child(4)"):
        box = page.locator(shown).bounding_box()
        assert box
        assert box["y"] + box["height"] <= 800
    # Of every section's height, how much has something in the right half.
    used = page.evaluate(
        """() => [...document.querySelectorAll('main > section:not(#setup)')].map(section => {
            const boxes = [...section.querySelectorAll('.plot, table, .note, .basis, .missing, dl, .lead')]
                .filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect()).filter(box => box.right > 900);
            const rows = new Set(boxes.flatMap(({top, bottom}) =>
                Array.from({length: Math.ceil(bottom - top)}, (_, i) => Math.floor(top) + i)));
            return rows.size / section.getBoundingClientRect().height;
        })"""
    )
    assert min(used) > 0.3, used


def test_a_page_that_is_made_narrow_is_laid_out_anew(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"])
    height = page.locator("#figure-kinds .plot").bounding_box()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.wait_for_function("() => document.querySelector('#figure-kinds .plot').clientHeight > 450")
    assert height
    assert height["height"] < 300


def test_the_page_can_be_worked_by_keyboard(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["two"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
    reached = set()
    for _ in range(140):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert {"run", "theme", "step", "measure", "until-0", "SUMMARY", "BUTTON"} <= reached


def test_controls_and_regions_have_names(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["two"])
    for role in ("button", "combobox", "radio", "slider", "region", "navigation", "table", "figure", "img"):
        unnamed = page.evaluate(
            """role => {
                const selectors = {button: "button", combobox: "select", radio: "input[type=radio]",
                    slider: "input[type=range]", region: "[role=region]", navigation: "nav", table: "table",
                    figure: "figure", img: "[role=img]"};
                return [...document.querySelectorAll(selectors[role])].filter(e => e.checkVisibility()
                    && !(e.labels?.length || e.ariaLabel || e.textContent.trim()
                         || e.getAttribute("aria-labelledby") || e.caption)).map(e => e.outerHTML.slice(0, 90));
            }""",
            role,
        )
        assert unnamed == [], role
    assert page.locator("main").count() == page.locator("header").count() == page.locator("h1").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => Number(e.tagName[1]))")
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_scripts_of_the_world_are_shown_as_they_are(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"])
    unfold(page)
    for language in LANGUAGES:
        cell = page.locator(f"td[lang={language.code}]")
        assert cell.inner_text() == language.own_name
        assert cell.get_attribute("dir") == ("rtl" if language.code == "ar" else "ltr")


def test_markup_in_the_data_does_nothing(open_page: Open, tmp_path: Path) -> None:
    run = replace(
        page_run(HOSTILE, steps=(0, 10), shape=(12, 40)),
        folder=HOSTILE,
        model=HOSTILE,
        languages=[replace(language, name=HOSTILE, own_name=HOSTILE, family=HOSTILE) for language in LANGUAGES],
        config=HOSTILE,
        environment={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        step_names={0: HOSTILE, 10: "after"},
        parts_refused=HOSTILE,
        asked=[Asked(HOSTILE, HOSTILE, (HOSTILE, HOSTILE), [(HOSTILE, HOSTILE)])],
    )
    run = replace(run, rows=[row for row in run.rows if row.analysis != "layer_parts"])
    write_page([run, bare_run(HOSTILE)], tmp_path / "hostile.html")
    page = open_page(tmp_path / "hostile.html", PHONE)
    for details in page.locator("details:visible").all():
        details.locator("summary").click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert page.locator("img, b:not(svg b)").count() == 0
    assert HOSTILE in page.locator("h1").inner_text()
    assert HOSTILE in page.locator("#figure-languages .plot").inner_text()
    assert page.locator(".asked").get_by_text(HOSTILE).count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def csv_rows(rows: Sequence[dict[str, Any]], run: str) -> list[dict[str, str]]:
    """The rows as the page writes them; counts, means over eight languages among them, are given in full."""
    return [
        {"run": run} | {name: cell(value, 17 if name == "value" else 4) for name, value in row.items()} for row in rows
    ]


def place(line: dict[str, str]) -> tuple[str, ...]:
    return tuple(line[name] for name in ("step", "group", "language", "layer", "kind", "degree", "convention"))


def cell(value: object, digits: int = 4) -> str:
    """As the page writes it: whole numbers without a fraction, ends of intervals to 4 decimals."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        value = round(value, digits)
        return str(int(value)) if value == int(value) else str(value)
    return str(value)


def test_the_csv_holds_the_rows(open_page: Open, files: dict[str, Path], runs: list[PageRun]) -> None:
    page = open_page(files["one"])
    figures: dict[str, Callable[[dict[str, Any]], bool]] = {
        "kinds": lambda row: bool(row["kind"]) and row["group"] == "all" and row["layer"] is None,
        "groups": lambda row: row["group"] in MEANS,
        "heatmaps": lambda row: row["layer"] is not None,
        "languages": lambda row: row["group"] == "language",
        "degrees": lambda row: row["degree"] is not None,
    }
    for thresholds, label in (("anchored", "anchored"), ("reestimated", "re-estimated")):
        page.get_by_role("radio", name=label).check()
        for figure, wanted in figures.items():
            found = list(csv.DictReader(io.StringIO(downloaded(page, figure, "csv"))))
            rows = [row for row in wide_rows(runs[0]) if row["thresholds"] == thresholds and wanted(row)]
            assert sorted(found, key=place) == sorted(csv_rows(rows, runs[0].name), key=place)


def test_no_cell_of_the_csv_is_a_formula(open_page: Open, tmp_path: Path) -> None:
    names = ("=1+1", "'=1", "it's")
    run = page_run("@name", steps=(0, 10), shape=(12, 40))
    languages = [replace(one, code=name) for one, name in zip(run.languages, names, strict=False)]
    losses = [
        Row(analysis="losses", step=0, group="language", language=name, measure="loss", value=-0.5, unit="nats a token")
        for name in names
    ]
    rows = [row for row in run.rows if row.analysis not in ("losses", "language_overlap")] + losses
    rows = [row for row in rows if row.group != "language" or row.analysis == "losses"]
    write_page([replace(run, rows=rows, languages=languages)], tmp_path / "cells.html")
    found = list(csv.reader(io.StringIO(downloaded(open_page(tmp_path / "cells.html"), "losses", "csv"))))
    # As csv_text of alignlab.neurons.table writes them; numbers stay numbers.
    assert found[1:] == [["'@name", "0", name, "-0.5"] for name in ("'=1+1", "''=1", "it's")]
    assert [unguarded(line[2]) for line in found[1:]] == list(names)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_numbers_in_cells_do_not_touch(open_page: Open, tmp_path: Path, viewport: dict[str, int]) -> None:
    run = page_run(shape=(4, 640))
    overlaps = [row for row in run.rows if row.analysis == "language_overlap"]
    before = {(row.language, row.other, row.measure): row for row in overlaps if row.step == 0}
    changes = [
        replace(row.less(before[row.language, row.other, row.measure], since="step 0"), beyond_noise=True)
        for row in overlaps
        if row.step == 200
    ]
    write_page([replace(run, rows=[*run.rows, *changes])], tmp_path / "matrices.html")
    page = open_page(tmp_path / "matrices.html", viewport)
    for figure in ("overlap", "heatmaps"):
        boxes = page.evaluate(
            "name => [...document.querySelectorAll(`#figure-${name} .heatmap-label`)].map(e => "
            "e.getBoundingClientRect()).map(({left, right, top}) => [left, right, top])",
            figure,
        )
        assert len(boxes) >= 80
        for one, other in combinations(boxes, 2):
            if abs(one[2] - other[2]) < 3:
                assert one[1] <= other[0] + 1 or other[1] <= one[0] + 1


def test_other_tables_are_those_given(open_page: Open, files: dict[str, Path], runs: list[PageRun]) -> None:
    page = open_page(files["one"])
    losses = list(csv.reader(io.StringIO(downloaded(page, "losses", "csv"))))
    of_languages = [row for row in runs[0].rows if row.analysis == "losses" and row.language and not row.since]
    assert losses[1:] == [[runs[0].name, str(row.step), row.language, cell(row.value)] for row in of_languages]
    moves = list(csv.DictReader(io.StringIO(downloaded(page, "transitions", "csv"))))
    neurons = sum(int(line["count"]) for line in moves if (line["step"], line["thresholds"]) == ("200", "anchored"))
    assert neurons == runs[0].neurons
    page.locator("#figure-losses .data summary").click()
    expect(page.locator("#figure-losses tbody tr")).to_have_count(len(of_languages))  # filled when it is opened


def test_figures_are_saved_as_svg(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"], color_scheme="dark")
    for figure in ("kinds", "heatmaps", "transitions"):
        image = ElementTree.fromstring(downloaded(page, figure, "svg"))  # noqa: S314 (ours)
        assert image.tag.endswith("svg")
        said = "".join(image.itertext())
        assert "specific" in said
        assert "related" in said


def test_missing_parts_are_named(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["bare"])
    for figure in ("groups", "heatmaps", "layers", "languages", "degrees", "overlap", "transitions", "parts", "losses"):
        assert "Not computed. To have it: " in page.locator(f"#figure-{figure} .missing:visible").first.inner_text()
        assert not page.locator(f"#figure-{figure} .plot").is_visible()
        assert not page.locator(f"#figure-{figure} .tools").is_visible()
    assert not page.locator("#step").is_visible()
    page.get_by_role("radio", name="re-estimated").check()
    settle(page)
    assert not page.locator("#figure-kinds .plot").is_visible()
    assert page.locator("#figure-kinds .missing:visible").count() == 1


def test_the_answer_needs_no_script(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["one"], java_script_enabled=False)
    assert page.locator(".lead").is_visible()
    assert page.get_by_text("The figures need JavaScript.").is_visible()
    assert page.locator("#transitions table").first.is_visible()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_answers_of_a_model_are_drawn_and_are_text(open_page: Open, tmp_path: Path, viewport: dict[str, int]) -> None:
    write_run(tmp_path / "run")
    write_page([replace(page_run(), capability=read_capability(tmp_path / "run"))], tmp_path / "page.html")
    page = open_page(tmp_path / "page.html", viewport)
    lines = [trace for trace in drawn(page, "capability") if trace["y"] and len(trace["y"]) == 2]
    assert [[round(value, 3) for value in line["y"]] for line in lines[-3:]]
    expect(page.locator("p.lead")).to_contain_text("Did it help? Share of right answers, trained languages (de): yes")
    page.locator("#capability details.fold summary").last.click()
    expect(page.locator("table.answers tbody tr")).to_have_count(6)
    expect(page.locator("table.answers tbody td.said").first).to_contain_text("<img src=x onerror=alert(1)>{{ 7 * 7 }}")
    assert page.locator("table.answers img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture(scope="module")
def with_interventions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs; the second has matrices and strengths, of which one set has a name that is markup."""
    folder = tmp_path_factory.mktemp("interventions")
    evil = [replace(row, task=HOSTILE, set=HOSTILE if row.set == "zh" else row.set) for row in amplified()]
    write_folder(folder, "amplified", evil, identifier={"name": HOSTILE})
    texts = {label.name: [HOSTILE, "\u202e" + "W" * 100_000, HOSTILE * 3, "7", label.name] for label in ANSWERING}
    write_folder(folder, "off", switched_off(), texts=texts)
    found, _ = read_interventions(folder)
    write_page([page_run(), replace(page_run("b", seed=1), interventions=found)], folder / "page.html")
    return folder / "page.html"


def test_a_matrix_changes_its_scale_and_says_its_cells(open_page: Open, with_interventions: Path) -> None:
    page = open_page(with_interventions)
    assert not page.locator("#figure-effects-1").is_visible()
    page.locator("select#run").select_option(index=1)
    settle(page)
    rows = {(row.measure, row.set, row.other, row.control): row.value for row in switched_off() if row.operation}
    for option, measure, control in (
        ("0-change", "change of nats", ""),
        ("0-over", "nats over control", "matched"),
        ("0-log", "log(1 + change of perplexity)", ""),
    ):
        page.locator("select#effects-1").select_option(option)
        shown = drawn(page, "effects-1")[0]["z"]
        expected = [[rows[measure, name, code, control] for code in ARMS] for name in ARMS]
        assert shown == [pytest.approx(line, abs=1e-4) for line in expected]
    cells = page.locator("#figure-effects-1 .plot .nsewdrag").first
    box = cells.bounding_box()
    assert box is not None
    cells.hover(position={"x": box["width"] / 2, "y": box["height"] / 2}, force=True)  # German in German
    said = page.locator("#figure-effects-1 .hoverlayer")
    expect(said).to_contain_text("de changed, de evaluated")
    expect(said).to_contain_text("(holm)")
    expect(page.locator("#effects p.lead").last).to_contain_text("corrected by Holm, in 3 of 3 sets (en de zh)")
    lines = list(csv.DictReader(io.StringIO(downloaded(page, "effects-1", "csv"))))
    assert [(line["changed"], line["evaluated"]) for line in lines] == [(a, b) for a in ARMS for b in ARMS]
    assert len(drawn(page, "strengths-0")) == 6


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_of_interventions_are_text_and_fit(
    open_page: Open, with_interventions: Path, viewport: dict[str, int], scheme: str
) -> None:
    page = open_page(with_interventions, viewport, color_scheme=scheme)
    page.locator("select#run").select_option(index=1)
    settle(page)
    unfold(page)
    assert page.evaluate("window.hit") is None
    assert page.locator("#effects img, #effects .plot b[onclick], #effects script, table.arms b").count() == 0
    expect(page.locator("table.arms td.said").nth(1)).to_contain_text("<img src=x onerror='window.hit = 2'>")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert clipped(page) == []
    for name in ("effects-0", "effects-1", "strengths-0"):
        assert page.locator(f"#figure-{name} .plot .main-svg").first.is_visible()
    page.locator("#figure-effects-0 details.data summary").click()
    expect(page.locator("#figure-effects-0 details.data td").get_by_text(HOSTILE).first).to_be_visible()


def test_interventions_are_whole_on_paper(open_page: Open, with_interventions: Path) -> None:
    page = open_page(with_interventions, {"width": 718, "height": 1000})
    page.locator("select#run").select_option(index=1)
    settle(page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert clipped(page) == []
    widths = page.locator("#effects .plot .main-svg").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(widths) <= 718
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    settle(page)


def test_texts_that_drive_neurons_are_read_in_their_own_direction(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "texts.html"
    write_page([replace(page_run(), texts=text_tables(replace(neuron_texts(), named=EVERY), DRIVEN))], path)
    for viewport in (DESKTOP, PHONE):
        page = open_page(path, viewport)
        page.evaluate("document.querySelectorAll('#texts details').forEach((one) => (one.open = true))")
        marks = page.locator("#texts mark")
        assert marks.count() == 25
        assert "<script>hit()</script>" in marks.all_inner_texts()
        arabic = page.locator("#texts bdi", has_text="تفاحة").first
        assert arabic.evaluate("(one) => getComputedStyle(one).direction") == "rtl"
        assert arabic.inner_text() == "كم تفاحة لدى آنا"
        assert page.evaluate("window.hit === undefined")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0
