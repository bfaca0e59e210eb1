from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field

from alignlab.config import Options, asks_for_help, help_text, load, option, section
from alignlab.config.schema import keys_of, schema_of
from alignlab.errors import InputError


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def text(root):
    return help_text(root, "python -m alignlab.train", "Fine-tune and track.")


def test_every_key_is_there_once_with_its_meaning(root, text):
    sections = ["run", "data", "data.source", "method", "method.adapter", "method.ema", "trainer"]
    keys = [key for key in keys_of(schema_of(root)) if key not in sections]
    assert len(keys) == 28
    for key in keys:
        assert len(re.findall(rf"^ *{re.escape(key)}=", text, re.MULTILINE)) == 1, key
    assert "peak learning rate" in text


def test_rows_name_default_type_unit_and_meaning(text):
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row, meaning in [
        ("method.adapter.rank=16 an integer, at least 1", "rank of the adapter"),
        ("run.folder=runs/${run.name} text", "where everything is written"),
        ("data.languages=[zh,de] a list of texts, such as [a, b]", "languages in training"),
        ("data.source.path=REQUIRED text", "a folder with one file a language"),
        ("data.source.max_texts=100 an integer, at least 1 (texts)", "texts of each language"),
        ("trainer.max_steps=100 an integer, at least -1", "steps"),
        ("trainer.precision= text or an integer", "bits"),
        ("data.limit=null an integer, at least 1 (texts), or null", "texts in all"),
        ("run.note=null text or null", "a word on the run"),
    ]:
        assert rows[rows.index(row) + 1] == meaning


def test_variants_and_optional_sections_say_so(text):
    assert f"{'    data.source.name=words':40}one of words, folder\n" in text
    assert "    with data.source.name=folder\n" in text
    # What both have stands before either.
    assert 0 < text.index("data.source.max_texts=") < text.index("with data.source.name=words")
    assert "method.ema: average of the weights (null unless one of its keys is set)\n" in text
    assert "method.adapter: the adapter; null trains every weight (may be null)\n" in text


def test_it_fits_a_terminal(text):
    assert text.startswith("python -m alignlab.train [config=FILE] [key=value ...]\n\nFine-tune and track.\n")
    assert 70 < max(map(len, text.splitlines())) <= 80
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


def test_a_list_and_a_text_longer_than_a_line_are_folded(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    class Long(Options):
        names: list[str] = option([f"name{number}" for number in range(20)], "many")
        words: str = option(", ".join(f"word{number}" for number in range(20)), "more")

    lines = help_text(Long, "prog", "Say.").splitlines()
    assert max(map(len, lines)) <= 60
    text = "\n".join(lines)
    for key, joined in {"names": ",", "words": ", "}.items():
        shown = text.partition(f"{key}=")[2].partition("\n" + " " * 40)[0]
        folded = shown.replace("\n    ", "" if key == "names" else " ").strip("[]")
        assert folded.split(joined) == [f"{key[:-1]}{number}" for number in range(20)]


@pytest.mark.parametrize(("columns", "width"), [(72, 72), (94, 94), (300, 100), (20, 60)])
def test_it_is_as_wide_as_the_terminal_within_bounds(root, monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_text(root, "prog", "Fine-tune and track " * 30)
    assert width - 12 < max(map(len, text.splitlines())) <= width


def test_a_choice_is_told_by_the_first_paragraph_of_its_docstring():
    class Plain(Options):
        """What is learnt
        is learnt.

        More of it.
        """

        name: Literal["plain"] = "plain"
        rate: float = option(1.0, "how fast")

    class Steep(Options):
        """Up."""

        name: Literal["steep"] = "steep"
        rate: float = option(2.0, "how fast")

    class Both(Options):
        way: Annotated[Plain | Steep, Field(discriminator="name")] = section(Plain, "which way")

    text = help_text(Both, "prog", "Intro.", key="way")
    assert "  with way.name=plain: What is learnt is learnt.\n" in text
    assert "  with way.name=steep: Up.\n" in text
    assert "More" not in text
    # The same key with another default is another option.
    assert re.findall(r"way\.rate=(\S+)", text) == ["1.0", "2.0"]


def test_a_default_with_the_end_of_a_line_is_shown_as_it_can_be_typed():
    class Prompts(Options):
        template: str = option("{prompt}\n\tä", "text before the answer")

    assert '\ntemplate="{prompt}\\n\\tä"' in help_text(Prompts, "python -m alignlab.train", "Train.")
    assert load(Prompts, ['template="{prompt}\\n\\tä"'])[0].template == Prompts().template


@pytest.mark.parametrize(
    ("argv", "key"),
    [
        ([], None),
        (["-h"], ""),
        (["config=x", "--help"], ""),
        (["--help", "config=x"], ""),
        (["--help", "method.lora"], "method.lora"),
        (["config=x", "-h", "method"], "method"),
        (["--help=method"], "method"),
        (["help=method"], "method"),
        (["help"], None),
    ],
)
def test_asking_for_help(argv, key):
    assert asks_for_help(argv) == key


def test_of_one_section_or_key_only(root):
    text = help_text(root, "prog", "Intro.", {"Words": {"a": "b"}}, "method.adapter")
    assert text.startswith("method.adapter: the adapter; null trains every weight (may be null)\n")
    keys = re.findall(r"^ *([\w.]+)=", text, re.MULTILINE)
    assert keys == [f"method.adapter.{key}" for key in ("rank", "alpha", "dropout", "targets")]
    assert "Intro" not in text
    assert "Words" not in text
    assert help_text(root, "prog", "Intro.", key="data.source.path").startswith("data.source.path=REQUIRED  ")
    assert help_text(root, "prog", "Intro.", key="data.source.name").startswith("data.source.name=words  ")


def test_of_a_section_that_is_not_there(root):
    with pytest.raises(InputError) as caught:
        help_text(root, "prog", "Intro.", key="methd.adapter")
    assert str(caught.value) == (
        "command line: --help 'methd.adapter': there is no such key; expected one of dry_run, resume, top, run, data, "
        "method, trainer, spelled. Did you mean 'method.adapter'?"
    )
