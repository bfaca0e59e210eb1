"""What is trained: closed forms for the number of adapter weights, and refusals."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from alignlab.errors import InputError
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import Lora, TrainableOptions
from alignlab.methods.trainable import make_trainable

# The linear maps of a layer as people list them for PEFT.
MAPS = {
    "llama": {
        "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "mlp": ["gate_proj", "up_proj", "down_proj"],
    },
    "gpt2": {"attention": ["attn.c_attn", "attn.c_proj"], "mlp": ["c_fc", "mlp.c_proj"]},
    "gpt_neox": {"attention": ["query_key_value", "dense"], "mlp": ["dense_h_to_4h", "dense_4h_to_h"]},
    "phi3": {"attention": ["qkv_proj", "o_proj"], "mlp": ["gate_up_proj", "down_proj"]},
    "opt": {"attention": ["q_proj", "k_proj", "v_proj", "out_proj"], "mlp": ["fc1", "fc2"]},
    "falcon": {"attention": ["query_key_value", "dense"], "mlp": ["dense_h_to_4h", "dense_4h_to_h"]},
}


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


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "phi3", "opt", "falcon"])
@pytest.mark.parametrize("role", ["attention", "mlp", "all"])
def test_targets_by_role_are_the_adapters_of_explicit_names(family: str, role: str) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60, "pad_token_id": 0}
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(family, **small))
    by_role = make_trainable(copy.deepcopy(model), TrainableOptions(lora=Lora(rank=2, targets=[role])))
    parts = ("attention", "mlp") if role == "all" else (role,)
    names = [name for part in parts for name in MAPS[family][part]]
    explicit = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=names))
    states = [peft.get_peft_model_state_dict(one) for one in (by_role, explicit)]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 2 * 2 * len(names)  # two matrices in each map of two layers


def test_roles_are_found_on_the_meta_device(tiny_llama: Any) -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(tiny_llama.config)
        prepared = make_trainable(model, TrainableOptions(lora=Lora(rank=4, targets=["mlp", "q_proj"])))
    assert trained(prepared) == 2 * 4 * (3 * (32 + 48) + (32 + 32))


@pytest.mark.parametrize(("option", "name"), [("dora", "use_dora"), ("rslora", "use_rslora")])
def test_options_of_peft_are_passed_on(tiny_llama: Any, option: str, name: str) -> None:
    """With the same adapter weights the model gives what PEFT's own gives, and not what plain LoRA gives."""
    ids = torch.arange(20).reshape(2, 10)
    settings: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
    }
    ours = make_trainable(copy.deepcopy(tiny_llama), TrainableOptions(lora=Lora(rank=4, alpha=8, **{option: True})))
    theirs = peft.get_peft_model(copy.deepcopy(tiny_llama), peft.LoraConfig(**settings, **{name: True}))
    plain = peft.get_peft_model(copy.deepcopy(tiny_llama), peft.LoraConfig(**settings))
    weights = {key: torch.randn_like(value) for key, value in peft.get_peft_model_state_dict(ours).items()}
    for model in (ours, theirs, plain):
        peft.set_peft_model_state_dict(model, weights)
    logits = [model.eval()(input_ids=ids).logits for model in (ours, theirs, plain)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=1e-3)


def test_modules_to_save_are_trained_whole_and_come_back_with_the_adapter(tiny_llama: Any, tmp_path: Path) -> None:
    base, ids = copy.deepcopy(tiny_llama), torch.arange(20).reshape(2, 10)
    model = make_trainable(tiny_llama, TrainableOptions(lora=Lora(rank=2, modules_to_save=["lm_head"])))
    adapters = 2 * 2 * ((32 + 32) + (32 + 16))
    assert trained(model) == adapters + base.lm_head.weight.numel()
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0).step()
    model.eval().save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not torch.equal(again(input_ids=ids).logits, base(input_ids=ids).logits)


def test_an_adapter_is_written_alike_by_every_process(tiny_llama: Any, tmp_path: Path) -> None:
    """Sets of texts have an order that changes from process to process; of seven one in 5,040 is sorted."""
    names = ["v_proj", "q_proj", "up_proj", "down_proj", "o_proj", "k_proj", "gate_proj"]
    make_trainable(tiny_llama, TrainableOptions(lora=Lora(rank=2, targets=names))).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == sorted(names)


def test_experts_in_one_tensor_are_refused_but_for_attention() -> None:
    config = transformers.MixtralConfig(
        vocab_size=60, hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
        with pytest.raises(InputError, match=r"^method\.lora\.targets: mlp: the experts of a layer are one tensor"):
            make_trainable(model, TrainableOptions(lora=Lora(targets=["mlp"])))
        prepared = make_trainable(model, TrainableOptions(lora=Lora(rank=1, targets=["attention"])))
    assert trained(prepared) == 2 * (2 * (32 + 32) + 2 * (32 + 16))


def test_full_trains_every_weight(tiny_llama: Any) -> None:
    for parameter in tiny_llama.parameters():
        parameter.requires_grad_(False)
    model = make_trainable(tiny_llama, TrainableOptions(trainable="full"))
    assert model is tiny_llama
    assert trained(model) == sum(parameter.numel() for parameter in tiny_llama.parameters())


def test_a_role_that_is_misspelt_and_a_module_to_save_that_is_not_there_are_refused_together(tiny_llama: Any) -> None:
    lora = Lora(targets=["atention", "mlp"], modules_to_save=["lm_haed"])
    with pytest.raises(InputError) as refusal:
        make_trainable(tiny_llama, TrainableOptions(lora=lora))
    first, second = str(refusal.value).splitlines()
    assert first.endswith("Did you mean 'attention'?")
    assert second.startswith("method.lora.modules_to_save: the model has no module 'lm_haed'")
    assert second.endswith("Did you mean 'lm_head'?")


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
