"""A model's answers to questions, several to each: planned, drawn batch by batch on all ranks, kept and told."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab import console
from alignlab.config import to_plain, to_yaml
from alignlab.data.encoding import check_padding, check_vocabulary
from alignlab.environment import environment
from alignlab.errors import Problem, refuse_any
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import from_first, is_first, join, local_rank, wait_for_all, world_size
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.models.precision import precision_of
from alignlab.preparation.answers import Answer, Question, Tally
from alignlab.preparation.options import ResponsesOptions
from alignlab.preparation.questions import Questions, batches_fingerprint, load_questions
from alignlab.preparation.responses_folder import ResponsesFolder, Start
from alignlab.recording.generation import Response, check_positions, generate, generator_of
from alignlab.recording.sampling import Sampling
from alignlab.redaction import hide_all
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

_NAMES = ("folder", "model.source")
_HEADER = ("language", "questions", "answers", "right", "tokens", "cut", "distinct")


@dataclass
class Plan:
    """What will be asked of which model, each part made once, when it is first asked for. No weights are loaded."""

    options: ResponsesOptions

    @cached_property
    def folder(self) -> ResponsesFolder:
        return ResponsesFolder(Path(self.options.folder).expanduser())

    @cached_property
    def loader(self) -> ModelLoader:
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        return ModelLoader(ModelConfig.of(self.options.model), False, self.options.precision, device)

    @cached_property
    def base(self) -> ModelConfig:
        """The model without its adapter."""
        return self.loader.below(self.options.model.source)

    @cached_property
    def tokenizer(self) -> Any:
        return self.base.build_tokenizer()

    @cached_property
    def questions(self) -> Questions:
        return load_questions(self.options, self.tokenizer)

    @cached_property
    def batches(self) -> list[list[int]]:
        """The numbers of the answers of each batch."""
        padded = self.options.precision != "64-true" and next(self._outline.parameters()).dtype != torch.float64
        return self.questions.batches(self.options.max_new_tokens, self.options.max_tokens_per_batch, padded=padded)

    @cached_property
    def _outline(self) -> nn.Module:
        return self.base.build_meta()

    @property
    def document(self) -> str:
        """The config as YAML, without secrets; whether it was a dry run is no part of it."""
        return to_yaml(self.options.model_copy(update={"dry_run": False}), hide_all)

    def check(self) -> None:
        """Refuse what cannot be answered, before any weight is loaded. Raises `InputError`."""
        options = self.options
        problems = []
        if options.temperature == 0 and options.samples > 1:
            found, fix = f"0, and samples is {options.samples}", "Set samples=1, or a temperature over 0."
            problems.append(Problem("temperature", found, "one answer: the likeliest is always the same", fix))
        refuse_any(problems)
        prompts = self.questions.prompts
        check_vocabulary(prompts, embedding_rows(self._outline))
        check_padding(self.tokenizer.pad_token_id, embedding_rows(self._outline))
        generator_of(self._outline, "model.source", "")
        longest = max(map(len, prompts))
        fix = "Set a smaller max_new_tokens or max_prompt_tokens."
        check_positions(self._outline, longest, options.max_new_tokens, "max_new_tokens", fix)

    def made_from(self) -> dict[str, Any]:
        """Fingerprints of questions, weights and batches, beside versions and the machine."""
        hidden: dict[str, Any] = hide_all(
            {
                **environment(),
                "questions_fingerprint": self.questions.fingerprint,
                "model_fingerprint": self.loader.digest(self.options.model.source),
                "batches_fingerprint": batches_fingerprint(self.batches),
            }
        )
        return hidden

    def show(self, start: Start) -> None:
        """Print it."""
        options, questions = self.options, self.questions
        answers = len(questions.records) * options.samples
        tokens = [len(prompt) for prompt in questions.prompts]
        how = "the likeliest" if options.temperature == 0 else f"drawn at temperature {options.temperature:g}"
        how += f", top_p {options.top_p:g}" if options.top_p < 1 else ""
        rows = [
            ("model", f"{options.model.source}; {options.precision} on {self.loader.device}"),
            (
                "questions",
                f"{len(tokens):,} in {' '.join(questions.languages)}, of {min(tokens)} to {max(tokens)} tokens",
            ),
        ]
        if left_out := [f"{number:,} in {code}" for code, number in questions.left_out.items() if number]:
            rows.append(("left out", f"longer than {options.max_prompt_tokens} tokens: {', '.join(left_out)}"))
        if without := sum(not record.answer for record in questions.records):
            rows.append(("no answer", f"{without:,} questions, of which nobody can tell what is right"))
        most = answers * options.max_new_tokens
        rows.append(("answers", f"{answers:,}: {options.samples} to each, {how}; at most {most:,} tokens"))
        done = 0
        if start == "continue":
            done = sum(self.folder.part(batch).is_file() for batch in range(len(self.batches)))
        going_on = f", {done:,} of them done" if done else ""
        rows.append(("batches", f"{len(self.batches):,}{going_on}; ranks {world_size()}"))
        rows.append(("folder", str(self.folder.path)))
        console.heading("Plan of the responses")
        console.table(rows)


def run(options: ResponsesOptions) -> None:
    """Plan, answer, keep, and say what was written."""
    check_settings(to_plain(options), _NAMES)
    join()
    plan = Plan(options)
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
            _show(plan)


def _decide(plan: Plan, held: ExitStack) -> Start:
    folder = plan.folder
    check_writable(folder.path, "folder")
    folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
    if not plan.options.dry_run:
        held.enter_context(folder.locked())
    return folder.start(plan.document)


def _answer_all(plan: Plan, start: Start) -> None:
    """Answer what is not answered yet; rank zero writes."""
    folder = plan.folder
    made_from = from_first(plan.made_from)

    def look() -> list[int]:
        if start == "new":
            folder.begin(plan.document, made_from)
            return []
        folder.check_continued(made_from)
        done, damaged = folder.done(plan.batches)
        for batch in damaged:
            console.say(f"note: {folder.part(batch)} is damaged; its answers are made again")
        return done

    done = set(from_first(look))
    missing = [batch for batch in range(len(plan.batches)) if batch not in done]
    if missing:
        _answer(plan, missing)
    wait_for_all()
    if is_first():
        folder.finish(_with_answers(plan), lambda questions: table_csv([Tally.of(questions[0].language, questions)]))


def _answer(plan: Plan, missing: Sequence[int]) -> None:
    """Answer these batches, one a rank at a time, and keep each."""
    options, questions = plan.options, plan.questions
    model = plan.loader.load(options.model.source)
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


def _with_answers(plan: Plan) -> Iterator[Question]:
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


def table_csv(tallies: Sequence[Tally]) -> str:
    """A line for each language; columns are the fields of `Tally`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Tally)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(tally) for tally in tallies)
    return text.getvalue()


def _show(plan: Plan) -> None:
    """Print the table and what was written."""
    folder = plan.folder
    with folder.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    console.say()
    console.heading("Answers")
    console.table([_cells(row) for row in rows], _HEADER, "lrrrrrr")
    console.say(
        "right: share of answers whose last number is that of the source; - where it has none. tokens: mean of "
        "an answer. cut: share that no EOS ended. distinct: share but those that repeat another to the same question."
    )
    console.say()
    console.heading("Written")
    console.table([("answers", f"{folder.responses} (a line a question)"), ("table", str(folder.table))])
    console.say(f"\nNext: python -m alignlab.prepare preferences responses={folder.path}")


def _cells(row: dict[str, str]) -> list[str]:
    number = {name: int(value) for name, value in row.items() if name != "language"}
    right = f"{number['right'] / number['judged']:.1%}" if number["judged"] else "-"
    shares = [f"{number[name] / number['answers']:.1%}" for name in ("cut", "distinct")]
    mean = f"{number['tokens'] / number['answers']:.1f}"
    return [row["language"], f"{number['questions']:,}", f"{number['answers']:,}", right, mean, *shares]
