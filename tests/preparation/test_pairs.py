"""Pairs against every combination tried one by one, and questions whose answer is known by hand."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from alignlab.preparation.answers import Answer, Question, Tally
from alignlab.preparation.pairs import REASONS, Sides, cleaned, in_dev, right_over_wrong, take, translation_reward

CUT = "(cut)"


def question(*texts: str, reference: str = "3 + 4 = 7", language: str = "de", id: str = "q1") -> Question:  # noqa: A002
    answers = [Answer(text.removesuffix(CUT), len(text), ended=not text.endswith(CUT)) for text in texts]
    return Question(id, language, "template", "Wie viele?", reference, answers)


def sides(*texts: str, clean: bool = False, **options: str) -> tuple[list[str], list[str]] | str:
    found = right_over_wrong(question(*texts, **options), clean=clean)
    return found if isinstance(found, str) else (list(found.chosen), list(found.rejected))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("7", "8"), (["7"], ["8"])),
        (("7", "sieben", "Es sind 7.", "8", "9 "), (["7", "Es sind 7."], ["sieben", "8", "9"])),
        (("7", " 7\n", "8", "8"), (["7"], ["8"])),  # the same text once
        (("7,0004", "7,0011"), (["7,0004"], ["7,0011"])),
        (("7", "7.0"), "all_right"),
        (("8", "keine"), "all_wrong"),
        (("", " \n"), "unusable"),
        (("7", ""), "all_right"),  # an empty answer is no loser
        (("a\0 8", "7"), "all_right"),
        ((f"7{CUT}", "8"), "right_cut"),
        ((f"7{CUT}", "7", f"8{CUT}"), (["7"], ["8"])),
        ((f"7{CUT}", "also 7", "8"), (["also 7"], ["8"])),
    ],
)
def test_a_right_whole_answer_is_chosen_over_a_wrong_one(
    texts: tuple[str, ...], expected: tuple[list[str], list[str]] | str
) -> None:
    assert sides(*texts) == expected
    assert not isinstance(expected, str) or expected in REASONS


def test_numbers_are_read_as_the_language_writes_them() -> None:
    assert sides("1.234", "1,234.5", reference="1234", language="de") == (["1.234"], ["1,234.5"])
    assert sides("1.234", "1,234", reference="1234", language="en") == (["1,234"], ["1.234"])
    assert sides("৭", "৮", reference="7", language="bn") == (["৭"], ["৮"])


def test_without_a_right_number_there_is_no_pair() -> None:
    assert sides("7", "8", reference="sieben") == "no_number"
    assert sides("7", "8", reference="") == "no_number"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("She has 3<<3=3>> + 4<<3+4=7>> = 7.\n#### 7", "She has 3 + 4 = 7."),
        ("a\nb\n a ", ""),
        ("a\n\n\nb", "a\n\n\nb"),  # an empty line is none
        ("a << b\n>> c", "a  c"),
        ("#### 7", ""),
        ("3 < 4 << 5", "3 < 4 << 5"),
    ],
)
def test_english_answers_are_cleaned_as_by_mapo(text: str, left: str) -> None:
    assert cleaned(text) == left


def test_cleaning_is_asked_for_and_comes_after_judging() -> None:
    right, wrong = "Total 3 + 4<<3+4=7>>.\n#### 7", "Total 3 + 4.\n#### 8"
    assert sides(right, wrong) == ([right], [wrong])
    assert sides(right, wrong, clean=True) == "only_duplicates"
    assert sides(right, "Twelve.\n#### 12", clean=True) == (["Total 3 + 4."], ["Twelve."])
    assert sides(right, "loop 8\nloop 8", clean=True) == "all_right"
    # A text that is right in one answer and wrong in another is on neither side.
    assert sides(right, wrong, "So 7.\n#### 7", "No.\n#### 1", clean=True) == (["So 7."], ["No."])


def ranked(rewards: dict[str, float | None], clean: bool = False) -> set[tuple[str, str]] | str:
    """The pairs of answers of these rewards."""
    found = translation_reward(question(*rewards), clean=clean, rewards=list(rewards.values()))
    return found if isinstance(found, str) else {(found.chosen[i], found.rejected[j]) for i, j in found.pairs}


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ({"7": 2, "8": 1}, {("7", "8")}),
        ({"7": 1, "8": 2}, "lowest"),
        ({"7": 1, "8": 1}, "lowest"),  # an equal reward is no lower one
        ({"7": 3, "also 7": 2, "8": 1, "9": 4}, {("7", "also 7"), ("7", "8"), ("also 7", "8")}),
        ({"7": 2, f"also 7{CUT}": 1}, {("7", "also 7")}),  # a right one is rejected too
        ({f"7{CUT}": 2, "8": 1}, "right_cut"),
        ({f"7{CUT}": 2, "7.": 2, "8": 1}, {("7.", "8")}),
        ({"8": 2, "9": 1}, "all_wrong"),
        ({"7": 1}, "lowest"),
        ({"7": 2, "8": None}, "lowest"),
        ({"7": None, "8": 1}, "all_wrong"),
        ({"7": None, "8": None}, "no_reward"),
        ({"": 1, "7\0": 1}, "unusable"),
    ],
)
def test_a_right_answer_is_chosen_over_a_lower_one(
    rewards: dict[str, float | None], expected: set[tuple[str, str]] | str
) -> None:
    assert ranked(rewards) == expected
    assert translation_reward(question(*rewards), clean=False, rewards=None) in ("no_reward", "unusable")


def test_rewards_rank_cleaned_texts_alike() -> None:
    right, same, wrong = "3 + 4<<3+4=7>>.\n#### 7", "3 + 4.\n#### 8", "3 + 5.\n#### 8"
    assert ranked({right: 2, wrong: 1}, clean=True) == {("3 + 4.", "3 + 5.")}
    assert ranked({right: 2, same: 2, wrong: 1}, clean=True) == "only_duplicates"


def test_every_reason_is_given() -> None:
    given = {
        sides("7", reference="x"), sides(""), sides("8"), sides("7"), sides(f"7{CUT}", "8"),
        sides("a\n#### 7", "a\n#### 8", clean=True), ranked({"7": None}), ranked({"7": 1, "8": 2}),
    }  # fmt: skip
    assert given | {"over_limit"} == set(REASONS)


SIDES = [Sides(["a", "b", "c"], ["x", "y"]), Sides(["d"], ["z"]), Sides(["e", "f"], ["u", "v", "w", "x", "y"])]
NAMES = ["one", "two", "three"]
ALL = [
    (q, c, r) for q, side in enumerate(SIDES) for c, r in product(range(len(side.chosen)), range(len(side.rejected)))
]


def taken(names: list[str] = NAMES, sides: list[Sides] = SIDES, **options: int | None) -> list[tuple[int, int, int]]:
    found = take(names, sides, **{"seed": 0, "most": 1000, **options})  # type: ignore[arg-type]
    return [(one.question, one.chosen, one.rejected) for one in found]


def test_all_pairs_are_taken_where_nothing_limits_them() -> None:
    assert sorted(taken()) == ALL
    assert [question for question, _, _ in taken()] == [0] * 6 + [1] + [2] * 10


def test_a_limit_takes_one_of_each_question_before_a_second() -> None:
    for most in range(1, len(ALL) + 1):
        found = taken(most=most)
        assert len(set(found)) == most
        counts = Counter(question for question, _, _ in found)
        for question, side in enumerate(SIDES):
            left = len(side.chosen) * len(side.rejected) - counts[question]
            # It has fewer than another by two or more only where it has no more.
            assert left == 0 or counts[question] >= max(counts.values()) - 1
    assert set(taken(most=4)) <= set(taken(most=9))


def test_a_question_gives_no_more_than_it_may() -> None:
    assert Counter(question for question, _, _ in taken(most_per_question=2)) == {0: 2, 1: 1, 2: 2}
    assert set(taken(most_per_question=2)) <= set(taken(most_per_question=3))


def test_the_seed_decides_and_every_pair_has_its_chance() -> None:
    assert taken(most=3) == taken(most=3)
    drawn = Counter(taken([name], [SIDES[0]], most=1, seed=seed)[0] for seed in range(200) for name in NAMES)
    assert len(drawn) == 6
    assert min(drawn.values()) > 60  # of 600, a sixth each
    first = Counter(taken(most=1, seed=seed)[0][0] for seed in range(600))
    assert min(first.values()) > 150  # of 600, a third each


def test_parallel_questions_are_taken_together() -> None:
    names = [f"question {number}" for number in range(50)]
    one = taken(names, [SIDES[0]] * 50, most=20)
    other = taken(names, [SIDES[2]] * 50, most=20)
    assert [question for question, _, _ in one] == [question for question, _, _ in other]


def test_every_tenth_question_is_set_apart() -> None:
    ids = [str(number) for number in range(1, 36)]
    assert in_dev(ids, 10) == {"10", "20", "30"}
    assert in_dev(ids[:9], 10) == set()
    assert in_dev(ids, None) == set()


def test_the_tally_counts_what_is_there() -> None:
    questions = [
        question("7", "7", f"8{CUT}", "7."),
        question("9", "9", "9", "9", reference="nine", id="q2"),
        question("1", "2", "3", f"4{CUT}", reference="4", id="q3"),
    ]
    tokens = sum(len(text) for text in ("7", "7", f"8{CUT}", "7.", *"9999", *"123", f"4{CUT}"))
    assert Tally.of("de", questions) == Tally(
        "de", questions=3, answers=12, judged=8, right=4, tokens=tokens, cut=2, distinct=8
    )
