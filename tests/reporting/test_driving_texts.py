"""What is shown of texts that drive neurons: which lines, and tokens that would not be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from alignlab.analysis.driving import NeuronTexts
from alignlab.recording.driving_texts import DrivingTexts
from alignlab.recording.windows import Window
from alignlab.reporting.driving_texts import TextTables, terminal_lines, text_tables
from alignlab.reporting.page import render

from .page_data import page_run

LANGUAGES = ("en", "de", "ar")
WINDOWS = (
    Window("the ", "house", " is green"),
    Window("a", "  ", "b"),
    Window("x", "\n", "y\tz"),
    Window("می", "\u200c", "خواهم"),
    Window("ก", "\u0e49", "า"),
    Window("", "苹", "果", whole=False),
    Window("كم ", "تفاحة", " لدى آنا"),
    Window("<b>", "<script>hit()</script>", "\u202e\x1b[2J"),
)


EVERY = [(0, 1), (0, 2), (1, 0)]


def texts(around: int | None = 60) -> NeuronTexts:
    """Neurons 0.1, 0.2 and 1.0 with 2 activations in each of 3 languages; in ar of the last neuron there is none."""
    activations = torch.tensor([[[9.0, 1], [2, 1], [3, 2]], [[4, 3], [8, 7], [5, 4]], [[6, 5], [1, 0.5], [0, 0]]])
    documents = torch.arange(18).reshape(3, 3, 2).to(torch.int32)
    activations[2, 2], documents[2, 2] = torch.nan, -1
    windows = (documents % len(WINDOWS)).masked_fill(documents < 0, -1)
    record = DrivingTexts(
        LANGUAGES, torch.tensor([[0, 1], [0, 2], [1, 0]]), activations, documents, documents + 5,
        windows if around is not None else torch.full_like(windows, -1), [f"doc <{n}>" for n in range(18)], WINDOWS,
        (2, 3), (9, 9, 1), scope="response",
    )  # fmt: skip
    return NeuronTexts("step 2", record, {"en": [(0, 1)], "de": [(0, 2), (1, 0)], "ar": []}, [(1, 0)], around)


def shown(tables: TextTables | None) -> TextTables:
    assert tables is not None
    return tables


def test_specific_neurons_stand_with_the_highest_of_another_language() -> None:
    tables = shown(text_tables(texts(), LANGUAGES))
    lines = {
        table.title: [(line.neuron, line.language, line.activation) for line in table.lines] for table in tables.tables
    }
    assert lines == {
        "Neurons asked by name, in every language": [
            ("1.0", "en", "3"), ("1.0", "en", "2"), ("1.0", "de", "5"), ("1.0", "de", "4"),
        ],
        "Most specific neurons of en": [("0.1", "en", "9"), ("0.1", "en", "1"), ("0.1", "ar", "6")],
        "Most specific neurons of de": [
            ("0.2", "de", "8"), ("0.2", "de", "7"), ("0.2", "en", "2"),
            ("1.0", "de", "5"), ("1.0", "de", "4"), ("1.0", "en", "3"),
        ],
    }  # fmt: skip
    assert tables.notes == [
        "no neuron of the set of ar fires more there than elsewhere",
        "ar has 1 counted token, fewer than the 2 highest asked for",
    ]
    only = shown(text_tables(texts(), ["de"]))
    assert [line.language for table in only.tables for line in table.lines] == ["de"] * 6
    first = [line[:3] for line in terminal_lines(tables)]
    assert first[:4] == [("1.0", "en", "3"), ("1.0", "de", "5"), ("0.1", "en", "9"), ("0.1", "ar", "6")]
    assert text_tables(replace(texts(), record=None), LANGUAGES) is None


def test_every_token_is_seen() -> None:
    tokens = {
        line.place: (line.before, line.token, line.after, line.note)
        for table in shown(text_tables(replace(texts(), named=EVERY), LANGUAGES)).tables
        for line in table.lines
    }
    of = {int(place.partition("<")[2].partition(">")[0]): seen for place, seen in tokens.items()}
    assert of[0] == ("the ", "house", " is green", "")
    assert of[1][1] == "␣␣"
    assert of[2] == ("x", "⏎", "y⇥z", "")
    assert of[3] == ("می", "\\u200c", "خواهم", "")
    assert of[4][1] == "◌\u0e49"
    assert of[5] == ("", "苹", "果", "the token is a part of it")
    assert of[7][2] == "\\u202e\\x1b[2J"


def test_the_page_holds_text_and_no_markup_of_it() -> None:
    page = render([replace(page_run(), texts=text_tables(replace(texts(), named=EVERY), LANGUAGES))])
    section = page.partition('<section id="texts"')[2].partition("</section>")[0]
    assert "the <mark>house</mark> is green" in section
    assert '<bdi dir="auto">كم <mark>تفاحة</mark> لدى آنا</bdi>' in section
    assert "&lt;b&gt;<mark>&lt;script&gt;hit()&lt;/script&gt;</mark>" in section
    assert "<script" not in section
    assert "doc &lt;0&gt;:5" in section
    assert "doc <" not in page
    assert '<a href="#texts">' in page
    without = render([page_run()])
    assert 'id="texts"' not in without
    assert "#texts" not in without
    places = render([replace(page_run(), texts=text_tables(texts(None), LANGUAGES))])
    section = places.partition('<section id="texts"')[2].partition("</section>")[0]
    assert "No text is stored" in section
    assert "house" not in section
    assert "doc &lt;0&gt;:5" in section


@pytest.mark.parametrize(("most", "lines"), [(100, 13), (6, 6), (2, 2)])
def test_of_very_many_the_first_of_each_are_shown_and_it_is_said(most: int, lines: int) -> None:
    tables = shown(text_tables(texts(), LANGUAGES))
    kept = tables.first(most)
    assert sum(len(table.lines) for table in kept.tables) == lines
    assert (f"{13 - lines} more activations are left out" in " ".join(kept.notes)) == (lines < 13)
