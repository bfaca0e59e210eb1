"""Numbers of answers against a table written by hand, babel's way of writing numbers, and arithmetic done again."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable
from fractions import Fraction

import pytest
from babel import Locale
from babel.numbers import format_decimal

from alignlab.data.wordproblems import LANGUAGES as PROBLEM_LANGUAGES
from alignlab.data.wordproblems import generate
from alignlab.data.wordproblems.problems import problem_at
from alignlab.data.wordproblems.shapes import SHAPES
from alignlab.errors import InputError
from alignlab.evaluation.answers import is_right, last_number
from alignlab.languages import DECIMAL_COMMA, LANGUAGES

from .hand_made_answers import ANSWERS

CASES = [(language, text, number) for language, rows in ANSWERS.items() for text, number in rows]


def test_the_table_is_as_large_as_it_claims() -> None:
    assert len(CASES) >= 200
    assert {"bn", "de", "en", "es", "fr", "ja", "ru", "sw", "th", "zh", "hi"} <= set(ANSWERS)
    assert len({(language, text) for language, text, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("language", "text", "number"), CASES)
def test_a_hand_made_answer(language: str, text: str, number: str | None) -> None:
    expected = None if number is None else Fraction(number)
    assert last_number(text, language) == expected
    if expected is not None:
        assert is_right(text, expected, language)
        assert not is_right(text, expected + 1, language)
        assert not is_right(text, -expected or 1, language)


# What each kind of problem asks for, written down from its English question.
RESULTS: dict[str, Callable[..., int]] = {
    "gets_more": lambda a, b: a + b,
    "gives_away": lambda a, b: a - b,
    "full_boxes": lambda a, b: a * b,
    "shares_out": lambda a, b: a // b,
    "buys": lambda a, b, c: c - a * b,
    "boxes_and_loose": lambda a, b, c: a * b + c,
    "times_as_many": lambda a, b: a * (b + 1),
    "reading": lambda a, b, c: c - a * b,
    "sells_days": lambda a, b, c: a + b + c,
    "gives_and_gets": lambda a, b, c: a - b + c,
    "how_many_more": lambda a, b: a - b,
    "fewer_together": lambda a, b: 2 * a - b,
    "pool_and_share": lambda a, b, c: (a + b) // c,
    "packs_and_sells": lambda a, b, c: a // b * c,
    "two_prices": lambda a, b, c, d: a * b + c * d,
    "bus": lambda a, b, c: a - b + c,
    "age": lambda a, b, c: a + b + c,
    "garden": lambda a, b, c: a * b - c,
    "bakery": lambda a, b, c: a * b * c,
    "days_to_finish": lambda a, c, d: (c - d) // a,
    "school_class": lambda a, b, c: (a + b) * c,
    "hat": lambda a, b, c, d: d - (a * b + c),
}


@pytest.mark.parametrize("language", PROBLEM_LANGUAGES)
def test_worked_answers_of_the_demo_end_with_the_result_of_their_question(language: str) -> None:
    count = 150
    seen = set()
    for split in ("train", "probe", "test"):
        for index, record in enumerate(generate([language], count, split)):
            problem = problem_at(split, 0, index)
            stated = RESULTS[problem.shape].__code__.co_varnames
            result = RESULTS[problem.shape](**{name: problem.numbers[name] for name in stated})
            worked, _, marked = record.answer.rpartition("\n")
            assert marked == f"#### {result}"
            for answer in (record.answer, worked):
                assert last_number(answer, language) == result, record
                assert is_right(answer, result, language)
                assert not is_right(answer, result + 1, language)
            seen.add(problem.shape)
    assert seen == {shape.name for shape in SHAPES}


def test_languages_with_a_decimal_comma_are_those_of_cldr() -> None:
    def decimal(code: str) -> str:
        systems = Locale.parse(code).number_symbols
        return systems["latn"]["decimal"]

    for code in LANGUAGES:
        assert (code in DECIMAL_COMMA) == (decimal(code) == ","), code


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("system", ["latn", "default"])
def test_what_babel_writes_is_read_back(code: str, system: str) -> None:
    rng = random.Random(code)
    for _ in range(60):
        # Not three decimals: these are what the language decides.
        number = Fraction(rng.randrange(10 ** rng.randint(1, 9)), rng.choice([1, 10, 100]))
        number *= rng.choice([1, -1])
        text = format_decimal(float(number), format=None, locale=code, numbering_system=system)
        if round(number, 2) == number:
            # Marks of direction around the sign are for display.
            shown = "".join(c for c in text if unicodedata.category(c) != "Cf")
            assert last_number(f"= {shown}.", code) == number, text


def test_every_decimal_digit_of_unicode_counts() -> None:
    digits = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert len(digits) >= 600
    for digit in digits:
        assert last_number(f"x {digit}7", "en") == unicodedata.digit(digit) * 10 + 7


def test_a_language_decides_what_three_digits_after_a_point_mean() -> None:
    for code in LANGUAGES:
        assert last_number("1.234", code) == (1234 if code in DECIMAL_COMMA else Fraction("1.234"))
        assert last_number("1,234", code) == 1234


def test_in_languages_with_a_decimal_comma_both_readings_of_three_digits_are_right() -> None:
    for text in ("1.234", "1,234"):
        assert is_right(text, 1234, "de")
        assert is_right(text, 1.234, "de")
        assert not is_right(text, 234, "de")
    assert is_right("1.234", 1.234, "en")
    assert not is_right("1.234", 1234, "en")
    assert is_right("1,234", 1234, "en")
    assert not is_right("1,234", 1.234, "en")


def test_right_is_less_than_a_thousandth_off() -> None:
    assert is_right("0.3333", 1 / 3, "en")
    assert is_right("2.9991", 3, "en")
    assert not is_right("2.999", 3, "en")
    assert not is_right("3.001", 3, "en")
    assert is_right("3.00099", Fraction(3), "en")


def test_no_number_is_wrong_even_where_zero_is_expected() -> None:
    assert last_number("none at all", "en") is None
    assert not is_right("none at all", 0, "en")
    assert is_right("0", 0, "en")


def test_a_number_that_is_too_long_to_be_one_is_no_answer() -> None:
    assert last_number("7 and " + "9" * 1000, "en") == 10**1000 - 1
    assert last_number("7 and " + "9" * 1001, "en") is None
    assert last_number("7 and " + "9" * 100_000, "en") is None
    assert last_number("9e99", "en") == 9 * 10**99
    assert last_number("三" + "百" * 2000, "zh") is None


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'de'"):
        last_number("18", "ger")


UNITS = ["1,", "\\boxed{", "####\n", "- ", "=", "minus ", "^{", "1 ", "3万 ", "1/", "\\frac{ ", " x 10", " ", "½", "²"]


@pytest.mark.parametrize("unit", UNITS)
def test_long_answers_of_the_same_again_and_again_are_read(unit: str) -> None:
    # A search that tries every start again would not come to an end.
    for prefix in ("", "minus", "1", "\\boxed{"):
        assert last_number(prefix + unit * 20_000 + " so: 18", "de") == 18
