"""What can be loaded as a model, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.load import DEMO, DEMO_FOLDER, ModelConfig, embedding_rows, identity
from alignlab.models.sites import find_sites


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may spoil."""
    return Path(shutil.copytree(model_folder, tmp_path / "spoilt"))


def refusal(source: Path | str, what: str = "build", kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as refused:
        getattr(ModelConfig(source=str(source)), what)()
    (problem,) = refused.value.problems
    assert problem.where == "model.source"
    return str(problem)


# What loads


def test_a_folder_loads_with_its_weights(model_folder: Path, session_llama: LlamaForCausalLM) -> None:
    model = ModelConfig(source=str(model_folder)).build()
    assert not model.training
    weights = session_llama.state_dict()
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert embedding_rows(model) == weights["model.embed_tokens.weight"].shape[0]
    assert identity(model) == (str(model_folder), "")


def test_every_family_loads_as_it_was_saved(family: str, make: Any, tmp_path: Path) -> None:
    saved = make(family)
    saved.save_pretrained(tmp_path)
    loaded = ModelConfig(source=str(tmp_path)).build()
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_a_tokenizer_loads_as_it_was_saved(model_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    loaded = ModelConfig(source=str(model_folder)).build_tokenizer()
    text = "Anna hat 12 Äpfel 苹果\n"
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == ("<bos>", "<eos>", "<pad>")
    assert loaded.is_fast


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_weights_are_of_the_type_asked_for(model_folder: Path, dtype: Any, expected: torch.dtype) -> None:
    config = ModelConfig(source=str(model_folder), dtype=dtype)
    for model in (config.build(), config.build_meta()):
        assert {parameter.dtype for parameter in model.parameters()} == {expected}


def test_auto_takes_the_type_that_was_saved(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tiny_llama.to(torch.bfloat16).save_pretrained(tmp_path)
    config = ModelConfig(source=str(tmp_path))
    assert {parameter.dtype for parameter in config.build().parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in config.build_meta().parameters()} == {torch.bfloat16}


def test_the_meta_model_has_the_real_shapes(model_folder: Path) -> None:
    config = ModelConfig(source=str(model_folder))
    real, meta = config.build(), config.build_meta()
    assert type(meta) is type(real)
    shapes = {name: value.shape for name, value in real.state_dict().items()}
    assert {name: value.shape for name, value in meta.state_dict().items()} == shapes
    assert all(parameter.is_meta for parameter in meta.parameters())


def test_the_meta_model_runs_for_its_shapes(model_folder: Path) -> None:
    """With eager attention: the others look at the values of the mask, of which the meta device has none."""
    config = ModelConfig(source=str(model_folder), attention="sdpa")
    meta = config.build_meta()
    assert meta.config._attn_implementation == "eager"
    with torch.device("meta"):
        meta_sites = find_sites(meta)
    assert meta_sites == find_sites(config.build())


def test_the_meta_model_needs_no_weights(folder: Path) -> None:
    config = ModelConfig(source=str(folder))
    assert config.weights_at_hand()
    (folder / "model.safetensors").unlink()
    assert not config.weights_at_hand()
    assert config.build_meta().config.num_hidden_layers == 2
    assert ModelConfig(source="someone/some-model").weights_at_hand()  # fetched when needed


def test_weights_may_be_in_several_files(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tiny_llama.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    loaded = ModelConfig(source=str(tmp_path)).build()
    assert torch.equal(loaded.get_output_embeddings().weight, tiny_llama.lm_head.weight)


def test_a_path_may_begin_with_the_home_folder(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(model_folder.parent))
    assert ModelConfig(source=f"~/{model_folder.name}").build_meta().config.num_hidden_layers == 2


def test_attention_is_that_asked_for(model_folder: Path) -> None:
    model = ModelConfig(source=str(model_folder), attention="eager").build()
    assert model.config._attn_implementation == "eager"


@pytest.mark.skipif(not (DEMO_FOLDER / "config.json").is_file(), reason="the demo model is not built")
def test_the_demo_model_is_in_the_package() -> None:
    config = ModelConfig()
    assert config.source == DEMO
    meta, tokenizer = config.build_meta(), config.build_tokenizer()
    assert len(tokenizer) <= embedding_rows(meta)
    if config.weights_at_hand():
        model = config.build()
        assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in meta.parameters())


# What does not


@pytest.mark.parametrize("what", ["build", "build_meta", "build_tokenizer"])
def test_a_folder_that_is_not_there_is_refused_with_the_nearest(model_folder: Path, what: str) -> None:
    source = model_folder.parent / "tiny_lama"
    assert refusal(source, what) == (
        f"model.source: there is no folder {source}; expected a model folder. Did you mean 'tiny_llama'?"
    )
    assert (
        refusal("/nowhere/at/all", what) == "model.source: there is no folder /nowhere/at/all; expected a model folder."
    )
    assert refusal("./nowhere", what).startswith("model.source: there is no folder ./nowhere")
    assert refusal("builtin:dmo", what) == (
        "model.source: builtin:dmo; expected builtin:demo, a model folder, or a Hub id. Did you mean 'builtin:demo'?"
    )


def test_a_file_is_no_folder(model_folder: Path) -> None:
    source = model_folder / "config.json"
    assert refusal(source) == f"model.source: {source} is a file; expected a model folder, or a Hub id."


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"model.source: {tmp_path} holds no config.json; expected a model folder."


def test_an_adapter_is_refused(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    peft.get_peft_model(tiny_llama, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    message = refusal(tmp_path)
    assert message.endswith("It is a PEFT adapter: give the folder of its base model.")


class Executes:
    """What a pickle can do to whoever loads it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.proof,))


def test_pickles_are_refused_and_not_loaded(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == f"model.source: {folder} holds no model.safetensors; expected weights as safetensors."
    torch.save({"a": Executes(tmp_path / "ran")}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "holds no model.safetensors, only pytorch_model.bin; expected weights as safetensors" in message
    assert message.endswith("Pickles can execute code and are not loaded; convert them with save_pretrained.")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("what", ["build", "build_meta"])
def test_a_model_with_code_of_its_own_is_refused_and_its_code_not_run(folder: Path, tmp_path: Path, what: str) -> None:
    auto_map = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto_map}), encoding="utf-8")
    for name in ("configuration_own.py", "modeling_own.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    message = refusal(folder, what, UnsupportedModelError)
    assert "needs code of its own, which alignlab does not run; expected a model that transformers knows." in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("what", ["build", "build_meta", "build_tokenizer"])
def test_a_hub_that_cannot_be_reached_is_told(what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert refusal("someone/some-model", what) == (
        "model.source: someone/some-model is not here and the Hub cannot be reached; expected a model folder or a Hub "
        "id. Check the network, or download the model elsewhere and give its folder."
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "is not a valid JSON file"),
        ("{}", "Should have a `model_type` key"),
        ('{"model_type": "nonsense"}', "has model type `nonsense` but Transformers does not recognize"),
        ('{"model_type": "t5"}', "Unrecognized configuration class"),
    ],
)
def test_a_config_that_is_no_language_models_is_refused(folder: Path, text: str, found: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    for what in ("build", "build_meta"):
        message = refusal(folder, what)
        assert message.startswith(f"model.source: {folder} cannot be loaded (")
        assert found in message


@pytest.mark.parametrize("name", ["model-401", "offline", "gated_connection"])
def test_the_name_of_a_folder_is_not_taken_for_the_cause(folder: Path, name: str) -> None:
    renamed = folder.rename(folder.parent / name)
    (renamed / "config.json").write_text("{", encoding="utf-8")
    assert refusal(renamed).startswith(f"model.source: {renamed} cannot be loaded (")


def test_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    message = refusal(folder, "build_tokenizer")
    assert f"{folder} holds no tokenizer that can be read" in message
    assert message.endswith("A tokenizer.json has to lie beside its config.json.")


@pytest.mark.parametrize("left", [0, 5, 1000, -1])
def test_damaged_weights_are_refused(folder: Path, left: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    message = refusal(folder)
    assert message.startswith(f"model.source: the weights of {folder} are damaged (")


def test_missing_weights_are_refused_not_made_up(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    kept = {name: value for name, value in weights.items() if "layers.1.mlp" not in name and name != "lm_head.weight"}
    save_file(kept, path, metadata={"format": "pt"})
    assert refusal(folder) == (
        f"model.source: {folder} has no weights for lm_head.weight, model.layers.1.mlp.down_proj.weight, "
        "model.layers.1.mlp.gate_proj.weight and 1 more; expected all weights."
    )


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"] = weights["lm_head.weight"][:-1].clone()
    save_file(weights, path, metadata={"format": "pt"})
    assert refusal(folder) == (
        f"model.source: {folder} has other shapes for lm_head.weight; expected those of its config.json."
    )


def test_the_demo_model_is_known_by_its_name_and_not_by_where_it_lies() -> None:
    model = LlamaForCausalLM.from_pretrained(DEMO_FOLDER)
    assert identity(model) == ("builtin:demo", "")
