"""What is drawn against the probabilities of a plain forward, and the same draws whatever stands beside them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import transformers

from alignlab.recording.generation import Response, generate
from alignlab.recording.sampling import Sampling, draw, uniform

from .test_generation import make_prompts

TEMPERATURE = 0.7


def named(count: int, **options: Any) -> Sampling:
    return Sampling(
        **{"seed": 3, "names": [f"answer {number}" for number in range(count)], "temperature": 1.0, **options}
    )


def sample(model: Any, prompts: Any, sampling: Sampling, new: int = 8, budget: int = 100_000) -> list[list[int]]:
    found = generate(model, prompts, max_new_tokens=new, max_tokens_per_batch=budget, sampling=sampling)
    return [response.tokens.tolist() for response in found]


def expected(model: Any, tokens: list[int], temperature: float, top_p: float = 1.0) -> list[float]:
    """The probability of each next token: of the smallest set of likeliest tokens that reach `top_p`."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].double() / temperature
    whole = torch.softmax(logits, -1).tolist()
    kept, total = [], 0.0
    for token in sorted(range(len(whole)), key=lambda token: -whole[token]):
        kept.append(token)
        total += whole[token]
        if total >= top_p:
            break
    return [whole[token] / total if token in kept else 0.0 for token in range(len(whole))]


def p_value(tokens: list[int], probabilities: list[float]) -> float:
    """Of Pearson's chi-square, in which rare tokens are one cell; 0 where a token was drawn that cannot be."""
    counts = Counter(tokens)
    if any(probabilities[token] == 0 for token in counts):
        return 0.0
    cells = [(counts[token], p * len(tokens)) for token, p in enumerate(probabilities) if p * len(tokens) >= 5]
    rest = len(tokens) - sum(count for count, _ in cells), len(tokens) - sum(mean for _, mean in cells)
    cells += [rest] if rest[1] >= 5 else []
    assert len(cells) > 5
    observed, means = np.array(cells).T
    # What is left over, under 5, is no cell: the means are brought to the same sum.
    return float(scipy.stats.chisquare(observed, means * observed.sum() / means.sum()).pvalue)


def test_a_grid_of_numbers_hits_each_token_as_often_as_it_is_likely() -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 2
    grid = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    hits = torch.bincount(draw(logits.expand(len(grid), -1), grid), minlength=50)
    # A token of share p holds M p points of the grid, rounded up or down at either end.
    assert (hits - len(grid) * logits[0].double().softmax(-1)).abs().max() <= 1


def test_what_is_impossible_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1)
    assert draw(logits, torch.tensor([0.0, 0.5, 1 - 2.0**-52], dtype=torch.float64)).tolist() == [1, 3, 3]


def test_the_numbers_are_uniform_and_independent() -> None:
    numbers = np.stack([uniform(5, f"name {name}", 40) for name in range(500)])
    assert scipy.stats.kstest(numbers.ravel(), "uniform").pvalue > 0.01
    for lag in (numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:]):
        assert scipy.stats.pearsonr(lag[0].ravel(), lag[1].ravel()).pvalue > 0.01
    assert len(np.unique(numbers)) == numbers.size
    assert (uniform(5, "name 7", 3) == numbers[7, :3]).all()  # however many are asked for
    assert (uniform(6, "name 7", 40) != numbers[7]).all()


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_tokens_are_drawn_as_often_as_the_model_finds_them_likely(tiny_llama: Any, top_p: float) -> None:
    model, (prompt,) = tiny_llama, make_prompts(count=1)
    sampling = named(3000, temperature=TEMPERATURE, top_p=top_p)
    answers = sample(model, [prompt] * 3000, sampling, new=2)
    first = expected(model, prompt.tolist(), TEMPERATURE, top_p)
    assert p_value([answer[0] for answer in answers], first) > 0.01
    ((token, count),) = Counter(answer[0] for answer in answers if len(answer) > 1).most_common(1)
    assert count > 200
    second = expected(model, [*prompt.tolist(), token], TEMPERATURE, top_p)
    assert p_value([answer[1] for answer in answers if answer[0] == token and len(answer) > 1], second) > 0.01


def test_the_wrong_temperature_would_be_noticed(tiny_llama: Any) -> None:
    (prompt,) = make_prompts(count=1)
    answers = sample(tiny_llama, [prompt] * 3000, named(3000, temperature=TEMPERATURE), new=1)
    for temperature, top_p in ((0.8, 1.0), (TEMPERATURE, 0.9)):
        other = expected(tiny_llama, prompt.tolist(), temperature, top_p)
        assert p_value([answer[0] for answer in answers], other) < 1e-4


def test_a_draw_is_the_same_beside_any_other(tiny_llama: Any) -> None:
    model, prompts = tiny_llama.double(), make_prompts(count=12) * 2
    sampling = named(len(prompts))
    whole = sample(model, prompts, sampling)
    assert len({tuple(answer) for answer in whole}) > 18
    assert sample(model, prompts, sampling, budget=1) == whole
    order = np.random.default_rng(1).permutation(len(prompts)).tolist()
    mixed = Sampling(3, [sampling.names[number] for number in order], 1.0)
    shuffled = sample(model, [prompts[number] for number in order], mixed, budget=90)
    assert shuffled == [whole[number] for number in order]
    alone = Sampling(3, [sampling.names[5]], 1.0)
    assert sample(model, [prompts[5]], alone) == [whole[5]]
    assert sample(model, prompts, named(len(prompts), seed=4)) != whole


def test_nothing_but_the_seed_decides(tiny_llama: Any) -> None:
    prompts = make_prompts(count=4)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = sample(tiny_llama, prompts, named(4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert sample(tiny_llama, prompts, named(4)) == one


def test_towards_zero_the_likeliest_token_is_drawn(tiny_llama: Any) -> None:
    prompts = make_prompts()
    found = sample(tiny_llama, prompts, named(len(prompts), temperature=1e-4))
    config = transformers.GenerationConfig(do_sample=False, max_new_tokens=8, pad_token_id=2, eos_token_id=1)
    for prompt, answer in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt.tolist()])
        greedy = tiny_llama.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        assert answer == greedy[0, len(prompt) :].tolist()


def test_given_batches_are_those_that_are_answered(tiny_llama: Any) -> None:
    prompts, sizes = make_prompts(count=5), []
    found = generate(
        tiny_llama, prompts, max_new_tokens=4, max_tokens_per_batch=1, batches=[[4, 0], [2]], advance=sizes.append
    )
    assert sizes == [2, 1]
    assert [bool(len(one.tokens)) for one in found] == [True, False, True, False, True]
    assert isinstance(found[0], Response)
