"""Edits of neurons, against loops written out, weights that are zeroed, and every row alone in its batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import DoublePrecision
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from alignlab.errors import InputError
from alignlab.models import edits
from alignlab.models.access import observe
from alignlab.models.edits import NeuronEdit, edited
from alignlab.models.sites import Site, SiteName, find_sites

from .conftest import DENSE_SITES

IDS = torch.randint(3, 60, (4, 7), generator=torch.Generator().manual_seed(1))
HALTED = pytest.raises(RuntimeError, match="halt")


def an_edit(at: SiteName = "mlp.act", seed: int = 0, scope: Any = "all", gain: float | None = None) -> NeuronEdit:
    """Five of the first 16 neurons of layers 0 and 1."""
    random = torch.Generator().manual_seed(seed)
    places = torch.randperm(32, generator=random)[:5]
    scale = torch.randn(5, generator=random) if gain is None else torch.full((5,), gain)
    return NeuronEdit(places // 16, places % 16, scale, torch.randn(5, generator=random), at, scope)


def logits_of(model: nn.Module, ids: Tensor = IDS) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits


def shown(model: nn.Module, at: SiteName, sites: list[Site] | None = None) -> list[Tensor]:
    seen: dict[int, Tensor] = {}
    with observe(sites or find_sites(model, at), lambda layer, given: seen.__setitem__(layer, given.detach().clone())):
        logits_of(model)
    return [seen[layer] for layer in sorted(seen)]


@pytest.mark.parametrize("at", DENSE_SITES)
def test_an_activation_becomes_gain_times_it_plus_offset(tiny_llama: LlamaForCausalLM, at: SiteName) -> None:
    one = an_edit(at)
    expected = [layer.clone() for layer in shown(tiny_llama, at)]
    with edited(tiny_llama, [(one,)]):
        found = shown(tiny_llama, at)
    first = int(one.layers.min())  # those behind it read other inputs
    for layer, neuron, gain, offset in zip(*(x.tolist() for x in (one.layers, one.neurons, one.gain, one.offset)),
                                           strict=True):  # fmt: skip
        if layer == first:
            expected[layer][..., neuron] = gain * expected[layer][..., neuron] + offset
    assert torch.allclose(found[first], expected[first], atol=1e-6)
    assert not torch.equal(logits_of(tiny_llama), found[first])
    for layer in range(first):
        assert torch.equal(found[layer], expected[layer])


def test_zero_is_the_model_with_those_columns_of_the_down_projection_zeroed(tiny_llama: LlamaForCausalLM) -> None:
    one = an_edit(gain=0.0)
    zero = NeuronEdit(one.layers, one.neurons, one.gain, torch.zeros(5))
    other = copy.deepcopy(tiny_llama)
    for layer, neuron in zip(one.layers.tolist(), one.neurons.tolist(), strict=True):
        other.model.layers[layer].mlp.down_proj.weight.data[:, neuron] = 0
    with edited(tiny_llama, [(zero,)]):
        assert torch.equal(logits_of(tiny_llama), logits_of(other))


def test_in_double_precision_within_the_context_of_its_forwards(tiny_llama: LlamaForCausalLM) -> None:
    """That context makes double the default type of new tensors; an edit holds float32 all the same."""
    one = an_edit()
    double = tiny_llama.double()
    with edited(double, [(one,)]):
        outside = logits_of(double)
    with DoublePrecision().forward_context(), edited(double, [(one,)]):
        assert torch.equal(logits_of(double), outside)


def test_each_row_has_its_own_arm_whatever_the_others_have(tiny_llama: LlamaForCausalLM) -> None:
    arms = [(), (an_edit(seed=1),), (an_edit("attention.q", 2), an_edit(seed=3)), (an_edit("residual", 4),)]
    plain = logits_of(tiny_llama)
    for rows in ([0, 1, 2, 3], [3, 3, 0, 2], [0, 2, 0, 0]):
        with edited(tiny_llama, arms, torch.tensor(rows)):
            together = logits_of(tiny_llama)
        for row, arm in enumerate(rows):
            with edited(tiny_llama, [arms[arm]]):
                alone = logits_of(tiny_llama)  # the same batch, so that nothing is rounded otherwise
            assert torch.equal(together[row], alone[row])
        assert all(torch.equal(together[row], plain[row]) == (arm == 0) for row, arm in enumerate(rows))


def test_edits_of_an_arm_come_one_after_another(tiny_llama: LlamaForCausalLM) -> None:
    double = NeuronEdit(torch.tensor([1]), torch.tensor([3]), torch.tensor([2.0]), torch.tensor([0.0]))
    add = NeuronEdit(torch.tensor([1]), torch.tensor([3]), torch.tensor([1.0]), torch.tensor([0.5]))
    plain = shown(tiny_llama, "mlp.act")[1][..., 3]
    for arm, expected in (((double, add), 2 * plain + 0.5), ((add, double), 2 * (plain + 0.5))):
        with edited(tiny_llama, [arm]):
            assert torch.allclose(shown(tiny_llama, "mlp.act")[1][..., 3], expected)


def test_a_scope_leaves_the_other_tokens_as_they_are(tiny_llama: LlamaForCausalLM) -> None:
    lengths = torch.tensor([2, 3, 5, 7])
    before = torch.arange(7) < lengths.unsqueeze(1)
    plain, sites = shown(tiny_llama, "mlp.act")[0], find_sites(tiny_llama)
    for scope, where in (("prompt", before), ("generated", ~before)):
        one = NeuronEdit(torch.zeros(16, dtype=torch.int64), torch.arange(16), torch.zeros(16), torch.full((16,), 9.0),
                         scope=scope)  # fmt: skip
        with edited(tiny_llama, [(one,)], prompt=lengths):
            found = shown(tiny_llama, "mlp.act", sites)[0]
        assert (found[..., :16][where] == 9).all()
        assert torch.equal(found[~where], plain[~where])
        assert torch.equal(found[..., 16:], plain[..., 16:])


def test_generate_with_a_cache_is_as_without_one_row_by_row(tiny_llama: LlamaForCausalLM) -> None:
    arms = [(), (an_edit(seed=1, scope="generated"),), (an_edit(seed=2, scope="prompt"),)]
    rows, ids = torch.tensor([0, 1, 2, 1]), IDS.clone()
    with edited(tiny_llama, arms, rows, prompt=ids.shape[1]), torch.no_grad():
        given = tiny_llama.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None
        )
        for _ in range(6):
            best = tiny_llama(input_ids=ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, best], dim=1)
    assert torch.equal(given, ids)


def test_a_model_that_has_been_compiled_is_edited_all_the_same(tiny_llama: LlamaForCausalLM) -> None:
    """What was compiled before the hooks came would pass over them."""
    one, other = an_edit(), copy.deepcopy(tiny_llama)
    with edited(other, [(one,)]):
        expected, plain = logits_of(other), logits_of(tiny_llama)
    tiny_llama.compile(backend="eager")
    assert torch.equal(logits_of(tiny_llama), plain)
    with edited(tiny_llama, [(one,)]):
        assert torch.equal(logits_of(tiny_llama), expected)
    assert torch.equal(logits_of(tiny_llama), plain)


def test_the_length_of_the_prompts_may_be_told_at_every_forward(tiny_llama: LlamaForCausalLM) -> None:
    one, lengths = an_edit(scope="generated"), [2, 5]
    expected = []
    for length in lengths:
        with edited(tiny_llama, [(one,)], prompt=length):
            expected.append(logits_of(tiny_llama))
    now: list[int] = []
    with edited(tiny_llama, [(one,)], prompt=lambda: now[-1]):
        for length, logits in zip(lengths, expected, strict=True):
            now.append(length)
            assert torch.equal(logits_of(tiny_llama), logits)
    assert not torch.equal(*expected)


def test_an_infinite_activation_is_replaced_too(tiny_llama: LlamaForCausalLM) -> None:
    other = copy.deepcopy(tiny_llama)
    other.model.layers[0].mlp.gate_proj.weight.data[3] = torch.inf
    one = NeuronEdit(torch.tensor([0]), torch.tensor([3]), torch.tensor([0.0]), torch.tensor([0.25]))
    with edited(other, [(one,)]):
        assert (shown(other, "mlp.act")[0][..., 3] == 0.25).all()


def test_the_model_is_as_it_was_whatever_happens(tiny_llama: LlamaForCausalLM) -> None:
    plain, hooks = logits_of(tiny_llama), sum(len(m._forward_hooks) for m in tiny_llama.modules())

    def halt(_module: nn.Module, _inputs: object, _output: object) -> None:
        raise RuntimeError("halt")

    with edited(tiny_llama, [(an_edit(),)]), tiny_llama.model.norm.register_forward_hook(halt), HALTED:
        logits_of(tiny_llama)
    with edited(tiny_llama, [(an_edit(),)]):
        assert not torch.equal(logits_of(tiny_llama), plain)
    assert torch.equal(logits_of(tiny_llama), plain)
    assert sum(len(m._forward_hooks) for m in tiny_llama.modules()) == hooks


def test_what_does_not_fit_is_refused_all_at_once(tiny_llama: LlamaForCausalLM) -> None:
    far = NeuronEdit(torch.tensor([7]), torch.tensor([99]), torch.ones(1), torch.ones(1), scope="prompt")
    with pytest.raises(InputError) as refused, edited(tiny_llama, [(far,), ()], torch.tensor([0, 2])):
        pass
    text = str(refused.value)
    assert all(part in text for part in ("rows", "0 to 2", "layer 7 and neuron 99", "scope prompt"))
    with pytest.raises(InputError, match="a neuron twice"):
        NeuronEdit(torch.tensor([1, 1]), torch.tensor([2, 2]), torch.ones(2), torch.ones(2))
    with pytest.raises(InputError, match=r"finite numbers"):
        NeuronEdit(torch.tensor([1]), torch.tensor([2]), torch.tensor([float("nan")]), torch.ones(1))
    with (
        pytest.raises(ValueError, match="4 rows, and arms for 2"),
        edited(tiny_llama, [(an_edit(),)], torch.zeros(2).long()),
    ):
        logits_of(tiny_llama)


def test_what_was_laid_out_serves_other_batches_of_the_same_arms(
    tiny_llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [(an_edit(seed=1), an_edit("mlp.up", 2)), (), (an_edit(seed=3, scope="generated"),)]
    batches = [(torch.tensor([0, 1, 2, 0]), 3), (torch.tensor([2, 2]), torch.tensor([1, 5])), (torch.tensor([1, 0]), 2)]
    expected = []
    for rows, prompt in batches:
        with edited(tiny_llama, arms, rows, prompt=prompt):
            expected.append(logits_of(tiny_llama, IDS[: len(rows)]))
    calls, laid_out = [], edits._tables
    monkeypatch.setattr(edits, "_tables", lambda chosen: calls.append(chosen) or laid_out(chosen))
    made: edits.Made = {}
    for (rows, prompt), logits in zip(batches, expected, strict=True):
        with edited(tiny_llama, arms, rows, prompt=prompt, made=made):
            assert torch.equal(logits_of(tiny_llama, IDS[: len(rows)]), logits)
    assert len(calls) == len(made) == 3  # of each place, site and scope once
