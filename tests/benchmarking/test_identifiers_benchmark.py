"""The command: a small benchmark from plan to page, stopped and continued, at chance where nothing is planted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import alignlab.benchmark
from alignlab.benchmarking import identifiers
from alignlab.benchmarking.building_models import build_model
from alignlab.benchmarking.measuring import CEILING, PRECISION, Records, Seed, measure, settings_of
from alignlab.benchmarking.options import CONTROLS, NAMES, IdentifiersOptions
from alignlab.benchmarking.rankings import RANKINGS, identifier_at, identify, settings
from alignlab.models.sites import find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import IDENTIFIERS
from alignlab.neurons.options import IdentifierOptions
from alignlab.neurons.table import read_csv

SMALL = [
    "planted.families=2", "planted.neurons=48", "planted.layers=2", "planted.width=32", "planted.concepts=20",
    "planted.shared=5", "planted.specific=2", "planted.family=1", "planted.pairs=1", "planted.idle=1",
    "planted.hidden=1", "planted.general=3", "text.documents=10", "text.truth_documents=2", "text.tokens=8",
    "folder=out", "seeds=2",
]  # fmt: skip
GIVEN = {"size": 3, "rate": 0.2, "bar": 0.7, "shape": (2, 10)}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, str]:
        keys = {one.partition("=")[0] for one in argv}
        capsys.readouterr()
        status = alignlab.benchmark.main(
            ["identifiers", *(one for one in SMALL if one.partition("=")[0] not in keys), *argv]
        )
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_every_identifier_is_run_and_ranked() -> None:
    members = get_args(get_args(IdentifierOptions)[0])
    assert {get_args(one.model_fields["name"].annotation)[0] for one in members} == set(NAMES)
    assert set(IDENTIFIERS) == set(NAMES)
    assert set(IDENTIFIERS) <= set(RANKINGS), f"RANKINGS lacks {sorted(set(IDENTIFIERS) - set(RANKINGS))}"


def test_from_plan_to_page(command: Command) -> None:
    status, said, _ = command("dry_run=true")
    assert status == 0
    assert "2 layers of 48; 22 are planted" in said
    assert not Path("out").exists()

    status, said, complaint = command()
    assert (status, complaint) == (0, "")
    assert all(f"\n{name} " in said for name in (*NAMES, *CONTROLS, CEILING, "by chance"))
    assert "out/report.html" in said
    assert "Next: " in said
    rows = read_csv(Path("out/table.csv"))
    by_seed = read_csv(Path("out/by_seed.csv"))
    assert {row.seed for row in by_seed} == {0, 1}
    assert len(by_seed) == 2 * len(rows)
    for row in rows:
        its = [
            one.value
            for one in by_seed
            if (one.record, one.set, one.task, one.measure, one.label)
            == (row.record, row.set, row.task, row.measure, row.label)
        ]
        there = [value for value in its if value == value]
        assert row.denominator == len(there)
        if there:
            assert row.value == pytest.approx(np.mean(there))
    picked = [row for row in by_seed if row.measure == "picked of class" and row.set == "lape" and row.seed == 0]
    assert sum(row.value for row in picked if row.task == "selective") == pytest.approx(1)
    assert sum(row.reference or 0 for row in picked if row.task == "selective") == pytest.approx(1)
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<circle") == 2 * (len(NAMES) + len(CONTROLS) + 1)
    assert not Path("out/parts").exists()

    written = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    status, said, _ = command()
    assert "holds this benchmark, all of it" in said
    assert written == {path.name: path.read_bytes() for path in Path("out").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_killed_and_continued_it_is_the_same(command: Command, monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    few = "identifiers=[lape,difference]"
    assert command(few, "folder=whole")[0] == 0

    def dies(options: IdentifiersOptions, seed: int, advance: object) -> object:
        if seed == 1:
            raise KeyboardInterrupt
        return measure(options, seed)

    monkeypatch.setattr(identifiers, "measure", dies)
    status, _, complaint = command(few)
    assert status == 130
    assert "goes on from what is done" in complaint
    monkeypatch.setattr(identifiers, "measure", measure)
    part = Path("out/parts/part-000000.jsonl")
    if damaged:
        part.write_bytes(part.read_bytes().replace(b'"lape"', b'"laqe"', 1))
    status, said, complaint = command(few)
    assert (status, complaint) == (0, "")
    assert ("is damaged; its seed is measured again" in said) == damaged
    assert ("1 done" in said) == (not damaged)
    for name in ("table.csv", "by_seed.csv"):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


@pytest.mark.slow
def test_where_nothing_is_planted_precision_is_at_chance() -> None:
    planted = {
        "families": 2, "neurons": 64, "layers": 2, "width": 32, "concepts": 20, "shared": 5, "specific": 3, "general": 4
    }  # fmt: skip
    options = IdentifiersOptions.model_validate(
        {
            "planted": {**planted, "family": 1, "pairs": 1, "idle": 2, "hidden": 2},
            "text": {"documents": 10, "truth_documents": 2, "tokens": 8},
        }
    )
    rows = [row for seed in range(5) for row in measure(options, seed)]
    for name in (*NAMES, *CONTROLS):
        for model, at_chance in (("unplanted", True), ("planted", name == "random")):
            values = [
                row.value - (row.reference or 0)
                for row in rows
                if (row.record, row.set, row.task, row.measure) == (model, name, "selective", PRECISION)
            ]
            assert len(values) == 5
            error = np.std(values, ddof=1) / np.sqrt(5)
            if at_chance:
                assert abs(np.mean(values)) < 4 * error + 0.02, (name, model)
            else:
                assert np.mean(values) > 4 * error, (name, model)


def test_rankings_are_those_of_the_papers() -> None:
    draw = np.random.default_rng(0)
    firings = torch.from_numpy(draw.integers(0, 50, (3, 1, 2, 10)))
    tokens = torch.full((3, 1), 50)
    counts = ActivationCounts(("a", "b", "c"), firings, tokens, torch.ones_like(tokens), "mlp.act", "all")
    p = (firings[:, 0].double() / 50).flatten(1).numpy()
    for name in ("lape", "ternary", "equal_size_lape", "activation_frequency"):
        identifier = identifier_at(name, settings(name, **GIVEN))
        found = identify(name, identifier, counts)
        result = identifier.identify(counts)
        for g in range(3):
            for n in range(20):
                q = sorted(x / p[:, n].sum() for x in p[:, n] if x > 0)
                entropy = -sum(x * np.log(x) for x in q)
                if name == "activation_frequency":
                    assert found.ranking[g, n] == p[g, n]
                elif p[g, n] <= result.threshold:
                    assert found.ranking[g, n] == -np.inf
                elif name == "ternary":
                    h = (1 + 1 / 2 + 1 / 3) / 3
                    score = entropy / np.log(3) - result.lambda_ * p[:, n].max() / h
                    assert -found.ranking[g, n] == pytest.approx(score)
                else:
                    assert -found.ranking[g, n] == pytest.approx(entropy)
            if name == "equal_size_lape":  # its set is the top of its ranking
                assert found.ranking[g][found.sets[g]].min() >= found.ranking[g][~found.sets[g]].max()
    assert settings("average_precision", **GIVEN) == {"k": 3, "ends": "top"}
    assert settings("ternary", **GIVEN) == {"top_rate": 0.2, "bar": 0.7}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "activation_frequency"])
def test_a_set_is_the_top_of_its_ranking(name: str, tmp_path: Path) -> None:
    """Of neurons that are ranked at all; the fewest of a layer that hold a share of firings end in each layer apart."""
    planted = {"families": 2, "neurons": 48, "layers": 2, "width": 32, "concepts": 20, "shared": 5, "specific": 2}
    planted |= {"family": 1, "pairs": 1, "idle": 1, "hidden": 1, "general": 3}
    options = IdentifiersOptions.model_validate({"planted": planted, "text": {"documents": 6, "tokens": 10}})
    of = Seed(options, 1)
    model = build_model(options.planted, of.neurons, 1)
    identifier = identifier_at(name, settings_of(options, name))
    records = Records(model, find_sites(model), of.probe(6, 2), tmp_path)
    found = identify(name, identifier, records.read_by(identifier))
    assert found.ranking.shape == found.sets.shape == (4, 96)
    assert found.sets.any()
    for ranked, chosen in zip(found.ranking, found.sets, strict=True):
        last = ranked[chosen].min(initial=np.inf)
        assert last > -np.inf
        assert last >= ranked[~chosen].max(initial=-np.inf)


REFUSED = [
    (["identifiers=[lapee]"], "one or more, each once, of: ternary, lape"),
    (["identifiers=[]"], "one or more, each once"),
    (["identifiers=[lape,lape]"], "one or more, each once"),
    (["identifier=lape"], "identifiers"),
    (["seeds=1"], "at least 2"),
    (["seeds=two"], "seeds"),
    (["first_seed=-1"], "first_seed"),
    (["bar=1"], "bar"),
    (["bar=0"], "bar"),
    (["planted.width=33"], "a multiple of 8"),
    (["planted.families=20", "planted.neurons=4000"], "planted.width"),
    (["planted.families=1"], "planted.families"),
    (["planted.languages=1"], "planted.languages"),
    (["planted.specific=40"], "at most half of all"),
    (["planted.own_rate=[0.9,0.5]"], "[lowest, highest]"),
    (["planted.own_rate=[0.5]"], "[lowest, highest]"),
    (["planted.own_rate=[0.5,1.0]"], "planted.own_rate"),
    (["planted.own_rate=[0.05,0.5]"], "planted.other_rate"),
    (["planted.effect=[0.0,0.5]"], "planted.effect"),
    (["planted.kinship=1"], "planted.kinship"),
    (["planted.concepts=3"], "planted.concepts"),
    (["planted.specific=0", "planted.family=0", "planted.pairs=0", "planted.idle=0"], "is selective"),
    (["planted.specific=0", "planted.family=0", "planted.pairs=0", "planted.hidden=0"], "is necessary"),
    (["text.tokens=1"], "text.tokens"),
    (["text.documents=1"], "text.documents"),
    (["folder=file/below"], "folder"),
    (["folder=strange"], "it holds something else"),
]


@pytest.mark.parametrize(("argv", "words"), REFUSED)
def test_what_cannot_be_measured_is_refused(
    argv: list[str], words: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("strange").mkdir()
    Path("strange/own.txt").touch()
    Path("file").touch()
    monkeypatch.setattr(identifiers, "measure", None)  # nothing is measured
    status, _, complaint = command(*argv)
    assert status == 2
    assert words in complaint
    assert "Traceback" not in complaint
    assert not Path("out").exists()
    assert [path.name for path in Path("strange").iterdir()] == ["own.txt"]


def test_another_config_is_refused_and_all_mistakes_are_told_at_once(command: Command) -> None:
    assert command("identifiers=[random]")[0] == 0
    status, _, complaint = command("identifiers=[random]", "bar=0.9")
    assert status == 2
    assert "bar" in complaint
    assert "another config" in complaint
    status, _, complaint = command("planted.width=36", "planted.specific=40", "planted.own_rate=[0.05,0.5]")
    assert status == 2
    assert all(words in complaint for words in ("a multiple of 8", "at most half of all", "planted.other_rate"))


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"]])
def test_alone_it_says_what_can_be_benchmarked(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert alignlab.benchmark.main(argv) == 0
    said = capsys.readouterr().out
    assert said.startswith("python -m alignlab.benchmark identifiers|agreement [")
    assert max(map(len, said.splitlines())) <= 100


def test_what_is_no_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert alignlab.benchmark.main(["identifers"]) == 2
    assert "one of: identifiers" in capsys.readouterr().err


def test_help_has_every_key_and_needs_no_torch() -> None:
    code = "import sys\nfrom alignlab.benchmark import main\nmain(['identifiers', '--help'])\n"
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for key in ("seeds", "identifiers", "planted", "bar"):
        assert key in done.stdout
