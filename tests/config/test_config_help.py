from __future__ import annotations

import re

import pytest

from alignlab.config import asks_for_help, help_text
from alignlab.config.schema import keys_of, schema_of


@pytest.fixture
def text(root):
    return help_text(root, "python -m alignlab.train", "Fine-tune and track.")


def test_every_key_is_there_once_per_place_with_its_meaning(root, text):
    keys = list(keys_of(schema_of(root)))
    assert len(keys) == 25
    for key in keys:
        count = len(re.findall(rf"^ *{re.escape(key)}=", text, re.MULTILINE))
        assert count == (2 if key == "data.source.max_texts" else 1), key
    assert "peak learning rate" in text


def test_rows_name_default_type_unit_and_meaning(text):
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row, meaning in [
        ("method.adapter.rank=16 an integer, at least 1", "rank of the adapter"),
        ("run.folder=runs/${run.name} text", "where everything is written"),
        ("data.languages=[zh,de] a list of texts, such as [a, b]", "languages in training"),
        ("data.source.path=REQUIRED text", "a folder with one file a language"),
        ("data.source.max_texts=100 an integer, at least 1 (texts)", "texts of each language"),
        ("trainer={max_steps: 100} a mapping", "arguments of the trainer"),
        ("data.limit=null an integer, at least 1 (texts), or null", "texts in all"),
        ("run.note=null text or null", "a word on the run"),
    ]:
        assert rows[rows.index(row) + 1] == meaning


def test_variants_and_optional_sections_say_so(text):
    assert f"{'    data.source.name=words':44}one of words, folder\n" in text
    assert "    with data.source.name=folder:\n" in text
    assert "method.ema: average of the weights (null unless one of its keys is set)\n" in text
    assert "method.adapter: the adapter; null trains every weight (may be null)\n" in text


def test_it_fits_a_terminal(text):
    assert text.startswith("python -m alignlab.train [config=FILE] [key=value ...]\n\nFine-tune and track.\n")
    assert max(map(len, text.splitlines())) <= 100
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


@pytest.mark.parametrize(
    ("argv", "asks"), [([], False), (["-h"], True), (["config=x", "--help"], True), (["help=1"], False)]
)
def test_asking_for_help(argv, asks):
    assert asks_for_help(argv) is asks
