"""When a training ends by a logged number: the rule against Lightning's, and the run that it ends."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

import alignlab.train
from alignlab.callbacks.stop_early import Mode, Rule, best_of, of_stage, reason_to_stop
from alignlab.reporting.metrics_csv import MetricsCsv

SMALL = [
    "config=demo", "trainer.max_steps=10", "tracker.every_n_steps=5", "probe.max_texts=4", "probe.source.count=4",
    "probe.source.languages=[en,zh,sw]", "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled",
    "evaluation.source.count=3", "evaluation.source.languages=[en,zh]", "evaluation.max_new_tokens=6",
    "evaluation.every_n_steps=2", "checkpoints.every_n_steps=2", "run.folder=run",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("min_delta", [0.0, 0.305])
@pytest.mark.parametrize("patience", [1, 3])
def test_the_rule_is_lightnings(mode: Mode, min_delta: float, patience: int) -> None:
    random = np.random.default_rng(patience)
    stopped = 0
    for _ in range(60):
        values = random.normal(size=8).round(2).tolist()
        theirs = EarlyStopping("it", mode=mode, min_delta=min_delta, patience=patience, check_finite=False)
        rule = Rule("it", mode, patience, min_delta)
        for number in range(1, len(values) + 1):
            expected, _ = theirs._evaluate_stopping_criteria(torch.tensor(values[number - 1]))
            history = [(10 * place, value) for place, value in enumerate(values[:number])]
            found = reason_to_stop(history, rule)
            assert (found is not None) == expected
            if found is not None:
                stopped += 1
                assert found.best == pytest.approx(float(theirs.best_score))
                assert found.value == values[number - 1]
                break
    assert stopped > 20


def test_what_is_no_number_is_never_the_best() -> None:
    history = [(0, math.nan), (1, 0.2), (2, math.inf), (3, 0.5), (4, math.nan)]
    assert best_of(history, "max") == (3, 0.5)
    assert best_of(history, "min") == (1, 0.2)
    assert best_of(history[:1], "max") is None
    found = reason_to_stop([(0, math.nan), (5, math.nan)], Rule("it", patience=2))
    assert found is not None
    assert (found.best, found.best_step) == (None, None)
    assert best_of([(0, 0.5), (1, 0.5)], "max") == (0, 0.5)  # of equal ones the first


def test_the_history_is_that_of_all_processes(tmp_path: Path) -> None:
    first = MetricsCsv(tmp_path / "metrics.csv", 0)
    for step in range(4):
        first.log_metrics({"a": step / 10, "b": 1.0}, step=step)
    assert first.history("a") == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3)]
    again = MetricsCsv(tmp_path / "metrics.csv", 2)  # continued after step 2: step 3 is done again
    assert again.history("a") == [(0, 0.0), (1, 0.1), (2, 0.2)]
    again.log_metrics({"a": 9.0}, step=2)  # of the step it ended at, logged by the first already
    again.log_metrics({"a": 0.7}, step=3)
    assert again.history("a") == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.7)]
    assert again.keys == {"a", "b"}
    assert again.history("c") == []


def test_a_run_that_is_stopped_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # No share rises by 2: the second value after the first ends the run.
    rule = ["stopping.monitor=capability/trained/right", "stopping.patience=2", "stopping.min_delta=2"]
    best = ["checkpoints.best=neurons/loss/zh", "checkpoints.best_mode=min", "checkpoints.keep_last=1"]
    assert alignlab.train.main([*SMALL, *rule, *best]) == 0
    printed = capsys.readouterr().out
    end = json.loads(Path("run/finished.json").read_text())
    assert (end["step"], end["planned_steps"]) == (4, 10)
    assert end["stopped"]["monitor"] == "capability/trained/right"
    assert end["stopped"]["best_step"] == 0
    assert (
        end["stopped"]["rule"] == "capability/trained/right has not been higher by more than 2.0 for 2 times in a row"
    )
    assert f"after step 4 of 10: {end['stopped']['rule']}" in printed
    # Where it ends there are a snapshot, answers and a checkpoint, though only the answers were due.
    assert {path.name for path in Path("run/neurons").glob("*.safetensors")} == {
        f"step-{step:06d}.safetensors" for step in (0, 4)
    }
    assert {path.name for path in Path("run/evaluation").glob("*.safetensors")} == {
        f"step-{step:06d}.safetensors" for step in (0, 2, 4)
    }
    assert end["best"]["step"] == 4  # the one checkpoint at whose step the loss was logged
    assert Path("run/checkpoints/step-000004").is_dir()
    before = Path("run/metrics.csv").read_bytes()
    # Killed before it could say so, it ends where it ended.
    Path("run/finished.json").unlink()
    assert alignlab.train.main([*SMALL, *rule, *best]) == 0
    assert json.loads(Path("run/finished.json").read_text()) == end
    assert Path("run/metrics.csv").read_bytes() == before
    capsys.readouterr()
    assert alignlab.train.main([*SMALL, *rule, *best]) == 0
    assert "holds this run, finished" in capsys.readouterr().out


def test_a_number_that_nothing_logs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert alignlab.train.main([*SMALL, "stopping.monitor=capability/trained/rigth"]) == 2
    refusal = capsys.readouterr().err
    assert "stopping.monitor: nothing logs 'capability/trained/rigth'" in refusal
    assert "Did you mean 'capability/trained/right'?" in refusal


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("stopping.monitor=loss", "stopping.monitor: nothing logs 'loss'; expected a key of metrics.csv, which begins"),
        ("checkpoints.best=accuracy", "checkpoints.best: nothing logs 'accuracy'"),
        ("stopping.monitor=validation/loss", "nothing logs 'validation/loss' without data.validation. Set data.valid"),
        ("checkpoints.best=capability/trained/right", "nothing logs 'capability/trained/right' without evaluation"),
        (
            "checkpoints.best=train/loss",
            "checkpoints.best_mode: 'max' of 'train/loss'; expected min, as a loss is the b",
        ),
        (
            "stopping.monitor=neurons/loss/zh",
            "stopping.mode: 'max' of 'neurons/loss/zh'; expected min, as a loss is th",
        ),
        ("stopping.monitor=neurons/trained/loss", "stopping.mode: 'max' of 'neurons/trained/loss'; expected min"),
    ],
)
def test_a_number_that_will_not_be_logged_is_refused_before_anything_runs(
    argument: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert alignlab.train.main(["config=demo", "evaluation=null", argument, "dry_run=true"]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("checkpoints.best=train/loss", "checkpoints.best_mode=min"),
        ("stopping.monitor=neurons/loss/zh", "stopping.mode=min"),
        ("checkpoints.best=neurons/specific", "stopping.monitor=train/gradient_norm"),
        ("checkpoints.best_mode=max",),
    ],
)
def test_a_number_is_looked_at_from_the_end_that_can_be_best(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert alignlab.train.main(["config=demo", "evaluation=null", *arguments, "dry_run=true"]) == 0


def test_a_stage_looks_at_what_it_has_logged_and_at_the_model_it_began_with() -> None:
    history = [(0, 1.0), (4, 2.0), (6, 3.0)]
    assert of_stage(history, "validation/loss", 4) == [(6, 3.0)]
    assert of_stage(history, "capability/trained/right", 4) == [(4, 2.0), (6, 3.0)]
    assert of_stage(history, "train/loss", 0) == history
