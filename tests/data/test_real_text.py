"""The sources on real files, where they lie beside the repository (shared/data/README.md says what they are)."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from alignlab.data.records import Record
from alignlab.data.sources import Files, ParallelText

DATA = Path(__file__).parents[2] / "../shared/data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")


def by_id(records: list[Record]) -> dict[str, dict[str, Record]]:
    texts: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        assert record.language not in texts[record.id]
        texts[record.id][record.language] = record
    return texts


def test_mgsm_is_parallel_in_eleven_languages() -> None:
    texts = by_id(Files(path=str(DATA / "mgsm"), prompt=0, answer=1).load())
    assert len(texts) == 250
    languages = {"bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"}
    for versions in texts.values():
        assert set(versions) == languages
        # The answer is a number and the same in all languages: the lines say the same thing.
        assert len({float(record.answer.replace(",", "")) for record in versions.values()}) == 1
        assert len({record.prompt for record in versions.values()}) == 11


def test_ntrex_is_parallel_in_twenty_four_languages() -> None:
    records = Files(path=str(DATA / "ntrex")).load()
    assert set(Counter(record.language for record in records).values()) == {1997}
    texts = by_id(records)
    assert len(texts) == 1997
    assert all(len(versions) == 24 for versions in texts.values())


def test_ntrex_limited_and_chosen() -> None:
    records = Files(path=str(DATA / "ntrex"), languages=["th", "sw"], limit=10).load()
    assert [record.language for record in records] == ["th"] * 10 + ["sw"] * 10


def test_translated_gsm8k_questions_are_aligned_with_english() -> None:
    codes = ["de", "es", "fr", "ja", "ru", "sw", "zh"]
    pattern = str(DATA / "gsm8k_questions" / "{language}-en")
    records = ParallelText(source=f"{pattern}.{{language}}", target=f"{pattern}.en", languages=codes).load()
    assert Counter(record.language for record in records) == dict.fromkeys(codes, 2000)
    assert len({record.id for record in records}) == 14_000
    # The largest number of a question is, nearly always, also in its translation.
    agreeing = sum(bool(numbers(record.prompt) & numbers(record.answer)) for record in records)
    assert agreeing > 0.9 * len(records)


def numbers(text: str) -> set[str]:
    return set("".join(letter if letter.isdecimal() else " " for letter in text).split())


def test_msvamp_has_named_columns() -> None:
    records = Files(path=str(DATA / "msvamp"), prompt="m_query", answer="response").load()
    assert len(records) == 10_000
    assert all(len(versions) == 10 for versions in by_id(records).values())


def test_xwinograd_has_a_column_of_codes() -> None:
    path = DATA / "xwinograd.tsv"
    languages = {row.split("\t")[0] for row in path.read_text(encoding="utf-8").split("\n") if row}
    assert "jp" in languages
    records = Files(path=str(path), language=0, prompt=3, spelled={"ja": "jp"}, languages=["ja", "ru"]).load()
    assert {record.language for record in records} == {"ja", "ru"}
