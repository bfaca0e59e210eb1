"""The tracker in a transformers Trainer and in those of TRL."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from alignlab.callbacks import NeuronTracker, NeuronTrackerCallback
from alignlab.callbacks.hf_trainer import precision
from alignlab.data.records import Record
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts, ternary
from alignlab.neurons.table import read_csv
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import build_probe

README = Path(__file__).parents[2] / "README.md"
ENGLISH = ["seven birds sing at night", "the fox is old", "12 hills", "nobody counts them", "run"]
GERMAN = ["sieben Vögel singen nachts", "der Fuchs ist alt", "12 Hügel", "niemand zählt sie", "lauf"]
TEXTS = {"en": ENGLISH, "de": GERMAN}

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script_method",
    "ignore:.*'pin_memory' argument is set as true but no accelerator",
    # Lightning, in the comparison with its tracker.
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*module.s. in eval mode at the start of training",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated",
)


class Numbers(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Rows of six random tokens, which are their own labels."""

    def __init__(self, rows: int = 64) -> None:
        self.rows = torch.randint(3, 300, (rows, 6), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def a_trainer(model: nn.Module, folder: Path, **options: Any) -> Trainer:
    given = {"max_steps": 10, "per_device_train_batch_size": 4, "learning_rate": 0.01, "save_strategy": "no",
             "report_to": "none", "use_cpu": True, "disable_tqdm": True, "logging_steps": 5, **options}  # fmt: skip
    args = TrainingArguments(output_dir=str(folder), **given)
    return Trainer(model=model, args=args, train_dataset=Numbers(), eval_dataset=Numbers())


def track(model: nn.Module, tokenizer: Any, folder: Path, *others: TrainerCallback, **options: Any) -> Trainer:
    """Ten steps with snapshots every four, in `folder/tracked`."""
    trainer = a_trainer(model, folder / "trainer", **options)
    trainer.add_callback(
        NeuronTrackerCallback(TEXTS, tokenizer, folder=folder / "tracked", every_n_steps=4, trained=["de"])
    )
    for other in others:
        trainer.add_callback(other)
    trainer.train()
    return trainer


def with_dropout(model: Any) -> Any:
    """A copy whose training needs random numbers and depends on the mode of its modules."""
    changed = copy.deepcopy(model)
    for layer in changed.model.layers:
        layer.self_attn.attention_dropout = 0.3
    return changed


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "neurons").glob("*.safetensors"))


def snapshot(folder: Path, step: int) -> ActivationCounts:
    return ActivationCounts.load(folder / "neurons" / f"step-{step:06d}.safetensors")


def same(one: ActivationCounts, other: ActivationCounts) -> bool:
    assert one.languages == other.languages
    assert torch.equal(one.tokens, other.tokens)
    assert one.data_fingerprint == other.data_fingerprint
    return torch.equal(one.firings.long(), other.firings.long())


def test_a_run_of_ten_steps_leaves_snapshots_that_the_functions_read(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = track(tiny_llama, tokenizer, tmp_path)
    folder = tmp_path / "tracked"
    assert steps(folder) == [0, 4, 8, 10]
    assert not same(snapshot(folder, 0), snapshot(folder, 10))
    for step in (0, 4, 8, 10):
        counts = snapshot(folder, step)
        assert (counts.step, counts.languages, counts.trained_languages) == (step, ("en", "de"), ("de",))
        result = ternary(counts, top_rate=0.3, bar=0.6)
        assert result.selected.sum() == round(0.3 * 2 * 48)
        assert result.sets["de"].shape == (2, 48)
    assert {row.step for row in read_csv(folder / "neurons.csv")} == {0, 4, 8, 10}
    printed = capsys.readouterr()
    assert "Neurons at step 10" in printed.out
    assert printed.err.count("warning: top_rate=0.01 selects 1 of 96 neurons") == 1
    logged = [entry for entry in trainer.state.log_history if "neurons/step" in entry]
    assert [(entry["step"], entry["neurons/step"]) for entry in logged] == [(0, 0), (4, 4), (8, 8), (10, 10)]
    assert len({entry["neurons/loss/de"] for entry in logged}) == 4


def test_tracking_does_not_change_the_training(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    watched, alone = with_dropout(tiny_llama), with_dropout(tiny_llama)
    track(watched, tokenizer, tmp_path)
    a_trainer(alone, tmp_path / "alone").train()
    assert watched.training == alone.training
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(alone.lm_head.weight, tiny_llama.lm_head.weight)


class Holder(L.LightningModule):
    """A Lightning module that holds a model and trains nothing that matters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.student = model

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.student(input_ids=batch, labels=batch).loss

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(Numbers().rows, batch_size=2)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_counts_are_those_of_the_lightning_tracker_on_the_same_weights(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    track(tiny_llama, tokenizer, tmp_path, save_strategy="steps", save_steps=4)
    for step in (4, 8, 10):
        saved = type(tiny_llama).from_pretrained(tmp_path / f"trainer/checkpoint-{step}")
        folder = tmp_path / f"lightning-{step}"
        fit = L.Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False,
                        callbacks=[NeuronTracker(TEXTS, tokenizer, folder=folder, trained=["de"])])  # fmt: skip
        fit.fit(Holder(saved))
        one, other = snapshot(tmp_path / "tracked", step), snapshot(folder, 0)
        assert same(one, other)
        assert torch.equal(one.loss_sum, other.loss_sum)
        assert one.firings.sum() > 0


class Break(TrainerCallback):
    """The power goes off after step 6."""

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == 6:
            raise KeyboardInterrupt


def test_a_resumed_run_has_the_snapshots_of_an_unbroken_one(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 4}
    whole = track(with_dropout(tiny_llama), tokenizer, tmp_path / "whole", **saving)
    with pytest.raises(KeyboardInterrupt):
        track(with_dropout(tiny_llama), tokenizer, tmp_path / "broken", Break(), **saving)
    assert steps(tmp_path / "broken/tracked") == [0, 4]
    again = a_trainer(with_dropout(tiny_llama), tmp_path / "broken/trainer", **saving)
    tracker = NeuronTrackerCallback(
        TEXTS, tokenizer, folder=tmp_path / "broken/tracked", every_n_steps=4, trained=["de"]
    )
    again.add_callback(tracker)
    again.train(resume_from_checkpoint=str(tmp_path / "broken/trainer/checkpoint-4"))
    one, other = tmp_path / "whole/tracked", tmp_path / "broken/tracked"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert len(files) == 4 * 2 + 2
    for name in files:
        if name.suffix == ".csv":
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for step in (0, 4, 8, 10):
        assert same(snapshot(one, step), snapshot(other, step))
        assert torch.equal(snapshot(one, step).loss_sum, snapshot(other, step).loss_sum)
    logged = [[entry for entry in trainer.state.log_history if "neurons/step" in entry] for trainer in (whole, again)]
    assert logged[0] == logged[1]
    # What the Trainer has written down at its last checkpoint holds the snapshot of that step.
    written = json.loads((tmp_path / "broken/trainer/checkpoint-10/trainer_state.json").read_text(encoding="utf-8"))
    assert [entry["step"] for entry in written["log_history"] if "neurons/step" in entry] == [0, 4, 8, 10]


def test_a_run_cannot_go_on_without_its_first_snapshot_nor_on_other_texts(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    track(tiny_llama, tokenizer, tmp_path, save_strategy="steps", save_steps=4)
    checkpoint = str(tmp_path / "trainer/checkpoint-4")
    trainer = a_trainer(tiny_llama, tmp_path / "again")
    trainer.add_callback(NeuronTrackerCallback({**TEXTS, "en": GERMAN}, tokenizer, folder=tmp_path / "tracked"))
    with pytest.raises(InputError, match=r"step-000000\.safetensors: counted on another probe; expected the probe of"):
        trainer.train(resume_from_checkpoint=checkpoint)
    elsewhere = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked")
    elsewhere.probe = dataclasses.replace(elsewhere.probe, site="mlp.up")
    trainer = a_trainer(tiny_llama, tmp_path / "again")
    trainer.add_callback(elsewhere)
    with pytest.raises(InputError, match=r"counted at mlp\.act; expected mlp\.up, the site of this run"):
        trainer.train(resume_from_checkpoint=checkpoint)
    (tmp_path / "tracked/neurons/step-000000.safetensors").unlink()
    trainer = a_trainer(tiny_llama, tmp_path / "again")
    trainer.add_callback(NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked"))
    with pytest.raises(InputError, match=r"there is no such file, and the run is at step 4; expected the snapshot of"):
        trainer.train(resume_from_checkpoint=checkpoint)


@pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated and will be removed in v6:FutureWarning")
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_does_not_double_the_counts(
    reentrant: bool, tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    track(copy.deepcopy(tiny_llama), tokenizer, tmp_path / "plain")
    track(
        tiny_llama,
        tokenizer,
        tmp_path / "checkpointed",
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": reentrant},
    )
    assert tiny_llama.is_gradient_checkpointing
    for step in (0, 4, 8, 10):
        one, other = (snapshot(tmp_path / name / "tracked", step) for name in ("plain", "checkpointed"))
        assert same(one, other)


@pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated and will be removed in v6:FutureWarning")
def test_a_model_that_answers_the_probe_itself_trains_as_one_that_does_not(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    """In half precision, with gradient checkpointing, which turns the cache off that answering uses."""
    records = [Record(str(n), code, line) for code, lines in TEXTS.items() for n, line in enumerate(lines)]
    probe = build_probe(records, tokenizer, responses="regenerated", max_new_tokens=6)
    options: dict[str, Any] = {"bf16": True, "gradient_checkpointing": True}
    watched, alone = with_dropout(tiny_llama), with_dropout(tiny_llama)
    trainer = a_trainer(watched, tmp_path / "trainer", **options)
    trainer.add_callback(NeuronTrackerCallback(probe, folder=tmp_path / "tracked", every_n_steps=4))
    trainer.train()
    a_trainer(alone, tmp_path / "alone", **options).train()
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    assert steps(tmp_path / "tracked") == [0, 4, 8, 10]
    assert len({snapshot(tmp_path / "tracked", step).data_fingerprint for step in (0, 4, 8, 10)}) > 1
    assert snapshot(tmp_path / "tracked", 0).document_firings is not None


def test_the_trainers_autocast_is_that_of_the_counting_pass(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    before = copy.deepcopy(tiny_llama)
    tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked", show=False)
    trainer = a_trainer(tiny_llama, tmp_path / "trainer", bf16=True, max_steps=1)
    trainer.add_callback(tracker)
    trainer.train()
    expected = {}
    for name, context in (("bf16", lambda: torch.autocast("cpu", dtype=torch.bfloat16)), ("float32", nullcontext)):
        expected[name] = count_firings(before, find_sites(before), tracker.probe, origin=Origin(), context=context)
    counted = snapshot(tmp_path / "tracked", 0)
    assert same(counted, expected["bf16"])
    assert not same(counted, expected["float32"])


def test_precision_follows_the_arguments(tmp_path: Path) -> None:
    def dtype(**options: Any) -> torch.dtype | None:
        arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True, **options)
        with precision(arguments)():
            return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None

    assert dtype() is None
    assert dtype(bf16=True) is torch.bfloat16
    assert dtype(fp16=True) is torch.float16


class Wrapper(nn.Module):
    """As some trainers wrap what they train: the model inside, another module beside it."""

    def __init__(self, policy: nn.Module, **others: nn.Module) -> None:
        super().__init__()
        self.policy = policy
        self.value = nn.Linear(2, 2)
        for name, module in others.items():
            self.add_module(name, module)


def test_the_model_is_found_in_its_wrappers(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path)
    assert tracker.find_model(tiny_llama) is tiny_llama
    assert tracker.find_model(torch.compile(tiny_llama)) is tiny_llama
    assert tracker.find_model(nn.DataParallel(Wrapper(tiny_llama))) is tiny_llama
    two = Wrapper(tiny_llama, reference=copy.deepcopy(tiny_llama))
    with pytest.raises(UnsupportedModelError) as refusal:
        tracker.find_model(two)
    assert str(refusal.value) == (
        "Wrapper: Hugging Face models found: policy, reference; expected one. "
        "Pass NeuronTrackerCallback(..., model=lambda module: module.policy) or whatever it is called."
    )
    tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path, model=lambda module: module.policy)
    assert tracker.find_model(two) is tiny_llama


def test_layers_that_are_compiled_are_counted_uncompiled(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    compiled = copy.deepcopy(tiny_llama)
    ran = []

    def backend(graph: Any, inputs: Any) -> Any:
        ran.append(graph)
        return graph

    for layer in compiled.model.layers:
        layer.mlp.compile(backend=backend)
    folder = {}
    for name, model in (("plain", tiny_llama), ("compiled", compiled)):
        folder[name] = tmp_path / name
        tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=folder[name], show=False)
        tracker.prepare(model)
        tracker.take(model, 0)
    assert not ran
    assert same(snapshot(folder["plain"], 0), snapshot(folder["compiled"], 0))
    compiled(input_ids=torch.tensor([[5, 6, 7]]))
    assert ran


def test_sharded_weights_are_refused(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    tiny_llama.lm_head.weight.ds_id = 3  # as DeepSpeed ZeRO-3 marks what it has parted
    with pytest.raises(UnsupportedModelError, match="its weights are sharded over ranks"):
        track(tiny_llama, tokenizer, tmp_path)
    assert not (tmp_path / "tracked").exists()


def test_texts_need_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NeuronTrackerCallback: texts without a tokenizer"):
        NeuronTrackerCallback(TEXTS, folder=tmp_path)


class Stop(TrainerCallback):
    """Stops the training, as early stopping does, and makes it load other weights at its end."""

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        control.should_training_stop = state.global_step == 6


@pytest.mark.parametrize("stops_first", [True, False])
def test_a_run_that_is_stopped_early_has_its_last_snapshot(
    stops_first: bool, tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    trainer = a_trainer(tiny_llama, tmp_path / "trainer", num_train_epochs=1, max_steps=-1)
    tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked", every_n_steps=4)
    for callback in (Stop(), tracker) if stops_first else (tracker, Stop()):
        trainer.add_callback(callback)
    trainer.train()
    assert steps(tmp_path / "tracked") == [0, 4, 6]


def test_the_last_snapshot_is_not_of_the_best_weights_loaded_after_it(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    every = {"save_strategy": "steps", "save_steps": 5, "eval_strategy": "steps", "eval_steps": 5}
    worst = {"metric_for_best_model": "eval_loss", "greater_is_better": True}  # so that it is an early one
    options = {**every, **worst, "load_best_model_at_end": True}
    trainer = a_trainer(tiny_llama, tmp_path / "trainer", **options)
    trainer.add_callback(NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked"))
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-5")
    track(type(tiny_llama).from_pretrained(tmp_path / "trainer/checkpoint-10"), tokenizer, tmp_path / "last")
    assert steps(tmp_path / "tracked") == [0, 10]
    assert same(snapshot(tmp_path / "tracked", 10), snapshot(tmp_path / "last/tracked", 0))


def test_the_readmes_lines_for_other_trainers(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"<!-- hf -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) == 3
    trainer = a_trainer(tiny_llama, tmp_path / "trainer", max_steps=102)
    exec(block, {"english": ENGLISH, "german": GERMAN, "tokenizer": tokenizer, "trainer": trainer})  # noqa: S102
    trainer.train()
    assert steps(Path("runs/mine")) == [0, 100, 102]


WANDB = """
import sys
sys.path.insert(0, {folder!r})
from test_hf_trainer import *
from transformers import AutoModelForCausalLM, AutoTokenizer
import wandb
wandb.init(mode="offline", dir=".", project="tests", settings=wandb.Settings(silent=True, console="off"))
model, tokenizer = AutoModelForCausalLM.from_pretrained({model!r}), AutoTokenizer.from_pretrained({model!r})
track(model, tokenizer, Path("run"), report_to="wandb")
wandb.finish()
"""


@pytest.mark.slow
def test_scalars_reach_the_active_wandb_run_with_their_own_axis(model_folder: Path, tmp_path: Path) -> None:
    script = WANDB.format(folder=str(Path(__file__).parent), model=str(model_folder))
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    wandb = Path(sys.executable).with_name("wandb")
    read = subprocess.run([wandb, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in read.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    snapshots = [row for row in history if "neurons/specific/de" in row]
    assert [row["neurons/step"] for row in snapshots] == [0, 4, 8, 10]
    # None is bound to the Trainer's axis, which W&B would have put beside it.
    assert not any("train/global_step" in row for row in snapshots)
    axes = {record["metric"].get("name"): record["metric"].get("step_metric") for record in records
            if record["type"] == "metric"}  # fmt: skip
    for key in snapshots[0]:
        if key.startswith("neurons/") and key != "neurons/step":
            assert axes[key] == "neurons/step"
    assert any("train/loss" in row and row["train/global_step"] == 5 for row in history)


RANKS = """
import sys
sys.path.insert(0, {folder!r})
from test_hf_trainer import *
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained({model!r}), AutoTokenizer.from_pretrained({model!r})
track(model, tokenizer, Path("two"), ddp_backend="gloo", per_device_train_batch_size=2)
"""


@pytest.mark.slow
def test_two_ranks_count_what_one_counts(tokenizer: Any, tiny_llama: Any, model_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RANKS.format(folder=str(Path(__file__).parent), model=str(model_folder)), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        launch, cwd=tmp_path, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    track(tiny_llama, tokenizer, tmp_path / "one")
    assert steps(tmp_path / "two/tracked") == [0, 4, 8, 10]
    # Later steps sum the gradients of two halves of a batch, which rounds differently.
    assert same(snapshot(tmp_path / "two/tracked", 0), snapshot(tmp_path / "one/tracked", 0))
    for step in (4, 8, 10):
        one, two = snapshot(tmp_path / "one/tracked", step), snapshot(tmp_path / "two/tracked", step)
        moved = (one.firings.long() - two.firings.long()).abs().sum()
        assert moved <= 0.01 * one.firings.long().sum()
    assert done.stdout.count("Neurons at step 10") == 1


@pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated and will be removed in v6:FutureWarning")
def test_a_trl_run_with_lora_is_tracked(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    """TRL's defaults (bf16, gradient checkpointing, its own output head) are in it."""
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from trl import SFTConfig, SFTTrainer

    before = copy.deepcopy(tiny_llama)
    options = {"max_steps": 10, "per_device_train_batch_size": 2, "learning_rate": 0.05, "save_steps": 4,
               "report_to": "none", "use_cpu": True, "disable_tqdm": True}  # fmt: skip
    trainer = SFTTrainer(
        model=tiny_llama,
        args=SFTConfig(output_dir=str(tmp_path / "trainer"), **options),
        train_dataset=Dataset.from_dict({"text": (ENGLISH + GERMAN) * 4}),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    assert trainer.args.bf16
    assert trainer.args.gradient_checkpointing
    tracker = NeuronTrackerCallback(TEXTS, tokenizer, folder=tmp_path / "tracked", every_n_steps=4, trained=["de"])
    trainer.add_callback(tracker)
    trainer.train()
    folder = tmp_path / "tracked"
    assert steps(folder) == [0, 4, 8, 10]
    assert not same(snapshot(folder, 0), snapshot(folder, 10))
    result = ternary(snapshot(folder, 10), top_rate=0.3, bar=0.6)
    assert result.sets["de"].shape == (2, 48)
    assert result.selected.sum() == round(0.3 * 2 * 48)
    # An adapter that is new changes nothing; those of later steps lie where the Trainer has saved them.
    for step in (0, 4, 8, 10):
        saved = tmp_path / f"trainer/checkpoint-{step}"
        model = PeftModel.from_pretrained(copy.deepcopy(before), saved) if step else before
        expected = count_firings(
            model,
            find_sites(model),
            tracker.probe,
            origin=Origin(),
            context=lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        )
        assert same(snapshot(folder, step), expected)
