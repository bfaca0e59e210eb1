"""Whole runs in which the model answers the probe itself, broken off and continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import alignlab.train
from alignlab.neurons import ActivationCounts
from alignlab.recording import responses
from alignlab.recording.tallies import Firings

SMALL = (
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=3", "probe.source.count=3",
    "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled", "probe.source.languages=[en,de,sw]",
    "probe.max_new_tokens=60", "method.lora.dropout=0.2", "method.optimizer.lr=0.02",
    "tracker.statistics=[documents,moments,maximum]", "evaluation=null",
)  # fmt: skip
STEPS = (0, 2, 4)
FILES = {
    "generated_once": ["responses.jsonl"],
    "regenerated": [f"step-{step:06d}.responses.jsonl" for step in STEPS],
}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`alignlab.train` with the given arguments, in an empty folder: exit status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        status = alignlab.train.main((*SMALL, *argv))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


class InterruptionError(Exception):
    pass


def counts_of(folder: Path) -> list[ActivationCounts]:
    return [ActivationCounts.load(folder / f"neurons/step-{step:06d}.safetensors") for step in STEPS]


def break_off(command: Command, monkeypatch: pytest.MonkeyPatch, at: int, *argv: str) -> None:
    """Run until the responses of snapshot number `at` are there and its counts are not."""
    start, calls = Firings.start, []

    def fail(*args: Any) -> None:
        calls.append(1)
        if len(calls) > at:
            raise InterruptionError
        start(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Firings, "start", fail)  # once a pass, when there is nothing left to answer
        with pytest.raises(InterruptionError):
            command(*argv)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_a_run_and_one_that_was_broken_off(
    kind: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"probe.responses={kind}"
    status, printed, complaints = command(own, "run.folder=whole")
    assert (status, complaints) == (0, "")
    assert "up to 540 tokens (60 a prompt)" in printed
    assert "Neurons at step 4" in printed
    assert sorted(path.name for path in Path("whole/neurons").glob("*.jsonl")) == FILES[kind]
    first, *_, last = counts_of(Path("whole"))
    assert (first.data_fingerprint == last.data_fingerprint) == (kind == "generated_once")
    assert first.activation_squares is not None
    assert first.maximum is not None

    # Its training is that of a run that answers nothing itself.
    assert command("run.folder=reference")[0] == 0
    adapter = "checkpoints/step-000004/adapter_model.safetensors"
    assert Path("whole", adapter).read_bytes() == Path("reference", adapter).read_bytes()

    for at in (0, 1):
        folder = f"broken-{at}"
        break_off(command, monkeypatch, at, own, f"run.folder={folder}")
        assert len(list(Path(folder, "neurons").glob("*.jsonl"))) == (1 if kind == "generated_once" else at + 1)
        assert len(list(Path(folder, "neurons").glob("*.safetensors"))) == at
        assert command(own, f"run.folder={folder}")[0] == 0
        for name in ("metrics.csv", "neurons.csv", *(f"neurons/{name}" for name in FILES[kind])):
            assert Path(folder, name).read_bytes() == Path("whole", name).read_bytes(), name
        for one, other in zip(counts_of(Path(folder)), counts_of(Path("whole")), strict=True):
            assert torch.equal(one.firings.long(), other.firings.long())
            assert one.data_fingerprint == other.data_fingerprint


@pytest.mark.slow
def test_a_run_goes_on_with_the_responses_that_it_has(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("probe.responses=generated_once", "run.folder=kept")
    break_off(command, monkeypatch, 2, *own)
    path = Path("kept/neurons/responses.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]), encoding="utf-8")
    status, _, complaint = command(*own)
    assert status == 2
    assert complaint.strip() == (
        f"{path}: it holds 7 whole lines for 9 prompts; expected the responses of this run to its probe. "
        "Restore the file, or give another folder."
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(responses, "generate", None)  # nothing is generated any more
    assert command(*own)[0] == 0
    answered = [json.loads(line) for line in lines]
    counts = counts_of(Path("kept"))[-1]
    eos = [line["tokens"][-1] for line in answered if line["ended"]]
    assert len(set(eos)) == 1
    expected = {
        code: sum(len(line["tokens"]) - line["ended"] for line in answered if line["language"] == code)
        for code in ("en", "de", "sw")
    }
    assert dict(zip(counts.languages, counts.language_tokens().tolist(), strict=True)) == expected


def test_a_dry_run_generates_nothing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "generate", None)
    status, printed, _ = command("probe.responses=regenerated", "dry_run=true")
    assert status == 0
    text = " ".join(printed.split())
    assert "generated at every snapshot: up to 540 tokens (60 a prompt), 3 times" in text
    assert "9 documents in 3 languages, up to 540 tokens counted (scope response)" in text
    assert list(tmp_path.iterdir()) == []


def test_too_few_positions_are_refused_before_the_weights_are_loaded(command: Command) -> None:
    status, _, complaint = command("probe.responses=regenerated", "probe.max_new_tokens=5000", "dry_run=true")
    assert status == 2
    assert "probe.max_new_tokens: a prompt of " in complaint
    assert "5000 new ones for a model of" in complaint
