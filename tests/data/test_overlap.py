"""How much of the evaluated text is in the training text, against a loop over every run and every text."""

from __future__ import annotations

import random
import unicodedata

import pytest

from alignlab.data.overlap import CHARACTERS, WORDS, Overlap, normalised, overlap, texts_of
from alignlab.data.records import Message, Record

UNSPACED = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER", "TIBETAN")


def slow_normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = [one if unicodedata.category(one)[0] in "LNM" else " " for one in folded]
    return " ".join("".join(kept).split())


def unspaced(text: str) -> bool:
    return any(unicodedata.name(one, "").startswith(UNSPACED) for one in text)


def runs(text: str, spaced: bool) -> set[str]:
    units = text.split() if spaced else list(text.replace(" ", ""))
    n = WORDS if spaced else CHARACTERS
    return {" ".join(units[i : i + n]) for i in range(len(units) - n + 1)}


def slow(evaluated: dict[str, list[str]], trained: list[str]) -> dict[str, Overlap]:
    found = {}
    plain = [slow_normalised(text) for text in trained]
    for code, documents in evaluated.items():
        texts = [slow_normalised(text) for text in documents]
        spaced = 2 * sum(map(unspaced, texts)) <= len(texts)
        there: set[str] = set()
        for text in plain:
            if spaced or unspaced(text):
                there |= runs(text, spaced)
        each = [runs(text, spaced) for text in texts]
        found[code] = Overlap(
            len(texts),
            sum(text in plain for text in texts),
            sum(bool(one) for one in each),
            sum(bool(one & there) for one in each),
            len(set().union(*each)),
            len(set().union(*each) & there),
            "words" if spaced else "characters",
        )
    return found


def spoken(rng: random.Random, script: str, length: int) -> str:
    if script == "latin":
        return " ".join(
            rng.choice(["one", "Two,", "three", "4", "five.", "-", "siẞ", "e\u0301t"]) for _ in range(length)
        )
    if script == "bengali":
        return " ".join(rng.choice(["আমার", "কাছে", "তিনটি,", "বই", "আছে।"]) for _ in range(length))
    return "".join(rng.choice("小明有三个苹果，和十本书。 5") for _ in range(length))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_loop_over_every_run_finds(seed: int) -> None:
    rng = random.Random(seed)
    scripts = {"en": "latin", "bn": "bengali", "zh": "han"}
    evaluated = {code: [spoken(rng, script, rng.randint(1, 60)) for _ in range(12)] for code, script in scripts.items()}
    trained = [spoken(rng, rng.choice([*scripts.values()]), rng.randint(1, 80)) for _ in range(40)]
    for texts in evaluated.values():
        trained += [f"(Before) {texts[0].upper()} after", texts[1] + "!!", texts[2][: len(texts[2]) * 2 // 3]]
        trained += [texts[3][len(texts[3]) // 2 :], texts[4]]
    rng.shuffle(trained)
    found = overlap(evaluated, iter(trained))
    assert found == slow(evaluated, trained)
    assert all(one.whole >= 2 for one in found.values())
    assert any(0 < one.sharing < one.long for one in found.values()) or seed > 3


def test_case_marks_and_full_width_digits_do_not_hide_a_text() -> None:
    assert normalised("  The “Answer”:\t１２ Äpfel!") == "the answer 12 äpfel"
    assert normalised("তিনটি কাছে।") == slow_normalised("তিনটি কাছে।") == "তিনটি কাছে"
    found = overlap({"en": ["What is 3 + 4?"]}, ["WHAT IS  3+4 ?"])["en"]
    assert (found.whole, found.long, found.sharing, found.runs) == (1, 0, 0, 0)


def test_nothing_evaluated_or_trained_is_no_overlap() -> None:
    assert overlap({}, ["text"]) == {}
    assert overlap({"de": [], "zh": ["好" * 30]}, []) == {
        "de": Overlap(0, 0, 0, 0, 0, 0, "words"),
        "zh": Overlap(1, 0, 1, 0, 1, 0, "characters"),
    }
    assert overlap({"de": []}, ["a b"])["de"].documents == 0


def test_no_run_goes_from_one_text_into_the_next() -> None:
    words = [f"w{number}" for number in range(20)]
    text = " ".join(words)
    assert overlap({"en": [text]}, [" ".join(words[:10]), " ".join(words[10:])])["en"].sharing == 0
    assert overlap({"en": [text]}, [" ".join(words[:13]), "x"])["en"].shared == 1


def test_all_texts_of_a_record_are_looked_at() -> None:
    turns = (Message("user", "c"), Message("assistant", "d"))
    records = [Record("1", "en", "a", "b", rejected="e"), Record("2", "en", "", messages=turns)]
    assert [*texts_of(records)] == ["a", "b", "e", "c", "d"]
