"""Which neurons a config names: as a run's own sets have them, and controls counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from alignlab import load_run
from alignlab.errors import InputError
from alignlab.methods.options import TrainableOptions, TrainedNeurons
from alignlab.methods.trainable import make_trainable
from alignlab.methods.trained_neurons import ChosenNeurons, control
from alignlab.neurons import ActivationCounts, NeuronSets, ternary
from alignlab.runs import RunFolder

LANGUAGES, LAYERS, WIDTH, TOKENS = ("en", "de", "zh", "sw"), 2, 48, 1000
IDENTIFIER = {"name": "ternary", "top_rate": 0.46, "bar": 0.75, "lambda_": 0.0}


def counts_of(step: int, layers: int = LAYERS, width: int = WIDTH) -> ActivationCounts:
    """Firings of which some are of one language, some of several, the rest of none or all."""
    random = torch.Generator().manual_seed(step)
    high = torch.rand(len(LANGUAGES), 1, layers, width, generator=random) < 0.15
    firings = torch.where(high, 600, 50) + torch.randint(0, 50, high.shape, generator=random)
    firings[:, :, :, :4] = 640 + torch.randint(0, 50, firings[:, :, :, :4].shape, generator=random)
    tokens = torch.full((len(LANGUAGES), 1), TOKENS)
    return ActivationCounts(LANGUAGES, firings, tokens, tokens, "mlp.act", "all", step=step)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A tracked run of steps 0 and 20, of an identifier of its own."""
    folder = tmp_path / "runs" / "mine"
    for step in (0, 20):
        counts_of(step).save(folder / f"neurons/step-{step:06d}.safetensors")
    RunFolder(folder).begin(yaml.safe_dump({"identifier": IDENTIFIER, "tracker": {"every_n_steps": 20}}))
    return folder


def chosen(folder: Path | None = None, **options: Any) -> Tensor:
    return ChosenNeurons(TrainedNeurons(run=str(folder) if folder else None, **options)).mask


@pytest.mark.parametrize("step", [0, 20])
def test_they_are_the_sets_of_the_run_at_its_thresholds(run: Path, step: int) -> None:
    stored = load_run(run)
    sets, found = stored.sets(step), stored.classification(step)
    specific, related = found.selected & (found.degree == 1), found.selected & found.degree.gt(1) & found.degree.lt(4)
    assert torch.equal(chosen(run, step=step), sets.union() & (specific | related))
    assert torch.equal(chosen(run, step=step, kinds=["specific"]), sets.union() & specific)
    both = found.owned[1] | found.owned[3]  # type: ignore[index]
    assert torch.equal(chosen(run, step=step, kinds=["related"], languages=["de", "sw"]), both & related)
    assert torch.equal(chosen(run, step=step, kinds=["general"]), found.general)
    assert all(mask.any() for mask in (specific, both & related, found.general))
    assert not torch.equal(chosen(run, step=0), chosen(run, step=20))


def test_a_run_that_was_tracked_in_a_script_is_classified_as_by_default(run: Path) -> None:
    counts = counts_of(0, width=4800)
    counts.save(run.parent / "tracked/neurons/step-000000.safetensors")
    found = ternary(counts)
    expected = found.selected & (found.degree > 0) & (found.degree < 4)
    assert expected.any()
    assert torch.equal(chosen(run.parent / "tracked"), expected)


def test_sets_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(LAYERS, WIDTH, generator=random) < 0.1 for name in "ab"}
    NeuronSets(masks, site="attention.o").save(tmp_path / "sets.safetensors")
    of_file = {"file": str(tmp_path / "sets.safetensors")}
    assert torch.equal(chosen(**of_file), masks["a"] | masks["b"])
    assert torch.equal(chosen(**of_file, languages=["b"]), masks["b"])
    assert ChosenNeurons(TrainedNeurons(**of_file)).site == "attention.o"


@pytest.mark.parametrize("kind", ["random", "matched"])
def test_controls_are_as_many_in_every_layer_in_no_set_at_all_and_repeat_by_seed(run: Path, kind: Any) -> None:
    target = chosen(run, languages=["de", "sw"])
    every = load_run(run).sets(0).union()
    draws = [chosen(run, languages=["de", "sw"], control=kind, seed=seed) for seed in (0, 0, 1)]
    for drawn in draws:
        assert drawn.sum(1).tolist() == target.sum(1).tolist()
        assert not (drawn & every).any()
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_matched_controls_are_nearer_in_probability_than_random_ones() -> None:
    """With 2,000 neurons a layer the ten nearest lie within .01; random ones do not."""
    random = torch.Generator().manual_seed(0)
    p = {name: torch.rand(2, 2000, generator=random, dtype=torch.float64) for name in "ab"}
    masks = {name: (p[name] > 0.6) & (torch.rand(2, 2000, generator=random) < 0.1) for name in "ab"}
    free = ~(masks["a"] | masks["b"])
    matched, at_random = control(masks, free, 0, p), control(masks, free, 0)
    assert matched.sum(1).tolist() == at_random.sum(1).tolist() == (masks["a"] | masks["b"]).sum(1).tolist()
    assert not ((matched | at_random) & ~free).any()
    # Of one set alone the probabilities of target and control, each in order, pair off.
    one = control({"a": masks["a"]}, free, 0, p)
    for layer in range(2):
        target = p["a"][layer][masks["a"][layer]].sort().values
        assert (p["a"][layer][one[layer]].sort().values - target).abs().max() < 0.02
        assert (p["a"][layer][at_random[layer]].mean() - target.mean()).abs() > 0.1


def test_the_fingerprint_changes_with_neurons_and_site(tmp_path: Path) -> None:
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[0, 3] = True
    digests = set()
    cases = [(mask, "mlp.act"), (mask, "mlp.out"), (mask.roll(1), "mlp.act"), (mask.view(4, 6), "mlp.act")]
    for number, (one, site) in enumerate(cases):
        NeuronSets({"a": one}, site=site).save(tmp_path / f"{number}.safetensors")
        of_file = TrainedNeurons(file=str(tmp_path / f"{number}.safetensors"))
        assert ChosenNeurons(of_file).digest() == ChosenNeurons(of_file).digest()
        digests.add(ChosenNeurons(of_file).digest())
    assert len(digests) == 4


def test_what_names_no_neurons_is_refused(run: Path, tmp_path: Path) -> None:
    empty = {name: torch.zeros(LAYERS, WIDTH, dtype=torch.bool) for name in ("de", "xx")}
    NeuronSets(empty).save(tmp_path / "empty.safetensors")
    full = {name: torch.ones(LAYERS, WIDTH, dtype=torch.bool) for name in ("de", "xx")}
    NeuronSets(full).save(tmp_path / "full.safetensors")
    NeuronSets({"de": full["de"][:, :20]}).save(tmp_path / "narrow.safetensors")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, r"^method\.neurons: neither run nor file is set; expected .* Write method\.neurons\.run="),
        ({"run": str(tmp_path / "runs/mien")}, r"^method\.neurons\.run: there is no folder .*Did you mean 'mine'\?"),
        ({"run": str(tmp_path)}, r"^method\.neurons\.run: .* holds no snapshot; expected the folder of a run"),
        ({"run": str(run), "step": 7}, r"^method\.neurons\.step: .* has no snapshot of step 7; expected one of: 0, 20"),
        ({"run": str(run), "languages": ["de", "ws"]}, r"there is no set 'ws'; expected some of: en, de, zh, sw"),
        ({"run": str(run), "languages": []}, r"^method\.neurons\.languages: none"),
        ({"run": str(run), "kinds": []}, r"^method\.neurons\.kinds: none; expected one or more"),
        ({"file": "empty.safetensors"}, r"^method\.neurons: the sets hold no neuron: .*empty\.safetensors"),
        ({"file": "none.safetensors"}, r"none\.safetensors: "),
        ({"file": "empty.safetensors", "control": "matched"}, r"^method\.neurons\.control: matched, but no run is set"),
        ({"file": "full.safetensors", "control": "random"}, r"layer 0 has 0 neurons outside every set, and 48 in it"),
        (
            {"file": "full.safetensors", "control": "matched", "run": str(run)},
            r"^method\.neurons\.run: it has not counted xx; expected the languages of the sets\. It has: en, ",
        ),
        (
            {"file": "narrow.safetensors", "control": "matched", "run": str(run)},
            r"^method\.neurons\.run: it has counted 2 x 48 neurons at mlp\.act; expected those of the sets, 2 x 20",
        ),
    ]
    for options, said in cases:
        if "file" in options:
            options["file"] = str(tmp_path / options["file"])
        with pytest.raises(InputError, match=said):
            ChosenNeurons(TrainedNeurons(**options))


def test_sets_of_another_model_are_refused(tiny_llama: Any, tmp_path: Path) -> None:
    counts_of(0, layers=3, width=4800).save(tmp_path / "neurons/step-000000.safetensors")
    options = TrainableOptions(trainable="neurons", neurons=TrainedNeurons(run=str(tmp_path)))
    with pytest.raises(InputError, match=r"^method\.neurons: sets of 3 x 4,800 neurons at mlp\.act; expected 2 x 48"):
        make_trainable(tiny_llama, options)
    assert all(parameter.requires_grad for parameter in tiny_llama.parameters())  # nothing was changed by then


def test_a_run_trains_as_many_weights_as_its_sets_have(tiny_llama: Any, run: Path) -> None:
    options = TrainableOptions(trainable="neurons", neurons=TrainedNeurons(run=str(run), control="matched"))
    model = make_trainable(tiny_llama, options)
    assert model is tiny_llama
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    stored = load_run(run)
    assert trained == 3 * 32 * int((stored.sets(0).union() & (stored.classification(0).degree < 4)).sum())
