"""The record of mean activations, against a loop over single texts; its statistics against sorted lists; its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.manifest import verify
from alignlab.models.sites import SiteName, find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.probes import Probe

from .test_tallies import make_probe


def slow(model: Any, probe: Probe, at: SiteName) -> dict[str, list[list[list[float]]]]:
    """By language, document and layer: the mean of each neuron over the counted tokens, one text at a time."""
    seen: list[Tensor] = []
    handles = []
    for layer in model.model.layers:
        module = {"mlp.act": layer.mlp.act_fn, "attention.k": layer.self_attn.k_proj, "residual": layer}[at]
        handles.append(module.register_forward_hook(lambda _m, _i, out: seen.append(out)))

    def means(document: Document) -> list[list[float]]:
        seen.clear()
        with torch.no_grad():
            model(input_ids=torch.from_numpy(document.tokens).long()[None])
        counted = [t for t in range(len(document)) if not document.special[t] and document.answer[t]]
        return [
            [
                sum(column[t] for t in counted) / len(counted) if counted else math.nan
                for column in out[0].double().T.tolist()
            ]
            for out in seen
        ]

    found = {language: [means(one) for one in documents] for language, documents in probe.documents.items()}
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("at", ["mlp.act", "attention.k", "residual"])
def test_every_number_is_that_of_a_loop_over_texts(tiny_llama: Any, tmp_path: Path, at: SiteName) -> None:
    model, probe = tiny_llama.double(), make_probe(300)
    means = record_means(model, find_sites(model, at), probe, tmp_path / "means", origin=Origin("tiny", step=3))
    expected = {language: torch.tensor(values) for language, values in slow(model, probe, at).items()}
    assert (means.site, means.scope, means.model, means.step) == (at, "response", "tiny", 3)
    assert means.shape == tuple(expected["en"].shape[1:])
    silent = 0
    for language in ("en", "sw"):
        for layer in range(2):
            found = means.layer(layer, language)
            assert found.dtype == torch.float64
            assert torch.allclose(found, expected[language][:, layer].double(), rtol=1e-5, equal_nan=True)
        silent += int(found.isnan().any(dim=1).sum())
        said = [values for values in expected[language].tolist() if not math.isnan(values[0][0])]
        weights = [n for n in means.tokens[language].tolist() if n]
        for layer, neuron in ((0, 3), (1, 7)):
            column = sorted(one[layer][neuron] for one in said)
            mean = sum(n * one[layer][neuron] for n, one in zip(weights, said, strict=True)) / sum(weights)
            assert float(means.mean(language)[layer, neuron]) == pytest.approx(mean, rel=1e-5)
            asked = {"maximum": column[-1], "median": column[(len(column) - 1) // 2]}
            for by, value in asked.items():
                assert float(means.over_documents(language, by)[layer, neuron]) == pytest.approx(value, rel=1e-5)  # type: ignore[arg-type]
            for percentile in (0, 12.5, 30, 90, 100):
                value = column[math.floor((len(column) - 1) * percentile / 100)]
                at_it = means.over_documents(language, "percentile", percentile, layers=[layer])
                assert float(at_it[layer, neuron]) == pytest.approx(value, rel=1e-5)
                assert at_it[1 - layer].isnan().all()
    assert silent > 0


def test_means_over_tokens_are_those_of_moments(tiny_llama: Any, tmp_path: Path) -> None:
    sites, probe = find_sites(tiny_llama), make_probe(300, "all")
    means = record_means(tiny_llama, sites, probe, tmp_path / "means")
    counts = count_firings(tiny_llama, sites, probe, origin=Origin(), statistics=("moments",))
    assert counts.activation_sum is not None
    assert means.layer(0, "en").dtype == torch.float32
    for row, language in enumerate(counts.languages):
        assert int(means.tokens[language].sum()) == int(counts.tokens[row].sum())
        over_tokens = counts.activation_sum[row] / counts.tokens[row].sum()
        assert torch.allclose(means.mean(language), over_tokens, rtol=1e-4, atol=1e-7)


def test_it_comes_back_from_its_folder_as_it_was(tiny_llama: Any, tmp_path: Path) -> None:
    probe, origin = make_probe(300), Origin("tiny", "r1", 4, ("sw",), "en")
    made = record_means(tiny_llama, find_sites(tiny_llama), probe, tmp_path / "means", origin=origin)
    found = ActivationMeans.load(tmp_path / "means")
    for name in ("languages", "shape", "site", "scope", "model", "revision", "step", "trained_languages"):
        assert getattr(found, name) == getattr(made, name)
    assert found.data_fingerprint == probe.fingerprint
    assert found.documents["sw"] == tuple((one.id, one.cluster) for one in probe.documents["sw"])
    assert sorted(path.name for path in (tmp_path / "means").iterdir()) == [
        "layer-000.safetensors", "layer-001.safetensors", "manifest.json",
    ]  # fmt: skip
    assert verify(tmp_path / "means") == []
    assert repr(found) == (
        "<ActivationMeans: 2 x 48 neurons at mlp.act, tiny\n documents (response) of 2 languages: en 11, sw 11>"
    )


def test_a_record_replaces_one_and_nothing_else(tiny_llama: Any, tmp_path: Path) -> None:
    sites, probe = find_sites(tiny_llama), make_probe(300)
    record_means(tiny_llama, sites, probe, tmp_path / "means")
    tiny_llama.model.layers[0].mlp.gate_proj.weight.data *= 2
    old = ActivationMeans.load(tmp_path / "means").layer(0, "en")
    assert not torch.equal(record_means(tiny_llama, sites, probe, tmp_path / "means").layer(0, "en"), old)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="it holds something else"):
        record_means(tiny_llama, sites, probe, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_nothing_is_left_where_recording_fails(tiny_llama: Any, tmp_path: Path) -> None:
    tiny_llama.model.layers[1].mlp.gate_proj.weight.data[:] = torch.inf
    with pytest.raises(InputError, match="diverged"):
        record_means(tiny_llama, find_sites(tiny_llama), make_probe(300), tmp_path / "means", origin=Origin("tiny"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_torn_damaged_or_another_record_is_refused(tiny_llama: Any, tmp_path: Path) -> None:
    sites, probe = find_sites(tiny_llama), make_probe(300)
    means = record_means(tiny_llama, sites, probe, tmp_path / "means")
    record_means(tiny_llama, sites, make_probe(300, "all"), tmp_path / "other")
    file = tmp_path / "means/layer-001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:])
    with pytest.raises(InputError, match="checksum"):
        means.layer(1, "en")
    file.write_bytes((tmp_path / "other/layer-001.safetensors").read_bytes())
    with pytest.raises(InputError, match="another layer or other texts"):
        means.layer(1, "en")
    file.unlink()
    with pytest.raises(InputError, match=r"layer-001\.safetensors is missing"):
        ActivationMeans.load(tmp_path / "means")
    for folder in ("none", "."):
        with pytest.raises(InputError, match="record of means"):
            ActivationMeans.load(tmp_path / folder)
    with pytest.raises(InputError, match="Did you mean 'sw'"):
        means.mean("sww")


def test_a_language_without_counted_tokens_has_no_mean(tiny_llama: Any, tmp_path: Path) -> None:
    probe = make_probe(300)
    none = [Document(one.id, "sw", one.tokens, one.answer & False, one.special) for one in probe.documents["sw"]]
    empty = Probe({**probe.documents, "sw": none}, "response", 3, 70)
    means = record_means(tiny_llama, find_sites(tiny_llama), empty, tmp_path / "means")
    assert means.mean("en").isfinite().all()
    for ask in (lambda: means.mean("sw"), lambda: means.over_documents("sw", "median")):
        with pytest.raises(InputError, match="no counted token in sw"):
            ask()
