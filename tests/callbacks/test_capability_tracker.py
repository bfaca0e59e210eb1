"""The capability tracker in somebody else's Lightning script."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from alignlab import CapabilityTracker
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.recording.effects import Effects

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The number of training batches .* is smaller than the logging interval",
)
PROBLEMS = [
    Record(f"{number}", code, f"{words} {number}?", f"{number}")
    for code, words in (("en", "how many birds"), ("de", "wie viele Vögel"), ("sw", "ndege wangapi"))
    for number in range(4)
]


class SomebodysModule(L.LightningModule):
    """A user's own module, which looks at a number that the tracker has logged."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.student = model
        self.seen: list[float] = []
        self.drawn: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(float(self.trainer.callback_metrics.get("capability/trained/right", -1.0)))
        self.drawn.append(float(torch.rand(())))
        assert self.student.training
        return self.student(input_ids=batch, labels=batch).loss

    def train_dataloader(self) -> Any:
        torch.manual_seed(0)
        return torch.utils.data.DataLoader(torch.randint(3, 300, (60, 6)), batch_size=2)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Listener(L.pytorch.loggers.Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    name = version = property(lambda self: "listener")  # type: ignore[assignment]

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "capability/step" in metrics:
            self.logged.append((step, dict(metrics)))


def fit(
    model: nn.Module, tokenizer: Any, folder: Path, *, most: int = 5, checkpoint: Path | None = None, **options: Any
) -> tuple[CapabilityTracker, Listener, SomebodysModule]:
    listener, module = Listener(), SomebodysModule(model.train())
    tracker = CapabilityTracker(PROBLEMS, tokenizer, folder=folder, trained=["de"], **{"max_new_tokens": 6, **options})
    off = dict.fromkeys(["enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = Trainer(max_steps=most, callbacks=[tracker], logger=listener, accelerator="cpu", **off)
    trainer.fit(module, ckpt_path=checkpoint)
    if checkpoint is None:
        trainer.save_checkpoint(folder / "last.ckpt")
    return tracker, listener, module


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "evaluation").iterdir()}


def test_the_model_answers_at_the_start_at_every_n_steps_and_at_the_end(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker, listener, module = fit(tiny_llama, tokenizer, tmp_path, every_n_steps=2)
    assert [step for step, _ in listener.logged] == [0, 2, 4, 5]
    assert names(tmp_path) == {
        f"step-{step:06d}.{suffix}" for step in (0, 2, 4, 5) for suffix in ("safetensors", "jsonl", "csv")
    }
    run = table_of(tmp_path)
    for step, values in listener.logged:
        effects = Effects.load(tmp_path / f"evaluation/step-{step:06d}.safetensors")
        assert (effects.step, effects.trained_languages, effects.reference) == (step, ("de",), "en")
        right = {code: [] for code in ("en", "de", "sw")}  # type: ignore[var-annotated]
        for item, row in zip(effects.items, effects.right, strict=True):
            right[item.language].append(bool(row[0]))
        for group, code in (("trained", "de"), ("reference", "en"), ("unseen", "sw")):
            expected = sum(right[code]) / 4
            assert values[f"capability/right/{code}"] == values[f"capability/{group}/right"] == expected
        assert values["capability/step"] == step
        lines = (tmp_path / f"evaluation/step-{step:06d}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["right"] for line in lines] == effects.right[:, 0].tolist()
        rows = run[(run.step == step) & run.since.isna() & (run.measure == "right") & (run.group == "trained")]
        assert rows.value.tolist() == [sum(right["de"]) / 4]
    assert set(run[run.since.notna()].step) == {2, 4, 5}
    # What was logged last is there to be looked at in every step, and the model trains on as it would.
    logged = {step: values["capability/trained/right"] for step, values in listener.logged}
    assert module.seen == [logged[0], logged[0], logged[2], logged[2], logged[4]]
    printed = capsys.readouterr().out
    assert printed.count("Answers at step 2: problems, 4 a language") == 1
    assert re.search(r"^trained +\d\.\d{3}", printed, re.MULTILINE)
    assert tracker.last is not None
    assert tracker.last.step == 5


def table_of(folder: Path) -> Any:
    return pd.read_csv(folder / "evaluation.csv")


def test_the_training_is_the_one_without_the_tracker(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    found = []
    for options in ({"every_n_steps": 1}, {"steps": []}):
        torch.manual_seed(3)
        model = copy.deepcopy(tiny_llama)
        _, _, module = fit(model, tokenizer, tmp_path / str(options), show=False, **options)
        found.append((module.drawn, {name: tensor.clone() for name, tensor in model.state_dict().items()}))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(tensor, found[1][1][name]) for name, tensor in found[0][1].items())


def test_a_continued_training_keeps_what_is_there_and_answers_what_is_not(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"steps": [0, 2, 4], "show": False}
    fit(tiny_llama, tokenizer, tmp_path, most=2, **options)
    before = {name: (tmp_path / "evaluation" / name).stat().st_mtime_ns for name in names(tmp_path)}
    assert {name[:11] for name in before} == {"step-000000", "step-000002"}
    (tmp_path / "evaluation/step-000002.csv").write_text("step\n", encoding="utf-8")
    _, listener, _ = fit(tiny_llama, tokenizer, tmp_path, most=4, checkpoint=tmp_path / "last.ckpt", **options)
    assert [step for step, _ in listener.logged] == [4]
    after = {name: (tmp_path / "evaluation" / name).stat().st_mtime_ns for name in before}
    assert {name for name in before if before[name] != after[name]} == {"step-000002.csv"}
    assert "step-000002.csv had changed: written again from its record" in capsys.readouterr().out
    assert set(table_of(tmp_path).step) == {0, 2, 4}


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (
            lambda folder: (folder / "step-000000.safetensors").unlink(),
            "step-000000.safetensors: there is no such file",
        ),
        (lambda folder: (folder / "step-000000.jsonl").unlink(), "step-000000.jsonl: there is no such file"),
        (lambda folder: flip(folder / "step-000002.safetensors"), "step-000002.safetensors"),
        (lambda folder: flip(folder / "step-000002.jsonl"), "step-000002.jsonl: its checksum does not fit"),
        (
            lambda folder: (folder / "step-000000.safetensors").replace(folder / "step-000002.safetensors"),
            "it holds the evaluation of step 0",
        ),
    ],
)
def test_what_is_damaged_is_refused_before_the_training_goes_on(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, harm: Any, found: str
) -> None:
    options: dict[str, Any] = {"steps": [0, 2, 4], "show": False}
    fit(tiny_llama, tokenizer, tmp_path, most=2, **options)
    harm(tmp_path / "evaluation")
    with pytest.raises(InputError, match=re.escape(found)):
        fit(tiny_llama, tokenizer, tmp_path, most=4, checkpoint=tmp_path / "last.ckpt", **options)


def test_answers_to_other_problems_are_no_start(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": [0, 2, 4], "show": False}
    fit(tiny_llama, tokenizer, tmp_path, most=2, **options)
    with pytest.raises(InputError, match=r"step-000000\.safetensors: answers to other problems"):
        fit(tiny_llama, tokenizer, tmp_path, most=4, checkpoint=tmp_path / "last.ckpt", max_new_tokens=7, **options)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def test_a_second_training_is_refused_where_it_would_replace_a_first(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    fit(tiny_llama, tokenizer, tmp_path, most=2, show=False)
    with pytest.raises(InputError, match=r"evaluations of an earlier training, up to step 2.*overwrite=True"):
        fit(tiny_llama, tokenizer, tmp_path, most=3, show=False)
    fit(tiny_llama, tokenizer, tmp_path, most=3, show=False, overwrite=True)
    assert {name[:11] for name in names(tmp_path)} == {"step-000000", "step-000003"}


def test_answering_that_is_left_leaves_nothing(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    left = iter([False, True, True])

    @contextmanager
    def abandonable() -> Iterator[bool]:
        yield next(left)

    tracker, listener, _ = fit(tiny_llama, tokenizer, tmp_path, most=4, every_n_steps=2, abandonable=abandonable)
    assert [step for step, _ in listener.logged] == [2, 4]
    assert {name[:11] for name in names(tmp_path)} == {"step-000002", "step-000004"}
    assert tracker.first is not None
    assert tracker.first.step == 2


def test_records_need_a_tokenizer_and_models_positions(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CapabilityTracker: records without a tokenizer"):
        CapabilityTracker(PROBLEMS, folder=tmp_path)
    tracker = CapabilityTracker(PROBLEMS, tokenizer, folder=tmp_path, max_new_tokens=4000)
    with pytest.raises(InputError, match=r"evaluation\.max_new_tokens"):
        Trainer(max_steps=1, callbacks=[tracker], logger=False, enable_checkpointing=False).fit(
            SomebodysModule(tiny_llama)
        )
