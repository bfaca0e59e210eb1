"""Stages of a training, against the same trainings done one by one by hand: transformers, PEFT and single runs."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger
from safetensors.torch import load_file

import alignlab.analyze
import alignlab.train
from alignlab.building import StageRun, best_checkpoint, build_trainer
from alignlab.callbacks.validation import ValidationLoss
from alignlab.config import load
from alignlab.data.sources import WordProblems
from alignlab.methods.base import AlignmentModule
from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons import ActivationCounts
from alignlab.options import TrainConfig
from alignlab.reporting.metrics_csv import MetricsCsv, read_metrics
from alignlab.run_plan import RunPlan
from alignlab.stages import stage_seed

DEMO = str(Path(alignlab.train.__file__).parents[2] / "configs/demo.yaml")
SMALL = {
    "base": DEMO,
    "run": {"folder": "run"},
    "data": {"examples_per_step": 4, "train": {"count": 10}},
    "method": {"lora": {"rank": 4}},
    "probe": {"max_texts": 3, "source": {"count": 3, "languages": ["en", "de", "sw"]}},
    "tracker": {"every_n_steps": None},
    "wandb": {"mode": "disabled"},
}
ENGLISH = {"train": {"task": "solve", "languages": ["en"]}, "prompts": {"template": "{prompt}\n"}}
TRANSLATE = {"trainer": {"max_steps": 2}}
SOLVE = {"data": ENGLISH, "method": {"name": "supervised", "optimizer": {"lr": 1e-3}}, "trainer": {"max_steps": 3}}
# What the documentation says of the seeds of stages.
SECOND_SEED = int.from_bytes(hashlib.sha256(b"stage 1 of seed 0").digest()[:4], "big")
Command = Callable[..., tuple[int, str, str]]
Weights = dict[str, torch.Tensor]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`alignlab.train` with a config over `SMALL` and arguments, in an empty folder: status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def call(config: dict[str, Any], *argv: str) -> tuple[int, str, str]:
        Path("config.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
        Path("stages.yaml").write_text(yaml.safe_dump({"base": "config.yaml", **config}, sort_keys=False))
        status = alignlab.train.main(["config=stages.yaml", *argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Copies of the model at the start and the end of every stage that is trained, in turn."""
    models: list[Any] = []

    def keep(self: Any) -> None:
        models.append(copy.deepcopy(self.model))

    monkeypatch.setattr(AlignmentModule, "on_train_start", keep, raising=False)
    monkeypatch.setattr(AlignmentModule, "on_train_end", keep, raising=False)
    return models


def logged(folder: str, key: str) -> dict[int, float]:
    with Path(folder, "metrics.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["key"] == key}


def steps_in(folder: str) -> list[int]:
    return sorted(int(path.name[5:11]) for path in Path(folder).glob("step-*") if path.suffix in ("", ".safetensors"))


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain(stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage has, as the config of a run of its own over `SMALL`."""
    return {key: value for key, value in stage.items() if key != "adapter"}


@pytest.mark.slow
def test_two_stages_are_two_runs_and_a_merge_by_hand(train: Command) -> None:
    assert train({"stages": {"translate": TRANSLATE, "solve": SOLVE}})[0] == 0

    assert train(plain(TRANSLATE), "run.folder=first")[0] == 0
    base = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    merged = peft.PeftModel.from_pretrained(base, "first/checkpoints/step-000002").merge_and_unload()
    merged.save_pretrained("by_hand")
    transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER).save_pretrained("by_hand")
    assert train(plain(SOLVE), "run.folder=second", "model.source=by_hand", f"seed={SECOND_SEED}")[0] == 0

    assert same(load_file("run/merged/step-000002/model.safetensors"), load_file("by_hand/model.safetensors"))
    first, second = (logged(folder, "train/loss") for folder in ("first", "second"))
    assert logged("run", "train/loss") == {**first, **{step + 2: loss for step, loss in second.items()}}
    rates = logged("second", "train/learning_rate")
    assert [logged("run", "train/learning_rate")[step + 2] for step in rates] == list(rates.values())
    for ours, run, step in ((2, "first", 2), (5, "second", 3)):
        name = "adapter_model.safetensors"
        adapter = load_file(f"{run}/checkpoints/step-{step:06d}/{name}")
        assert same(load_file(f"run/checkpoints/step-{ours:06d}/{name}"), adapter)
        counts = [
            ActivationCounts.load(f"{folder}/neurons/step-{at:06d}.safetensors")
            for folder, at in (("run", ours), (run, step))
        ]
        assert torch.equal(counts[0].firings.long(), counts[1].firings.long())

    assert steps_in("run/checkpoints") == [2, 5]
    assert steps_in("run/neurons") == [0, 2, 5]
    assert json.loads(Path("run/finished.json").read_text()) == {
        "step": 5,
        "stages": [{"name": "translate", "step": 2}, {"name": "solve", "step": 5}],
    }


@pytest.mark.slow
def test_a_stage_begins_with_the_weights_that_the_one_before_ended_with(train: Command, seen: list[Any]) -> None:
    full = {**TRANSLATE, "method": {"trainable": "full", "optimizer": {"lr": 1e-4}}}
    carried = {**SOLVE, "adapter": "carry"}
    assert train({"stages": {"a": full, "b": SOLVE, "c": carried, "d": full}})[0] == 0
    start_a, end_a, start_b, end_b, start_c, end_c, start_d, _ = seen
    assert not same(start_a.state_dict(), end_a.state_dict())

    assert same(start_b.unload().state_dict(), end_a.state_dict())
    assert same(end_b.state_dict(), start_c.state_dict())
    assert not same(end_b.state_dict(), end_c.state_dict())
    assert same(start_d.state_dict(), end_c.merge_and_unload().state_dict())
    assert steps_in("run/merged") == [8]


@pytest.mark.slow
def test_an_adapter_that_is_carried_on_is_the_one_that_peft_loads(train: Command, seen: list[Any]) -> None:
    assert train({"stages": {"translate": TRANSLATE, "solve": {**SOLVE, "adapter": "carry"}}})[0] == 0
    base = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    loaded = peft.PeftModel.from_pretrained(base, "run/checkpoints/step-000002", is_trainable=True)
    assert same(seen[2].state_dict(), loaded.state_dict())
    assert {name for name, weight in seen[2].named_parameters() if weight.requires_grad} == {
        name for name, weight in loaded.named_parameters() if weight.requires_grad
    }
    # And the last adapter, on the same model, is what the training ended with.
    again = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    last = peft.PeftModel.from_pretrained(again, "run/checkpoints/step-000005")
    assert same(peft.get_peft_model_state_dict(last), peft.get_peft_model_state_dict(seen[3]))
    assert not Path("run/merged").exists()


@pytest.mark.slow
def test_an_adapter_that_is_carried_on_is_the_reference_of_a_preference(train: Command) -> None:
    """At its first step DPO's loss is ln 2: nothing has been gained on the model as it was before that step."""
    rows = [
        {
            "id": one.id, "language": one.language, "prompt": one.prompt, "chosen": one.answer,
            "rejected": one.answer[:8] + "?",
        }
        for one in WordProblems(languages=["zh", "de"], count=6).load()
    ]  # fmt: skip
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prefer = {
        "data": {"train": {"name": "pairs", "path": "pairs.jsonl"}},
        "method": {"name": "preference", "optimizer": {"warmup": 0.0}},
        "adapter": "carry",
        "trainer": {"max_steps": 2},
    }
    eager = {**TRANSLATE, "method": {"optimizer": {"lr": 0.05, "schedule": "constant", "warmup": 0.0}}}
    assert train({"stages": {"translate": eager, "prefer": prefer}})[0] == 0
    losses = logged("run", "train/loss")
    assert losses[3] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(losses[4] - math.log(2)) > 1e-3
    assert logged("run", "train/reward_margin")[3] == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_languages_are_those_of_all_stages_and_of_a_checkpoint_those_by_then(train: Command) -> None:
    other = {"data": {"train": {"languages": ["sw"]}}, "trainer": {"max_steps": 1}}
    assert train({"stages": {"translate": TRANSLATE, "other": other}}, "trainer.max_steps=1")[0] == 0
    for step, trained in ((2, ["zh", "de"]), (3, ["zh", "de", "sw"])):
        told = json.loads(Path(f"run/checkpoints/step-{step:06d}/alignlab.json").read_text())
        assert told == {"trained_languages": trained, "reference": "en"}
        counts = ActivationCounts.load(f"run/neurons/step-{step:06d}.safetensors")
        assert counts.trained_languages == ("zh", "de", "sw")
        assert counts.model == "builtin:demo"
    demo = str(DEMO_FOLDER).encode()
    assert [path for path in Path("run").rglob("*") if path.is_file() and demo in path.read_bytes()] == []


@pytest.mark.slow
def test_a_stage_that_stops_early_is_followed_by_the_next(train: Command) -> None:
    stopping = {"monitor": "train/loss", "mode": "min", "patience": 1, "min_delta": 100.0}
    first = {**TRANSLATE, "trainer": {"max_steps": 5}, "stopping": stopping}
    status, printed, _ = train({"stages": {"translate": first, "solve": SOLVE}, "tracker": {"every_n_steps": 2}})
    assert status == 0
    assert steps_in("run/neurons") == [0, 2, 4, 5]
    assert steps_in("run/checkpoints") == [2, 4, 5]
    assert steps_in("run/merged") == [2]
    assert list(logged("run", "train/loss")) == [1, 2, 3, 4, 5]
    ended, solved = json.loads(Path("run/finished.json").read_text())["stages"]
    assert (ended["step"], ended["planned_steps"]) == (2, 5)
    assert ended["stopped"]["rule"] == "train/loss has not been lower by more than 100.0 for 1 time in a row"
    assert solved == {"name": "solve", "step": 5}
    assert "Stage solve (2 of 2): steps 3 to 5." in printed


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["merge", pytest.param("carry", marks=pytest.mark.slow)])
def test_checkpoints_of_a_later_stage_are_counted_on_the_model_they_stand_on(train: Command, adapter: str) -> None:
    """Also where the run has been moved."""
    assert train({"stages": {"translate": TRANSLATE, "solve": {**SOLVE, "adapter": adapter}}})[0] == 0
    Path("run").rename("moved")
    assert alignlab.analyze.main(["run=moved", "recount=true"]) == 0
    counted = [ActivationCounts.load(path) for path in Path("moved/analysis/counts").rglob("*.safetensors")]
    again = {counts.step: counts.firings.long() for counts in counted}
    assert sorted(step or 0 for step in again) == [0, 2, 5]
    for step, firings in again.items():
        assert torch.equal(ActivationCounts.load(f"moved/neurons/step-{step:06d}.safetensors").firings.long(), firings)


def test_the_plan_has_every_stage(train: Command) -> None:
    stages = {"translate": TRANSLATE, "solve": {**SOLVE, "trainer": {"max_epochs": 3}}}
    status, printed, _ = train({"stages": stages}, "dry_run=true")
    assert status == 0
    for line in (
        "stage translate     steps 1 to 2 of the run",
        "stage solve         steps 3 to 10 of the run",  # 3 epochs of 10 examples in steps of 4
        "training text       20 examples (zh 10, de 10)",
        "training text       10 examples (en 10)",
        "snapshots           3, ",
        "merged              1 model, 7.5",
    ):
        assert line in printed
    assert not Path("run").exists()


def at(line: str) -> str:
    """Where a line is in the config of the stages."""
    lines = Path("stages.yaml").read_text().splitlines()
    return f"stages.yaml:{1 + [text.strip() for text in lines].index(line)}"


def test_all_mistakes_in_all_stages_are_found_before_anything_starts(train: Command) -> None:
    stages = {
        "translate": {"data": {"train": {"name": "files"}}, "method": {"optimiser": {"lr": 1}}},
        "solve": {"method": {"lora": {"rank": 0}}, "adapter": "merged", "trainer": {"devices": 2}},
    }
    status, _, complaints = train({"stages": stages}, "data.max_length=1")
    assert status == 2
    told = complaints.strip().splitlines()
    assert told.pop(3).startswith("stages.translate.data.train.path: not set; expected text")
    assert told == [
        f"{at('lr: 1')}: there is no key 'stages.translate.method.optimiser.lr' (set to 1). "
        "Did you mean 'stages.NAME.method.optimizer.lr'?",
        f"{at('devices: 2')}: there is no key 'stages.solve.trainer.devices' (set to 2). "
        "Did you mean 'trainer.devices'?",
        # Of the run, and told once: what stages inherit is not theirs.
        "command line: data.max_length is 1; expected an integer, at least 2 and at most 10000000 (tokens).",
        f"{at('rank: 0')}: stages.solve.method.lora.rank is 0; expected an integer, at least 1 and at most 65536.",
        f"{at('adapter: merged')}: stages.solve.adapter is 'merged'; expected one of 'merge', 'carry'. "
        "Did you mean 'merge'?",
    ]


def test_what_the_model_and_the_data_refuse_is_told_of_all_stages(train: Command) -> None:
    stages = {
        "translate": {"method": {"lora": {"targets": ["q_porj"]}}},
        "solve": {**SOLVE, "method": {"lora": {"targets": ["k_porj"]}}},
        "short": {"trainer": {"max_steps": -1}},
    }
    status, _, complaints = train({"stages": stages}, "trainer.max_steps=1")
    assert status == 2
    first, second, third = complaints.strip().splitlines()
    assert first.startswith(f"{at('targets:')}: stages.translate.method.lora.targets: the model has no module 'q_porj'")
    assert " stages.solve.method.lora.targets: the model has no module 'k_porj'" in second
    assert "stages.short.trainer: max_steps is -1 and max_epochs None; expected a number over 0" in third
    short = {"data": {"examples_per_step": 1}, "trainer": {"max_steps": 2, "accumulate_grad_batches": 2}}
    status, _, complaints = train({"stages": {"translate": TRANSLATE, "short": short}}, "trainer.max_steps=1")
    assert status == 2
    found = "stages.short.data.examples_per_step: 1 for 1 ranks x 2 micro-batches"
    assert complaints.strip().startswith(f"{at('examples_per_step: 1')}: {found}")


@pytest.mark.parametrize(
    ("stages", "argv", "says"),
    [
        ({"a": {"adapter": "carry"}}, [], "stages.a.adapter: carry, and there is no stage before; expected merge."),
        (
            {"a": {}, "b": {"adapter": "carry", "method": {"trainable": "full"}}},
            [],
            "stages.b.adapter: carry, but the stage trains full and the one before lora",
        ),
        (
            {"a": {}, "b": {"adapter": "carry", "method": {"lora": {"rank": 8}}}},
            [],
            "stages.b.method.lora.rank: it is 8, and the adapter that is carried on has 4; expected the same. "
            "Set stages.b.adapter=merge for a new adapter.",
        ),
        ({"a": {}, "b": {}}, ["model.four_bit=true"], "stages.b.adapter: merge, and model.four_bit is true"),
        ({"a b": {}}, [], "stages.a b: its name is 'a b'; expected letters, digits and _."),
        (
            {"a": {}, "b": {"stopping": {"monitor": "validation/loss"}}},
            [],
            "stages.b.stopping.monitor: nothing logs 'validation/loss' without data.validation.",
        ),
    ],
)
def test_stages_that_do_not_go_together(train: Command, stages: Any, argv: list[str], says: str) -> None:
    status, _, complaints = train({"stages": stages}, *argv)
    assert status == 2
    assert says in complaints


def planned(tmp_path: Path, *argv: str) -> RunPlan:
    config = {**SMALL, "stages": {"translate": TRANSLATE, "solve": SOLVE}}
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return RunPlan(load(TrainConfig, [f"config={tmp_path}/stages.yaml", f"run.folder={tmp_path}/run", *argv])[0])


@pytest.mark.slow
def test_the_first_validation_loss_of_a_stage_is_that_of_the_weights_it_begins_with(
    train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same examples and weights, at the end of a stage and at the start of the next."""
    stages = {"one": TRANSLATE, "two": {**TRANSLATE, "adapter": "carry"}}
    config = {"data": {"validation": {"examples": 4}}, "stages": stages}
    status, said, complaint = train(config, "run.folder=whole")
    assert status == 0, complaint
    whole = {(step, key): value for step, key, value in read_metrics(Path("whole/metrics.csv"), 9)}
    assert [key for key in whole if "validation" in key[1]] == [
        (0, "validation/loss"), (2, "validation/loss"), (3, "validation/start/loss"), (4, "validation/loss"),
    ]  # fmt: skip
    assert whole[3, "validation/start/loss"] == whole[2, "validation/loss"] != whole[0, "validation/loss"]
    assert "Validation loss before step 3, the first of the stage: " in said
    # Killed before a checkpoint of the second stage: it begins again.
    own = ValidationLoss.on_train_batch_end

    def killed(self: Any, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("power cut")
        own(self, trainer, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(ValidationLoss, "on_train_batch_end", killed)
        with pytest.raises(RuntimeError, match="power cut"):
            train(config, "run.folder=broken")
    assert train(config, "run.folder=broken")[0] == 0
    assert Path("broken/metrics.csv").read_bytes() == Path("whole/metrics.csv").read_bytes()


def test_a_time_limit_is_over_all_stages(tmp_path: Path) -> None:
    run = StageRun(planned(tmp_path, "trainer.max_time=00:00:10:00"), (2,))
    loggers: list[Logger] = [MetricsCsv(tmp_path / "metrics.csv", 2)]
    trainer = build_trainer(run, loggers, goes_on=False, elapsed=100.0)
    assert next(one for one in trainer.callbacks if isinstance(one, Timer)).time_remaining() == 500
    assert (trainer.global_step, trainer.max_steps) == (2, 5)


def test_steps_follow_a_stage_that_has_ended_early(tmp_path: Path) -> None:
    plan = planned(tmp_path, "tracker.every_n_steps=2", "evaluation.source.split=test")
    assert [plan.planned_ends(ends) for ends in ((), (1,), (2, 4))] == [[2, 5], [1, 4], [2, 4]]
    assert plan.snapshot_steps() == plan.evaluation_steps() == [0, 2, 4, 5]
    assert plan.snapshot_steps((1,)) == [0, 1, 2, 4]
    assert plan.checkpoint_steps((1,)) == [1, 2, 4]


def test_the_best_checkpoint_is_by_numbers_that_can_be_compared(tmp_path: Path) -> None:
    """A loss on the text of another stage cannot; what the model can do on one text can."""
    history = [(2, 9.0), (4, 3.0), (5, 4.0)]
    for key, best in (("train/loss", 5), ("validation/loss", 5), ("capability/right/zh", 2), ("neurons/general", 2)):
        argv = [f"checkpoints.best={key}", "evaluation.source.split=test", "data.validation.examples=2"]
        assert best_checkpoint(planned(tmp_path, *argv), history, {2, 4, 5}, first=2) == best


def test_seeds_of_stages_are_the_runs_and_others() -> None:
    assert [stage_seed(seed, 0) for seed in (0, 7)] == [0, 7]
    assert stage_seed(0, 1) == SECOND_SEED
    seeds = {stage_seed(seed, number) for seed in range(50) for number in range(1, 5)}
    assert len(seeds) == 200
    assert max(seeds) < 2**32
