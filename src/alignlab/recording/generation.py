"""What a model answers to prompts: greedily or drawn, in batches, by the model's own `generate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, LogitsProcessorList

from alignlab.data.batching import side_by_side, token_budget_batches
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.distributed import over_ranks
from alignlab.models.modes import evaluating
from alignlab.models.sharding import dealt, is_sharded
from alignlab.recording.sampling import Draws, Sampling, uniform


@dataclass(frozen=True)
class Response:
    """What a model answered.

    tokens: (R,) int32 token ids, the EOS included.
    ended: the last of them is an EOS; where none came, the response has as many tokens as were allowed.
    """

    tokens: npt.NDArray[np.int32]
    ended: bool


def generate(
    model: nn.Module,
    prompts: Sequence[npt.NDArray[np.int32]],
    *,
    max_new_tokens: int,
    max_tokens_per_batch: int,
    eos_ids: Sequence[int] = (),
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda prompts: None,
    sampling: Sampling | None = None,
    batches: Sequence[Sequence[int]] | None = None,
    around: Callable[[Sequence[int], int], AbstractContextManager[object]] = lambda prompts, length: nullcontext(),
) -> list[Response]:
    """The responses to prompts, each of one token or more; a collective call where there are several ranks.

    The likeliest token each time, or the one that `sampling` draws, whatever sampling or penalties the model's
    generation config asks for, until one of its EOS tokens. Batches are of similar length and dealt to the ranks; every
    rank gets all responses. Modes, gradients, random numbers and the generation config are left as they were.

    max_tokens_per_batch: padding and new tokens included.  eos_ids: EOS tokens beside those of the model.
    context: entered around each batch, such as an autocast.  advance: told the prompts of each batch done.
    batches: the prompts of each batch, by number, where they are not to be those of `prompt_batches`.
    around: entered around each batch too, told its prompts and how many tokens these have with their padding.
    """
    if batches is None:
        padded = next(model.parameters()).dtype != torch.float64
        lengths = [len(prompt) for prompt in prompts]
        batches = prompt_batches(lengths, max_new_tokens, max_tokens_per_batch, padded=padded)
    stops = sorted({*eos_ids, *_stops_of(generator_of(model))})
    device = next(model.parameters()).device
    # Ids plus one, so that what the ranks have done adds up: 0 is where there is no token.
    written = torch.zeros((len(prompts), max_new_tokens), dtype=torch.int64, device=device)
    with _greedy(model, max_new_tokens, stops) as config, evaluating(model), torch.no_grad():
        for numbers, counts in dealt(batches, collective=is_sharded(model)):
            chosen = [prompts[number] for number in numbers]
            # Padded on the left, so that all end together.
            input_ids = side_by_side(chosen, padding_side="left").long()
            mask = side_by_side([np.ones_like(prompt) for prompt in chosen], padding_side="left").long()
            drawing = LogitsProcessorList()
            if sampling is not None:
                drawn = [uniform(sampling.seed, sampling.names[number], max_new_tokens) for number in numbers]
                drawing.append(Draws(torch.tensor(np.stack(drawn), device=device), input_ids.shape[1], sampling))
            with context(), around(numbers, input_ids.shape[1]):
                # Of a sharded model it goes on until all ranks have ended, which transformers sees by itself.
                output = model.generate(  # type: ignore[operator]
                    input_ids=input_ids.to(device),
                    attention_mask=mask.to(device),
                    generation_config=config,
                    logits_processor=drawing,
                )
            if not counts:
                continue
            new = output[:, input_ids.shape[1] :]
            written[torch.tensor(list(numbers), device=device), : new.shape[1]] = new + 1
            advance(len(numbers))
    return [_response(row, set(stops)) for row in (over_ranks(written).cpu() - 1).numpy().astype(np.int32)]


def check_positions(model: nn.Module, longest: int, new: int, where: str, fix: str) -> None:
    """Refuse a model of fewer positions than the longest prompt and the new tokens take. Raises `InputError`.

    Works on models on the meta device.
    where, fix: the config key that says how many are new, and what to do.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator, union-attr]
    if positions is not None and longest + new > positions:
        if not new:
            found = f"a text of {longest} tokens for a model of {positions} positions"
            raise InputError.of(where, found, f"{positions} at most", fix)
        found = f"a prompt of {longest} tokens and {new} new ones for a model of {positions} positions"
        raise InputError.of(where, found, f"{positions} together at most", fix)


def generator_of(model: nn.Module, where: str = "probe.responses", fix: str = "Set probe.responses=reference.") -> Any:
    """The model of transformers that generates, inside of its PEFT wrapper if it has one.

    Raises `UnsupportedModelError` for a model that cannot generate, about the key `where`.
    """
    for module in model.modules():
        if isinstance(module, GenerationMixin):
            return module
    raise UnsupportedModelError.of(
        where, f"{type(model).__name__} cannot generate", "a causal language model (AutoModelForCausalLM)", fix
    )


def _stops_of(generator: Any) -> list[int]:
    stops = generator.generation_config.eos_token_id
    return [stops] if isinstance(stops, int) else stops or []


@contextmanager
def _greedy(model: nn.Module, max_new_tokens: int, stops: list[int]) -> Iterator[GenerationConfig]:
    """A generation config of nothing but greed, which is the model's own within the block.

    `generate` takes from the model's config whatever the one that it is given leaves open: a penalty for repetition,
    for instance, which many models ship, and which is no answer of the model's own.
    """
    generator = generator_of(model)
    own = generator.generation_config
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=stops or None,
        pad_token_id=stops[0] if stops else 0,  # behind the end of a response, where nobody looks
        use_cache=True,
        disable_compile=True,
    )
    generator.generation_config = config
    try:
        yield config
    finally:
        generator.generation_config = own


def prompt_batches(
    lengths: Sequence[int], max_new_tokens: int, max_tokens: int, *, padded: bool = True
) -> list[list[int]]:
    """Prompts by number, in batches of similar length, which with their new tokens have at most `max_tokens`.

    lengths: tokens of each prompt.
    padded: whether a batch may hold prompts of several lengths. In double precision it may not: transformers' eager
        attention makes -inf of the lowest number, with which it masks, so that what stands for padding becomes NaN, and
        with it the whole row.
    """
    groups: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        groups.setdefault(0 if padded else length, []).append(number)
    return [
        [group[index] for index in batch]
        for group in groups.values()
        for batch in token_budget_batches([lengths[number] + max_new_tokens for number in group], max_tokens)
    ]


def _response(row: npt.NDArray[np.int32], stops: set[int]) -> Response:
    """A response from its row of ids, in which -1 or padding follows the end."""
    ends = np.flatnonzero(np.isin(row, list(stops)))
    if len(ends):
        return Response(row[: ends[0] + 1], ended=True)
    return Response(row[row >= 0], ended=False)
