"""What is found in a model's answers, against a slow loop: one prompt at a time, checked one at a time."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignlab.data.wordproblems import generate
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.evaluation.answering import answer, check_can_answer
from alignlab.evaluation.tasks import build_task
from alignlab.manifest import checksum_of
from alignlab.models.load import DEMO_FOLDER
from alignlab.recording.counting import Origin

LANGUAGES = ("en", "sw")


def test_answers_are_those_of_transformers_one_prompt_at_a_time() -> None:
    # In double precision no batch changes a token.
    model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    problems = generate(LANGUAGES, 4, split="test")
    task = build_task(problems, tokenizer, max_new_tokens=70, max_tokens_per_batch=500)
    told: list[int] = []

    class Advance:
        def __enter__(self) -> Any:
            return told.append

        def __exit__(self, *_: object) -> None: ...

    found = answer(model, task, origin=Origin("demo", step=3), progress=lambda count: Advance())
    assert sum(told) == len(task.prompts) == 8
    by_id = {(record.language, record.id): record for record in problems}
    rows = [json.loads(line) for line in found.text.splitlines()]
    right = Counter[str]()
    for place, (prompt, row) in enumerate(zip(task.prompts, rows, strict=True)):
        record = by_id[prompt.language, prompt.id]
        ids = tokenizer(record.prompt + "\n", return_tensors="pt").input_ids
        with torch.no_grad():
            output = model.generate(ids, do_sample=False, max_new_tokens=70)[0, ids.shape[1] :]
        text = tokenizer.decode(output, skip_special_tokens=True)
        assert row["text"] == text
        assert int(found.effects.tokens[place]) == len(output)
        assert bool(found.effects.ended[place]) == (int(output[-1]) == tokenizer.eos_token_id)
        # The demo's answers end with a line of their own; what is right there is read without the checker.
        result, said = record.answer.rpartition("#### ")[2], text.rpartition("#### ")[2].strip()
        if said.isdecimal():
            assert bool(found.effects.right[place]) == (Fraction(said) == Fraction(result))
            right[prompt.language] += said == result
        assert row["expected"] == found.effects.items[place].expected == result
        assert row["right"] == bool(found.effects.right[place])
    assert right["en"] >= 3  # the demo model solves these
    assert found.effects.languages == LANGUAGES
    assert found.effects.answers_checksum == checksum_of(found.text.encode())
    assert found.effects.data_fingerprint == task.fingerprint
    of = found.effects.output_language[:, 0].tolist()
    assert [LANGUAGES[place] if place >= 0 else None for place in of] == [row["output_language"] for row in rows]


def test_the_reference_is_among_the_languages_told_apart(tokenizer: Any, tiny_llama: Any) -> None:
    task = build_task(generate(["zh", "sw"], 2), tokenizer, max_new_tokens=3)
    assert answer(tiny_llama, task, origin=Origin()).effects.languages == ("zh", "sw", "en")
    assert answer(tiny_llama, task, origin=Origin(reference="")).effects.languages == ("zh", "sw")


def test_models_that_cannot_answer_are_refused(tokenizer: Any, tiny_llama: Any) -> None:
    task = build_task(generate(["en"], 2), tokenizer, max_new_tokens=2000)
    with pytest.raises(InputError, match=r"evaluation\.max_new_tokens: a prompt of \d+ tokens and 2000 new ones"):
        check_can_answer(task, tiny_llama)
    with pytest.raises(UnsupportedModelError, match="evaluation: Linear cannot generate"):
        check_can_answer(task, nn.Linear(2, 2))
