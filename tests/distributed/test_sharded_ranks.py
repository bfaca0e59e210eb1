"""Two real processes that each hold half of the model, against one: losses, counts, answers, files; and going on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alignlab.neurons import ActivationCounts

from . import test_two_ranks
from .test_two_ranks import ARGUMENTS, compare_answers, logged, run

# A batch a document: in single precision too neither the batches nor the ranks change a forward.
SMALL = ["trainer.precision=32-true", "trainer.gradient_clip_val=0.1", "data.validation.share=0.2"]
TWO = ["trainer.devices=2", "trainer.strategy=sharded"]
WITHOUT_ANSWERS = [*SMALL, "evaluation=null", "probe.source.languages=[en,de]"]


def train(folder: Path, name: str, *argv: str, torchrun: bool = False) -> Path:
    done = run(folder, f"run.folder={name}", *argv, torchrun=torchrun)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / name


def compare(one: Path, two: Path) -> None:
    """The same numbers, counts and checkpoints, these in the same form."""
    with (one / "metrics.csv").open(encoding="utf-8", newline="") as file:
        keys = {row["key"] for row in csv.DictReader(file)}
    assert "validation/loss" in keys
    for key in keys:
        if key.startswith(("train/", "validation/", "capability/")):
            assert logged(two, key) == pytest.approx(logged(one, key), rel=2e-5, abs=1e-7), key
    for path in sorted((one / "neurons").glob("*.safetensors")):
        first, second = ActivationCounts.load(path), ActivationCounts.load(two / "neurons" / path.name)
        assert int(first.totals().sum()) > 0
        if first.step == 0:
            assert torch.equal(first.totals(), second.totals())
        # Trained weights are the same but for rounding, and an activation that is 0 but for rounding fires or not:
        # that counts are exact given the weights, `recounted` shows.
        moved = int((first.totals() - second.totals()).abs().sum())
        assert moved <= 1e-4 * int(first.totals().sum())
    folders = sorted((one / "checkpoints").iterdir())
    assert len(folders) == 2
    for folder in folders:
        other = two / "checkpoints" / folder.name
        assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in other.iterdir())
        states = [torch.load(place / "trainer.ckpt", weights_only=True) for place in (folder, other)]
        compare_state(*states)
        for file in folder.glob("*.safetensors"):
            compare_state(load_file(file), load_file(other / file.name))
        for name in ("config.json", "adapter_config.json", "tokenizer.json", "alignlab.json"):
            if (folder / name).is_file():
                assert (folder / name).read_bytes() == (other / name).read_bytes()


def recounted(folder: Path, two: Path) -> None:
    """What ranks have counted is what one process counts in the checkpoints that they have left, to the integer."""
    done = run(folder, f"run={two}", "recount=true", f"folder={folder / 'again'}", verb="analyze")
    assert done.returncode == 0, done.stderr[-3000:]
    again = [ActivationCounts.load(path) for path in sorted((two / "analysis/counts").iterdir())]
    assert sorted(one.step or 0 for one in again) == [0, 2, 4]
    for one in again:
        counted = ActivationCounts.load(two / f"neurons/step-{one.step:06d}.safetensors")
        assert torch.equal(counted.totals(), one.totals()), one.step


def compare_state(one: Any, two: Any) -> None:
    """The same keys, types and shapes all the way down; tensors but for rounding."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            compare_state(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            compare_state(first, second)
    elif isinstance(one, torch.Tensor):
        assert (one.shape, one.dtype, one.device) == (two.shape, two.dtype, two.device)
        # Adam divides by the root of what may be rounding alone: a few entries of a tensor, not the tensor.
        assert float((one - two).double().norm()) <= 1e-3 * float(one.double().norm()) + 1e-12
    else:
        assert one == two


@pytest.mark.slow
def test_sharded_ranks_train_count_and_answer_as_one_and_as_ddp(tmp_path: Path) -> None:
    one = train(tmp_path, "one", *SMALL)
    sharded = train(tmp_path, "sharded", *SMALL, *TWO, torchrun=True)
    ddp = train(tmp_path, "ddp", *SMALL, "trainer.devices=2", "trainer.strategy=ddp", torchrun=True)
    compare(one, sharded)
    compare(ddp, sharded)
    compare_answers(one, sharded)
    recounted(tmp_path, sharded)


@pytest.mark.slow
def test_all_weights_are_trained_sharded_as_by_one_process(tmp_path: Path) -> None:
    options = [*WITHOUT_ANSWERS, "method.trainable=full", "trainer.accumulate_grad_batches=2"]
    options += ["method.optimizer.weight_decay=0.1", "model.gradient_checkpointing=true"]
    two = train(tmp_path, "two", *options, *TWO)
    compare(train(tmp_path, "one", *options), two)
    recounted(tmp_path, two)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["lora", "full"])  # the reference: the adapter off, and log-probabilities kept
def test_preferences_are_trained_sharded_as_by_one_process(
    trainable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = [{"chosen": f"{n + 1}", "rejected": f"x {n}"} for n in range(20)]
    rows = [{"id": f"{n}", "language": "de", "prompt": f"{n} + 1?", **side} for n, side in enumerate(sides)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.setattr(test_two_ranks, "ARGUMENTS", [one for one in ARGUMENTS if not one.startswith("data.train.")])
    options = [*WITHOUT_ANSWERS, f"method.trainable={trainable}", "method.name=preference"]
    options += ["data.train.name=pairs", "data.train.languages=[de]", f"data.train.path={tmp_path / 'pairs.jsonl'}"]
    one, two = train(tmp_path, "one", *options), train(tmp_path, "two", *options, *TWO)
    compare(one, two)
    assert (one / "reference.safetensors").is_file() == (trainable == "full")
    if trainable == "full":
        compare_state(*(load_file(folder / "reference.safetensors") for folder in (one, two)))


@pytest.mark.slow
def test_a_run_goes_on_from_two_ranks_on_one_and_on_two_again(tmp_path: Path) -> None:
    options = [*WITHOUT_ANSWERS, "checkpoints.every_n_steps=1"]
    whole = train(tmp_path, "whole", *options, *TWO)
    shutil.copytree(whole, tmp_path / "parts")
    for steps, ranks in (((2, 3, 4), []), ((3, 4), TWO)):  # after step 1 on one rank, after step 2 on two
        (tmp_path / "parts/finished.json").unlink()
        for step in steps:
            shutil.rmtree(tmp_path / f"parts/checkpoints/step-{step:06d}")
        done = run(tmp_path, "run.folder=parts", *options, *ranks)
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"Continuing after step {steps[0] - 1}." in done.stdout
        assert ("note: the run began on 2 ranks and goes on on 1" in done.stderr) == (not ranks)
    for key in ("train/loss", "train/gradient_norm", "validation/loss"):
        assert logged(tmp_path / "parts", key) == pytest.approx(logged(whole, key), rel=2e-5)
    for step in range(1, 5):
        name = f"checkpoints/step-{step:06d}/trainer.ckpt"
        compare_state(*(torch.load(folder / name, weights_only=True) for folder in (whole, tmp_path / "parts")))
