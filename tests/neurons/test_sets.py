"""Named sets of neurons: their algebra against Python's own sets, their controls by definition, their file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Kind, NeuronSets, lape, overlap, ternary

LAYERS, NEURONS = 4, 60
NAMES = ("zh", "sw", "日本")


def mask(share: float, seed: int) -> torch.Tensor:
    return torch.rand(LAYERS, NEURONS, generator=torch.Generator().manual_seed(seed)) < share


def make(seed: int = 0, **changes: Any) -> NeuronSets:
    sets = {name: mask(0.2, 10 * seed + i) for i, name in enumerate(NAMES)}
    sets["日本"] = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
    fields: dict[str, Any] = {
        "sets": sets,
        "scope": "response",
        "statistic": "activation probability",
        "model": "demo",
        "revision": "abc",
        "data_fingerprint": "f00d",
        "tokens": {"zh": 12, "sw": 34, "日本": 0},
        "thresholds": {"tau": 1 / 3, "lambda": 0.04},
    }
    return NeuronSets(**fields | changes)


def pairs(neurons: torch.Tensor) -> set[tuple[int, int]]:
    return {(layer, n) for layer, n in neurons.nonzero().tolist()}


def test_a_mapping_from_names_to_masks_in_order() -> None:
    sets = make()
    assert list(sets) == list(sets.names) == list(NAMES)
    assert len(sets) == 3
    assert "日本" in sets
    assert "de" not in sets
    assert torch.equal(sets["sw"], mask(0.2, 1))
    assert sets.get("de") is None
    assert sets.shape == (LAYERS, NEURONS)


def test_algebra_goes_name_by_name() -> None:
    one, other = make(), make(1)
    reordered = dataclasses.replace(other, sets=dict(reversed(other.sets.items())))
    for name in NAMES:
        a, b, c = pairs(one[name]), pairs(other[name]), pairs(mask(0.5, 9))
        assert pairs((one & reordered)[name]) == a & b
        assert pairs((one | reordered)[name]) == a | b
        assert pairs((one - reordered)[name]) == a - b
        assert pairs((one & mask(0.5, 9))[name]) == a & c
        assert pairs((one | mask(0.5, 9))[name]) == a | c
        assert pairs((one - mask(0.5, 9))[name]) == a - c
    combined = one - reordered
    assert combined.names == NAMES
    assert combined.thresholds == one.thresholds
    full = make(sets={name: mask(0.6, i) for i, name in enumerate(NAMES)})
    each = [pairs(full[name]) for name in NAMES]
    assert pairs(full.union()) == set.union(*each)
    assert pairs(full.intersection()) == set.intersection(*each) != set()


def test_sizes_are_those_of_the_sets() -> None:
    sets = make()
    for name in NAMES:
        expected = [sum(layer == i for layer, _ in pairs(sets[name])) for i in range(LAYERS)]
        assert sets.sizes_by_layer()[name].tolist() == expected
        assert sets.sizes()[name] == sum(expected)
    assert sets.sizes()["日本"] == 0


def test_overlap_by_name() -> None:
    sets = make()
    assert sets.overlap("zh", "sw") == overlap(sets["zh"], sets["sw"])
    pool = sets.union() | mask(0.3, 7)
    assert sets.overlap("zh", "sw", pool) == overlap(sets["zh"], sets["sw"], pool)
    with pytest.raises(InputError, match=r"set: 'zw'; expected one of zh, sw, 日本\."):
        sets.overlap("zh", "zw")


def random_counts() -> ActivationCounts:
    random = torch.Generator().manual_seed(5)
    tokens = torch.full((5, 2), 50)
    firings = (torch.rand(5, 1, LAYERS, NEURONS, generator=random).pow(3) * 51).floor().long().expand(-1, 2, -1, -1)
    names = ("zh", "de", "sw", "th", "bn")
    return ActivationCounts(names, firings, tokens, tokens, "mlp.up", "all", model="m", data_fingerprint="f")


def test_the_sets_of_a_classification() -> None:
    counts = random_counts()
    for result, beside in ((ternary(counts, 0.3, 0.7, 0.02), {"lambda": 0.02}), (lape(counts, 0.3, 0.7), {})):
        sets = NeuronSets.of(result, counts=counts)
        assert sets.names == counts.languages
        assert all(torch.equal(sets[name], result.sets[name]) for name in sets)
        assert (sets.site, sets.scope, sets.model, sets.data_fingerprint) == ("mlp.up", "all", "m", "f")
        assert sets.tokens == dict.fromkeys(counts.languages, 100)
        last = float(max(result.scores[next(iter(result.scores))][result.selected]))  # the last score that is selected
        assert sets.thresholds == {"tau": result.threshold, **beside, "score": last}
        assert NeuronSets.of(result).model == ""


def test_the_sets_of_some_kinds_hold_the_neurons_that_a_language_owns() -> None:
    result = ternary(random_counts(), 0.3, 0.3, lambda_=0.0)
    for kinds in ([Kind.SPECIFIC], [Kind.SPECIFIC, Kind.RELATED], [Kind.GENERAL], [Kind.UNASSIGNED], []):
        for convention in ("paper", "all"):
            sets = NeuronSets.of(result, kinds, convention)  # type: ignore[arg-type]
            codes = result.kinds(convention)  # type: ignore[arg-type]
            for name in result.languages:
                owned = pairs(result.above[name])
                of_kind = {(layer, n) for layer, n in owned if codes[layer, n].item() in [int(kind) for kind in kinds]}
                assert pairs(sets[name]) == of_kind
    assert pairs(NeuronSets.of(result, [Kind.GENERAL])["zh"]) == pairs(result.general) != set()


def test_joined_sets_keep_every_name() -> None:
    one, two = make(sets={"zh": mask(0.2, 1)}, tokens={"zh": 3}), make(sets={"de": mask(0.3, 2)}, tokens={"de": 4})
    both = NeuronSets.join(one, two)
    assert both.names == ("zh", "de")
    assert torch.equal(both["de"], two["de"])
    assert both.tokens == {"zh": 3, "de": 4}
    with pytest.raises(InputError, match="sets: 'zh' is there more than once"):
        NeuronSets.join(one, two, one)
    with pytest.raises(InputError, match=r"mlp\.up"):
        NeuronSets.join(one, dataclasses.replace(two, site="mlp.up"))
    with pytest.raises(InputError, match="none given"):
        NeuronSets.join()


# Controls


def test_random_controls_have_the_sizes_of_their_sets_and_lie_outside_all() -> None:
    sets, outside = make(), mask(0.2, 8)
    for seed in range(20):
        control = sets.random(seed, outside)
        assert control.names == NAMES
        for name in NAMES:
            assert torch.equal(control[name].sum(dim=1), sets[name].sum(dim=1))
            assert not (control[name] & (sets.union() | outside)).any()


def test_random_controls_depend_on_seed_and_name_only() -> None:
    sets = make()
    assert torch.equal(sets.random(3)["zh"], sets.random(3)["zh"])
    assert not torch.equal(sets.random(3)["zh"], sets.random(4)["zh"])
    same = make(sets={name: mask(0.2, 0) for name in ("zh", "sw")})
    control = same.random(3)
    assert not torch.equal(control["zh"], control["sw"])
    assert torch.equal(control["zh"], make(sets={"zh": mask(0.2, 0)}).random(3)["zh"])


def test_random_controls_reach_every_free_neuron_alike() -> None:
    chosen = torch.zeros(1, 12, dtype=torch.bool)
    chosen[0, :4] = True
    sets = NeuronSets({"zh": chosen})
    drawn = torch.stack([sets.random(seed)["zh"][0] for seed in range(800)]).sum(dim=0)
    assert drawn[:4].tolist() == [0] * 4
    # Half of the eight each time: 400 times, give or take 14.
    assert all(abs(count - 400) < 5 * 14 for count in drawn[4:].tolist())


def probabilities(seed: int = 3) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    # Coarse, so that many are equally near.
    return {name: (torch.rand(LAYERS, NEURONS, generator=random).double() * 30).round() / 30 for name in NAMES}


def test_matched_controls_take_the_nearest_that_is_left() -> None:
    p = probabilities()
    sets, outside = make(), mask(0.2, 8)
    control = sets.matched(p, outside=outside)
    free = ~(sets.union() | outside)
    for name in NAMES:
        assert torch.equal(control[name].sum(dim=1), sets[name].sum(dim=1))
        assert not (control[name] & ~free).any()
        for layer in range(LAYERS):
            wanted = p[name][layer, sets[name][layer]].sort().values
            taken = p[name][layer, control[name][layer]].sort().values
            left = p[name][layer, free[layer] & ~control[name][layer]].tolist()
            # No free neuron that was left would have served any better than every one that was taken.
            for value in left:
                assert not any(all(abs(value - w) < abs(t - w) for t in taken.tolist()) for w in wanted.tolist())
    # Against the definition, neuron by neuron, where no two want the same one.
    for name, layer, n in [("zh", layer, n) for layer, n in sorted(pairs(sets["zh"]))]:
        single = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
        single[layer, n] = True
        alone = make(sets={name: single}).matched(p, outside=outside | sets.union())
        order = [i for i in range(NEURONS) if free[layer, i]]
        value = p[name][layer, n].item()
        best = min(order, key=lambda i: (abs(p[name][layer, i].item() - value), p[name][layer, i].item(), i))
        assert pairs(alone[name]) == {(layer, best)}


def test_matched_controls_are_as_active_as_their_sets_and_random_ones_are_not() -> None:
    p = {"zh": torch.rand(2, 2000, generator=torch.Generator().manual_seed(1)).double().pow(3)}
    active = (p["zh"] > 0.3) & (torch.rand(2, 2000, generator=torch.Generator().manual_seed(2)) < 0.3)
    sets = NeuronSets({"zh": active})
    mean = p["zh"][active].mean()
    assert abs(p["zh"][sets.matched(p)["zh"]].mean() - mean) < 0.005
    assert abs(p["zh"][sets.matched(p, among=10)["zh"]].mean() - mean) < 0.02
    assert abs(p["zh"][sets.random()["zh"]].mean() - mean) > 0.3


def test_among_several_the_draws_differ_and_stay_within_the_nearest() -> None:
    p = {"zh": torch.arange(60).double().expand(1, 60) / 60}
    chosen = torch.zeros(1, 60, dtype=torch.bool)
    chosen[0, 30] = True
    sets = NeuronSets({"zh": chosen})
    drawn = {next(iter(pairs(sets.matched(p, seed, among=4)["zh"])))[1] for seed in range(60)}
    assert drawn == {28, 29, 31, 32}
    assert {next(iter(pairs(sets.matched(p, seed)["zh"])))[1] for seed in range(60)} == {29}
    many = torch.zeros(1, 60, dtype=torch.bool)
    many[0, 20:40] = True
    crowd = NeuronSets({"zh": many})
    assert torch.equal(crowd.matched(p, 1, among=3)["zh"], crowd.matched(p, 1, among=3)["zh"])
    assert not torch.equal(crowd.matched(p, 1, among=3)["zh"], crowd.matched(p, 2, among=3)["zh"])


def test_where_two_want_the_same_neuron_the_seed_says_which_gets_it() -> None:
    p = {"zh": torch.tensor([[0.06, 0.096, 0.0, 0.1, 0.19]], dtype=torch.float64)}
    sets = NeuronSets({"zh": torch.tensor([[True, True, False, False, False]])})
    found = {tuple(sorted(n for _, n in pairs(sets.matched(p, seed)["zh"]))) for seed in range(20)}
    # .06 first takes .1 and leaves .19 to .096; .096 first takes .1 and leaves 0 to .06.
    assert found == {(3, 4), (2, 3)}


def test_matched_controls_take_counts_too() -> None:
    counts = random_counts()
    sets = NeuronSets.of(ternary(counts, 0.1, 0.9), counts=counts)
    by_name = dict(zip(counts.languages, counts.probabilities(), strict=True))
    mine, other = sets.matched(counts), sets.matched(by_name)
    assert all(torch.equal(mine[name], other[name]) for name in sets)


@pytest.mark.parametrize(
    "control",
    [lambda sets, outside: sets.random(0, outside), lambda sets, outside: sets.matched(probabilities(), 0, outside)],
)
def test_too_few_neurons_outside_are_refused(control: Callable[[NeuronSets, torch.Tensor], NeuronSets]) -> None:
    sets = make(sets={"zh": mask(0.2, 0)})
    outside = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
    outside[2] = True
    with pytest.raises(InputError, match="control of 'zh': layer 2 has 0 neurons outside every set"):
        control(sets, outside)
    with pytest.raises(InputError, match="mask"):
        control(sets, outside.long())
    with pytest.raises(InputError, match="layers, neurons"):
        control(sets, outside[:2])


def test_controls_without_their_probabilities_are_refused() -> None:
    p = probabilities()
    with pytest.raises(InputError, match="probabilities of 'sw': missing"):
        make().matched({"zh": p["zh"]})
    with pytest.raises(InputError, match=r"probabilities of 'zh': shape \(4, 59\)"):
        make().matched(p | {"zh": p["zh"][:, 1:]})
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="probabilities of 'zh': values from"):
            make().matched(p | {"zh": p["zh"].clone().index_fill_(0, torch.tensor(0), wrong)})
    with pytest.raises(InputError, match="among"):
        make().matched(p, among=0)


# Refusals


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        ({}, "names"),
        ({"": mask(0.1, 0)}, "names"),
        ({"zh": mask(0.1, 0).long()}, "set 'zh': shape"),
        ({"zh": mask(0.1, 0)[0]}, "set 'zh': shape"),
        ({"zh": mask(0.1, 0)[:, :0]}, "set 'zh': shape"),
        ({"zh": mask(0.1, 0), "sw": mask(0.1, 0)[1:]}, "the same for all"),
    ],
)
def test_what_is_no_set_is_refused(sets: dict[str, torch.Tensor], word: str) -> None:
    with pytest.raises(InputError, match=word):
        NeuronSets(sets)


@pytest.mark.parametrize("combine", [NeuronSets.__and__, NeuronSets.__or__, NeuronSets.__sub__])
def test_sets_that_do_not_match_are_not_combined(combine: Callable[..., NeuronSets]) -> None:
    sets = make()
    with pytest.raises(InputError, match="names zh"):
        combine(sets, make(sets={"zh": mask(0.1, 0)}))
    with pytest.raises(InputError, match=r"mlp\.up"):
        combine(sets, make(site="mlp.up"))
    with pytest.raises(InputError, match=r"\(3, 60\)"):
        combine(sets, mask(0.1, 0)[1:])
    with pytest.raises(InputError, match="bool"):
        combine(sets, mask(0.1, 0).long())


# The file


def same(one: NeuronSets, other: NeuronSets) -> bool:
    header = [dataclasses.replace(sets, sets={"x": mask(0.1, 0)}).__dict__ | {"sets": None} for sets in (one, other)]
    return (
        header[0] == header[1] and one.names == other.names and all(torch.equal(one[name], other[name]) for name in one)
    )


def test_sets_survive_the_file(tmp_path: Path) -> None:
    for sets in (make(), NeuronSets({"zh": mask(0.1, 0)}), make(site="mlp.up", thresholds={})):
        sets.save(tmp_path / "new" / "sets.safetensors")
        assert same(NeuronSets.load(tmp_path / "new" / "sets.safetensors"), sets)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sets.safetensors"]


def rewritten(path: Path, tensors: dict[str, Any] | None = None, **metadata: str | None) -> Path:
    """The file with some tensors and some of its header changed, as others may write it; None leaves one out."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() | {"checksum": None, "header_checksum": None} | metadata
    changed = load_file(path) | (tensors or {})
    save_file(
        {name: tensor for name, tensor in changed.items() if tensor is not None},
        path,
        {name: value for name, value in header.items() if value is not None},
    )
    return path


@pytest.mark.parametrize(
    ("tensors", "metadata", "word"),
    [
        ({}, {"format": None}, "alignlab-sets"),
        ({}, {"format": "alignlab-counts"}, "'alignlab-counts'"),
        ({}, {"format_version": "2"}, "version '2'"),
        ({}, {"site": None, "names": None}, "'site'"),
        ({}, {"names": "zh"}, "JSON"),
        ({}, {"names": '{"zh": 1}'}, "list of names"),
        ({}, {"names": json.dumps(["zh", "sw"])}, "2 different names"),
        ({}, {"names": json.dumps(["zh", "sw", "zh"])}, "2 different names"),
        ({}, {"names": json.dumps(["zh", "sw", ""])}, r"sets\.safetensors, sets"),
        ({}, {"thresholds": "[1]"}, "thresholds"),
        ({}, {"tokens": '{"zh": "1"}'}, "tokens"),
        ({}, {"tokens": '{"zh": -1}'}, r"sets\.safetensors, tokens of 'zh': -1"),
        ({}, {"tokens": f'{{"zh": {2**62}}}'}, r"sets\.safetensors, tokens of 'zh'"),
        ({}, {"thresholds": '{"tau": NaN}'}, r"sets\.safetensors, threshold 'tau'"),
        ({"sets": torch.zeros(3, 4, 60)}, {}, r"sets\.safetensors, set 'zh'"),
        ({"sets": torch.zeros(3, 60) > 0}, {}, "sets, layers, neurons"),
        ({"other": torch.zeros(2)}, {}, "one tensor"),
    ],
)
def test_files_of_other_formats_and_contradictory_ones_are_refused(
    tensors: dict[str, Any], metadata: dict[str, str | None], word: str, tmp_path: Path
) -> None:
    make().save(tmp_path / "sets.safetensors")
    with pytest.raises(InputError, match=word):
        NeuronSets.load(rewritten(tmp_path / "sets.safetensors", tensors, **metadata))


def test_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sets.safetensors"
    make().save(path)
    whole = path.read_bytes()
    for length in (9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"sets\.safetensors"):
            NeuronSets.load(path)
    with pytest.raises(InputError, match="no such file"):
        NeuronSets.load(tmp_path / "none.safetensors")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sets.safetensors"
    make().save(path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        make(1).save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
