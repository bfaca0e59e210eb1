"""What the page says of interventions: matrices, strengths and sentences, against the rows of their tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignlab.errors import InputError
from alignlab.neurons.table import Row, read_csv
from alignlab.reporting.page import render
from alignlab.reporting.page.intervention_figures import CellTexts, effect_matrix
from alignlab.reporting.page.interventions import MOST_CELLS, PageIntervention, answer, sentence, show
from alignlab.reporting.page.render import MAX_BYTES
from alignlab.reporting.page_interventions import read_interventions
from alignlab.reporting.wandb_media import intervention_media

from ..analysis.arm_records import LANGUAGES
from .page_data import LANGUAGES as OF_THE_PAGE
from .page_data import bare_run, page_run
from .page_intervention_data import amplified, answered, many_languages, switched_off, write_folder

EVIL = "<img src=x onerror=alert(1)>{{ 7 * 7 }}</script>"


def one(rows: list[Row], name: str = "off") -> PageIntervention:
    return PageIntervention(name, f"runs/mine/interventions/{name}/table.csv", rows, seeds=4)


def cell(rows: list[Row], measure: str, name: str, language: str, **columns: object) -> Row:
    """The row of a cell, by a search over all."""
    wanted = {"measure": measure, "set": name, "other": language, "group": "pair"} | columns
    [found] = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
    return found


def traces(shown: Any, key: str) -> list[dict[str, Any]]:
    return list(shown.card.variants[f"{shown.run}|{key}"][0].data)


@pytest.mark.parametrize(
    ("key", "measure", "control"),
    [
        ("0-change", "change of nats", ""),
        ("0-over", "nats over control", "matched"),
        ("0-log", "log(1 + change of perplexity)", ""),
    ],
)
def test_a_matrix_has_the_numbers_of_its_rows(key: str, measure: str, control: str) -> None:
    rows = switched_off()
    [shown] = show([[one(rows)]])
    values, veil, dots, frames = traces(shown, key)
    for i, name in enumerate(LANGUAGES):
        for j, language in enumerate(LANGUAGES):
            row = cell(rows, measure, name, language, control=control)
            assert values["z"][i][j] == pytest.approx(row.value, abs=5e-5)
            beyond = cell(rows, "nats over control", name, language, control="matched").beyond_control
            assert veil["z"][i][j] == (0 if beyond else 1)
            dot = [(math.floor(x + 0.5), math.floor(y + 0.5)) for x, y in zip(dots["x"], dots["y"], strict=True)]
            assert ((j, i) in dot) == beyond
    assert beyond  # the last is of a language's own neurons, far beyond
    assert len(dots["x"]) < 9
    assert len(frames["x"]) == 6 * len(LANGUAGES)


def test_a_cell_says_its_numbers_where_it_is_pointed_at() -> None:
    rows = [replace(row, control_gap=0.041) if row.control else row for row in switched_off()]
    [shown] = show([[one(rows)]])
    values = traces(shown, "0-change")[0]
    change, over = cell(rows, "change of nats", "de", "zh", control=""), cell(
        rows, "nats over control", "de", "zh", control="matched"
    )  # fmt: skip
    control = cell(rows, "change of nats", "de", "zh", control="matched")
    said = values["customdata"][LANGUAGES.index("de")][LANGUAGES.index("zh")]

    def with_ends(row: Row) -> str:
        assert row.low is not None
        assert row.high is not None
        return f"{row.value:+.3f} ({row.low:+.3f} to {row.high:+.3f})".replace("-", "−")

    assert said[:4] == ["de", "zh", with_ends(change), with_ends(over)]
    assert said[4] == f"{over.p_adjusted:.2g} (fdr)"
    assert said[5:7] == [f"{control.value:+.3f}".replace("-", "−"), "0.041"]
    assert said[7] == f"{change.denominator:,}"
    own = values["customdata"][1][1]
    assert own[4].endswith("(holm)")
    for place in range(8):
        assert f"%{{customdata[{place}]}}" in values["hovertemplate"]
    assert "log(1 + change of perplexity) %{z" in traces(shown, "0-log")[0]["hovertemplate"]


def test_what_draws_of_a_control_share_is_in_the_table_and_below_it() -> None:
    rows = [
        replace(row, control_shared=0.2 if row.set == "de" else 0.5) if row.control else row for row in switched_off()
    ]
    [shown] = show([[one(rows)]])
    table = shown.card.tables["0"]
    told = {(line[1], line[table["columns"].index("controls_share")]) for line in table["rows"]}
    assert told == {("en", 0.5), ("de", 0.2), ("zh", 0.5)}
    said = [caption.text for caption in shown.card.captions]
    assert any(text.startswith("Draws of a matched control have 0.40 of their neurons in common") for text in said)


def test_the_sentence_counts_the_sets_that_hurt_their_own_language() -> None:
    rows = switched_off()
    [matrix] = one(rows).matrices
    expected = [name for name in LANGUAGES
                if cell(rows, "nats over control", name, name, control="matched").beyond_control]  # fmt: skip
    assert expected == list(LANGUAGES)  # as planted
    assert sentence(matrix) == (
        "Switching off a language's neurons hurts the language itself (nats) more than its matched control, corrected "
        "by Holm, in 3 of 3 sets (en de zh); step 20."
    )
    others = [row for row in rows if row.measure == "nats over control" and row.control == "matched"
              and row.language != row.other]  # fmt: skip
    far = sum(row.beyond_control is True for row in others)
    assert answer(matrix)[1:] == ("3 of 3 sets (en de zh)", "3 of 3 sets (en de zh)", f"{far} of 6")
    # What helps a language does not hurt it, and what is within control is not beyond it.
    helped = [replace(row, value=-row.value) if row.set == "de" else row for row in rows]
    within = [replace(row, beyond_control=False) if row.beyond_control and row.set == "zh" else row for row in helped]
    [matrix] = one(within).matrices
    assert answer(matrix).own == "1 of 3 sets (en)"
    without = [row for row in rows if not row.control]
    [matrix] = one(without).matrices
    assert "cannot be told" in sentence(matrix)
    assert answer(matrix).own == answer(matrix).elsewhere == "no verdict"


def test_of_right_answers_fewer_are_harm_and_forcing_is_not() -> None:
    found = {matrix.measure: matrix for matrix in one(answered()).matrices}
    assert answer(found["right"]).own == "3 of 3 sets (en de zh)"
    forced = found["answers in the set's language"]
    assert answer(forced).own == "not asked"
    assert sentence(forced).startswith("Switching off a language's neurons turns answers to questions in other langu")
    [shown] = show([[one(answered())]])
    assert "problems" in traces(shown, "0-change")[0]["hovertemplate"]
    assert not any(key.endswith("-log") for key in shown.card.variants)


def test_without_a_verdict_no_cell_is_pale_and_a_floor_is_marked() -> None:
    rows = [replace(row, status="floor") if row.measure.startswith("change") else row for row in switched_off()]
    [matrix] = one([row for row in rows if not row.control]).matrices
    figure = effect_matrix(matrix, matrix.changes, "change", CellTexts("", []), 2)
    assert {value for line in figure.data[1]["z"] for value in line} == {0}
    assert all(text.endswith("f") for line in figure.data[1]["text"] for text in line)


def test_strengths_are_curves_of_the_own_language_beside_its_control() -> None:
    rows = amplified()
    [shown] = show([[one(rows)]])
    assert shown.strengths is not None
    [(wide, _)] = shown.strengths.variants.values()
    own, control = wide.data[:3], wide.data[3:]
    for place, name in enumerate(LANGUAGES):
        assert own[place]["x"] == [0.5, 1.0, 2.0]
        for kind, figure in (("", own[place]), ("matched", control[place])):
            expected = [
                cell(rows, "change of nats", name, name, control=kind, strength=strength, analysis="effects").value
                for strength in (0.5, 1.0, 2.0)
            ]
            assert figure["y"] == pytest.approx(expected, rel=1e-3)
    assert any("chosen on one half of the documents" in caption.text for caption in shown.strengths.captions)
    # Those at strengths that were chosen are one matrix.
    assert [matrix.what for matrix in one(rows).matrices] == [
        "scale 0.5", "scale 1", "scale 2", "scale at its best strength"
    ]  # fmt: skip
    assert show([[one(switched_off())]])[0].strengths is None


def test_the_table_has_a_line_a_cell() -> None:
    rows = switched_off()
    [shown] = show([[one(rows)]])
    table = shown.card.tables["0"]
    assert len(table["rows"]) == 9
    for line in table["rows"]:
        at = dict(zip(table["columns"], line, strict=True))
        over = cell(rows, "nats over control", at["changed"], at["evaluated"], control="matched")
        assert at["over_control"] == pytest.approx(over.value, rel=1e-3)
        assert at["p_corrected"] == pytest.approx(over.p_adjusted, rel=1e-3)
        assert (at["beyond_control"], at["denominator"]) == (over.beyond_control, over.denominator)
        assert at["control_sd"] == pytest.approx(
            cell(rows, "change of nats", at["changed"], at["evaluated"], control="matched").sd, rel=1e-3
        )
        scaled = cell(rows, "log(1 + change of perplexity)", at["changed"], at["evaluated"])
        assert at["log_scale"] == pytest.approx(scaled.value, rel=1e-3)


def test_folders_of_a_run_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path, "off", switched_off(), same_documents=True)
    write_folder(tmp_path, "half", switched_off(), end=False)
    (tmp_path / "interventions" / "mine").mkdir()
    found, notes = read_interventions(tmp_path)
    assert [intervention.name for intervention in found] == ["off"]
    assert notes == ["Interventions half are not shown: they are not finished."]
    assert found[0].neurons == "specific(g) | related(g)"
    assert found[0].found_by == "ternary (bar 0.95, lambda largest, top_rate 0.1)"
    assert read_interventions(tmp_path / "none") == ([], [])
    page = render([replace(bare_run(), interventions=found)])
    for said in (
        "Switching off a language&#39;s neurons hurts the language itself (nats)",
        "found by ternary (bar 0.95, lambda largest, top_rate 0.1); site mlp.act, changed at tokens: all.",
        "over clusters and controls",
        "same_documents=true",
        '<option value="0-log">log(1 + change of perplexity)</option>',
        "off/table.csv",
        "30 of 3,000 random ones and 2,700 of 6,000 matched ones are general",
        '<a href="#effects">Effects</a>',
    ):
        assert said in page, said
    other = render([replace(bare_run(), interventions=[replace(found[0], same_documents=False)])])
    assert "same_documents=true" not in other


def test_a_page_without_interventions_says_nothing_of_them() -> None:
    page = render([bare_run()])
    assert "effects" not in page.partition('<script type="application/json"')[0]


@pytest.mark.parametrize("file", ["table.csv", "config.yaml", "about.json"])
def test_damaged_folders_are_refused_by_name(tmp_path: Path, file: str) -> None:
    folder = write_folder(tmp_path, "off", switched_off()).path
    path = folder / file
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * len(whole))  # as long as it was
    with pytest.raises(InputError, match=rf"off/{file}"):
        read_interventions(tmp_path)
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"{file} is not as it was written"):
        read_interventions(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=rf"{file} is missing"):
        read_interventions(tmp_path)


def test_names_of_sets_are_text(tmp_path: Path) -> None:
    def evil(row: Row) -> Row:
        named = replace(row, task=EVIL, scope=EVIL)
        return replace(named, set=EVIL + "\x1b[31m") if row.set == "zh" else named

    write_folder(tmp_path, "<b onclick=hit>", [evil(row) for row in amplified()], identifier={"name": EVIL})
    found, _ = read_interventions(tmp_path)
    assert len(read_csv(tmp_path / "interventions" / "<b onclick=hit>" / "table.csv")) == len(found[0].rows)
    page = render([replace(bare_run(), interventions=found)])
    assert "<img src=x" not in page
    assert "<b onclick" not in page
    assert "\x1b" not in page
    assert "{{ 7 * 7 }}" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    [shown] = show([found])
    values = traces(shown, "0-change")[0]
    assert values["customdata"][2][0][0].startswith("&lt;img")  # which plotly would take for markup
    wide, narrow = shown.card.variants["0|0-change"]
    assert all("&lt;img" in figure.layout["yaxis"]["ticktext"][2] for figure in (wide, narrow))


@pytest.mark.slow
def test_fifty_languages_fit_on_a_page_and_what_does_not_is_said() -> None:
    languages = [replace(OF_THE_PAGE[0], code=f"l{place:02d}", name=f"Language {place}") for place in range(50)]
    run = page_run(shape=(32, 400), steps=(0, 50, 100), languages=languages)
    rows = many_languages(strengths=(1.0, 2.0))
    run = replace(run, interventions=[one(rows)])
    assert 50 * 50 < MOST_CELLS < 2 * 50 * 50
    page = render([run])
    assert len(page.encode()) < MAX_BYTES
    assert "1 of 2 matrices are drawn, to keep this page small; runs/mine/interventions/off/table.csv has all." in page
    [shown] = show([run.interventions])
    assert len(traces(shown, "0-change")[0]["z"]) == 50
    assert len(shown.answers) == 2  # what is not drawn has its line all the same


def test_wandb_gets_the_same_table() -> None:
    rows = [replace(row, set="=2+2") if row.set == "zh" else row for row in switched_off()]
    media = intervention_media([one(rows)])
    table = media["interventions/off/table"]
    lines = [dict(zip(table.columns, line, strict=True)) for line in table.data]
    assert len(lines) == 9
    assert {line["changed"] for line in lines} == {"en", "de", "'=2+2"}
    over = cell(rows, "nats over control", "de", "de", control="matched")
    [own] = [line for line in lines if line["changed"] == line["evaluated"] == "de"]
    assert own["over_control"] == pytest.approx(over.value, rel=1e-3)
    assert own["beyond_control"] is True
    assert set(media) == {"interventions/off/table", "interventions/off/matrix"}
