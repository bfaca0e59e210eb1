"""Two real processes against one: the same losses, the same counts, one set of files."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.preparation.answers import Answer, Question
from alignlab.recording.effects import Effects

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_responses import make_responses
from tiny_translators import make_nllb

# Four documents a language and a batch each: in double precision neither the batches nor the ranks change a count.
ARGUMENTS = [
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "probe.source.languages=[en,de,sw]", "data.train.count=24", "data.examples_per_step=6", "wandb.mode=disabled",
    "trainer.precision=64-true", "probe.max_tokens_per_batch=1", "evaluation.source.count=5",
    "evaluation.source.languages=[en,de]", "evaluation.max_new_tokens=50", "evaluation.max_tokens_per_batch=300",
]  # fmt: skip
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]


def run(folder: Path, *argv: str, torchrun: bool = False, verb: str = "train") -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    }
    environment |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    start = [sys.executable, "-m"]
    if torchrun:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*start, f"alignlab.{verb}", *(ARGUMENTS if verb == "train" else ()), *argv]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def logged(folder: Path, key: str) -> list[float]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["value"]) for row in csv.DictReader(file) if row["key"] == key]


def compare(one: Path, two: Path) -> None:
    for key in ("train/loss", "train/gradient_norm", "train/tokens", "train/epoch"):
        assert logged(two, key) == pytest.approx(logged(one, key), rel=1e-6)
        assert len(logged(one, key)) == 4
    for step in (0, 2, 4):
        name = f"neurons/step-{step:06d}.safetensors"
        first, second = ActivationCounts.load(one / name), ActivationCounts.load(two / name)
        assert torch.equal(first.tokens, second.tokens)
        assert int(first.totals().sum()) > 0
        assert torch.equal(first.totals(), second.totals())
        assert first.loss_sum is not None
        assert second.loss_sum is not None
        assert torch.allclose(first.loss_sum, second.loss_sum, rtol=1e-5)


def compare_answers(one: Path, two: Path) -> None:
    for step in (0, 2, 4):
        name = f"evaluation/step-{step:06d}"
        assert (one / f"{name}.jsonl").read_bytes() == (two / f"{name}.jsonl").read_bytes()
        first, second = (Effects.load(folder / f"{name}.safetensors") for folder in (one, two))
        assert first.items == second.items
        assert torch.equal(first.right, second.right)
        assert len(first.items) == 10
    assert bool(Effects.load(one / "evaluation/step-000000.safetensors").right.any())
    assert (one / "evaluation.csv").read_bytes() == (two / "evaluation.csv").read_bytes()


@pytest.mark.slow
def test_two_ranks_train_and_count_as_one(tmp_path: Path) -> None:
    for name, extra, torchrun in (("one", [], False), ("launched", TWO, False), ("torchrun", TWO, True)):
        done = run(tmp_path, f"run.folder={name}", *extra, torchrun=torchrun)
        assert done.returncode == 0, done.stderr[-3000:]
        # One plan, one table a snapshot: only rank zero speaks.
        assert done.stdout.count("Plan of demo") == 1
        assert done.stdout.count("Neurons at step 2") == 1
    compare(tmp_path / "one", tmp_path / "launched")
    compare(tmp_path / "one", tmp_path / "torchrun")
    for launched in ("launched", "torchrun"):
        compare_answers(tmp_path / "one", tmp_path / launched)
    # The same command again on two ranks: nothing is done twice.
    again = run(tmp_path, "run.folder=torchrun", *TWO, torchrun=True)
    assert again.returncode == 0
    assert again.stdout.count("holds this run, finished") == 1


@pytest.mark.slow
def test_two_ranks_train_the_same_neurons_as_one(tmp_path: Path) -> None:
    some = torch.rand(4, 640, generator=torch.Generator().manual_seed(0)) < 0.05  # of the demo model
    NeuronSets({"some": some}).save(tmp_path / "sets.safetensors")
    options = ["method.trainable=neurons", f"method.neurons.file={tmp_path / 'sets.safetensors'}"]
    options += ["method.optimizer.weight_decay=0.1", "trainer.gradient_clip_val=0.5"]
    for name, extra in (("one", []), ("two", TWO)):
        done = run(tmp_path, f"run.folder={name}", *options, *extra)
        assert done.returncode == 0, done.stderr[-3000:]
    compare(tmp_path / "one", tmp_path / "two")
    weights = [load_file(tmp_path / name / "checkpoints/step-000004/model.safetensors") for name in ("one", "two")]
    base = load_file(DEMO_FOLDER / "model.safetensors")
    assert sum(not torch.equal(value, base[name].double()) for name, value in weights[0].items()) == 3 * 4
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], rtol=1e-6, atol=1e-9), name


@pytest.mark.slow
def test_two_ranks_count_checkpoints_again_as_one(tmp_path: Path) -> None:
    assert run(tmp_path, "run.folder=run").returncode == 0
    asked = ["run=run", "recount=true", "probe.source.count=3", "probe.max_texts=3", "probe.scope=all"]
    found = []
    for torchrun in (False, True):
        done = run(tmp_path, *asked, "folder=out", verb="analyze", torchrun=torchrun)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Plan of the analysis") == 1
        counts = {path.name: ActivationCounts.load(path) for path in (tmp_path / "run/analysis/counts").iterdir()}
        assert sorted(one.step or 0 for one in counts.values()) == [0, 2, 4]
        found.append((counts, (tmp_path / "out/table.csv").read_bytes()))
        shutil.rmtree(tmp_path / "run/analysis")
        shutil.rmtree(tmp_path / "out")
    (one, table), (two, again) = found
    assert one.keys() == two.keys()  # content-addressed: counted on one rank, they serve two
    for name, counts in one.items():
        assert int(counts.totals().sum()) > 0
        assert torch.equal(counts.firings.long(), two[name].firings.long())
        assert counts.loss_sum is not None
        assert torch.allclose(counts.loss_sum, two[name].loss_sum, rtol=1e-12)
    assert len(table.splitlines()) == len(again.splitlines())


@pytest.mark.slow
def test_fewer_probe_texts_than_ranks(tmp_path: Path) -> None:
    small = ["probe.max_texts=1", "trainer.max_steps=1"]
    assert run(tmp_path, "run.folder=one", *small).returncode == 0
    assert run(tmp_path, "run.folder=two", *small, *TWO).returncode == 0
    name = "neurons/step-000000.safetensors"
    one, two = ActivationCounts.load(tmp_path / "one" / name), ActivationCounts.load(tmp_path / "two" / name)
    assert int(one.documents.sum()) == 3
    assert torch.equal(one.totals(), two.totals())


@pytest.mark.slow
def test_a_refusal_of_rank_zero_is_every_ranks(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    done = run(tmp_path, "run.folder=mine", *TWO, torchrun=True)
    assert done.returncode != 0
    assert done.stderr.count("the folder holds other things") == 1
    # torchrun names the exit status of the rank that failed first, and how the others ended.
    assert re.search(r"exitcode +: 2 ", done.stderr)
    assert "SIGABRT" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.tex"]


@pytest.mark.slow
def test_two_ranks_answer_as_one(tmp_path: Path) -> None:
    asked = ["responses", "config=prepare_demo", "source.count=6", "samples=3", "max_new_tokens=40"]
    asked += ["max_tokens_per_batch=500"]
    for name, torchrun in (("one", False), ("two", True)):
        done = run(tmp_path, *asked, f"folder={name}", torchrun=torchrun, verb="prepare")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Plan of the responses") == done.stdout.count("Written") == 1
        assert f"; ranks {1 + torchrun}" in done.stdout
    for name in ("responses.jsonl", "table.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    again = run(tmp_path, *asked, "folder=two", "seed=1", torchrun=True, verb="prepare")
    assert again.returncode != 0
    assert again.stderr.count("different are seed") == 1


@pytest.mark.slow
def test_two_ranks_score_rewards_as_one(tmp_path: Path) -> None:
    make_nllb(tmp_path / "nllb")
    texts = {"en": "Anna has {} apples. So {}", "de": "Anna hat {} Äpfel. Also {}", "ja": "りんごが{}個。全部で{}"}
    questions = [
        Question(f"q{number}", code, f"q{number}", "?", "7", [
            Answer(text.format(number * 6 + way, 6 + way % 3), 5, ended=True) for way in range(6)
        ])
        for code, text in texts.items() for number in range(30)
    ]  # fmt: skip
    make_responses(tmp_path / "made", questions)
    asked = ["preferences", "responses=made", "rule.name=translation_reward", "rule.model.source=nllb"]
    asked += ["rule.max_tokens=64"]
    for name, torchrun in (("one", False), ("two", True)):
        folders = [f"rule.folder={name}", f"folder={name}-pairs"]
        done = run(tmp_path, *asked, *folders, torchrun=torchrun, verb="prepare")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Plan of the preferences") == done.stdout.count("Written") == 1
        assert ("; 2 ranks" in done.stdout) == torchrun
    for name in ("{}/de/rewards.jsonl", "{}/ja/rewards.jsonl", "{}-pairs/train.jsonl", "{}-pairs/report.csv"):
        assert (tmp_path / name.format("two")).read_bytes() == (tmp_path / name.format("one")).read_bytes()


@pytest.mark.slow
def test_two_ranks_measure_interventions_as_one(tmp_path: Path) -> None:
    assert run(tmp_path, "run.folder=run", "probe.max_texts=8", "probe.source.count=8").returncode == 0
    # Batches are formed before they are dealt, so that on either number of ranks a forward is the same.
    asked = ["run=run", "languages=[en,de]", "seeds=2", "max_tokens_per_batch=600", "measures=[perplexity,accuracy]"]
    asked += ["same_documents=true", "operations=[zero,diff_mean]"]
    for name, torchrun in (("one", False), ("two", True)):
        done = run(tmp_path, *asked, f"folder={name}", torchrun=torchrun, verb="intervene")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Plan of the interventions") == done.stdout.count("Written") == 1
        assert f", ranks {1 + torchrun}" in done.stdout
    for name in ("table.csv", "about-step-000004.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for name in ("effects", "answers"):
        one, two = (load_file(tmp_path / ranks / f"{name}-step-000004.safetensors") for ranks in ("one", "two"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    again = run(tmp_path, *asked[:-1], "operations=[zero]", "folder=two", torchrun=True, verb="intervene")
    assert again.returncode != 0
    assert again.stderr.count("different are operations") == 1


@pytest.mark.slow
def test_stages_on_two_ranks_are_those_of_one_and_go_on(tmp_path: Path) -> None:
    """Lightning's own launcher starts the second rank once, also where the run goes on in the second stage."""
    stages = ["stages.a.trainer.max_steps=2", "stages.b.trainer.max_steps=2", "stages.b.data.train.task=solve"]
    for name, extra in (("one", []), ("two", TWO)):
        done = run(tmp_path, f"run.folder={name}", *stages, *extra)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Stage b (2 of 2)") == 1
    compare(tmp_path / "one", tmp_path / "two")
    merged = "merged/step-000002/model.safetensors"
    one, two = (load_file(tmp_path / name / merged) for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], rtol=1e-6, atol=1e-9) for name in one)
    before = (tmp_path / "two/metrics.csv").read_bytes()
    (tmp_path / "two/finished.json").unlink()
    shutil.rmtree(tmp_path / "two/checkpoints/step-000004")
    again = run(tmp_path, "run.folder=two", *stages, *TWO)
    assert again.returncode == 0, again.stderr[-3000:]
    assert (tmp_path / "two/metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_a_run_that_lightning_launched_goes_on(tmp_path: Path) -> None:
    assert run(tmp_path, "run.folder=two", *TWO).returncode == 0
    before = (tmp_path / "two/metrics.csv").read_bytes()
    (tmp_path / "two/finished.json").unlink()
    shutil.rmtree(tmp_path / "two/checkpoints/step-000004")
    again = run(tmp_path, "run.folder=two", *TWO)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Continuing after step 2." in again.stdout
    assert (tmp_path / "two/metrics.csv").read_bytes() == before
