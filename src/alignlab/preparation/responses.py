"""A model's answers to questions, several to each: drawn batch by batch on all ranks, kept and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import nn

from alignlab import console
from alignlab.begun_folder import Start
from alignlab.config import to_plain
from alignlab.models.distributed import from_first, is_first, join, wait_for_all, world_size
from alignlab.models.precision import precision_of
from alignlab.preparation.answers import Answer, Question, Tally
from alignlab.preparation.options import ResponsesOptions
from alignlab.preparation.responses_plan import ResponsesPlan
from alignlab.preparation.responses_table import show_answers, table_csv
from alignlab.recording.generation import Response, generate
from alignlab.recording.sampling import Sampling
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

_NAMES = ("folder", "model.source")


def run(options: ResponsesOptions) -> None:
    """Plan, answer, keep, and say what was written."""
    check_settings(to_plain(options), _NAMES)
    join()
    plan = ResponsesPlan(options)
    with ExitStack() as held:
        start: Start = from_first(lambda: _decide(plan, held))
        plan.check()
        plan.show(start)
        if options.dry_run:
            console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
            return
        if start == "finished":
            if is_first():
                plan.folder.clear_parts()  # where it was killed as it did so
            console.say(f"\n{plan.folder.path} holds these answers, all of them. Name another folder to make others.")
        else:
            plan.loader.below(options.model.source).check()
            _answer_all(plan, start)
        if is_first():
            show_answers(plan.folder)


def _decide(plan: ResponsesPlan, held: ExitStack) -> Start:
    folder = plan.folder
    check_writable(folder.path, "folder")
    folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
    if not plan.options.dry_run:
        held.enter_context(folder.locked())
    return folder.start(plan.document)


def _answer_all(plan: ResponsesPlan, start: Start) -> None:
    """Answer what is not answered yet; rank zero writes."""
    folder = plan.folder
    made_from = from_first(plan.made_from)
    done = set(from_first(lambda: _done(plan, made_from)) if start == "continue" else [])
    missing = [batch for batch in range(len(plan.batches)) if batch not in done]
    if missing:
        model = plan.loader.load(plan.options.model.source)
        if start == "new":
            # Not before the model is there: a refusal until here leaves the folder as it was.
            from_first(lambda: folder.begin(plan.document, made_from))
        _answer(plan, model, missing)
    wait_for_all()
    if is_first():
        with console.progress("Writing answers", len(plan.questions.records)) as advance:
            folder.finish(_with_answers(plan, advance), _table)


def _done(plan: ResponsesPlan, made_from: Mapping[str, Any]) -> list[int]:
    """The batches that need not be answered again. Raises `InputError` where another model or question began."""
    for line in plan.folder.check_continued(made_from):
        console.say(f"note: {line}")
    done, damaged = plan.folder.done(plan.batches)
    for batch in damaged:
        console.say(f"note: {plan.folder.parts.part(batch)} is damaged; its answers are made again")
    return done


def _answer(plan: ResponsesPlan, model: nn.Module, missing: Sequence[int]) -> None:
    """Answer these batches, one a rank at a time, and keep each."""
    options, questions = plan.options, plan.questions
    eos = plan.tokenizer.eos_token_id
    context = precision_of(options.precision, plan.loader.device).forward_context
    total = len(questions.records) * options.samples
    left = sum(len(plan.batches[batch]) for batch in missing)
    ranks = world_size()
    with console.progress("Answering", total, total - left) as advance:
        for first in range(0, len(missing), ranks):
            at_once = missing[first : first + ranks]
            numbers = [number for batch in at_once for number in plan.batches[batch]]
            responses = iter(
                generate(
                    model,
                    [questions.prompt(number).tokens for number in numbers],
                    max_new_tokens=options.max_new_tokens,
                    max_tokens_per_batch=options.max_tokens_per_batch,
                    eos_ids=() if eos is None else (eos,),
                    context=context,
                    sampling=_sampling(options, [questions.name(number) for number in numbers]),
                    batches=_places([len(plan.batches[batch]) for batch in at_once]),
                )
            )
            for batch in at_once:
                answers = [_answer_of(next(responses), plan.tokenizer) for _ in plan.batches[batch]]
                if is_first():
                    plan.folder.write_part(batch, plan.batches[batch], answers)
            language = questions.records[numbers[-1] // options.samples].language
            advance(len(numbers), note=language)


def _sampling(options: ResponsesOptions, names: Sequence[str]) -> Sampling | None:
    """None: the likeliest tokens."""
    return None if options.temperature == 0 else Sampling(options.seed, names, options.temperature, options.top_p)


def _places(sizes: Sequence[int]) -> list[list[int]]:
    """Consecutive numbers from 0, in groups of these sizes."""
    numbers = iter(range(sum(sizes)))
    return [[next(numbers) for _ in range(size)] for size in sizes]


def _answer_of(response: Response, tokenizer: Any) -> Answer:
    tokens = response.tokens.tolist()
    return Answer(str(tokenizer.decode(tokens, skip_special_tokens=True)), len(tokens), response.ended)


def _table(questions: Sequence[Question]) -> str:
    return table_csv([Tally.of(questions[0].language, questions)])


def _with_answers(plan: ResponsesPlan, advance: Callable[[], None]) -> Iterator[Question]:
    """The questions with the answers that are kept in parts; one language's answers are held at a time."""
    questions = plan.questions
    answers: dict[int, Answer] = {}
    batches = iter(enumerate(plan.batches))
    for place, record in enumerate(questions.records):
        numbers = range(place * questions.samples, (place + 1) * questions.samples)
        while not all(number in answers for number in numbers):
            batch, held = next(batches)
            answers.update(zip(held, plan.folder.read_part(batch, held), strict=True))
        own = [answers.pop(number) for number in numbers]
        yield Question(record.id, record.language, record.cluster, record.prompt, record.answer, own)
        advance()
