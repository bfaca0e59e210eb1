"""Direct consistency optimisation against slow loops from the paper's formula, its closed forms and its optimum."""

from __future__ import annotations

import copy
import itertools
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alignlab.data.encoding import Document
from alignlab.data.examples import ParallelPair, ParallelPairs
from alignlab.methods.base import Course
from alignlab.methods.consistency import Consistency, ConsistencyModule
from alignlab.methods.losses import dco_losses
from alignlab.methods.options import Lora
from alignlab.methods.preference import answer_log_probabilities
from alignlab.methods.reference import stored_reference

from .gradients import SCRIPT, assert_same_gradients, gradients_of, run_rank

# The loss


def some_log_probabilities(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of the model and of the reference: (2 languages, chosen and rejected, 40 questions)."""
    generator = torch.Generator().manual_seed(seed)
    model, reference = -20 * torch.rand(2, 2, 2, 40, generator=generator, dtype=torch.float64)
    return model, reference


def ours(model: Tensor, reference: Tensor, **options: float) -> Tensor:
    leads, before = ((one[0, 0] - one[0, 1], one[1, 0] - one[1, 1]) for one in (model, reference))
    return dco_losses(leads, before, **options)


def test_the_loss_is_the_papers_in_double_precision() -> None:
    model, reference = some_log_probabilities()
    found = ours(model, reference, beta=0.4, gamma_1=0.7, gamma_2=0.2).tolist()
    for number in range(40):
        new, old = model[..., number].tolist(), reference[..., number].tolist()
        # The model's implicit rewards, beta * log(pi / pi_ref), and their difference in each language.
        rewards = [[0.4 * (new[language][side] - old[language][side]) for side in (0, 1)] for language in (0, 1)]
        differences = [chosen - rejected for chosen, rejected in rewards]
        targets = [0.7 * (old[1][0] - old[1][1]), 0.2 * (old[0][0] - old[0][1])]  # the other language's, by gamma
        slow = sum(abs(one - target) for one, target in zip(differences, targets, strict=True))
        assert found[number] == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_the_public_codes_one_strength_is_a_pair_of_gammas(strength: float) -> None:
    """The code that was published with the paper has one number: 1 / it pulls one language, it itself the other."""
    (first, second), (old_first, old_second) = (both for both in some_log_probabilities(1))
    gains = [(now[0] - old[0]) - (now[1] - old[1]) for now, old in ((first, old_first), (second, old_second))]
    offsets = [old[0] - old[1] for old in (old_first, old_second)]
    published = (gains[0] - offsets[1] / strength).abs() + (gains[1] - strength * offsets[0]).abs()
    found = ours(*some_log_probabilities(1), beta=1, gamma_1=1 / strength, gamma_2=strength)
    assert torch.allclose(found, published, rtol=1e-12)


def test_which_answer_is_called_chosen_changes_nothing_nor_which_language_comes_first() -> None:
    model, reference = some_log_probabilities()
    found = ours(model, reference, beta=0.4, gamma_1=0.7, gamma_2=0.2)
    other_names = ours(model.flip(1), reference.flip(1), beta=0.4, gamma_1=0.7, gamma_2=0.2)
    other_order = ours(model.flip(0), reference.flip(0), beta=0.4, gamma_1=0.2, gamma_2=0.7)
    assert torch.equal(found, other_names)
    assert torch.allclose(found, other_order, rtol=1e-14)


def test_at_the_reference_loss_and_gradient_are_known() -> None:
    _, reference = some_log_probabilities()
    model = reference.clone().requires_grad_()
    found = ours(model, reference, beta=0.4, gamma_1=0.7, gamma_2=0.2)
    leads = reference[:, 0] - reference[:, 1]
    assert torch.allclose(found, 0.7 * leads[1].abs() + 0.2 * leads[0].abs(), rtol=1e-12)
    found.sum().backward()
    up = -0.4 * leads.sign().flip(0)  # of the chosen answers: towards the other language's preference
    assert model.grad is not None
    assert torch.equal(model.grad, torch.stack([up, -up], 1))


@pytest.mark.parametrize(("beta", "gamma_1"), [(1.0, 1.0), (0.5, 0.5), (0.5, 2.0), (2.0, 0.4)])
def test_its_optimum_is_the_product_of_experts_and_consistent(beta: float, gamma_1: float) -> None:
    """Two categorical policies over seven answers, trained on all pairs of them from random references."""
    torch.manual_seed(3)
    gamma_1, gamma_2 = Consistency(beta=beta, gamma_1=gamma_1).gammas
    assert gamma_1 * gamma_2 == pytest.approx(beta**2)
    reference = torch.randn(2, 7, dtype=torch.float64).log_softmax(1)
    powers = torch.tensor([[gamma_1], [gamma_2]], dtype=torch.float64) / beta
    experts = (reference + powers * reference.flip(0)).log_softmax(1)
    one, other = torch.tensor(list(itertools.combinations(range(7), 2))).T

    def loss(policy: Tensor) -> Tensor:
        (first, second), (old_first, old_second) = (table[:, one] - table[:, other] for table in (policy, reference))
        return dco_losses((first, second), (old_first, old_second), beta=beta, gamma_1=gamma_1, gamma_2=gamma_2).sum()

    assert float(loss(experts)) == pytest.approx(0, abs=1e-12)
    assert float(loss(reference)) > 1
    logits = reference.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    for _ in range(2000):
        optimizer.zero_grad()
        loss(logits.log_softmax(1)).backward()
        optimizer.step()
        schedule.step()
    trained = logits.detach().log_softmax(1)
    assert torch.allclose(trained, experts, atol=2e-3)
    assert trained[0].argsort().tolist() == trained[1].argsort().tolist()
    assert reference[0].argsort().tolist() != reference[1].argsort().tolist()


@pytest.mark.parametrize(
    ("options", "gammas"),
    [({}, (1, 1)), ({"beta": 0.3}, (0.3, 0.3)), ({"gamma_1": 4}, (4, 0.25)), ({"gamma_1": 2, "gamma_2": 0}, (2, 0))],
)
def test_gammas_that_are_not_given_keep_their_product(options: Any, gammas: tuple[float, float]) -> None:
    assert Consistency(**options).gammas == pytest.approx(gammas)


# The module


def batch_of(pairs: list[ParallelPair]) -> dict[str, Tensor]:
    return {**ParallelPairs().collate(pairs, pad_id=2), "index": torch.arange(len(pairs))}


def log_probability(model: nn.Module, text: Document) -> Tensor:
    """Of an answer and its EOS, token by token, from the logits of the text alone."""
    tokens = torch.tensor(text.tokens).long()
    shares = model(tokens[None]).logits[0].log_softmax(-1)
    return torch.stack([shares[t - 1, tokens[t]] for t in range(1, len(tokens)) if text.answer[t]]).sum()


def slow_sums(
    model: nn.Module, reference: nn.Module, pairs: list[ParallelPair], beta: float, gamma_1: float, gamma_2: float
) -> tuple[Tensor, int]:
    """The loss summed over questions, and how many of them are consistent, one text at a time."""
    losses, consistent = [], 0
    for pair in pairs:
        now = [log_probability(model, text) for text in pair.documents]
        with torch.no_grad():
            old = [log_probability(reference, text) for text in pair.documents]
        leads, before = (now[0] - now[1], now[2] - now[3]), (old[0] - old[1], old[2] - old[3])
        first = abs(beta * (leads[0] - before[0]) - gamma_1 * before[1])
        second = abs(beta * (leads[1] - before[1]) - gamma_2 * before[0])
        losses.append(first + second)
        consistent += bool(leads[0] > 0) == bool(leads[1] > 0)
    return torch.stack(losses).sum(), consistent


def test_loss_gradients_and_consistency_are_those_of_a_slow_loop(tokenizer: Any, tiny_llama: Any) -> None:
    pairs = SCRIPT.make_parallel_pairs(tokenizer)
    assert len({len(text) for pair in pairs for text in pair.documents}) > 5
    method = Consistency(lora=Lora(rank=4, dropout=0.3, targets=["q_proj", "down_proj"]), beta=0.5, gamma_1=1.5)
    reference = copy.deepcopy(tiny_llama)
    torch.manual_seed(0)
    module = ConsistencyModule(SCRIPT.disturb(method.prepare(tiny_llama)), method, Course(1, 0)).eval()
    found = module.sums(batch_of(pairs))
    found["loss"].backward()
    gradients = gradients_of(module)
    assert gradients.keys() == {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    module.zero_grad()
    slow, consistent = slow_sums(module.model, reference, pairs, 0.5, 1.5, 0.25 / 1.5)
    slow.backward()
    assert float(found["loss"].detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    assert float(found["consistency"]) == consistent
    assert 0 < consistent < len(pairs)
    assert_same_gradients(gradients, gradients_of(module))


def test_a_stored_reference_has_each_answer_in_its_place(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignlab.methods.reference._BATCH_TOKENS", 600)  # several questions in a batch
    pairs = SCRIPT.make_parallel_pairs(tokenizer)
    course = Course(1, 0, SCRIPT.data_of(pairs, ParallelPairs()), 2, tmp_path / "reference.safetensors")
    table = stored_reference(tiny_llama, course, answer_log_probabilities, nullcontext)
    with torch.no_grad():
        slow = torch.stack([torch.stack([log_probability(tiny_llama, text) for text in p.documents]) for p in pairs])
    assert torch.allclose(table, slow, rtol=1e-4)
    module = ConsistencyModule(tiny_llama, Consistency(trainable="full"), course)
    module._stored = table
    batch = batch_of(pairs[3:7]) | {"index": torch.arange(3, 7)}
    assert torch.equal(torch.stack(module.reference(batch)), table[3:7].T)


@pytest.mark.slow
def test_two_ranks_and_three_micro_batches_give_the_gradients_of_the_whole_step(
    tokenizer: Any, tiny_llama: Any, model_folder: Path, tmp_path: Path
) -> None:
    pairs = SCRIPT.make_parallel_pairs(tokenizer)
    start = SCRIPT.disturb(copy.deepcopy(tiny_llama))
    slow, _ = slow_sums(start, tiny_llama, pairs, 0.3, 0.3, 0.3)
    (slow / len(pairs)).backward()
    for ranks, accumulation in ((1, 1), (2, 3)):
        left = run_rank(tmp_path / str(ranks), model_folder, "dco", ranks, accumulation)
        assert left["loss"] == pytest.approx(float(slow.detach()) / len(pairs), rel=1e-5)
        assert_same_gradients(left["gradients"], gradients_of(start))
    one, two = ((tmp_path / name / "reference.safetensors").read_bytes() for name in ("1", "2"))
    assert one == two
