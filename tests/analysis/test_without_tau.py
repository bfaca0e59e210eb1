"""An identifier that has no tau, from the command line to its sets and tables; what needs degrees is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field, create_model

from alignlab import report, train
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.records import StoredCounts
from alignlab.analyze import main
from alignlab.callbacks import NeuronTracker
from alignlab.config import Options, option, section
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, NeuronSets, bootstrap, chance_level
from alignlab.neurons.identifiers import IDENTIFIERS, RecordName, TernaryConfig, name_of
from alignlab.neurons.options import LapeOptions, TernaryOptions
from alignlab.options import AnalyzeOptions, TrainConfig
from alignlab.question import AnalyzeConfig

NAMES = ("en", "de", "sw")
LAYERS, WIDTH, TOP, SEED = 2, 30, 7, 3
NEED_DEGREES = (
    "english_uniqueness", "sharing_histogram", "layer_parts", "single_neuron_profile", "transitions", "survival",
    "stability",
)  # fmt: skip


class StrongestOptions(Options):
    """Of each language the neurons that it activates most, by their probability."""

    name: Literal["strongest"] = "strongest"
    top: int = option(TOP, "neurons of each language", ge=1)


class WeighedOptions(Options):
    """One that reads a record which is not there."""

    name: Literal["weighed"] = "weighed"


class Strongest(StrongestOptions):
    reads: ClassVar[RecordName] = "counts"

    def identify(self, counts: ActivationCounts, /, anchor: Classification | None = None) -> Classification:
        sets = {}
        for language, p in zip(counts.languages, counts.probabilities(), strict=True):
            mask = torch.zeros(p.numel(), dtype=torch.bool)
            mask[p.flatten().topk(self.top).indices] = True
            sets[language] = mask.view(p.shape)
        selected = torch.stack(list(sets.values())).any(dim=0)
        return Classification("strongest", counts.languages, sets, selected)


class Weighed(WeighedOptions):
    reads: ClassVar[RecordName] = "importance"

    def identify(self, record: Any, /, anchor: Classification | None = None) -> Classification:
        raise AssertionError("it was given a record that it does not read")


AllOptions = Annotated[
    TernaryOptions | LapeOptions | StrongestOptions | WeighedOptions, Field(discriminator="name")
]  # fmt: skip


def extended(root: type[Options]) -> type[Options]:
    """The config as it would be, had they stood in `IdentifierOptions` when it was declared; all else is as it is."""
    return create_model(root.__name__, __base__=root, identifier=(AllOptions, section(TernaryOptions, "how")))


EXTENDED = {root: extended(root) for root in (AnalyzeOptions, AnalyzeConfig, TrainConfig)}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the recipe in CONTRIBUTING.md has it: in `IDENTIFIERS`, and in the union of options that the verbs take."""
    monkeypatch.setitem(IDENTIFIERS, "strongest", Strongest)
    monkeypatch.setitem(IDENTIFIERS, "weighed", Weighed)
    for root, places in {
        AnalyzeOptions: ("alignlab.analyze.AnalyzeOptions", "alignlab.report.AnalyzeOptions"),
        AnalyzeConfig: ("alignlab.question.AnalyzeConfig",),
        TrainConfig: ("alignlab.train.TrainConfig",),
    }.items():
        for place in places:
            monkeypatch.setattr(place, EXTENDED[root])


def record(seed: int) -> ActivationCounts:
    random = torch.Generator().manual_seed(seed)
    firings = torch.stack([torch.randperm(LAYERS * WIDTH, generator=random) for _ in range(6)])
    tokens = torch.full((3, 2), LAYERS * WIDTH)
    return ActivationCounts(
        NAMES, firings.view(3, 2, LAYERS, WIDTH), tokens, torch.full((3, 2), 4), "mlp.act", "all", step=seed,
        trained_languages=("de",),
    )  # fmt: skip


def strongest(counts: ActivationCounts) -> dict[str, set[tuple[int, int]]]:
    """By sorting; a tie at the edge of a set would leave it open, so there is none."""
    found = {}
    for language, name in enumerate(NAMES):
        sums = {
            (layer, neuron): int(counts.firings[language, :, layer, neuron].sum())
            for layer in range(LAYERS)
            for neuron in range(WIDTH)
        }
        order = sorted(sums, key=lambda cell: -sums[cell])
        assert sums[order[TOP - 1]] > sums[order[TOP]], "a tie at the edge: take another seed"
        found[name] = set(order[:TOP])
    return found


def pairs(mask: torch.Tensor) -> set[tuple[int, int]]:
    return {(layer, neuron) for layer, neuron in mask.nonzero().tolist()}


def rows(path: Path, **columns: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`alignlab.analyze` of stored counts: its exit status, what it printed and what it complained of."""
    monkeypatch.chdir(tmp_path)
    record(SEED).save(tmp_path / "counts.safetensors")

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([f"counts={tmp_path / 'counts.safetensors'}", "identifier.name=strongest", *argv])
        return (status, *capsys.readouterr())

    return call


SEED = 3


def test_the_sets_and_what_applies_to_them(ask: Callable[..., Any], tmp_path: Path) -> None:
    status, printed, complaints = ask("folder=out", f"identifier.top={TOP}")
    assert (status, complaints) == (0, "")
    expected = strongest(record(SEED))
    sets = NeuronSets.load(tmp_path / "out/sets.safetensors")
    assert {name: pairs(sets[name]) for name in sets} == expected
    assert (sets.thresholds, sets.statistic) == ({}, "activation probability")

    table = tmp_path / "out/table.csv"
    union = set.union(*expected.values())
    (whole,) = rows(table, analysis="kinds", group="all", layer="", thresholds="anchored")
    assert (whole["kind"], whole["degree"], float(whole["value"])) == ("selected", "", len(union))
    for row in rows(table, analysis="layer_distribution", thresholds="anchored"):
        assert float(row["value"]) == sum(layer == int(row["layer"]) for layer, _ in union)
    (unseen,) = rows(table, analysis="trained_vs_unseen", group="unseen", thresholds="anchored")
    assert float(unseen["value"]) == TOP
    for a, b in (("en", "de"), ("en", "sw"), ("de", "sw")):
        (common,) = rows(table, analysis="language_overlap", language=a, other=b, measure="common")
        assert float(common["value"]) == len(expected[a] & expected[b])
        (jaccard,) = rows(table, analysis="language_overlap", language=a, other=b, measure="jaccard")
        assert float(jaccard["value"]) == len(expected[a] & expected[b]) / len(expected[a] | expected[b])
        assert int(jaccard["denominator"]) == int(common["denominator"]) == len(expected[a] | expected[b])

    # What needs degrees is left out, and that is said; so is the page, which shows kinds.
    assert not [row for row in rows(table) if row["analysis"] in NEED_DEGREES]
    (left_out,) = [line for line in printed.splitlines() if "left out" in line]
    assert all(name in printed for name in NEED_DEGREES if name != "single_neuron_profile")
    assert "english_uniqueness" in left_out
    assert "none: it shows kinds, and strongest finds sets only" in printed
    assert not (tmp_path / "out/report.html").exists()
    assert f"{LAYERS} x {WIDTH} = {LAYERS * WIDTH}, {len(union)} selected\n" in printed


def test_two_records_are_compared_by_what_stayed(ask: Callable[..., Any], tmp_path: Path) -> None:
    counts = [record(SEED), record(SEED + 1)]
    stored = [StoredCounts(f"step {one.step}", Path(), lambda _, one=one: one) for one in counts]
    found = list(Inquiry(Strongest(), ["overlap_ratio", "kinds", "layer_delta"]).over(stored))[-1][1]
    first, second = (strongest(one) for one in counts)
    ratios = {row.language: row.value for row in found if row.analysis == "overlap_ratio"}
    assert ratios == {name: len(first[name] & second[name]) / TOP for name in NAMES}
    unions = [set.union(*one.values()) for one in (first, second)]
    changes = {row.layer: row.value for row in found if row.analysis == "layer_delta"}
    assert changes == {
        layer: sum(at == layer for at, _ in unions[1]) - sum(at == layer for at, _ in unions[0])
        for layer in range(LAYERS)
    }


def test_a_run_shows_its_sets_record_by_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "neurons").mkdir()
    steps = (0, SEED)
    for step in steps:
        record(step).save(tmp_path / f"neurons/step-{step:06d}.safetensors")
    (tmp_path / "config.yaml").write_text("identifier:\n  name: strongest\n", encoding="utf-8")
    assert main([f"run={tmp_path}", f"folder={tmp_path / 'out'}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["record", "selected", "loss", "trained", "loss", "reference", "loss", "unseen"] in lines
    sizes = [len(set.union(*strongest(record(step)).values())) for step in steps]
    for step, size in zip(steps, sizes, strict=True):
        assert ["step", f"{step}", f"{size}"] in lines
    # All neurons, then the mean of each group, each with its change; sets stay as large.
    assert [
        "selected",
        f"{sizes[1]}",
        f"{sizes[1] - sizes[0]:+d}".replace("-", "−"),
        *([f"{TOP}.0", "+0.0"] * 3),
    ] in lines


def test_what_needs_degrees_is_refused_by_name(ask: Callable[..., Any], tmp_path: Path) -> None:
    status, _, complaints = ask("folder=out", f"analyses=[kinds,{','.join(NEED_DEGREES)}]", "intervals=all", "log=true")
    assert status == 2
    assert f"analyses: {' '.join(NEED_DEGREES)}, but strongest finds sets only" in complaints
    for where in ("intervals", "log"):
        assert f"{where}: " in complaints
    assert not (tmp_path / "out").exists()


def test_a_record_that_is_not_there_is_refused(ask: Callable[..., Any], tmp_path: Path) -> None:
    status, _, complaints = ask("folder=out", "identifier.name=weighed", "analyses=[kinds]")
    assert status == 2
    assert "identifier weighed: it reads importance, but what is here are counts" in complaints
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("analysis", NEED_DEGREES)
def test_a_study_that_is_asked_all_the_same_says_why_not(analysis: str) -> None:
    stored = [StoredCounts(f"step {one}", Path(), lambda _, one=one: record(one)) for one in (SEED, SEED + 1)]
    with pytest.raises(InputError, match=f"identifier strongest: it finds sets only, and so no degrees for {analysis}"):
        list(Inquiry(Strongest(), [analysis], neurons=((0, 1),)).over(stored))


def test_resamples_training_and_the_page_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for resampling in (bootstrap, chance_level):
        with pytest.raises(InputError, match="identifier strongest: it finds sets only, and so no intervals"):
            resampling(record(SEED), Strongest())
    with pytest.raises(InputError, match="identifier strongest: it finds sets only"):
        NeuronTracker({"en": ["a"]}, object(), folder=tmp_path, identifier=Strongest())
    monkeypatch.chdir(tmp_path)
    assert train.main(["config=demo", "identifier.name=strongest"]) == 2
    assert "identifier strongest: it finds sets only, and so no degrees and kinds" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

    run = tmp_path / "run"
    (run / "neurons").mkdir(parents=True)
    record(0).save(run / "neurons/step-000000.safetensors")
    (run / "config.yaml").write_text("identifier:\n  name: strongest\n", encoding="utf-8")
    assert report.main([f"run={run}"]) == 2
    assert "identifier strongest: it finds sets only, and so no kinds" in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_an_identifier_has_the_name_by_which_it_is_asked_for() -> None:
    assert [name_of(one) for one in (Strongest(), TernaryConfig())] == ["strongest", "ternary"]
