"""A verb that is stopped at any moment, by any signal, and given the same command again ends as one that was not.

Some moments, spread over the run; `python tests/killed_run.py FOLDER VERB --most 0` is stopped at every one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.recording.effects import Effects

STEPS = (0, 2, 4, 6)
# Of three steps each, the second on English answers.
STAGES = (
    "stages.translate.trainer.max_steps=3",
    "stages.solve.trainer.max_steps=3",
    "stages.solve.data.train.task=solve",
    "stages.solve.data.train.languages=[en]",
    "stages.solve.method.name=supervised",
)


def same(one: Any, other: Any) -> bool:
    """Whether two nested containers hold equal tensors and values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def check_training(case: Path, whole: Path, about: str) -> None:
    run, expected = case / "run", whole / "run"
    staged = [path.relative_to(expected) for path in expected.glob("merged/*/*")]
    staged += [Path("stages.json")] if (expected / "stages.json").is_file() else []
    tables = ("metrics.csv", "neurons.csv", "evaluation.csv", "finished.json", "config.yaml")
    for name in (*tables, *staged):
        assert (run / name).read_bytes() == (expected / name).read_bytes(), f"{about}: {name}"
    assert len([*run.glob("merged/*/*")]) == len([*expected.glob("merged/*/*")]), about
    steps = sorted({*STEPS, *((3,) if staged else ())})
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints == [f"step-{step:06d}" for step in steps[1:]], about
    (saved,) = (expected / "checkpoints/step-000006").glob("*model.safetensors")  # of an adapter, or a whole model
    written = run / "checkpoints/step-000006" / saved.name
    assert same(safetensors.torch.load_file(written), safetensors.torch.load_file(saved)), about
    states = [
        torch.load(folder / "checkpoints/step-000006/trainer.ckpt", weights_only=True) for folder in (run, expected)
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert same(states[0][key], states[1][key]), f"{about}: {key}"
    snapshots = sorted(path.name for path in (run / "neurons").glob("*.safetensors"))
    assert snapshots == [f"step-{step:06d}.safetensors" for step in steps], about
    for name in snapshots:
        one, two = ActivationCounts.load(run / "neurons" / name), ActivationCounts.load(expected / "neurons" / name)
        assert torch.equal(one.firings.long(), two.firings.long()), f"{about}: {name}"

    answers = sorted(path.name for path in (expected / "evaluation").iterdir())
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == answers, about
    assert len(answers) == 3 * len(steps), about
    for step in steps:
        name = f"evaluation/step-{step:06d}"
        assert (run / f"{name}.jsonl").read_bytes() == (expected / f"{name}.jsonl").read_bytes(), f"{about}: {name}"
        records = [Effects.load(folder / f"{name}.safetensors") for folder in (run, expected)]
        assert records[0].items == records[1].items, f"{about}: {name}"
        assert torch.equal(records[0].right, records[1].right), f"{about}: {name}"


def check_analysis(case: Path, whole: Path, about: str) -> None:
    for name in ("table.csv", "config.yaml"):
        assert (case / "out" / name).read_bytes() == (whole / "out" / name).read_bytes(), f"{about}: {name}"
    sets = [safetensors.torch.load_file(folder / "out/sets.safetensors") for folder in (case, whole)]
    assert same(*sets), about


def check_report(case: Path, whole: Path, about: str) -> None:
    page = (case / "run/report.html").read_bytes()
    assert page == (whole / "run/report.html").read_bytes(), about


def check_answers(case: Path, whole: Path, about: str) -> None:
    for name in ("responses.jsonl", "table.csv", "config.yaml"):
        assert (case / "out" / name).read_bytes() == (whole / "out" / name).read_bytes(), f"{about}: {name}"
    assert not (case / "out/parts").exists(), about


def check_evaluation(case: Path, whole: Path, about: str) -> None:
    out, expected = case / "out", whole / "out"
    files = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in (out, expected)
    ]
    assert files[0] == files[1], about
    for name in files[0]:
        if name.suffix == ".safetensors":
            assert same(*(safetensors.torch.load_file(folder / name) for folder in (out, expected))), f"{about}: {name}"
        elif name.name != "manifest.json":
            assert (out / name).read_bytes() == (expected / name).read_bytes(), f"{about}: {name}"


CHECKS = {
    "train": check_training,
    "analyze": check_analysis,
    "report": check_report,
    "prepare": check_answers,
    "evaluate": check_evaluation,
}


def stop_and_continue(folder: Path, verb: str, *options: str) -> list[dict[str, Any]]:
    """Runs `killed_run.py`, checks every continued run against the whole one; what it says of each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    runner = Path(__file__).with_name("killed_run.py")
    subprocess.run([sys.executable, runner, folder, verb, *options], check=True, env=environment)
    results: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    for result in results:
        about = f"{verb} {' '.join(options)} stopped at moment {result['moment']} ({result['what']})"
        case = Path(result["folder"])
        assert result["again"] == 0, f"{about}: {(case / 'log.txt').read_text()[-3000:]}"
        CHECKS[verb](case, folder / "whole", about)
        assert not [path for path in case.rglob("*") if ".partial" in path.name], about
    return results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "ranks", "most"),
    [
        ("train", 1, 8),
        ("train", 2, 4),
        ("analyze", 1, 5),
        ("analyze", 2, 2),
        ("report", 1, 4),
        ("prepare", 1, 5),
        ("prepare", 2, 2),
        ("evaluate", 1, 5),
        ("evaluate", 2, 2),
    ],
)
def test_a_killed_verb_continues_to_the_same_result(tmp_path: Path, verb: str, ranks: int, most: int) -> None:
    results = stop_and_continue(tmp_path / "kill", verb, "--ranks", str(ranks), "--most", str(most))
    assert len(results) >= most
    assert {result["what"] for result in results} & {"sync", "rename"}
    for result in results:
        assert os.WIFSIGNALED(result["stopped"]), result
        assert os.WTERMSIG(result["stopped"]) == signal.SIGKILL, result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "ranks", "most", "name"),
    [
        ("train", 1, 4, "INT"),
        ("train", 1, 2, "TERM"),
        ("train", 1, 2, "USR1"),
        ("train", 2, 2, "INT"),
        ("train", 2, 1, "USR1"),
        ("analyze", 1, 3, "TERM"),
        ("prepare", 1, 3, "INT"),
    ],
)
def test_a_verb_that_is_asked_to_stop_says_so_and_goes_on(
    tmp_path: Path, verb: str, ranks: int, most: int, name: str
) -> None:
    results = stop_and_continue(tmp_path / "stop", verb, "--ranks", str(ranks), "--most", str(most), "--signal", name)
    expected = 128 + signal.Signals[f"SIG{name}"]
    for result in results:
        log = (Path(result["folder"]) / "log.txt").read_text()
        if result["stopped"] == 0:  # all was done by then
            continue
        assert os.waitstatus_to_exitcode(result["stopped"]) == expected, f"{result}: {log[-3000:]}"
        assert "Traceback" not in log, log[-3000:]
        assert log.count(f"Stopped by SIG{name}") == 1, log[-3000:]
        assert "The same command goes on" in log
    assert sum(result["stopped"] != 0 for result in results) >= len(results) // 2


@pytest.mark.slow
def test_a_killed_training_of_some_neurons_continues_to_the_same_result(tmp_path: Path) -> None:
    some = torch.rand(4, 640, generator=torch.Generator().manual_seed(0)) < 0.05  # of the demo model
    NeuronSets({"some": some}).save(tmp_path / "sets.safetensors")
    options = ["method.trainable=neurons", f"method.neurons.file={tmp_path / 'sets.safetensors'}"]
    options += ["method.optimizer.weight_decay=0.1", "trainer.gradient_clip_val=0.5"]
    given = [part for option in options for part in ("--set", option)]
    results = stop_and_continue(tmp_path / "kill", "train", "--most", "4", *given)
    assert len(results) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "ranks", "most", "more"),
    [
        ("merge", 1, 3, ["--boundary"]),
        ("carry", 1, 2, ["--boundary"]),
        ("merge", 1, 2, []),
        ("merge", 2, 2, ["--boundary"]),
        ("merge", 1, 2, ["--boundary", "--signal", "TERM"]),
    ],
)
def test_a_training_in_stages_that_is_killed_continues_to_the_same_result(
    tmp_path: Path, adapter: str, ranks: int, most: int, more: list[str]
) -> None:
    given = [part for option in (*STAGES, f"stages.solve.adapter={adapter}") for part in ("--set", option)]
    options = ["--ranks", str(ranks), "--most", str(most), *more, *given]
    results = stop_and_continue(tmp_path / "kill", "train", *options)
    assert len(results) >= most
    assert (tmp_path / "kill/whole/run/merged").exists() == (adapter == "merge")


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_takes_its_reference_continues_to_the_same_result(tmp_path: Path) -> None:
    long = "eins zwei drei " * 25  # so that they are of more than one batch
    pairs = [
        {"id": str(n), "language": ("de", "zh")[n % 2], "prompt": f"{n} {long}", "chosen": f"= {n}", "rejected": "= ?"}
        for n in range(24)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    options = ["data.train.name=pairs", f"data.train.path={tmp_path / 'pairs.jsonl'}", "method.name=preference"]
    given = [part for option in (*options, "method.trainable=full") for part in ("--set", option)]
    results = stop_and_continue(
        tmp_path / "kill", "train", "--most", "3", "--without", "data.train.count", "--start", *given
    )
    whole = (tmp_path / "kill/whole/run/reference.safetensors").read_bytes()
    assert {"log-probabilities", "rename"} <= {result["what"] for result in results}
    for result in results:
        assert (Path(result["folder"]) / "run/reference.safetensors").read_bytes() == whole, result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_stopped_at_random_moments(tmp_path: Path, name: str) -> None:
    stop_and_continue(tmp_path / "random", "train", "--random", "2", "--signal", name)
