"""What is trained: closed forms for the number of adapter weights, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from alignlab.errors import InputError
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import Lora, TrainableOptions
from alignlab.methods.trainable import make_trainable


def trained(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_mistral_7b_with_rank_64_on_q_v_o_trains_as_many_weights_as_published() -> None:
    with torch.device("meta"):
        config = transformers.MistralConfig()
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        prepared = make_trainable(model, TrainableOptions(lora=Lora(rank=64, targets=["q_proj", "v_proj", "o_proj"])))
    rank, width, values, layers = 64, 4096, 1024, 32
    by_hand = layers * rank * ((width + width) + (width + values) + (width + width))
    assert trained(prepared) == by_hand == 44_040_192


def test_all_linear_takes_every_linear_map_but_the_head(tiny_llama: Any) -> None:
    maps = [m for n, m in tiny_llama.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    by_hand = sum(4 * (m.in_features + m.out_features) for m in maps)
    assert trained(make_trainable(tiny_llama, TrainableOptions(lora=Lora(rank=4, targets=["all-linear"])))) == by_hand


def test_full_trains_every_weight(tiny_llama: Any) -> None:
    for parameter in tiny_llama.parameters():
        parameter.requires_grad_(False)
    model = make_trainable(tiny_llama, TrainableOptions(trainable="full"))
    assert model is tiny_llama
    assert trained(model) == sum(parameter.numel() for parameter in tiny_llama.parameters())


def test_targets_that_the_model_has_not_are_refused_together(tiny_llama: Any) -> None:
    with pytest.raises(InputError) as refusal:
        make_trainable(tiny_llama, TrainableOptions(lora=Lora(targets=["q_prj", "v_proj", "c_attn"])))
    first, second = str(refusal.value).splitlines()
    assert first.startswith(
        "method.lora.targets: the model has no module 'q_prj'; expected some of: all-linear, attention, mlp, all, "
    )
    assert first.endswith("Did you mean 'q_proj'?")
    assert "'c_attn'" in second


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "constant_with_warmup"])
def test_the_schedule_rises_for_the_warm_up_and_then_falls_as_asked(tiny_llama: Any, schedule: Any) -> None:
    built = OptimizerConfig(lr=1.0, schedule=schedule, warmup=0.2).build(tiny_llama, 50)
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(50):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    if schedule != "constant":
        assert rates[:10] == pytest.approx([step / 10 for step in range(10)])
    expected = {
        "cosine": [0.5 * (1 + torch.tensor(torch.pi * k / 40).cos().item()) for k in range(40)],
        "linear": [1 - k / 40 for k in range(40)],
        "constant": [1.0] * 40,
        "constant_with_warmup": [1.0] * 40,
    }[schedule]
    assert rates[10:] == pytest.approx(expected, abs=1e-6)


def test_only_matrices_decay(tiny_llama: Any) -> None:
    optimizer = OptimizerConfig(weight_decay=0.5).build(tiny_llama, 10)["optimizer"]
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decays[id(p)] for p in tiny_llama.parameters() if p.ndim >= 2} == {0.5}
    assert {decays[id(p)] for p in tiny_llama.parameters() if p.ndim < 2} == {0.0}
    assert len(decays) == len(list(tiny_llama.parameters()))
