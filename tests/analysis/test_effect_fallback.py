"""The path of a fallback against loops over answers, and verdicts against what is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from alignlab.analysis.effect_fallback import OVER_CONTROL, SHARE, UNTOLD, fallback_rows
from alignlab.analysis.effect_rows import SetOf
from alignlab.evaluation.accuracy import accuracy
from alignlab.neurons.table import Row
from alignlab.reporting.fallback_table import path_lines, path_sentences, paths
from alignlab.reporting.page.fallback import fallback_card
from alignlab.reporting.page.interventions import PageIntervention, show
from alignlab.reporting.wandb_media import intervention_media

from .arm_records import LANGUAGES, SETS, Arm, Record, items

ORDER = ("zh", "en")


def walked(seed: int = 0, draws: int = 5) -> Record:
    """Answers are in the first language of zh, en, de that is on, but for one in ten; controls leave them in zh."""
    random = np.random.default_rng(seed)
    labels = [Arm("none")]
    for count in range(1, len(ORDER) + 1):
        off = " + ".join(ORDER[:count])
        labels.append(Arm(off, off, "zero"))
        labels += [Arm(f"{off} {i}", off, "zero", None, "matched", i) for i in range(draws)]
    problems = items(clusters=10)
    output = np.empty((len(problems), len(labels)), dtype=np.int16)
    for place, label in enumerate(labels):
        off = label.set.split(" + ") if label.set and not label.control else []
        [first, *_] = [code for code in ("zh", "en", "de") if code not in off]
        elsewhere = random.random(len(problems)) < 0.1
        output[:, place] = np.where(elsewhere, random.integers(-1, 3, len(problems)), LANGUAGES.index(first))
    nothing = torch.zeros(output.shape, dtype=torch.bool)
    return Record(problems, labels, LANGUAGES, right=nothing, output_language=torch.from_numpy(output))


def one(rows: list[Row], **columns: object) -> Row:
    [found] = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    return found


def test_every_share_is_that_of_a_loop_over_answers() -> None:
    record = walked()
    assert record.output_language is not None
    rows = fallback_rows(record, SETS)
    clusters = [item.cluster for item in record.items]
    names = [label.name for label in record.labels]

    def there(arm: str, language: str) -> list[bool]:
        goal = LANGUAGES.index(language) if language else -1
        return [int(told) == goal for told in record.output_language[:, names.index(arm)]]  # type: ignore[index]

    for off in ("", "zh", "zh + en"):
        for language in (*LANGUAGES, ""):
            measure = SHARE if language else UNTOLD
            found = one(rows, set=off, language=language, measure=measure, control="")
            expected = accuracy(there(off or "none", language), clusters)
            assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
            assert (found.denominator, found.label) == (
                len(record.items),
                f"step {len(off.split(' + ')) if off else 0}",
            )
            if not off:
                continue
            drawn = [np.mean(there(f"{off} {i}", language)) for i in range(5)]
            control = one(rows, set=off, language=language, measure=measure, control="matched")
            assert (control.value, control.sd) == pytest.approx((np.mean(drawn), np.std(drawn, ddof=1)))
            if language:
                over = one(rows, set=off, language=language, measure=OVER_CONTROL)
                assert over.value == pytest.approx(expected.value - np.mean(drawn))
    assert len({row.family for row in rows if row.correction == "holm"}) == 1
    assert {(row.set, row.language) for row in rows if row.correction == "holm"} == {("zh", "zh"), ("zh + en", "en")}


def test_the_planted_path_is_told_with_its_verdicts() -> None:
    [path] = paths(fallback_rows(walked(), SETS))
    assert path.order == ["zh", "en"]
    assert [step.leading for step in path.steps] == ["zh", "en", "de"]
    header, lines = path_lines(path)
    assert header == ["step", "off", *LANGUAGES, "untold", "most in", "off: share", "matched", "over matched"]
    assert [[*line[:2], line[6]] for line in lines] == [["0", "none", "zh"], ["1", "zh", "en"], ["2", "en", "de"]]
    # Switched off, zh falls by about .9 where the controls leave it; en was near 0 already under both.
    assert lines[1][-1].endswith("*")
    assert not lines[2][-1].endswith("*")
    first, second = path_sentences(path)
    assert first == "Switched off one after another: zh en; most answers are in zh, en, de."
    assert second.endswith("and fewer, at 1 of 2 steps (zh) (corrected by Holm).")
    bare = replace(walked(), labels=walked().labels[:2], output_language=walked().output_language[:, :2])  # type: ignore[index]
    assert [*path_sentences(paths(fallback_rows(bare, SETS))[0])][1].endswith("there is no verdict.")


def test_the_page_and_wandb_have_the_numbers_of_the_rows() -> None:
    rows = fallback_rows(walked(), SETS)
    card, views = fallback_card("fallback-0", "Fallback", rows, 0)
    assert card is not None
    assert views == {"zero, step 20, sums": "0"}
    wide, _ = card.variants["0|0"]
    drawn = {(trace["name"], trace["xaxis"]): trace["y"] for trace in wide.data if trace["type"] == "scatter"}
    for language in LANGUAGES:
        shares = [
            one(rows, set=off, language=language, measure=SHARE, control="").value for off in ("", "zh", "zh + en")
        ]
        assert drawn[language, "x"] == pytest.approx(shares, abs=5e-5)
    assert wide.layout["xaxis"]["ticktext"] == ["none", "zh", "en"]
    table = card.tables["0"]
    found = [dict(zip(table["columns"], line, strict=True)) for line in table["rows"]]
    [cell] = [line for line in found if (line["step"], line["language"]) == (1, "zh")]
    over = one(rows, set="zh", language="zh", measure=OVER_CONTROL)
    assert cell["over_control"] == pytest.approx(over.value, abs=1e-3)
    assert cell["beyond_control"] is True
    media = intervention_media([PageIntervention("path", "table.csv", rows)])
    assert set(media) == {"interventions/path/fallback", "interventions/path/fallback_table"}
    assert len(media["interventions/path/fallback_table"].data) == 3 * 4
    [shown] = show([[PageIntervention("path", "table.csv", rows)]])
    assert [card.name for card in shown.cards] == ["fallback-0"]
    assert fallback_card("fallback-0", "Fallback", [], 0) == (None, {})


def test_draws_of_a_control_that_share_neurons_tell_less() -> None:
    rows = fallback_rows(walked(), SETS)
    shared = fallback_rows(walked(), {**SETS, "zh": SetOf("zh", shared={"matched": 0.9})})
    apart, alike = (one(of, set="zh", language="zh", measure=OVER_CONTROL) for of in (rows, shared))
    assert (apart.control_shared, alike.control_shared) == (None, 0.9)
    assert apart.value == alike.value
    assert (alike.p or 0.0) > (apart.p or 0.0) > 0


def test_intervals_over_controls_end_where_shares_do() -> None:
    """Controls in which all answers, or none, are in a language differ so much that t goes beyond -1 and 1."""
    record = walked(draws=3)
    assert record.output_language is not None
    told = record.output_language.clone()
    for place, label in enumerate(record.labels):
        if label.control:
            told[:, place] = LANGUAGES.index("zh" if label.seed else "de")
    rows = fallback_rows(replace(record, output_language=told), SETS)
    found = [row for row in rows if row.measure == OVER_CONTROL and row.low is not None]
    assert {-1.0, 1.0} <= {end for row in found for end in (row.low, row.high)}
    for row in found:
        assert row.low is not None
        assert row.high is not None
        assert -1 <= row.low <= row.value <= row.high <= 1
