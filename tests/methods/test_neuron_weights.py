"""Neuron-only training against full fine-tuning whose gradients and decay are masked weight by weight."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import transformers
from torch import Tensor, nn

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import encode
from alignlab.data.examples import Answers
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import UnsupportedModelError
from alignlab.methods.base import Course
from alignlab.methods.neuron_weights import NeuronWeights, train_neurons
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.supervised import SupervisedModule
from alignlab.models.sites import find_maps, find_sites

STEPS, LR, DECAY, CLIP = 10, 0.02, 0.3, 0.5
IDS = torch.arange(3, 51).reshape(2, 24)
# Of a Llama: the maps of a site's neurons, and the dimension of their weights along which these lie.
OF_LLAMA = {
    "mlp.act": {"mlp.gate_proj": 0, "mlp.up_proj": 0, "mlp.down_proj": 1},
    "mlp.product": {"mlp.gate_proj": 0, "mlp.up_proj": 0, "mlp.down_proj": 1},
    "mlp.up": {"mlp.gate_proj": 0, "mlp.up_proj": 0, "mlp.down_proj": 1},
    "mlp.out": {"mlp.down_proj": 0},
    "attention.q": {"self_attn.q_proj": 0},
    "attention.k": {"self_attn.k_proj": 0},
    "attention.v": {"self_attn.v_proj": 0},
    "attention.o": {"self_attn.o_proj": 0},
}


def some_neurons(model: Any, at: Any = "mlp.act") -> Tensor:
    """None of the first layer where there are more than two, and each third, from another one on, of the others."""
    sites = find_sites(model, at)
    mask = torch.zeros(len(sites), sites[0].width, dtype=torch.bool)
    for layer in range(len(sites)):
        mask[layer, 1 + layer :: 3] = True
    mask[0] &= len(sites) <= 2
    return mask


def only(model: Any, at: Any = "mlp.act", mask: Tensor | None = None) -> Tensor:
    """Train some neurons; which."""
    mask = some_neurons(model, at) if mask is None else mask
    train_neurons(model, find_maps(model, at), mask)
    return mask


def parts(model: nn.Module) -> list[NeuronWeights]:
    return [module for module in model.modules() if isinstance(module, NeuronWeights)]


def plain(model: nn.Module) -> dict[str, Tensor]:
    """The weights without the trained parts, in copies."""
    return {name: value.clone() for name, value in model.state_dict().items() if ".neurons." not in name}


def chosen_weights(model: nn.Module, at: str, mask: Tensor) -> dict[str, Tensor]:
    """By parameter of a Llama or Qwen2, which entries belong to the neurons: the rule, spelt out neuron by neuron."""
    masks = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in model.named_parameters()}
    for layer, neurons in enumerate(mask):
        for neuron in neurons.nonzero().flatten().tolist():
            for name, dimension in OF_LLAMA[at].items():
                prefix = f"model.layers.{layer}.{name}"
                masks[f"{prefix}.weight"].select(dimension, neuron).fill_(True)
                if dimension == 0 and f"{prefix}.bias" in masks:
                    masks[f"{prefix}.bias"][neuron] = True
    return masks


def batches(tokenizer: Any) -> MicroBatches:
    records = [Record(str(n), "de", "eins zwei drei " * (n % 4 + 1), "one two " * (n % 3 + 1)) for n in range(12)]
    docs = encode(records, tokenizer, Prompts(), max_length=256, append_eos=True, needs_answer=True).documents
    plan = StepPlan(tuple(len(d) for d in docs), 6, STEPS, seed=3)
    return MicroBatches(docs, Answers(), plan, accumulation=1, rank=0, ranks=1, pad_id=0)


def fit(model: nn.Module, data: MicroBatches) -> L.Trainer:
    """Ten steps of Lightning's trainer with clipping and AdamW's decay at a constant rate."""
    optimizer = OptimizerConfig(lr=LR, weight_decay=DECAY, schedule="constant")
    trainer = L.Trainer(
        max_steps=STEPS, max_epochs=-1, gradient_clip_val=CLIP, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", use_distributed_sampler=False,
    )  # fmt: skip
    module = SupervisedModule(model, optimizer, Course(STEPS, 0))
    trainer.fit(module, training_loader(data, first=0, workers=0, pin_memory=False))
    return trainer


def fit_slowly(model: Any, data: MicroBatches, masks: dict[str, Tensor]) -> list[float]:
    """Full fine-tuning by a loop: gradients masked before they are clipped, AdamW written out, decay masked too.

    The norms of the gradients before clipping.
    """
    model.train().requires_grad_(True)
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in model.named_parameters()}
    norms = []
    for step in range(STEPS):
        batch = data[step]
        labels = batch["input_ids"].masked_fill(~batch["answer"], -100)
        model.zero_grad()
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        gradients = {name: torch.where(masks[name], p.grad, 0.0) for name, p in model.named_parameters()}
        norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
        norms.append(float(norm))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                gradient = gradients[name] * min(1.0, CLIP / (float(norm) + 1e-6))
                first, second = moments[name]
                first.mul_(0.9).add_(gradient, alpha=0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                decay = DECAY if parameter.ndim == 2 else 0.0
                change = LR * (mean / (square.sqrt() + 1e-8) + decay * parameter)
                parameter -= torch.where(masks[name], change, 0.0)
    return norms


@pytest.mark.parametrize("at", OF_LLAMA)
def test_ten_steps_are_those_of_full_fine_tuning_with_masked_gradients_and_decay(
    tokenizer: Any, tiny_llama: Any, at: str
) -> None:
    tiny_llama.double()
    data, before, reference = batches(tokenizer), plain(tiny_llama), copy.deepcopy(tiny_llama)
    mask = only(tiny_llama, at)
    trainer = fit(tiny_llama, data)
    after = plain(tiny_llama)
    masks = chosen_weights(reference, at, mask)
    norms = fit_slowly(reference, data, masks)
    assert max(norms) > CLIP  # or clipping is not seen at work
    changed = 0
    for name, expected in reference.named_parameters():
        assert torch.equal(after[name][~masks[name]], before[name][~masks[name]]), name
        assert (after[name] != before[name])[masks[name]].all(), name
        # transformers takes the logits in float32 for its loss; AdamW divides small gradients by their own size.
        assert torch.allclose(after[name], expected, rtol=1e-3, atol=1e-4), name
        changed += int(masks[name].sum())
    # The optimiser knows the chosen weights and nothing else, with two moments for each.
    (optimizer,) = trainer.optimizers
    states = [state[moment] for state in optimizer.state.values() for moment in ("exp_avg", "exp_avg_sq")]
    assert sum(state.numel() for state in states) == 2 * changed
    assert sum(p.numel() for p in tiny_llama.parameters() if p.requires_grad) == changed
    assert changed == sum(
        int(mask[layer].sum()) * tiny_llama.get_submodule(f"model.layers.{layer}.{name}").weight.shape[1 - dimension]
        for layer in range(2)
        for name, dimension in OF_LLAMA[at].items()
    )


def first_difference(model: Any, step: Callable[[list[nn.Parameter]], None]) -> dict[str, Tensor]:
    """What one backward of a fixed loss and a step change of the weights."""
    before = plain(model)
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    step([p for p in model.parameters() if p.requires_grad])
    return {name: value - before[name] for name, value in plain(model).items()}


def descend(parameters: list[nn.Parameter]) -> None:
    torch.optim.SGD(parameters, lr=1.0).step()


def test_a_saved_model_is_a_plain_one_with_the_trained_weights(tiny_llama: Any, tmp_path: Path) -> None:
    untouched = set(tiny_llama.state_dict())
    only(tiny_llama)
    change = first_difference(tiny_llama, descend)  # no forward comes between the last step and the saving
    assert sum(int(value.any()) for value in change.values()) == 6
    tiny_llama.save_pretrained(tmp_path)
    again, loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loaded[name] for name in ("missing_keys", "unexpected_keys"))
    assert set(again.state_dict()) == untouched
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS).logits, tiny_llama(input_ids=IDS).logits)


@pytest.mark.parametrize("how", [{}, {"foreach": True}, {"fused": True}])
def test_the_model_computes_with_what_any_optimiser_has_written(tiny_llama: Any, how: dict[str, bool]) -> None:
    only(tiny_llama)
    optimizer = torch.optim.AdamW([p for p in tiny_llama.parameters() if p.requires_grad], lr=0.1, **how)
    before = tiny_llama(input_ids=IDS, labels=IDS).loss
    before.backward()
    optimizer.step()
    after = tiny_llama(input_ids=IDS, labels=IDS).loss
    assert after < before - 0.01
    for part, linear in ((module.neurons, module) for module in tiny_llama.modules() if hasattr(module, "neurons")):
        rows = linear.weight.index_select(part.dim, part.index)
        assert torch.equal(rows.t() if part.dim else rows, part.weight)


def test_weights_that_are_loaded_are_the_models_and_a_copy_is_apart(tiny_llama: Any) -> None:
    only(tiny_llama)
    other = copy.deepcopy(tiny_llama)
    start = tiny_llama(input_ids=IDS).logits
    first_difference(other, descend)
    assert torch.equal(tiny_llama(input_ids=IDS).logits, start)
    trained = {name: value for name, value in other.state_dict().items() if ".neurons." in name}
    assert len(trained) == 6
    tiny_llama.load_state_dict(trained, strict=False)
    with torch.no_grad():
        assert torch.equal(tiny_llama(input_ids=IDS).logits, other(input_ids=IDS).logits)
    assert not torch.equal(tiny_llama(input_ids=IDS).logits, start)


def test_two_forwards_before_one_backward(tiny_llama: Any) -> None:
    """As in losses of pairs: their gradient is the sum of those of one forward each."""
    only(tiny_llama.double())
    first_difference(tiny_llama, descend)  # so that the first of the next forwards has something to write
    gradients = []
    for texts in ([IDS[:1], IDS[1:]], [IDS[:1]], [IDS[1:]]):
        tiny_llama.zero_grad()
        torch.stack([tiny_llama(input_ids=ids, labels=ids).loss for ids in texts]).sum().backward()
        gradients.append([part.weight.grad.clone() for part in parts(tiny_llama)])
    for both, one, other in zip(*gradients, strict=True):
        assert torch.allclose(both, one + other, rtol=1e-10)


def test_recomputed_activations_give_the_same_gradients(tiny_llama: Any) -> None:
    only(tiny_llama)
    tiny_llama.train()
    expected = first_difference(copy.deepcopy(tiny_llama), descend)
    tiny_llama.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = first_difference(tiny_llama, descend)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_half_precision_weights_are_trained_in_single_precision(tiny_llama: Any) -> None:
    tiny_llama.to(torch.bfloat16)
    before = plain(tiny_llama)
    only(tiny_llama)
    assert {part.weight.dtype for part in parts(tiny_llama)} == {torch.float32}
    for _ in range(40):  # each far below the resolution of bfloat16
        tiny_llama(input_ids=IDS, labels=IDS).loss.backward()
        with torch.no_grad():
            for part in parts(tiny_llama):
                part.weight.mul_(1.0005)
    name = "model.layers.0.mlp.gate_proj.weight"
    ratio = plain(tiny_llama)[name][1].float() / before[name][1].float()
    assert torch.allclose(ratio, torch.tensor(1.0005**40), rtol=2**-7)
    assert ratio.mean() > 1.015


def test_under_autocast_the_gradients_are_those_of_full_fine_tuning(tiny_llama: Any) -> None:
    full = copy.deepcopy(tiny_llama)
    mask = only(tiny_llama)
    masks = chosen_weights(full, "mlp.act", mask)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [model(input_ids=IDS, labels=IDS).loss for model in (full, tiny_llama)]
    assert losses[0] == losses[1]
    for loss in losses:
        loss.backward()
    for name, module in tiny_llama.named_modules():
        if hasattr(module, "neurons"):
            whole = dict(full.named_parameters())[f"{name}.weight"].grad
            part = module.neurons
            expected = (
                whole[masks[f"{name}.weight"]].view(-1, whole.shape[1]) if part.dim == 0 else whole[:, part.index].t()
            )
            assert part.weight.grad.dtype == torch.float32
            assert torch.allclose(part.weight.grad, expected, rtol=2**-6, atol=1e-4), name


def test_on_the_meta_device_the_same_weights_are_counted(tiny_llama: Any) -> None:
    with torch.device("meta"):
        outline = transformers.AutoModelForCausalLM.from_config(tiny_llama.config, attn_implementation="eager")
        with torch.device("cpu"):
            mask = some_neurons(tiny_llama)
        train_neurons(outline, find_maps(outline, "mlp.act"), mask)
    only(tiny_llama, mask=mask)
    counts = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (outline, tiny_llama)]
    assert counts[0] == counts[1] == 3 * 32 * int(mask.sum())


def test_what_has_no_rows_of_its_own_is_refused(tiny_llama: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="residual is the sum"):
        find_maps(tiny_llama, "residual")
    maps = find_maps(tiny_llama, "mlp.act")
    quantised = nn.Parameter(torch.zeros(48, 32, dtype=torch.uint8), requires_grad=False)
    tiny_llama.model.layers[1].mlp.up_proj.weight = quantised
    with pytest.raises(
        UnsupportedModelError, match=r"model\.layers\.1\.mlp\.up_proj is a Linear; expected a linear map"
    ):
        train_neurons(tiny_llama, maps, torch.ones(2, 48, dtype=torch.bool))
