"""The table of all types that transformers maps: complete, as it is found again, and by a census that can fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from ..scripts_as_modules import SCRIPTS, script_as_module

CENSUS = SCRIPTS / "census"
table = script_as_module(CENSUS / "table.py")
tiny, oracle, examining = (
    cast("Any", sys.modules[name]) for name in ("tiny", "oracle", "examining")
)  # as it has imported them
PAGE = table.PAGE.read_text(encoding="utf-8")
# Unlike in structure: a gate and its half of a map, no gate, an activation known by its class, an encoder of another
# number of layers, convolutions beside the MLP, a gate behind it, a cut before it; and what is refused for a reason of
# its own (a mixture with and without an activation module, tokens before texts, no one list of layers).
UNLIKE = [
    "phi3",
    "bitnet",
    "ctrl",
    "whisper",
    pytest.param("falcon_h1", marks=pytest.mark.slow),
    pytest.param("gemma3n_text, MLP as wide as the stream", marks=pytest.mark.slow),
    "bert, both directions",
    "mixtral",
    "hy_v4",
    "xlnet",
    "blt",
]


def test_every_type_that_is_mapped_is_in_the_table() -> None:
    unknown = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(table.read(PAGE)))
    assert not unknown, "not examined yet; run python scripts/census"


def test_nothing_in_the_table_is_a_fault() -> None:
    outcomes = {outcome for outcome, _ in table.read(PAGE).values()}
    assert outcomes == {"exact", "exact at experts.act", "refused", "not built"}


@pytest.mark.parametrize("name", UNLIKE)
def test_unlike_structures_are_as_in_the_table(name: str) -> None:
    if name not in tiny.names():
        pytest.skip("transformers has no such type")
    assert table.differing([examining.examine(name)], PAGE) == []


@pytest.mark.slow
def test_all_types_are_as_in_the_table() -> None:
    done = subprocess.run([sys.executable, str(CENSUS), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_page_is_read_as_it_is_written() -> None:
    results = [
        examining.Result("a", "exact", neurons="silu(x) * y", sites=("mlp.up",)),
        examining.Result("b", "refused", "b is refused"),
        examining.Result("c", "not built", "no c"),
    ]
    page = table.written(results)
    assert "3 types and 0 variants of\nthem, 1 exact, 1 refused, 1 not built." in page
    assert table.differing(results, page) == []
    for changed in (
        replace(results[0], sites=()),
        replace(results[1], why="else"),
        replace(results[2], outcome="refused"),
    ):
        (message,) = table.differing([changed], page)
        assert message.startswith(f"{changed.model_type}: ")
    assert "not there" in table.differing([replace(results[0], model_type="d")], page)[0]


def test_settings_are_of_types_that_are_mapped() -> None:
    of_variants = {of for of, _ in tiny.VARIANTS.values()}
    assert {*tiny.OVERRIDES, *of_variants} <= set(table.read(PAGE))


def test_the_oracle_knows_the_maps_of_a_family() -> None:
    model, ids = tiny.tiny_model("llama"), torch.arange(3, 10)[None]
    with oracle.noted(model) as ran, torch.no_grad():
        model(input_ids=ids)
    found = oracle.find_neurons(model, ran)
    assert [one.first for one in found] == [f"model.layers.{layer}.mlp.gate_proj" for layer in range(4)]
    assert {(one.second.rpartition(".")[2], one.last.rpartition(".")[2], one.form) for one in found} == {
        ("up_proj", "down_proj", "silu")
    }


@pytest.mark.parametrize("form", ["gelu", "gelu_pytorch_tanh", "quick_gelu"])
def test_the_oracle_tells_forms_apart(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.VARIANTS, "other", ("llama", {"hidden_act": form}))
    result = examining.examine("other")
    assert result.neurons == f"{form.replace('pytorch_', '')}(gate_proj) * up_proj"


def examine_with(monkeypatch: pytest.MonkeyPatch, name: str, change: Any, of: str = "llama") -> Any:
    """What is said of a type where a part of alignlab gives something else."""
    before = getattr(examining, name)
    monkeypatch.setattr(examining, name, lambda *args, **kwargs: change(before(*args, **kwargs)))
    return examining.examine(of)


def test_sites_elsewhere_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(sites: list[Any]) -> list[Any]:
        up = {site.layer: site.module for site in up_sites}
        return [replace(site, module=up[site.layer]) for site in sites]

    up_sites = examining.find_sites(model := tiny.tiny_model("llama"), "mlp.up")
    monkeypatch.setattr(examining, "tiny_model", lambda _: model)
    result = examine_with(monkeypatch, "find_sites", shifted)
    assert (result.outcome, result.why) == (
        "fault",
        "model.layers.0.mlp.act_fn does not show the activations of model.layers.0.mlp.gate_proj",
    )


def test_a_missing_layer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    result = examine_with(monkeypatch, "find_sites", lambda sites: sites[1:])
    assert result.outcome == "fault"
    assert result.why.startswith("3 sites, and these have neurons")


def test_one_firing_more_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(counts: Any) -> Any:
        firings = counts.firings.clone()
        firings.flatten()[firings.flatten().argmin()] += 1
        return replace(counts, firings=firings)

    result = examine_with(monkeypatch, "count_firings", one_more)
    assert result.outcome == "fault"
    assert result.why.startswith("1 of ")


def test_one_token_more_for_an_expert_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(counts: Any) -> Any:
        routed = counts.routed.clone()
        routed.flatten()[routed.flatten().argmin()] += 1
        return replace(counts, routed=routed)

    result = examine_with(monkeypatch, "count_firings", one_more, "mixtral")
    assert (result.outcome, result.why) == ("fault", "the tokens sent to experts are miscounted")


def test_experts_whose_rows_are_another_experts_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firings of each expert as if they were the next one's; as many tokens are sent as before."""

    def rolled(counts: Any) -> Any:
        by_expert = counts.firings.unflatten(3, (counts.experts, -1)).roll(1, dims=3)
        return replace(counts, firings=by_expert.flatten(3), routed=counts.routed.roll(1, dims=3))

    result = examine_with(monkeypatch, "count_firings", rolled, "mixtral")
    assert result.outcome == "fault"
    assert "firings are miscounted" in result.why


def test_neurons_that_are_not_zeroed_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    result = examine_with(monkeypatch, "NeuronEdit", lambda edit: replace(edit, neurons=edit.neurons + 1))
    assert (result.outcome, result.why) == ("fault", "zeroing neurons is not zeroing their weights")
