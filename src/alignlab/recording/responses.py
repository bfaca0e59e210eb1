"""The responses on which neurons are counted: those of the data, or the model's own.

A `PromptProbe` holds prompts. The model answers them greedily, and the very tokens that it gave are
then teacher-forced in the counting pass, as if they were the reference: text that is tokenised again can have others.
With `generated_once` the responses of step 0 are kept for all snapshots, in `responses.jsonl`; with `regenerated` the
model answers anew at each, and its responses lie beside the snapshot, in `step-*.responses.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from alignlab import console
from alignlab.data.encoding import Document, special_token_ids
from alignlab.errors import InputError
from alignlab.recording.generation import Response, check_positions, generate, generator_of
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses_file import read_responses, write_responses
from alignlab.recording.writing import refusing
from alignlab.runs import step_name


@dataclass(frozen=True)
class Answers:
    """Where the responses of a model to a probe are kept.

    step: of the snapshot that they are for.  main: whether this rank writes them.
    """

    folder: Path
    step: int = 0
    main: bool = True


def respond(
    probe: Probe | PromptProbe,
    model: nn.Module,
    *,
    folder: Path,
    step: int,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    main: bool = True,
) -> Probe:
    """The probe to be counted at a step, with all its responses, the same on every rank; a collective call.

    folder: where the responses are kept; the main rank (`main`) writes them.
    context: entered around each batch, such as an autocast.
    Raises `InputError` where kept responses are damaged or those of another probe, or new ones cannot be written.
    """
    if isinstance(probe, Probe):
        return probe
    path = responses_path(folder, probe, step)
    if probe.responses == "generated_once" and (step > 0 or path.is_file()):
        return recall(probe, folder, step)
    prompts, eos = _prompts(probe), probe.tokenizer.eos_token_id
    with console.progress(f"Answering the probe at step {step}", len(prompts)) as advance:
        responses = generate(
            model,
            [prompt.tokens for prompt in prompts],
            max_new_tokens=probe.max_new_tokens,
            max_tokens_per_batch=probe.max_tokens_per_batch,
            # With it fine-tuning ends answers; a base model's generation config may name another.
            eos_ids=() if eos is None else (eos,),
            context=context,
            advance=advance,
        )
    if main:
        with refusing(folder, f"the responses of step {step}"):
            write_responses(path, prompts, responses, probe)
    return with_responses(probe, responses)


def recall(probe: Probe | PromptProbe, folder: Path, step: int) -> Probe:
    """The probe as it was counted at a step, with the responses that were written then.

    Raises `InputError` where they are missing, damaged or those of another probe.
    """
    if isinstance(probe, Probe):
        return probe
    path = responses_path(folder, probe, step)
    return with_responses(probe, read_responses(path, _prompts(probe), probe))


def responses_path(folder: Path, probe: PromptProbe, step: int) -> Path:
    """Where the responses counted at a step are kept."""
    once = probe.responses == "generated_once"
    return folder / ("responses.jsonl" if once else f"{step_name(step)}.responses.jsonl")


def with_responses(probe: PromptProbe, responses: Sequence[Response]) -> Probe:
    """The probe with the responses behind its prompts, in their order, as answers.

    Raises `InputError` where that leaves no token to count. One language may be without: a model that is trained on
    others can fall silent in it.
    """
    special = np.array(sorted(special_token_ids(probe.tokenizer)), dtype=np.int32)
    given = iter(responses)
    documents = {
        language: [_answered(prompt, next(given), special) for prompt in prompts]
        for language, prompts in probe.documents.items()
    }
    answered = probe.answered(documents)
    if not any(answered.tokens(language).any() for language in answered.languages):
        raise InputError.of(
            f"probe (responses {probe.responses})",
            "the model answers nothing: all its responses are an EOS",
            "a token to count",
            "Set probe.scope=all, or look at the prompts: do they leave off where an answer follows?",
        )
    return answered


def check_can_answer(probe: Probe | PromptProbe, model: nn.Module) -> None:
    """Refuse a model that cannot answer the probe: one that cannot generate, or has too few positions.

    Works on models on the meta device. Raises `InputError`.
    """
    if isinstance(probe, Probe):
        return
    generator_of(model)  # refuses one that cannot generate
    longest = max(len(prompt) for prompt in _prompts(probe))
    fix = "Set a smaller probe.max_new_tokens or probe.max_length."
    check_positions(model, longest, probe.max_new_tokens, "probe.max_new_tokens", fix)


def _prompts(probe: PromptProbe) -> list[Document]:
    return [prompt for prompts in probe.documents.values() for prompt in prompts]


def _answered(prompt: Document, response: Response, special: npt.NDArray[np.int32]) -> Document:
    is_special = np.isin(response.tokens, special)
    is_special[-1] |= response.ended  # also an EOS that only the model's generation config knows
    return replace(
        prompt,
        tokens=np.concatenate([prompt.tokens, response.tokens]),
        answer=np.concatenate([prompt.answer, np.ones(len(response.tokens), dtype=bool)]),
        special=np.concatenate([prompt.special, is_special]),
    )
