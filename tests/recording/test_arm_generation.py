"""Answers under many arms, against the likeliest token, one at a time, of one prompt under one arm without a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import LlamaForCausalLM

from alignlab.models.edits import Arm, NeuronEdit, edited
from alignlab.parts import Parts
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.generation import Response, generate
from alignlab.recording.kept import Kept
from alignlab.recording.sampling import Sampling

NEW = 7
Found = list[list[tuple[list[int], bool]]]


def prompts() -> list[npt.NDArray[np.int32]]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 340, size=length).astype(np.int32) for length in (3, 8, 8, 5, 1)]


def change(seed: int, gain: float, scope: Any = "all") -> NeuronEdit:
    """Twenty neurons of the two layers."""
    places = torch.randperm(96, generator=torch.Generator().manual_seed(seed))[:20]
    return NeuronEdit(places // 48, places % 48, torch.full((20,), gain), torch.full((20,), 0.5), scope=scope)


ARMS: list[Arm] = [
    (),
    (change(1, 0.0),),
    (change(2, 3.0, "prompt"),),
    (change(3, -2.0, "generated"), change(4, 2.0)),
    (change(1, 0.0),),
]


def slow(model: LlamaForCausalLM, prompt: npt.NDArray[np.int32], arm: Arm) -> tuple[list[int], bool]:
    tokens, stop = list[int](), model.generation_config.eos_token_id
    while len(tokens) < NEW and not (tokens and tokens[-1] == stop):
        ids = torch.tensor([prompt.tolist() + tokens])
        with torch.no_grad(), edited(model, [arm], prompt=len(prompt)):
            tokens.append(int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax()))
    return tokens, tokens[-1] == stop


def plain(responses: list[list[Response]]) -> Found:
    return [[(one.tokens.tolist(), one.ended) for one in of_prompt] for of_prompt in responses]


def answers(model: LlamaForCausalLM, arms: list[Arm] = ARMS, **more: Any) -> Found:
    return plain(generate_under(model, prompts(), arms, **{"max_new_tokens": NEW, "max_tokens_per_batch": 90, **more}))


@pytest.mark.parametrize("budget", [1, 90, 10_000])
@pytest.mark.parametrize("double", [True, False])  # batches without padding, and with padding on the left
def test_each_answer_is_that_of_its_prompt_and_arm_alone(
    tiny_llama: LlamaForCausalLM, budget: int, double: bool
) -> None:
    model = tiny_llama.double() if double else tiny_llama
    done: list[int] = []
    found = answers(model, max_tokens_per_batch=budget, advance=lambda rows, kept=False: done.append(rows))
    expected = [[slow(model, prompt, arm) for arm in ARMS] for prompt in prompts()]
    assert found == expected
    assert sum(done) == 5 * 4  # one arm is there twice
    assert all(len({tuple(tokens) for tokens, _ in of_prompt}) >= 3 for of_prompt in found)  # arms do differ


def test_drawn_answers_are_those_that_each_arm_draws_alone(tiny_llama: LlamaForCausalLM) -> None:
    model = tiny_llama.double()
    sampling = Sampling(5, [f"prompt {number}" for number in range(5)], temperature=0.9, top_p=0.95)
    found = answers(model, sampling=sampling)
    for place, arm in enumerate(ARMS):
        for number, prompt in enumerate(prompts()):
            name = Sampling(5, [sampling.names[number]], temperature=0.9, top_p=0.95)
            with edited(model, [arm], prompt=len(prompt)):
                (alone,) = generate(model, [prompt], max_new_tokens=NEW, max_tokens_per_batch=1, sampling=name)
            assert found[number][place] == (alone.tokens.tolist(), alone.ended)
    assert found != answers(model)


@pytest.mark.parametrize("written", [0, 1, 3])
def test_stopped_and_continued_the_answers_are_the_same(
    tiny_llama: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    sampling = Sampling(5, list("abcde"), temperature=0.9)
    whole = answers(tiny_llama, sampling=sampling)
    write, numbers = Parts.write, []

    def stop(self: Parts, number: int, rows: Any) -> None:
        if len(numbers) == written:
            raise KeyboardInterrupt
        numbers.append(number)
        write(self, number, rows)

    kept = Kept(tmp_path / "parts", "weights")
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            answers(tiny_llama, sampling=sampling, kept=kept)
    forwards: list[int] = []
    hook = tiny_llama.register_forward_pre_hook(lambda _m, _a: forwards.append(1))
    assert answers(tiny_llama, sampling=sampling, kept=kept) == whole
    assert len(set(kept.folder.iterdir())) > 3
    left = len(forwards)
    sites_alone = 1  # one forward finds the sites
    assert answers(tiny_llama, sampling=sampling, kept=kept) == whole
    assert len(forwards) == left + sites_alone
    assert answers(tiny_llama, kept=kept) != whole  # greedy ones are not taken from them
    hook.remove()
