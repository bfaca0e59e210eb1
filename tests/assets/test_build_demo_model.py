"""The text that the demo model is made from: what it is of, at which shares, and that no test problem is in it."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from types import ModuleType

import pytest
from scipy.stats import binomtest
from transformers import AutoTokenizer

from alignlab.config import load
from alignlab.data.wordproblems import LANGUAGES, generate
from alignlab.models.load import DEMO_FOLDER
from alignlab.options import TrainConfig

from ..scripts_as_modules import SCRIPTS, script_as_module

DRAWN = 4000


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_as_module(SCRIPTS / "build_demo_model.py")


@pytest.fixture(scope="module")
def documents(script: ModuleType) -> list[str]:
    return [text.removesuffix("<eos>") for text in islice(script.documents(0), DRAWN)]


def kind(text: str) -> str:
    """What a document is, by its look alone."""
    if text.startswith("Translate the following sentences from "):
        return "translation"
    if re.match(r"\d+ [-+*/] \d+ = \d+$", text.split("\n")[0]):
        return "sums"
    if "\n#### " not in text:
        return "question"
    return "bare" if text.count("\n") == 1 else "worked"


def test_documents_come_at_the_shares_that_are_stated(script: ModuleType, documents: list[str]) -> None:
    other = (1 - script.SUMS - script.ENGLISH) / 9
    shares: dict[str, float] = {"sums": script.SUMS}
    for code, (worked, bare, translated) in script.MIXTURE.items():
        of = script.ENGLISH if code == "en" else other
        kinds = {"worked": worked, "bare": bare, "translation": translated, "question": 1 - worked - bare - translated}
        for name, share in kinds.items():
            shares[name] = shares.get(name, 0) + of * share
    counted = Counter(map(kind, documents))
    assert sum(shares.values()) == pytest.approx(1)
    assert set(counted) == set(shares)
    for name, share in shares.items():
        assert binomtest(counted[name], DRAWN, share).pvalue > 1e-4, name


def test_the_sums_are_right(documents: list[str]) -> None:
    lines = [line for text in documents if kind(text) == "sums" for line in text.split("\n")]
    assert len(lines) > 1000
    for line in lines:
        left, sign, right, _, result = line.split()
        numbers = int(left), int(right)
        worked = {"+": sum(numbers), "-": numbers[0] - numbers[1], "*": numbers[0] * numbers[1]}
        assert worked.get(sign, numbers[0] / numbers[1]) == int(result)


@pytest.mark.parametrize("split", ["test", "probe"])
def test_no_problem_that_is_answered_or_counted_is_in_the_text(documents: list[str], split: str) -> None:
    asked = {record.prompt for record in generate(LANGUAGES, 250, split)}
    seen = {line for text in documents for line in text.split("\n")}
    assert not asked & seen


def test_no_problem_of_the_demo_is_in_the_text(script: ModuleType, documents: list[str]) -> None:
    """Its problems are drawn with seed 0, those of the text with seeds from 1000: the same ones come by chance only."""
    drawn = generate(["en"], 250, "train", seed=script.FIRST_SEED)
    english = {text.split("\n")[0] for text in documents}
    assert sum(record.prompt in english for record in drawn) > 30
    assert sum(record.prompt in english for record in generate(["en"], 250, "train")) < 15


def test_translations_are_those_of_the_config(documents: list[str]) -> None:
    """A document is what the method is trained on, as the method's own code writes it."""
    config = load(TrainConfig, ["config=demo_translation"])[0]
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    written = [text for text in documents if kind(text) == "translation"]
    records = {
        config.data.prompts.render(record, tokenizer).text
        for record in generate(
            [code for code in LANGUAGES if code != "en"], DRAWN, "train", seed=1000, task="translate"
        )
    }
    assert len(written) > 500
    assert set(written) <= records


def test_the_same_seed_gives_the_same_text(script: ModuleType, documents: list[str]) -> None:
    again = [text.removesuffix("<eos>") for text in islice(script.documents(0), 50)]
    assert again == documents[:50]
    assert list(islice(script.documents(1), 50)) != list(islice(script.documents(0), 50))
