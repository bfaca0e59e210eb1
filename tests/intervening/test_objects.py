"""The objects of LSS stand behind a prompt as answers do in training."""

from __future__ import annotations

import pytest

from alignlab.data.prompts import Prompts
from alignlab.data.wordproblems import generate
from alignlab.evaluation.options import ObjectOptions
from alignlab.intervening.objects import build_objects
from alignlab.models.load import ModelConfig


@pytest.mark.parametrize(
    ("template", "delimiter", "between"),
    [("{prompt}\n", None, "\n"), ("{prompt}", None, " "), ("{prompt}\n", " ", "\n "), ("{prompt}", "", "")],
)
def test_an_object_stands_behind_its_prompt_as_an_answer_does(
    template: str, delimiter: str | None, between: str
) -> None:
    records = generate(["en", "de"], count=4, split="test")
    tokenizer = ModelConfig(source="builtin:demo").build_tokenizer()
    found = build_objects(records, tokenizer, ObjectOptions(delimiter=delimiter), Prompts(template=template))
    answers = {(one.id, one.language): one.answer.strip() for one in records}
    prompts = {(one.id, one.language): one.prompt.strip() for one in records}
    for documents, choice in zip(found.texts.by_item, found.items.choices, strict=True):
        for document, language in zip(documents, found.languages, strict=True):
            text = prompts[choice.id, choice.language] + between + answers[choice.id, language]
            assert document.tokens.tolist() == tokenizer(text)["input_ids"]
