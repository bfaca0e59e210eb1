"""The progress line and the speed: what is shown, what goes to W&B, and which time counts."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger

from alignlab import console
from alignlab.callbacks.progress import EndOfBatch, Pace, Peak, TrainingProgress, note, peak_memory
from alignlab.data.batching import StepPlan
from alignlab.data.examples import Answers
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches, training_loader
from alignlab.methods.base import Course
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.supervised import SupervisedModule

STEPS, PAUSE = 4, 0.25


class Kept(Logger):
    """Keeps what it gets, as W&B would."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, float]] = {}

    name = version = "kept"

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows.setdefault(step or 0, {}).update(metrics)


class Pauses(L.Callback):
    """What takes time after a step: a snapshot."""

    def on_train_batch_end(self, *_args: Any) -> None:
        time.sleep(PAUSE)


class PausesLast(Checkpoint):
    """What takes time after all others: a checkpoint."""

    def on_train_batch_end(self, *_args: Any) -> None:
        time.sleep(PAUSE)


class Slow(MicroBatches):
    """Batches that have to be waited for."""

    def __getitem__(self, number: int) -> dict[str, Any]:
        time.sleep(PAUSE)
        return super().__getitem__(number)


def run(tokenizer: Any, model: Any, kind: type[MicroBatches], *pauses: L.Callback, accumulation: int = 1) -> Any:
    """The speeds logged, the progress callback, and the seconds that the training took."""
    records = [Record(str(n), "de", "eins " * (n % 4 + 1), "one " * (n % 3 + 1)) for n in range(9)]
    texts = Answers().of(records, tokenizer, Prompts(), max_length=256).examples
    plan = StepPlan(tuple(map(len, texts)), 6, STEPS, seed=0)
    batches = kind(texts, Answers(), plan, accumulation=accumulation, rank=0, ranks=1, pad_id=0)
    kept, first = Kept(), EndOfBatch()
    progress = TrainingProgress(STEPS, first, [kept], lambda module: Peak(1e9, lambda size: 7 * size[0]))
    trainer = L.Trainer(
        max_steps=STEPS, max_epochs=-1, accumulate_grad_batches=accumulation, logger=False, log_every_n_steps=1,
        callbacks=[first, *pauses, progress], enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in pauses), accelerator="cpu",
        use_distributed_sampler=False,
    )  # fmt: skip
    module = SupervisedModule(model, OptimizerConfig(), Course(STEPS, 0))
    began = time.perf_counter()
    trainer.fit(module, training_loader(batches, first=0, workers=0, pin_memory=False))
    return kept.rows, progress, time.perf_counter() - began, batches


def test_what_others_do_after_a_step_is_no_part_of_its_time(tokenizer: Any, tiny_llama: Any) -> None:
    rows, progress, taken, _ = run(tokenizer, tiny_llama, MicroBatches, Pauses(), PausesLast(), accumulation=2)
    steps = sum(seconds for seconds, *_ in progress._pace._steps)
    assert len(rows) == len(progress._pace._steps) == STEPS
    assert 0 < steps <= taken - STEPS * 2 * 2 * PAUSE


def test_waiting_for_batches_is_part_of_a_step(tokenizer: Any, tiny_llama: Any) -> None:
    rows, progress, _, batches = run(tokenizer, tiny_llama, Slow, accumulation=2)
    tokens = 0
    for step, (seconds, own, flops) in enumerate(progress._pace._steps):
        real = sum(int(batches[step * 2 + part]["attention_mask"].sum()) for part in range(2))
        assert (own, flops) == (real, 7 * real)
        assert seconds >= 2 * PAUSE
        tokens += real
    passed = sum(seconds for seconds, *_ in progress._pace._steps)
    last = rows[STEPS]
    assert last["speed/tokens_per_second"] == pytest.approx(tokens / passed)
    assert last["speed/share_of_matrix_peak"] == pytest.approx(7 * tokens / passed / 1e9)
    assert last["speed/peak_memory_gb"] > 0.05


def test_the_pace_is_that_of_the_last_steps() -> None:
    pace = Pace(steps=2)
    pace.add(100.0, 1, 1)
    pace.add(2.0, 300, 40)
    pace.add(3.0, 200, 10)
    assert pace.per_second() == (500 / 5, 50 / 5)


def test_the_line_of_progress_says_all_that_is_known(
    tokenizer: Any, tiny_llama: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.0)
    run(tokenizer, tiny_llama, MicroBatches)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Training: ")]
    assert len(lines) == STEPS
    number = r"[\d.,e+-]+"
    shown = (
        rf"Training: 4 of 4 \(100%\), about 0 s left, loss {number}, gradient norm {number}, epoch 2.67, "
        rf"{number} tokens, {number} tokens/s, \d+% of the matrix peak, {number} GB"
    )
    assert re.fullmatch(shown, lines[-1])


def test_what_is_not_known_is_left_out() -> None:
    assert note({"train/loss": 1.23456, "train/learning_rate": 0.1}) == "loss 1.235"
    assert note({"train/tokens": 1234567, "train/epoch": 0.125}) == "epoch 0.12, 1,234,567 tokens"


def test_the_memory_of_a_process_is_what_the_system_says() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
    assert peak is not None
    assert peak_memory(torch.device("cpu")) == pytest.approx(int(peak[1]) * 1024, rel=0.05)
