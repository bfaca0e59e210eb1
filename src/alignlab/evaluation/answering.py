"""A model answers the problems of a task, and what it answers is checked: the record of its effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from alignlab.evaluation.answers import is_right
from alignlab.evaluation.output_language import cannot_be_told, language_of
from alignlab.evaluation.tasks import Task
from alignlab.manifest import checksum_of
from alignlab.recording.counting import Origin
from alignlab.recording.effects import ABSTAINED, BASELINE, ArmLabel, Effects, Item
from alignlab.recording.generation import Response, check_positions, generate, generator_of
from alignlab.recording.passing import Progress
from alignlab.recording.responses_file import responses_text, text_of


@dataclass(frozen=True)
class Answered:
    """effects: what was found.  text: of the file of the answers, a line of JSON each."""

    effects: Effects
    text: str


def answer(
    model: nn.Module,
    task: Task,
    *,
    origin: Origin,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _answers: nullcontext(lambda _done: None),
) -> Answered:
    """Let a model answer all problems, greedily; a collective call where there are several ranks.

    Every rank gets the whole. Modes, gradients, random numbers and the generation config are left as they were.
    context: entered around each batch, such as an autocast.  progress: entered with the number of answers.
    """
    eos = task.tokenizer.eos_token_id
    with progress(len(task.prompts)) as advance:
        responses = generate(
            model,
            [prompt.tokens for prompt in task.prompts],
            max_new_tokens=task.max_new_tokens,
            max_tokens_per_batch=task.max_tokens_per_batch,
            # With it fine-tuning ends answers; a base model's generation config may name another.
            eos_ids=() if eos is None else (eos,),
            context=context,
            advance=advance,
        )
    return checked(task, responses, origin)


def checked(
    task: Task,
    responses: Sequence[Response],
    origin: Origin,
    about: Mapping[str, object] | None = None,
    arm: ArmLabel = BASELINE,
) -> Answered:
    """What is found in the responses to a task's prompts, in their order.

    about: what else every line of text says.  arm: under which they were given.
    """
    texts = [text_of(task.tokenizer, response.tokens) for response in responses]
    at_hand = tuple(dict.fromkeys([*task.languages, *([origin.reference] if origin.reference else [])]))
    known = [name for name in at_hand if name not in cannot_be_told(at_hand)]
    told = language_of(texts, known) if known else [None] * len(texts)
    right = [
        is_right(text, number, prompt.language)
        for text, number, prompt in zip(texts, task.expected, task.prompts, strict=True)
    ]
    lines: list[dict[str, Any]] = [
        {**(about or {}), "expected": _written(number), "right": hit, "output_language": language}
        for number, hit, language in zip(task.expected, right, told, strict=True)
    ]
    text = responses_text(task.prompts, responses, task.tokenizer, lines)
    items = zip(task.prompts, task.expected, task.seen, strict=True)
    effects = Effects(
        items=tuple(
            Item(prompt.id, prompt.language, prompt.cluster, _written(number), seen) for prompt, number, seen in items
        ),
        labels=(arm,),
        languages=at_hand,
        right=torch.tensor(right, dtype=torch.bool).unsqueeze(1),
        output_language=torch.tensor(
            [ABSTAINED if name is None else at_hand.index(name) for name in told], dtype=torch.int16
        ).unsqueeze(1),
        tokens=torch.tensor([len(response.tokens) for response in responses], dtype=torch.int32).unsqueeze(1),
        ended=torch.tensor([response.ended for response in responses], dtype=torch.bool).unsqueeze(1),
        task=task.name,
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        trained_languages=origin.trained_languages,
        reference=origin.reference,
        data_fingerprint=task.fingerprint,
        clusters=task.clusters,
        answers_checksum=checksum_of(text.encode()),
    )
    return Answered(effects, text)


def check_can_answer(task: Task, model: nn.Module) -> None:
    """Refuse a model that cannot answer the task; also on the meta device. Raises `InputError`."""
    generator_of(model, "evaluation", "Leave out the section evaluation.")
    fix = "Set a smaller evaluation.max_new_tokens, or take shorter problems."
    check_positions(model, task.longest, task.max_new_tokens, "evaluation.max_new_tokens", fix)


def _written(number: Fraction) -> str:
    return str(number)
