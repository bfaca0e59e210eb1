"""Question translation against transformers' own loss, however a step is split."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Document
from alignlab.data.examples import Answers
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import InputError
from alignlab.methods.base import Course
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import Lora
from alignlab.methods.supervised import QuestionTranslation, SupervisedModule


def documents(tokenizer: Any, count: int = 12) -> list[Document]:
    records = [
        Record(str(n), "de", "eins zwei drei " * (n % 4 + 1), "one two three " * (n % 3 + 1)) for n in range(count)
    ]
    return Answers().of(records, tokenizer, Prompts(), max_length=256).examples


def micro_batches(
    docs: list[Document], *, examples: int, steps: int, accumulation: int = 1, ranks: int = 1, rank: int = 0
) -> MicroBatches:
    plan = StepPlan(tuple(len(d) for d in docs), examples, steps, seed=3)
    return MicroBatches(docs, Answers(), plan, accumulation=accumulation, rank=rank, ranks=ranks, pad_id=0)


def transformers_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """transformers' own mean loss on the same rows, with labels -100 off the answer."""
    labels = batch["input_ids"].masked_fill(~batch["answer"], -100)
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss


def test_the_loss_is_transformers_own_on_the_same_rows(tokenizer: Any, tiny_llama: Any) -> None:
    batch = micro_batches(documents(tokenizer), examples=8, steps=1)[0]
    module = SupervisedModule(tiny_llama, OptimizerConfig(), Course(1, 0))
    ours = module.loss_sum(batch) / batch["step_weight"]
    assert ours.item() == pytest.approx(transformers_loss(tiny_llama, batch).item(), rel=1e-5)


def test_the_prompt_and_the_padding_have_no_part_in_the_loss(tokenizer: Any, tiny_llama: Any) -> None:
    batch = micro_batches(documents(tokenizer), examples=8, steps=1)[0]
    module = SupervisedModule(tiny_llama, OptimizerConfig(), Course(1, 0))
    before = module.loss_sum(batch)
    batch["input_ids"] = torch.where(batch["attention_mask"] == 0, 5, batch["input_ids"])
    assert torch.equal(module.loss_sum(batch), before)
    # The targets are the answers and EOS, nothing else.
    counted = sum(int(row.sum()) for row in batch["answer"])
    assert batch["step_weight"] == counted
    last = batch["attention_mask"].sum(1) - 1
    assert (batch["input_ids"][torch.arange(8), last] == tokenizer.eos_token_id).all()
    assert batch["answer"][torch.arange(8), last].all()


class Recorder(L.Callback):
    """Keeps the gradients of every step and the logged losses."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor]] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None})
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def fit(model: nn.Module, batches: MicroBatches, accumulation: int, **options: Any) -> Recorder:
    recorder = Recorder()
    module = SupervisedModule(model, OptimizerConfig(lr=1e-2, **options), Course(2, 0))
    trainer = L.Trainer(
        max_steps=2, max_epochs=-1, accumulate_grad_batches=accumulation, callbacks=[recorder], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, training_loader(batches, first=0, workers=0, pin_memory=False))
    return recorder


def test_accumulation_gives_the_gradient_of_the_whole_step(tokenizer: Any, tiny_llama: Any) -> None:
    docs, start = documents(tokenizer), tiny_llama.double()
    runs = {
        parts: fit(copy.deepcopy(start), micro_batches(docs, examples=9, steps=2, accumulation=parts), parts)
        for parts in (1, 2, 4)
    }
    # The independent gradient: transformers' loss on the first step's whole batch.
    model = copy.deepcopy(start).train()
    transformers_loss(model, micro_batches(docs, examples=9, steps=2)[0]).backward()
    for parts, run in runs.items():
        assert len(run.gradients) == 2, parts
        for name, parameter in model.named_parameters():
            # transformers takes the logits in float32 for its loss: where gradients cancel, its rounding is left.
            assert torch.allclose(run.gradients[0][f"model.{name}"], parameter.grad, rtol=1e-4, atol=1e-7), (
                parts,
                name,
            )
        assert run.losses == pytest.approx(runs[1].losses, rel=1e-6)


def test_dropout_is_on_and_repeats_by_step_not_by_history(tokenizer: Any, tiny_llama: Any) -> None:
    docs = documents(tokenizer)
    method = QuestionTranslation(lora=Lora(rank=4, dropout=0.5, targets=["q_proj", "down_proj"]))
    torch.manual_seed(0)
    start = method.prepare(tiny_llama)
    for name, parameter in start.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    batch = micro_batches(docs, examples=9, steps=2)
    torch.manual_seed(1)
    first = fit(copy.deepcopy(start), batch, 1)
    torch.manual_seed(2)
    second = fit(copy.deepcopy(start), batch, 1)
    assert first.losses == second.losses
    module = SupervisedModule(copy.deepcopy(start).eval(), OptimizerConfig(), Course(2, 0))
    without = module.loss_sum(batch[0]) / batch[0]["step_weight"]
    assert abs(first.losses[0] - without.item()) > 1e-4


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(tokenizer: Any, tiny_llama: Any) -> None:
    with torch.no_grad():
        tiny_llama.lm_head.weight.fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"^step 1: the loss is nan; expected a finite loss\. Lower method\.optimizer\.lr"
    ):
        fit(tiny_llama, micro_batches(documents(tokenizer), examples=4, steps=2), 1)
