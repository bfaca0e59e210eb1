"""Problems as prompts: what is expected, what is refused, and what is known from the training."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from alignlab.data.records import Contents, Record
from alignlab.data.wordproblems import generate
from alignlab.errors import InputError
from alignlab.evaluation.tasks import build_task, in_training


def records(answer: str = "so 3 + 4 = 7.") -> list[Record]:
    return [Record(f"{number}", code, f"{code} {number}?", answer) for code in ("en", "de") for number in range(8)]


def test_the_last_number_of_the_answer_is_expected_and_the_answer_itself_is_not_shown(tokenizer: Any) -> None:
    task = build_task(records(), tokenizer, max_texts=5, max_new_tokens=9)
    assert task.languages == ("en", "de")
    assert len(task.prompts) == 10
    assert set(task.expected) == {Fraction(7)}
    texts = [tokenizer.decode(prompt.tokens) for prompt in task.prompts]
    assert texts[0].startswith("<bos>en ")
    assert not any("7" in text.replace(f" {prompt.id}?", "") for text, prompt in zip(texts, task.prompts, strict=True))
    # Parallel problems are taken or left together.
    by_language = [{prompt.id for prompt in task.prompts if prompt.language == code} for code in task.languages]
    assert by_language[0] == by_language[1]
    assert task.longest == max(len(prompt.tokens) for prompt in task.prompts)


def test_an_eos_that_the_tokenizer_adds_does_not_end_a_prompt(tokenizer: Any) -> None:
    task = build_task([Record("0", "en", "what<eos>", "1")], tokenizer, prompts={"template": "{prompt}"})
    assert task.prompts[0].tokens[-1] != tokenizer.eos_token_id


def test_answers_without_a_number_are_named(tokenizer: Any) -> None:
    asked = [*records(), Record("8", "en", "who?", "nobody"), Record("9", "de", "wer?", "")]
    with pytest.raises(InputError, match=r"2 of 18 records .* '8' \(en\): 'nobody', '9' \(de\): ''.*source\.answer"):
        build_task(asked, tokenizer)


def test_no_records_and_parallel_problems_of_different_clusters_are_refused(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"evaluation\.source: no record"):
        build_task([], tokenizer)
    apart = [Record("0", "en", "a", "1", "x"), Record("0", "de", "b", "1", "y")]
    with pytest.raises(InputError, match=r"evaluation\.source: .*different clusters"):
        build_task(apart, tokenizer)


def test_the_fingerprint_is_of_all_that_decides_what_is_right(tokenizer: Any) -> None:
    task = build_task(records(), tokenizer)
    others = [
        build_task(records("so 8"), tokenizer),
        build_task(records(), tokenizer, max_new_tokens=9),
        build_task(records(), tokenizer, prompts={"template": "Q: {prompt}"}),
        build_task([replace(record, cluster="c") for record in records()], tokenizer),
        task.after({"3"}),
    ]
    assert build_task(records(), tokenizer).fingerprint == task.fingerprint
    assert len({task.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_clusters_of_the_training_are_known(tokenizer: Any) -> None:
    problems = generate(["en", "zh"], 30, split="test")
    task = build_task(problems, tokenizer).after({"bus", "age"})
    assert [prompt.cluster in {"bus", "age"} for prompt in task.prompts] == list(task.seen)
    assert set(task.seen) == {True, False}


def test_problems_of_the_training_are_found_by_text_and_by_id() -> None:
    test, trained = generate(["en", "zh", "sw"], 20, split="test"), generate(["zh"], 40, split="train")
    assert in_training(test, Contents.of(trained), same_source=True) == []
    # The Chinese text of three is trained on: so is what says the same in English and Swahili.
    leaked = [
        replace(test[20 + place], id=f"elsewhere {place}", prompt=f"{test[20 + place].prompt}\n") for place in (3, 5, 9)
    ]
    assert in_training(test, Contents.of([*trained, *leaked]), same_source=False) == [
        test[place].id for place in (3, 5, 9)
    ]
    # Numbers of lines are ids too: they mean the same in one source only.
    numbered = [Record(test[7].id, "fr", "autre chose", "1")]
    assert in_training(test, Contents.of(numbered), same_source=False) == []
    assert in_training(test, Contents.of(numbered), same_source=True) == [test[7].id]
