"""Exported models: the same logits as the model under its interventions, in an ordinary folder, or refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignlab.errors import InputError
from alignlab.interventions import Add, Constant, Intervention, Scale, Zero, export_model, intervene
from alignlab.manifest import verify
from alignlab.models.sites import find_sites

from ..models.conftest import Make
from .conftest import MeansOf

IDS = torch.randint(3, 60, (3, 8), generator=torch.Generator().manual_seed(1))
READ = ("mlp.act", "mlp.product")
FAMILIES = ("llama", "gemma2", "phi3", "gpt2", "opt", "falcon")


def logits_of(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return logits


def chosen(model: Any, at: Any = "mlp.act", seed: int = 0) -> Tensor:
    sites = find_sites(model, at)
    return torch.rand(len(sites), sites[0].width, generator=torch.Generator().manual_seed(seed)) < 0.3


def exported(model: Any, folder: Path, *interventions: Intervention) -> Tensor:
    """Logits of the model that is read from the folder."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export_model(model, interventions, folder) == folder
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    dtype = next(model.parameters()).dtype
    other = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    return logits_of(other)


def sites_of(model: Any) -> list[Any]:
    found = []
    for at in (
        "mlp.act",
        "mlp.product",
        "mlp.up",
        "mlp.out",
        "attention.q",
        "attention.k",
        "attention.v",
        "attention.o",
    ):
        try:
            find_sites(model, at)  # type: ignore[arg-type]
        except InputError:  # not in this family
            continue
        found.append(at)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_zeros_are_exact_and_scales_too_but_for_rounding(make: Make, tmp_path: Path, family: str) -> None:
    model: Any = make(family)
    plain, tried = logits_of(model), sites_of(model)
    for at in tried:
        off, up = (
            Intervention(chosen(model, at), at=at),
            Intervention(chosen(model, at, 1), Scale(strength=-1.7), at=at),
        )
        with intervene(model, off):
            expected = logits_of(model)
        assert torch.equal(exported(model, tmp_path / "off", off), expected), at
        assert not torch.allclose(expected, plain, atol=1e-3)
        with intervene(model, up, off):
            expected = logits_of(model)
        assert torch.allclose(exported(model, tmp_path / "both", up, off), expected, rtol=1e-3, atol=1e-3), at
    assert len(tried) >= 2


@pytest.mark.parametrize("family", ["gpt2", "opt", "qwen2"])
def test_numbers_are_added_where_the_map_has_a_bias(make: Make, means_of: MeansOf, tmp_path: Path, family: str) -> None:
    """Several at a site in their order, and at both sites that one map reads."""
    model, done = make(family), 0
    for at in sites_of(model):
        of: Any = {"at": at, "statistics": means_of(model, at), "language": "sw"}
        one, two = (
            Intervention(chosen(model, at), Add(strength=3), **of),
            Intervention(chosen(model, at, 1), Scale(strength=2), at=at),
        )
        three = Intervention(chosen(model, at, 2), Constant(value=0.4), at=at)
        for interventions in ((one, two, three), (three, two, one)):
            with intervene(model, *interventions):
                expected = logits_of(model)
            site = find_sites(model, "mlp.out" if at in READ else at)[0]
            if site.module.bias is None:
                with pytest.raises(InputError, match=r"has no bias|multiplied by the up"):
                    export_model(model, interventions, tmp_path / "none")
            else:
                found = exported(model, tmp_path / "added", *interventions)
                assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3), at
                done += 1
    assert done >= 4
    assert not (tmp_path / "none").exists()


def test_two_sites_that_one_map_reads(make: Make, tmp_path: Path) -> None:
    model = make("gpt2")
    act = Intervention(chosen(model), Constant(value=0.7))
    product = Intervention(chosen(model, "mlp.product", 1), Scale(strength=-3), at="mlp.product")
    for interventions in ((act, product), (product, act)):  # what is read later is changed later
        with intervene(model, *interventions):
            expected = logits_of(model)
        assert torch.allclose(exported(model, tmp_path / "two", *interventions), expected, rtol=1e-3, atol=1e-3)


def test_half_of_a_map_is_changed_and_the_other_stays(make: Make, tmp_path: Path) -> None:
    model: Any = make("phi3")
    one = Intervention(torch.ones(3, 40, dtype=torch.bool), Scale(strength=2), at="mlp.up", layers=[1])
    export_model(model, [one], tmp_path / "up")
    other: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "up")
    before, after = (each.model.layers[1].mlp.gate_up_proj.weight for each in (model, other))
    assert torch.equal(after[:40], before[:40])
    assert torch.equal(after[40:], 2 * before[40:])


def test_in_bfloat16(make: Make, tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "plain")  # loaded, its angles are not rounded
    model: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", dtype=torch.bfloat16, attn_implementation="eager"
    )
    off, double = Intervention(chosen(model)), Intervention(chosen(model, seed=1), Scale(strength=-2))
    with intervene(model, off, double):
        expected = logits_of(model)
    assert torch.equal(exported(model, tmp_path / "off", off, double), expected)


def test_small_changes_in_bfloat16_are_not_taken_for_other_ones(make: Make, tmp_path: Path) -> None:
    """What is left of the check in this precision is rounding, which may be more than the change."""
    make("llama").save_pretrained(tmp_path / "plain")
    model: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", dtype=torch.bfloat16, attn_implementation="eager"
    )
    factor = 1.3
    one = Intervention(chosen(model), Scale(strength=factor))
    exported(model, tmp_path / "scaled", one)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "scaled").state_dict()
    for layer, mask in enumerate(one.neurons):
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        wanted = model.state_dict()[name].double() * torch.where(mask, factor, 1.0)
        assert torch.equal(after[name], wanted.bfloat16())


def test_the_folder_is_ordinary_and_says_what_was_done(tiny_llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    one = Intervention(chosen(tiny_llama), layers=[1], name="zh - en")
    export_model(tiny_llama, [one], tmp_path / "off", tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path / "off")("Anna")["input_ids"] == tokenizer("Anna")["input_ids"]
    said = json.loads((tmp_path / "off/interventions.json").read_text())
    number = int(one.neurons.sum())
    assert said == [
        {"name": "zh - en", "operation": "zero", "language": "", "site": "mlp.act", "neurons": {"1": number}}
    ]
    assert verify(tmp_path / "off") == []
    export_model(tiny_llama, [], tmp_path / "off")  # it replaces one of its own
    assert json.loads((tmp_path / "off/interventions.json").read_text()) == []


def adapted(model: Any) -> Any:
    config = peft.LoraConfig(r=2, target_modules=["gate_proj", "v_proj"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return peft.get_peft_model(model, config).eval()


def test_what_cannot_be_in_weights_is_refused_at_once(tiny_llama: Any, means_of: MeansOf, tmp_path: Path) -> None:
    mask, before = chosen(tiny_llama), logits_of(tiny_llama)
    residual = Intervention(torch.ones(2, 32, dtype=torch.bool), at="residual")
    late = Intervention(mask, scope="generated", name="late")
    with pytest.raises(InputError) as refused:
        export_model(adapted(copy.deepcopy(tiny_llama)), [late, residual, Intervention(mask)], tmp_path / "none")
    text = str(refused.value)
    for part in ("'late'", "scope generated", "residual stream", "it has an adapter", "merge_and_unload"):
        assert part in text
    cases = [
        (Intervention(mask, Constant(value=1)), "constant 1 at mlp.act, which is multiplied"),
        (Intervention(mask, Constant(value=1), at="mlp.product"), "mlp.down_proj has no bias"),
        (Intervention(torch.ones(2, 9, dtype=torch.bool)), r"a mask of \(2, 9\)"),
    ]
    for one, said in cases:
        with pytest.raises(InputError, match=said):
            export_model(tiny_llama, [one], tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(logits_of(tiny_llama), before)


def test_a_merged_adapter_is_exported(tiny_llama: Any, tmp_path: Path) -> None:
    model = adapted(tiny_llama)
    one = Intervention(chosen(model), Zero())
    with intervene(model, one):
        expected = logits_of(model)
    found = exported(model.merge_and_unload(), tmp_path / "merged", one)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_folder_of_somebody_s_stays_and_a_full_disk_leaves_nothing(
    tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    one, before = Intervention(chosen(tiny_llama)), logits_of(tiny_llama)
    with pytest.raises(InputError, match="it holds something else"):
        export_model(tiny_llama, [one], tmp_path / "mine")

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    for place in (tmp_path / "mine/thesis.txt/x", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="the model could not be written"):
            export_model(tiny_llama, [one], place)
    monkeypatch.setattr(tiny_llama, "save_pretrained", full)
    with pytest.raises(InputError, match="No space left"):
        export_model(tiny_llama, [one], tmp_path / "off")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert torch.equal(logits_of(tiny_llama), before)


def test_weights_that_would_do_something_else_are_refused(tiny_llama: Any, tmp_path: Path) -> None:
    """As in a family that normalises between the activation and the map that reads it."""
    mlp = tiny_llama.model.layers[0].mlp
    mlp.act_fn.register_forward_hook(lambda _m, _i, out: None)
    mlp.down_proj.register_forward_pre_hook(lambda _m, inputs: (inputs[0] / inputs[0].norm(dim=-1, keepdim=True),))
    one = Intervention(chosen(tiny_llama), Scale(strength=50), layers="0")
    with pytest.raises(InputError, match="the weights do not do what the interventions do"):
        export_model(tiny_llama, [one], tmp_path / "off")
    assert list(tmp_path.iterdir()) == []
