"""Which answers under arms the page shows, and that no text of them is anything but text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alignlab.errors import InputError
from alignlab.reporting.page import render
from alignlab.reporting.page.arm_answers import CHANGES, ArmAnswer
from alignlab.reporting.page.interventions import MOST_SAMPLES, show
from alignlab.reporting.page_interventions import read_interventions
from alignlab.reporting.wandb_media import intervention_media
from alignlab.reporting.wording import shortened

from .page_capability_data import EVIL
from .page_data import bare_run
from .page_intervention_data import ANSWERING, switched_off, write_folder

# Of five problems, three in German and two in English; see `write_answers`.
TEXTS = {
    "none": ("7", "8 mal", "9", "7 E", "8 E"),
    "scale 0.5 de": ("8", "8 mal", "9", "7 E", "8 E"),
    "scale 2 de": ("7", "8 Mal", "9 E", "7 E", "8 E"),
    "scale 2 de, random 0": ("r0", "r1", "r2", "r3", "r4"),
    "scale 2 de, matched 0": ("7 m0", "m1", "m2", "m3", "m4"),
    "scale 2 de, matched 1": ("n0", "n1", "n2", "n3", "n4"),
    "zero de": ("", "", "", "", ""),
    "zero en": ("", "", "", "8 E", "7 E"),
    "zero both": ("", "", "", "", ""),
}


def hostile(text: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(f"{text} {one}" for one in texts) for name, texts in TEXTS.items()}


def test_the_first_problem_of_every_change_is_shown_beside_the_control(tmp_path: Path) -> None:
    write_folder(tmp_path, "off", switched_off(), texts=TEXTS)
    [[found], _] = read_interventions(tmp_path)
    assert found.answers is not None
    assert found.answers.file == str(tmp_path / "interventions/off/answers.jsonl")
    assert [
        (one.set, one.done, one.changed, one.count, one.among, one.language, one.id) for one in found.answers.samples
    ] == [
        ("de", "scale 2", CHANGES[0], 1, 3, "de", "2"),  # another language
        ("de", "scale 2", CHANGES[1], 1, 3, "de", "1"),
        ("de", "scale 2", CHANGES[2], 1, 3, "de", "0"),
        ("en", "zero", CHANGES[0], 2, 2, "en", "0"),  # right or wrong
    ]
    first, _, last, english = found.answers.samples
    assert (first.plain, first.under) == (ArmAnswer("9", False, "de"), ArmAnswer("9 E", False, "en"))
    assert (first.control, first.controlled) == ("scale 2 de, matched 0", ArmAnswer("m2", False, "de"))
    assert last.controlled == ArmAnswer("7 m0", True, "de")
    assert (english.control, english.controlled) == ("", None)
    # Fewer: of every set what tells most.
    fewer = found.answers.first(2)
    assert [(one.set, one.changed) for one in fewer.samples] == [("de", CHANGES[0]), ("en", CHANGES[0])]
    assert "2 more are left out" in fewer.rule


def test_answers_are_text_and_long_ones_are_cut(tmp_path: Path) -> None:
    evil = f"{EVIL}\n# *m* | `x` $E=mc^2$ [a](javascript:b) =1+1\x1b[2J\u2028\x85" + "語" * 100_000
    write_folder(tmp_path, "off", switched_off(), texts=hostile(evil))
    found, _ = read_interventions(tmp_path)
    page = render([replace(bare_run(), interventions=found)])
    body = page.partition('<script type="application/json"')[0]
    for bad in ("<img src=x", "</script><img", "\u202e", "\x1b", "\u2028", "\x85", "語" * 500):
        assert bad not in body, bad
    assert "{{ 7 * 7 }}" in body
    assert "&lt;img src=x onerror=alert(1)&gt;" in body
    assert "# *m* | `x` $E=mc^2$ [a](javascript:b) =1+1\\x1b[2J" in body
    assert "… (100,1" in body
    assert body.count("no control") == 1
    assert "words only: 2 of 3" in body


def test_texts_are_cut_by_characters_and_by_lines() -> None:
    assert shortened("a\nb", 3, 2) == "a\nb"
    assert shortened("abc", 2) == "ab … (3 characters)"
    assert shortened("a\nb\nc", 9, 2) == "a\nb … (5 characters)"
    assert shortened("x" * 100_000, 3, 2) == "xxx … (100,000 characters)"


def test_wandb_gets_the_same_answers_as_text(tmp_path: Path) -> None:
    write_folder(tmp_path, "off", switched_off(), texts=hostile("=2+2"))
    found, _ = read_interventions(tmp_path)
    table = intervention_media(found)["interventions/off/answers"]
    lines = [dict(zip(table.columns, line, strict=True)) for line in table.data]
    assert [line["what_changed"] for line in lines] == [*CHANGES, CHANGES[0]]
    assert lines[0]["answer"] == "'=2+2 9"
    assert (lines[0]["answer_language_changed"], lines[0]["right_control"]) == ("en", False)
    assert lines[3]["answer_control"] is None
    assert "interventions/off/answers" not in intervention_media([replace(found[0], answers=None)])


def test_there_is_room_for_some_on_a_page(tmp_path: Path) -> None:
    write_folder(tmp_path, "off", switched_off(), texts=TEXTS)
    [[found], _] = read_interventions(tmp_path)
    assert found.answers is not None
    many = replace(found, answers=replace(found.answers, samples=list(found.answers.samples) * 20))
    shown = show([[many, many], []])
    counts = [len(one.samples.samples) for one in shown if one.samples]
    assert counts == [MOST_SAMPLES // 2, 0]
    assert show([[replace(found, is_drawn=False)]])[0].samples is None


def test_damaged_texts_are_refused_and_missing_ones_are_none(tmp_path: Path) -> None:
    path = write_folder(tmp_path, "off", switched_off(), texts=TEXTS).path / "answers.jsonl"
    assert len(path.read_text().splitlines()) == 5 * len(ANSWERING)
    path.write_text(path.read_text().replace('"text": "9"', '"text": "6"', 1))
    with pytest.raises(InputError, match=r"answers\.jsonl, line 3: its checksum does not fit"):
        read_interventions(tmp_path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]).replace('"text": "6"', '"text": "9"'))
    with pytest.raises(InputError, match="line 1 is of another answer; expected that of"):
        read_interventions(tmp_path)
    write_folder(tmp_path / "other", "off", switched_off())
    [[found], _] = read_interventions(tmp_path / "other")
    assert found.answers is None
