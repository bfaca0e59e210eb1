"""The built-in word problems, read back from their text by means of the tests' own."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict

import pytest
from pydantic import ValidationError

from alignlab.data.records import Record
from alignlab.data.sources import WordProblems
from alignlab.data.wordproblems import LANGUAGES, TASKS, TEMPLATES, generate
from alignlab.data.wordproblems.languages import LANGUAGE_FILES
from alignlab.data.wordproblems.languages.ru import plural
from alignlab.data.wordproblems.problems import NAMES, SPLITS, THINGS, problem_at
from alignlab.data.wordproblems.shapes import SHAPES
from alignlab.errors import InputError

COUNT = 400  # enough for every template: the expected number of each is 400 / templates
CALCULATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
SCRIPTS = {
    "ru": ("CYRILLIC",),
    "zh": ("CJK",),
    "ja": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"),
    "th": ("THAI",),
    "bn": ("BENGALI",),
}


@pytest.fixture(scope="module")
def parallel() -> dict[str, dict[str, Record]]:
    """id -> language -> record, of the split train."""
    problems: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in generate(LANGUAGES, COUNT):
        problems[record.id][record.language] = record
    assert len(problems) == COUNT
    return problems


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def value(left: int, sign: str, right: int) -> int:
    """A calculation done without the generator's table of operators."""
    if sign == "+":
        return sum((left, right))
    if sign == "-":
        return -(right - left)
    if sign == "*":
        return sum([left] * right)
    assert sign == "/"
    quotient, rest = divmod(left, right)
    assert rest == 0
    return quotient


def test_ten_languages_in_every_problem(parallel: dict[str, dict[str, Record]]) -> None:
    assert set(LANGUAGES) == {"en", "de", "fr", "es", "ru", "zh", "ja", "th", "sw", "bn"}
    assert all(tuple(problem) == LANGUAGES for problem in parallel.values())


def test_every_language_file_fits_the_shapes() -> None:
    names = {shape.name for shape in SHAPES}
    assert len(names) == len(SHAPES) >= 8
    for language in LANGUAGE_FILES.values():
        assert set(language.templates) == names
        assert (len(language.women), len(language.men), len(language.things)) == (NAMES, NAMES, THINGS)
        assert all(len(set(words)) == len(words) for words in (language.women + language.men, language.things))


def test_every_template_is_drawn(parallel: dict[str, dict[str, Record]]) -> None:
    """The other tests here say something of every template only because of this."""
    assert {problem_at("train", 0, index).shape for index in range(COUNT)} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_worked_answers_are_true(parallel: dict[str, dict[str, Record]], language: str) -> None:
    steps_seen: Counter[int] = Counter()
    for problem in parallel.values():
        record = problem[language]
        *sentences, last = record.answer.split("\n")
        known = set(numbers(record.prompt))
        for sentence in sentences:
            [(left, sign, right, result)] = CALCULATION.findall(sentence)
            assert value(int(left), sign, int(right)) == int(result), record
            assert {int(left), int(right)} <= known, f"a number comes from nowhere: {record}"
            assert numbers(sentence) == [int(left), int(right), int(result)]
            known.add(int(result))
        assert last == f"#### {result}"
        steps_seen[len(sentences)] += 1
    assert set(steps_seen) == {1, 2, 3}


def test_the_same_calculation_in_all_languages(parallel: dict[str, dict[str, Record]]) -> None:
    for problem in parallel.values():
        english = problem["en"]
        for record in problem.values():
            assert sorted(numbers(record.prompt)) == sorted(numbers(english.prompt)), record
            assert CALCULATION.findall(record.answer) == CALCULATION.findall(english.answer), record
            assert record.answer.split("\n")[-1] == english.answer.split("\n")[-1]


def test_no_number_below_two(parallel: dict[str, dict[str, Record]]) -> None:
    """No language has to say one apple or none."""
    assert min(min(numbers(r.prompt + r.answer)) for problem in parallel.values() for r in problem.values()) == 2


def test_no_text_is_the_same_in_two_languages(parallel: dict[str, dict[str, Record]]) -> None:
    for problem in parallel.values():
        assert len({record.prompt for record in problem.values()}) == len(LANGUAGES)
        assert len({record.answer for record in problem.values()}) == len(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_belong_to_the_script(parallel: dict[str, dict[str, Record]], language: str) -> None:
    allowed, seen = SCRIPTS.get(language, ("LATIN",)), set()
    for problem in parallel.values():
        text = problem[language].prompt + problem[language].answer
        assert "{" not in text
        assert "|" not in text
        for letter in {one for one in text if unicodedata.category(one)[0] in "LM"}:
            script = unicodedata.name(letter).split()[0]
            assert script in allowed, f"{letter} in {text}"
            seen.add(script)
    assert seen == set(allowed)


def test_spacing_and_ends(parallel: dict[str, dict[str, Record]]) -> None:
    ends = {"zh": ("？", "。"), "ja": ("。", "。"), "bn": ("?", "।"), "th": ("", "")}
    for problem in parallel.values():
        for record in problem.values():
            question, sentence = ends.get(record.language, ("?", "."))
            assert record.prompt.endswith(question)
            assert all(line.endswith(sentence) for line in record.answer.split("\n")[:-1])
            assert "  " not in record.prompt + record.answer
            assert record.prompt == record.prompt.strip()
            assert re.search(r"[.?!,]\w", record.prompt) is None, record.prompt


def test_russian_nouns_follow_their_number() -> None:
    forms = {1: 0, 21: 0, 101: 0, 2: 1, 34: 1, 104: 1, 5: 2, 11: 2, 12: 2, 14: 2, 20: 2, 111: 2, 113: 2}
    assert {number: plural(number) for number in forms} == forms


def template_and_numbers(question: str) -> tuple[str, tuple[int, ...]]:
    """What is left of an English question without its names and things, and its numbers in order."""
    words = ["Anna", "Mary", "Lucy", "Emma", "Ruth", "Kate", "John", "Peter", "Paul", "Tom", "Adam", "Max"]
    words += [f"{thing}s?" for thing in ["apple", "pencil", "notebook", "ticket", "ball", "orange", "egg", "flower"]]
    return re.sub(r"\d+", "N", re.sub(rf"\b({'|'.join(words)})\b", "W", question)), tuple(numbers(question))


@pytest.mark.slow
def test_splits_share_no_template_with_the_same_numbers() -> None:
    # So many problems that the smaller templates run out of numbers: if a split could reach into another, it would.
    drawn = {
        split: {template_and_numbers(r.prompt) for seed in (0, 1) for r in generate(["en"], 6000, split, seed)}
        for split in SPLITS
    }
    assert list(drawn) == ["train", "probe", "test"]
    for split, found in drawn.items():
        assert len({template for template, _ in found}) == len(SHAPES)
        assert len(found) > 500, split
        for other in set(drawn) - {split}:
            assert not found & drawn[other], (split, other)


def test_translation_asks_the_same_question_in_english() -> None:
    english = [record.prompt for record in generate(["en"], 50, "probe", seed=3)]
    for language in LANGUAGES:
        solve = generate([language], 50, "probe", seed=3)
        translate = generate([language], 50, "probe", seed=3, task="translate")
        assert [record.answer for record in translate] == english
        assert [(record.id, record.prompt) for record in translate] == [(record.id, record.prompt) for record in solve]


def test_more_problems_begin_with_the_fewer() -> None:
    assert generate(["th"], 30, "test")[:7] == generate(["th"], 7, "test")
    assert generate(["th"], 7, "test") != generate(["th"], 7, "test", seed=1)
    assert [record.language for record in generate(["zh", "de"], 2)] == ["zh", "zh", "de", "de"]
    assert generate(["zh"], 0) == []


def test_far_problems_exist() -> None:
    for split in SPLITS:
        far = {str(problem_at(split, 0, 10**12 + step)) for step in range(100)}
        assert len(far) > 90


def test_every_process_draws_the_same() -> None:
    program = (
        "import hashlib; from alignlab.data.wordproblems import LANGUAGES, TASKS, generate\n"
        "print(hashlib.sha256(repr(generate(LANGUAGES, 20, 'test', 5)).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(generate(LANGUAGES, 20, "test", 5)).encode()).hexdigest()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == here


def test_refusals_name_everything_wrong() -> None:
    with pytest.raises(InputError) as refused:
        generate(["zh", "xx"], -1, "tests", task="translat")
    text = str(refused.value)
    assert len(refused.value.problems) == 4
    assert "'xx'" in text
    assert ", ".join(LANGUAGES) in text
    assert "Did you mean 'test'?" in text
    assert "Did you mean 'translate'?" in text
    assert "-1" in text


@pytest.mark.parametrize("code", ["de", "sw", "en"])
def test_the_tasks_in_english_are_made_of_the_english_problem(code: str) -> None:
    made = {task: generate([code], 40, task=task) for task in TASKS}
    english = generate(["en"], 40)
    for number, own in enumerate(english):
        assert made["translate"][number].answer == own.prompt
        assert made["solve_in_english"][number].answer == own.answer
        assert made["translate_then_solve"][number].answer == f"{own.prompt}\n{own.answer}"
        assert len({records[number].prompt for records in made.values()}) == 1
    assert (made["solve"] == english) == (code == "en")


def test_problems_of_templates_that_are_left_out_are_the_same_problems_as_before() -> None:
    everything = {(record.language, record.id): record for record in generate(["en", "sw"], 200, split="test")}
    chosen = [name for name in TEMPLATES if name not in {"bus", "age", "hat"}]
    found = generate(["en", "sw"], 100, split="test", templates=chosen)
    assert len(found) == 200
    assert {record.cluster for record in found} <= set(chosen)
    known = [record for record in found if (record.language, record.id) in everything]
    assert len(known) > 100
    assert all(record == everything[record.language, record.id] for record in known)
    first = [record.id for record in generate(["en"], 200, split="test") if record.cluster in chosen]
    assert [record.id for record in found[:100]] == first[:100]


def test_a_source_leaves_out_templates_and_refuses_those_that_are_none() -> None:
    found = WordProblems(languages=["en"], count=50, without_templates=["bus", "age"]).load()
    assert len(found) == 50
    assert not {record.cluster for record in found} & {"bus", "age"}
    with pytest.raises(ValidationError, match="some of: gets_more"):
        WordProblems(without_templates=["buss"])
    with pytest.raises(InputError, match="all templates are left out"):
        WordProblems(without_templates=list(TEMPLATES)).load()
    with pytest.raises(InputError, match=r"wordproblems templates: 'buss'.*[Dd]id you mean 'bus'"):
        generate(["en"], 1, templates=["buss"])
