"""Rows of effects as matrices and sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alignlab.analysis.effect_forcing import FORCED
from alignlab.neurons.table import Row
from alignlab.reporting.effects_table import matrices, matrix_lines, sentences


def rows(beyond: dict[tuple[str, str], bool], own: dict[str, tuple[float, bool]], value: float = 0.25) -> list[Row]:
    """Two languages: changes of `value`, controls of .1, and verdicts as they are given."""
    found = []
    shared: dict[str, Any] = {"record": "step 5", "task": "text", "operation": "zero", "unit": "nats a token"}
    for name in ("en", "zh"):
        for language in ("en", "zh"):
            pair = shared | {"group": "pair", "language": name, "other": language, "set": name}
            over = {"measure": "nats over control", "control": "matched", "beyond_control": beyond[name, language]}
            over |= {"p_adjusted": 0.01, "control_shared": 0.625}
            found += [
                Row(value=9.0, **pair | {"measure": "nats"}),
                Row(value=value, **pair | {"measure": "change of nats"}),
                Row(value=0.1, **pair | {"measure": "change of nats", "control": "matched"}),
                Row(value=0.3, **pair | {"measure": "change of nats", "control": "random"}),
                Row(value=value - 0.1, **pair | over),
            ]
        what = {"group": "language", "language": name, "measure": "change of nats, own language over others"}
        found.append(
            Row(value=own[name][0], **shared | what | {"set": name, "beyond_noise": own[name][1], "p_adjusted": 0.01})
        )
    return found


def test_a_matrix_is_laid_out_with_its_marks() -> None:
    beyond = {("en", "en"): True, ("en", "zh"): False, ("zh", "en"): True, ("zh", "zh"): False}
    [matrix] = matrices(rows(beyond, {"en": (0.5, True), "zh": (-0.5, False)}))
    header, lines = matrix_lines(matrix)
    assert header == ["changed", "en", "zh", "matched", "over matched"]
    assert lines == [
        ["en", "[+0.250*]", "+0.250", "+0.100", "+0.150"],
        ["zh", "+0.250*", "[+0.250]", "+0.100", "+0.150"],
    ]
    assert matrix_lines(matrix, ["zh"])[0] == ["changed", "zh", "matched", "over matched"]
    assert matrix.what == "zero"


def test_sentences_count_what_is_both() -> None:
    beyond = {("en", "en"): True, ("en", "zh"): False, ("zh", "en"): True, ("zh", "zh"): True}
    [matrix] = matrices(rows(beyond, {"en": (0.5, True), "zh": (0.5, False)}))
    own, without, elsewhere, shared = sentences(matrix, "en")
    assert "more than its matched control in 2 of 2 (en zh) languages (corrected by Holm)" in own
    assert (
        "more than it hurts the others on average in 1 of 2 (en) (Holm), by value alone in 2; both in 1 of 2 (en)."
        in own
    )
    assert without == "Both, without en (the reference): 0 of 1."
    assert elsewhere == "Of the 2 cells of other languages 1 are beyond the matched control (false-discovery rate .05)."
    assert shared.startswith("Draws of a matched control have 0.62 of their neurons in common, on average")


def test_what_helps_is_no_harm_and_without_controls_there_is_no_verdict() -> None:
    beyond = dict.fromkeys([("en", "en"), ("en", "zh"), ("zh", "en"), ("zh", "zh")], True)
    helped = rows(beyond, {"en": (-0.5, True), "zh": (-0.5, True)}, value=-0.25)
    [matrix] = matrices(helped)
    own, good, *_ = sentences(matrix, "")
    assert "in 0 of 2 languages" in own
    assert good == "It does the language good, by more than its matched control, in 2 of 2 (en zh)."
    assert "in 2 of 2 (en zh) languages" in next(iter(sentences(matrix, "", harm=-1)))
    [bare] = matrices([row for row in helped if not row.control])
    assert list(sentences(bare, "en")) == ["No set of a language has matched controls: there is no verdict."]
    assert matrix_lines(bare)[0] == ["changed", "en", "zh"]


def test_a_language_without_a_number_is_named_and_others_are_not_counted() -> None:
    beyond = dict.fromkeys([("en", "en"), ("en", "zh"), ("zh", "en"), ("zh", "zh")], True)
    given = rows(beyond, {"en": (0.5, True), "zh": (0.5, True)})
    nan = float("nan")
    diverged = [replace(row, value=nan, status="diverged") if row.language == "zh" else row for row in given]
    # A set of no one language, which is no language's row.
    diverged += [
        replace(row, set="both", language="both") for row in given if row.set == "en" and row.group == "language"
    ]
    [matrix] = matrices(diverged)
    lacking, own, *_ = sentences(matrix, "")
    assert lacking == "There is no verdict on zh beside the matched control: diverged."
    assert "average in 1 of 1 (en) (Holm), by value alone in 1; both in 1 of 1 (en)." in own
    [matrix] = matrices([replace(row, value=nan, status="diverged") for row in given])
    assert list(sentences(matrix, "")) == ["There is no verdict on en zh beside the matched control: diverged."]


def test_language_forcing_has_a_sentence_of_its_own() -> None:
    beyond = {("en", "en"): True, ("en", "zh"): True, ("zh", "en"): False, ("zh", "zh"): True}
    forced = [
        replace(row, measure=row.measure.replace("nats", FORCED))
        for row in rows(beyond, {"en": (0.5, True), "zh": (0.5, True)})
    ]
    [matrix] = matrices(forced)
    assert list(sentences(matrix, "en")) == [
        "Answers to questions in other languages turn to the set's language by more than with its matched control in "
        "1 of 2 cells (false-discovery rate .05)."
    ]


def test_what_cannot_be_told_is_not_counted_as_no_effect() -> None:
    beyond = {("en", "en"): True, ("en", "zh"): False, ("zh", "en"): True, ("zh", "zh"): False}
    made = rows(beyond, {"en": (0.5, True), "zh": (0.5, False)})
    part = [replace(row, p_adjusted=None, beyond_control=None) if row.set == "zh" else row for row in made]
    own, *_, untold, _ = sentences(matrices(part)[0], "")
    assert "more than its matched control in 1 of 1 (en) languages" in own
    assert "on average in 1 of 1 (en) (Holm), by value alone in 2" in own
    assert untold == "2 of 4 cells cannot be told from controls: too few of these, or all alike."
    nothing = [replace(row, p_adjusted=None, beyond_control=None) for row in made]
    assert "more than its matched control in none, as none can be told" in next(sentences(matrices(nothing)[0], ""))


def test_sets_of_a_part_of_the_layers_have_a_verdict_for_their_language() -> None:
    beyond = {("en", "en"): True, ("en", "zh"): False, ("zh", "en"): True, ("zh", "zh"): False}
    whole = rows(beyond, {"en": (0.5, True), "zh": (0.5, False)})
    part = [replace(row, set=f"{row.set}, layers 0-1", label="layers 0-1") for row in whole]
    [matrix] = matrices(part)
    [of_whole] = matrices(whole)
    found, expected = list(sentences(matrix, "en")), list(sentences(of_whole, "en"))
    assert found == [expected[0].replace("neurons hurts", "neurons in layers 0-1 hurts"), *expected[1:]]
    assert [line[1:] for line in matrix_lines(matrix)[1]] == [line[1:] for line in matrix_lines(of_whole)[1]]
    assert matrix_lines(matrix)[1][0][0] == "en, layers 0-1"
