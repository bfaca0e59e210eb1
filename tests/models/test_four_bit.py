"""4-bit bases: refused in one message where they cannot be; what is asked of bitsandbytes where they can."""

from __future__ import annotations

import copy
import importlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.methods.options import Lora, TrainableOptions
from alignlab.methods.trainable import make_trainable
from alignlab.models import load
from alignlab.models.load import ModelConfig
from alignlab.reporting import estimates


def test_without_bitsandbytes_or_a_gpu_it_is_refused_before_anything_is_loaded(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    config = ModelConfig(source=str(model_folder), four_bit=True)
    with pytest.raises(InputError) as refusal:
        config.build()
    (said,) = refusal.value.problems
    assert said.found == "true, but bitsandbytes and accelerate not installed and there is no GPU"
    monkeypatch.setattr(load, "find_spec", lambda name: name)
    with pytest.raises(
        InputError, match=r"^model\.four_bit: true, but there is no GPU; expected bitsandbytes and a GPU\."
    ):
        config.check()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config.check()
    assert not ModelConfig(source=str(model_folder)).four_bit_problems()


@pytest.fixture
def bitsandbytes() -> Any:
    """The library, which a user's machine may be without, and CI may not."""
    if os.environ.get("CI") == "true":
        return importlib.import_module("bitsandbytes")
    return pytest.importorskip("bitsandbytes")


def test_adapters_on_a_base_in_4_bits_learn_and_leave_it_as_it_is(
    bitsandbytes: Any, model_folder: Path, tiny_llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the processor, where bitsandbytes computes too, only slowly."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(ModelConfig, "four_bit_problems", lambda self: [])
    monkeypatch.setattr(load, "local_rank", lambda: "cpu")
    ids = torch.arange(40).reshape(2, 20)
    base = ModelConfig(source=str(model_folder), four_bit=True).build()
    base.train()  # in evaluation mode bitsandbytes packs weights anew for the processor, and cannot train them then
    weight = base.get_submodule("model.layers.0.mlp.gate_proj").weight
    assert weight.numel() == 32 * 48 // 2  # two weights a byte
    for name, linear in base.named_modules():  # what it is to compute with, in a plain model
        if hasattr(getattr(linear, "weight", None), "quant_state"):
            packed, plain = linear.weight, tiny_llama.get_submodule(name)
            rounded = bitsandbytes.functional.dequantize_4bit(packed.data, packed.quant_state).float()
            plain.weight.data = rounded
    exact = tiny_llama(input_ids=ids).logits.flatten()
    near = base(input_ids=ids).logits.flatten().float()
    assert torch.corrcoef(torch.stack([exact, near]))[0, 1].item() > 0.99
    before = copy.deepcopy(weight.data)
    model = make_trainable(base, TrainableOptions(lora=Lora(rank=4, targets=["all"])))
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 4 * (2 * 64 + 2 * 48 + 3 * 80)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(10):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(weight.data, before)


def test_the_plan_reckons_with_the_bytes_that_bitsandbytes_keeps(bitsandbytes: Any) -> None:
    functional = bitsandbytes.functional
    packed, state = functional.quantize_4bit(torch.randn(1024, 2048), quant_type="nf4", compress_statistics=True)
    kept = [packed, state.absmax, state.state2.absmax]
    assert sum(part.numel() * part.element_size() for part in kept) == 1024 * 2048 * estimates._NF4_BYTES
