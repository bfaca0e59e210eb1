"""What is logged of a step against loops over the real batches and torch's own norm of gradients taken by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Document
from alignlab.data.examples import Answers
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches, training_loader
from alignlab.methods.base import Course
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.supervised import SupervisedModule
from alignlab.reporting.metrics_csv import MetricsCsv, read_metrics

STEPS, EXAMPLES = 4, 7


def documents(tokenizer: Any) -> list[Document]:
    records = [Record(str(n), "de", "eins zwei " * (n % 4 + 1), "one two " * (n % 3 + 1)) for n in range(10)]
    return Answers().of(records, tokenizer, Prompts(), max_length=256).examples


def micro_batches(texts: list[Document], accumulation: int, ranks: int = 1, rank: int = 0) -> MicroBatches:
    plan = StepPlan(tuple(len(text) for text in texts), EXAMPLES, STEPS, seed=3)
    return MicroBatches(texts, Answers(), plan, accumulation=accumulation, rank=rank, ranks=ranks, pad_id=0)


def trainer_of(folder: Path, accumulation: int = 1, steps: int = STEPS, done: int = 0, **options: Any) -> L.Trainer:
    callbacks = options.pop("callbacks", [])
    loggers: list[Logger] = [MetricsCsv(folder / "metrics.csv", done)]
    return L.Trainer(
        max_steps=steps, max_epochs=-1, accumulate_grad_batches=accumulation, logger=loggers, callbacks=callbacks,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        use_distributed_sampler=False, **{"log_every_n_steps": 1, **options},
    )  # fmt: skip


def fit(module: SupervisedModule, trainer: L.Trainer, batches: MicroBatches, done: int = 0, **options: Any) -> None:
    first = done * batches.accumulation
    trainer.fit(module, training_loader(batches, first=first, workers=0, pin_memory=False), **options)


def module_of(model: Any) -> SupervisedModule:
    return SupervisedModule(model, OptimizerConfig(lr=1e-2), Course(STEPS, 0))


def logged(folder: Path, key: str) -> dict[int, float]:
    return {step: value for step, name, value in read_metrics(folder / "metrics.csv", STEPS) if name == key}


class NormByHand(L.Callback):
    """The norm that `clip_grad_norm_` finds of transformers' own loss on the whole step, at the weights before it."""

    def __init__(self, steps: MicroBatches, limit: float) -> None:
        self.steps, self.limit = steps, limit
        self.norms: list[float] = []
        self.clipped: list[float] = []
        self._step = -1

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        model, whole = copy.deepcopy(pl_module.model), self.steps[self._step]
        model.zero_grad()
        labels = whole["input_ids"].masked_fill(~whole["answer"], -100)
        model(input_ids=whole["input_ids"], attention_mask=whole["attention_mask"], labels=labels).loss.backward()
        self.norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), self.limit)))

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        if gradients and trainer.global_step > len(self.clipped):
            self.clipped.append(float(torch.cat(gradients).norm()))


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_norm_of_gradients_is_that_before_clipping(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, accumulation: int
) -> None:
    texts = documents(tokenizer)
    by_hand = NormByHand(micro_batches(texts, 1), limit=0.1)
    trainer = trainer_of(tmp_path, accumulation, gradient_clip_val=0.1, callbacks=[by_hand])
    fit(module_of(tiny_llama), trainer, micro_batches(texts, accumulation))
    assert len(by_hand.norms) == STEPS
    assert min(by_hand.norms) > 0.2  # all of them are clipped
    assert list(logged(tmp_path, "train/gradient_norm").values()) == pytest.approx(by_hand.norms, rel=1e-4)
    assert by_hand.clipped[0] == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 1), (1, 3), (2, 3)])
def test_tokens_and_epochs_are_those_of_the_real_batches(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, ranks: int, accumulation: int
) -> None:
    texts = documents(tokenizer)
    own = [micro_batches(texts, accumulation, ranks, rank) for rank in range(ranks)]
    fit(module_of(tiny_llama), trainer_of(tmp_path, accumulation), own[0])
    tokens, seen, expected_tokens, expected_epochs = 0, 0, {}, {}
    for step in range(STEPS):
        for batches in own:
            for part in range(accumulation):
                batch = batches[step * accumulation + part]
                tokens += int(batch["attention_mask"].sum())
                seen += len(batch["input_ids"])
        expected_tokens[step + 1], expected_epochs[step + 1] = tokens, seen / len(texts)
    assert logged(tmp_path, "train/tokens") == expected_tokens
    assert logged(tmp_path, "train/epoch") == expected_epochs


def test_a_continued_training_counts_on(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    texts, start = documents(tokenizer), copy.deepcopy(tiny_llama)
    (tmp_path / "whole").mkdir()
    fit(module_of(copy.deepcopy(start)), trainer_of(tmp_path / "whole"), micro_batches(texts, 1))
    first = trainer_of(tmp_path, steps=2)
    fit(module_of(copy.deepcopy(start)), first, micro_batches(texts, 1))
    first.save_checkpoint(tmp_path / "two.ckpt")
    again = {"done": 2, "ckpt_path": tmp_path / "two.ckpt", "weights_only": True}
    fit(module_of(copy.deepcopy(start)), trainer_of(tmp_path, done=2), micro_batches(texts, 1), **again)
    assert (tmp_path / "metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
    assert len(logged(tmp_path, "train/tokens")) == STEPS


def test_a_checkpoint_of_a_version_that_did_not_count_tokens(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, start = documents(tokenizer), copy.deepcopy(tiny_llama)
    first = trainer_of(tmp_path, steps=2)
    fit(module_of(copy.deepcopy(start)), first, micro_batches(texts, 1))
    first.save_checkpoint(tmp_path / "two.ckpt")
    old = torch.load(tmp_path / "two.ckpt", weights_only=True)
    del old["alignlab_tokens_seen"]
    torch.save(old, tmp_path / "two.ckpt")
    again = {"done": 2, "ckpt_path": tmp_path / "two.ckpt", "weights_only": True}
    fit(module_of(copy.deepcopy(start)), trainer_of(tmp_path, done=2), micro_batches(texts, 1), **again)
    assert "a version that did not count tokens" in capsys.readouterr().err
    assert list(logged(tmp_path, "train/tokens")) == [1, 2]
    assert list(logged(tmp_path, "train/gradient_norm")) == [1, 2, 3, 4]


def test_a_row_every_few_steps_has_the_tokens_of_all(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    texts = documents(tokenizer)
    batches = micro_batches(texts, 1)
    fit(module_of(tiny_llama), trainer_of(tmp_path, log_every_n_steps=2), batches)
    real = [int(batches[step]["attention_mask"].sum()) for step in range(STEPS)]
    assert logged(tmp_path, "train/tokens") == {2: sum(real[:2]), 4: sum(real)}
    assert list(logged(tmp_path, "train/gradient_norm")) == [2, 4]


def test_scaled_gradients_are_logged_and_clipped_without_their_scale(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    """As under 16-mixed on a GPU: a fused optimiser would take the scale off after both, and Lightning refuses it."""
    texts = documents(tokenizer)

    def norms(folder: Path, **options: Any) -> list[float]:
        folder.mkdir()
        trainer = trainer_of(folder, gradient_clip_val=0.1, **options)
        fit(module_of(copy.deepcopy(tiny_llama)), trainer, micro_batches(texts, 1))
        return list(logged(folder, "train/gradient_norm").values())

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled = norms(tmp_path / "scaled", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert scaled == pytest.approx(norms(tmp_path / "plain"), rel=0.02)


def test_gradients_of_mixed_bfloat16_are_clipped(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    """Nothing scales them; Lightning took the fused optimiser for one that does, and ended the training."""
    taken: list[float] = []

    class Module(SupervisedModule):
        def configure_optimizers(self) -> Any:
            built = super().configure_optimizers()
            weights = [weight for group in built["optimizer"].param_groups for weight in group["params"]]

            def take(*_: Any) -> None:
                given = [weight.grad.flatten() for weight in weights if weight.grad is not None]
                taken.append(float(torch.cat(given).norm()))

            built["optimizer"].register_step_post_hook(take)  # the gradients are made, and clipped, within the step
            return built

    module = Module(copy.deepcopy(tiny_llama), OptimizerConfig(lr=1e-2), Course(STEPS, 0))
    trainer = trainer_of(tmp_path, gradient_clip_val=0.1, precision="bf16-mixed")
    fit(module, trainer, micro_batches(documents(tokenizer), 1))
    assert taken == pytest.approx([0.1] * STEPS, rel=1e-3)
    assert min(logged(tmp_path, "train/gradient_norm").values()) > 0.2


def gradients(shapes: list[tuple[int, ...]], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_the_fused_optimiser_differs_by_rounding_and_repeats_its_bits() -> None:
    shapes = [(16, 40), (40, 16), (40,), (16,)]

    def trained(**options: Any) -> list[Tensor]:
        model = torch.nn.ParameterList(gradients(shapes, seed=0))
        config = OptimizerConfig(lr=1e-2, weight_decay=0.1)
        built = config.build(model, 50, **options)
        for step in range(50):
            for weight, gradient in zip(model, gradients(shapes, seed=1 + step), strict=True):
                weight.grad = gradient
            built["optimizer"].step()
            built["lr_scheduler"]["scheduler"].step()
        assert built["optimizer"].param_groups[0]["fused"] is (True if options.get("fused", True) else None)
        return [weight.detach() for weight in model]

    fused, again, plain = trained(), trained(), trained(fused=False)
    assert all(torch.equal(one, other) for one, other in zip(fused, again, strict=True))
    start = gradients(shapes, seed=0)
    for one, other, before in zip(fused, plain, start, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(one, before, atol=1e-2)


def test_an_optimiser_that_was_not_fused_goes_on_as_it_was() -> None:
    """So that a run of an earlier version ends as it would have."""
    shapes = [(16, 40), (40,)]

    def steps(model: torch.nn.ParameterList, optimizer: Any, first: int) -> None:
        for step in range(first, first + 5):
            for weight, gradient in zip(model, gradients(shapes, seed=1 + step), strict=True):
                weight.grad = gradient
            optimizer.step()

    whole = torch.nn.ParameterList(gradients(shapes, seed=0))
    plain = OptimizerConfig(lr=1e-2).build(whole, 10, fused=False)["optimizer"]
    steps(whole, plain, 0)
    continued = copy.deepcopy(whole)
    fused = OptimizerConfig(lr=1e-2).build(continued, 10)["optimizer"]
    fused.load_state_dict(copy.deepcopy(plain.state_dict()))
    steps(whole, plain, 5)
    steps(continued, fused, 5)
    assert all(torch.equal(one, other) for one, other in zip(whole, continued, strict=True))
