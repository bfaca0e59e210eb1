"""Records of attribution and relevance: by shard, stopped, on two ranks, of planted neurons, and what they cost."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.neurons.identifiers import AttributionConfig, RelevanceConfig
from alignlab.neurons.importance import Importance, Wanted
from alignlab.recording import by_gradient
from alignlab.recording.by_gradient import Attribution, Relevance
from alignlab.recording.importance import MEASURES, record_importance
from alignlab.recording.pieces import make_batch
from alignlab.recording.probes import Probe

from ..scripts_as_modules import script_as_module
from . import planted
from .test_by_gradient import slow
from .test_tallies import SHARDS, make_probe
from .test_two_ranks_tally import run_two

SCRIPT = Path(__file__).with_name("one_of_two_ranks_by_gradient.py")
RELEVANCE, ATTRIBUTION = Wanted("relevance", ("mlp.act",)), Wanted("attribution", ("mlp.act",))
CONTROL = Wanted("attribution", ("mlp.act",), {"probability": "token", "control": True})


def test_documents_are_added_up_by_shard(tiny_llama: Any, tmp_path: Path) -> None:
    model, probe = tiny_llama.double(), make_probe(300)
    for wanted, name in ((RELEVANCE, "relevance"), (ATTRIBUTION, "token")):
        expected = slow(name, model, [layer.mlp.act_fn for layer in model.model.layers], probe)
        record = record_importance(model, wanted, probe, tmp_path / name)
        assert record.measure == wanted.measure
        total = record.total("mlp.act", "en")
        for shard in range(SHARDS):
            of_shard = expected[shard::SHARDS].sum(dim=0)
            assert torch.allclose(total[shard], of_shard, rtol=1e-8, atol=1e-12 * float(expected.abs().max()))
        assert total.any()


def test_a_recording_that_was_killed_goes_on_to_the_same_bytes(
    tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, passed = make_probe(300, budget=30), []
    whole = record_importance(tiny_llama, ATTRIBUTION, probe, tmp_path / "whole")

    def of(self: Attribution, batch: Any, context: Any) -> dict[str, Tensor]:
        passed.append(batch.language)
        if passed.count("sw") == 2 and len(passed) < 20 and not (tmp_path / "stopped").is_file():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        return by_gradient.GradientMeasure.of(self, batch, context)

    monkeypatch.setattr(Attribution, "of", of)
    with pytest.raises(KeyboardInterrupt):
        record_importance(tiny_llama, ATTRIBUTION, probe, tmp_path / "killed")
    with pytest.raises(InputError):
        Importance.load(tmp_path / "killed")
    passed.clear()
    again = record_importance(tiny_llama, ATTRIBUTION, probe, tmp_path / "killed")
    assert set(passed) == {"sw"}  # the first language is not read again
    for language in probe.languages:
        assert again.files[language].read_bytes() == whole.files[language].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("budget", [60, 10_000])  # some batches; one a language, so that a rank has none
def test_two_ranks_record_as_one(budget: int, model_folder: Path, tmp_path: Path) -> None:
    assert run_two(SCRIPT, model_folder, tmp_path, str(budget)) == [0, 0]
    script = script_as_module(SCRIPT)
    script.record(model_folder, tmp_path / "alone", budget)
    for wanted in script.WANTED:
        two, one = (Importance.load(folder / wanted.measure) for folder in (tmp_path, tmp_path / "alone"))
        for language in ("en", "de"):
            assert torch.equal(two.documents(language), one.documents(language))
            for site in wanted.sites:
                expected = one.total(site, language)
                assert expected.any()
                scale = float(expected.abs().max())
                assert torch.allclose(two.total(site, language), expected, rtol=1e-9, atol=1e-12 * scale)


# The truth is planted


def first(result: Any) -> dict[str, list[list[int]]]:
    return {name: mask.nonzero().tolist() for name, mask in result.sets.items()}


@pytest.mark.parametrize("elsewhere", ["less", "none", "any"])
def test_the_neuron_that_a_language_needs_is_first(tiny_llama: Any, tmp_path: Path, elsewhere: Any) -> None:
    model, probe = planted.plant(tiny_llama), planted.probe()
    one = 1 / (2 * 48)
    expected = {language: [[1, neuron]] for language, neuron in planted.NEURONS.items()}
    needed = record_importance(model, RELEVANCE, probe, tmp_path / "relevance")
    assert first(RelevanceConfig(top_rate=one, elsewhere=elsewhere).identify(needed)) == expected
    scored = record_importance(model, ATTRIBUTION, probe, tmp_path / "attribution")
    for least_z in (None, 0.5):
        assert first(AttributionConfig(top_rate=one, least_z=least_z).identify(scored)) == expected
    # What fires for a language as its own neuron does, and gives nothing, is in no set of any size.
    batch = make_batch(probe, "en", [0], torch.device("cpu"))
    seen: list[Tensor] = []
    with model.model.layers[1].mlp.act_fn.register_forward_hook(lambda _m, _i, out: seen.append(out)):
        model(input_ids=batch.input_ids)
    assert float(seen[0][0, -2, planted.DECOY].detach()) > 1
    for result in (RelevanceConfig(top_rate=1.0).identify(needed), AttributionConfig(top_rate=1.0).identify(scored)):
        assert not any(mask[1, planted.DECOY] for mask in result.sets.values())


def test_removing_the_planted_neuron_costs_its_language_and_the_first_order_tells_which(tiny_llama: Any) -> None:
    model, probe = planted.plant(tiny_llama), planted.probe()

    def nats(language: str) -> float:
        total = 0.0
        for document in probe.documents[language]:
            ids = torch.from_numpy(document.tokens).long()
            with torch.no_grad():
                total -= float(model(input_ids=ids[None]).logits[0, -2].log_softmax(dim=-1)[ids[-1]])
        return total

    before = {language: nats(language) for language in probe.languages}
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[:, planted.NEURONS["en"]] = 0
    assert nats("en") > before["en"] + 3
    assert nats("sw") < before["sw"] + 0.1


# A control set


def test_a_control_set_is_subtracted_exactly_and_its_negative_scores_count_as_0(
    tiny_llama: Any, tmp_path: Path
) -> None:
    model = tiny_llama.double()
    probe, other = make_probe(300), make_probe(300, documents=5, budget=30)
    record = record_importance(model, ATTRIBUTION, probe, tmp_path / "probe")
    control = record_importance(model, CONTROL, other, tmp_path / "control")
    modules = [layer.mlp.act_fn for layer in model.model.layers]
    identifier = AttributionConfig(top_rate=0.3, least_z=None)

    def mean(name: str, of: Probe) -> Tensor:  # documents without an answer are left out
        scores = slow(name, model, modules, of)
        said = [bool(of.counted(document).any()) for document in of.documents["en"]]
        return scores[torch.tensor(said)].mean(dim=0)

    plain = identifier.identify(record)
    assert torch.allclose(plain.scores["attribution en"], mean("token", probe), rtol=1e-8, atol=1e-16)
    less = identifier.identify(with_control(record, control))
    expected = mean("token", probe) - mean("control", other)
    assert torch.allclose(less.scores["attribution en"], expected, rtol=1e-6, atol=1e-16)
    assert (expected < 0).any()
    assert not torch.equal(less.sets["en"], plain.sets["en"])
    # Of the same text nothing is left over 0, and the reason says so.
    itself = record_importance(model, CONTROL, probe, tmp_path / "itself")
    none = identifier.identify(with_control(record, itself))
    assert not none.selected.any()
    assert "en 0, sw 0" in none.reason


def with_control(record: Importance, control: Importance) -> Importance:
    changed = copy.copy(record)
    object.__setattr__(changed, "control", control)
    return changed


# What it costs, and what is refused


def test_operations_and_memory_are_those_that_torch_counts() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=340, hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.device("meta"):
        outline = Relevance(LlamaForCausalLM(config).eval(), RELEVANCE)
    probe = make_probe(300, "response", documents=6, budget=10_000)
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    measure = Relevance(model, RELEVANCE)
    for number in range(6):
        document, counted = probe.documents["en"][number], int(probe.counted(probe.documents["en"][number])[1:].sum())
        with FlopCounterMode(display=False) as counter:
            measure.of(make_batch(probe, "en", [number], torch.device("cpu")), nullcontext)
        # Torch goes back to the activations of the first layer, and not to what that layer read: q, k, v, o, gate and
        # up, and twice the two products of attention.
        tokens, maps = len(document), 32 * (32 + 16 + 16 + 32 + 48 + 48)
        spared = 2 * maps * tokens + 2 * 2 * 2 * 32 * tokens**2
        assert outline.flops([(tokens, counted)]) == counter.get_total_flops() + spared
    batch = make_batch(probe, "en", range(6), torch.device("cpu"))
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        measure.of(batch, nullcontext)
    real = sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in weights)
    real += batch.counted.numel() * 4 * 6 * 48  # the gradients at the site, of each layer
    told = outline.memory(*batch.counted.shape, int(batch.counted[:, 1:].sum()))
    assert told == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("relevance", ()), "one or more"),
        (Wanted("relevance", ("mlp.act",), {"probability": "token"}), "options.probability"),
        (Wanted("attribution", ("mlp.act",), {"sign": 1}), "options.sign"),
        (Wanted("attribution", ("mlp.act",), {"probability": "chance"}), "chance"),
        (Wanted("attribution", ("mlp.nothing",)), "mlp.nothing"),
    ],
)
def test_what_is_not_there_is_refused(tiny_llama: Any, wanted: Wanted, words: str) -> None:
    with pytest.raises(InputError, match=words):
        MEASURES[wanted.measure](tiny_llama, wanted)


def test_weights_that_pass_no_gradient_on_are_refused_by_name(tiny_llama: Any) -> None:
    tiny_llama.config.quantization_config = {"quant_method": "mxfp4"}
    with pytest.raises(UnsupportedModelError, match="weights quantised by mxfp4"):
        Relevance(tiny_llama, RELEVANCE)
    tiny_llama.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    measure = Relevance(tiny_llama, RELEVANCE)
    # Such as a kernel that torch cannot look into.
    gate = tiny_llama.model.layers[1].mlp.gate_proj
    gate.register_forward_hook(lambda _m, _i, out: out.detach())
    batch = make_batch(make_probe(300), "en", [0, 1, 2], torch.device("cpu"))
    with pytest.raises(UnsupportedModelError, match=r"mlp\.act without a gradient"):
        measure.of(batch, nullcontext)
