"""DPO and IPO against TRL's own loss and gradients, however a step is split; and what is known in closed form."""

from __future__ import annotations

import copy
import math
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import datasets
import lightning as L
import pytest
import torch
import trl
from torch import Tensor, nn
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Document
from alignlab.data.examples import AnswerPairs, Pair
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import InputError
from alignlab.marks import is_ours
from alignlab.methods.base import Course
from alignlab.methods.losses import dpo_losses, ipo_losses
from alignlab.methods.options import Lora, OptimizerOptions
from alignlab.methods.preference import Preference, PreferenceModule, answer_log_probabilities
from alignlab.methods.reference import stored_reference

from .gradients import SCRIPT, assert_same_gradients, gradients_of, run_rank

LORA = Lora(rank=4, dropout=0.3, targets=["q_proj", "down_proj"])


def batch_of(pairs: list[Pair]) -> dict[str, Tensor]:
    return {**AnswerPairs().collate(pairs, pad_id=2), "index": torch.arange(len(pairs))}


def adapted(model: nn.Module, **options: Any) -> PreferenceModule:
    method = Preference(lora=LORA, **options)
    torch.manual_seed(0)
    return method.build(SCRIPT.disturb(method.prepare(model)), Course(2, 0))  # type: ignore[return-value]


# TRL


def trl_inputs(pairs: list[Pair]) -> dict[str, Tensor]:
    """The pairs as TRL's collator wants them, prompt and answers apart, laid side by side by it."""

    def apart(document: Document) -> tuple[list[int], list[int]]:
        return document.tokens[~document.answer].tolist(), document.tokens[document.answer].tolist()

    rows = []
    for pair in pairs:
        (prompt, chosen), (same, rejected) = apart(pair.chosen), apart(pair.rejected)
        assert prompt == same
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return DataCollatorForPreference(pad_token_id=2)(rows)


def trl_gradients(
    model: nn.Module, reference: nn.Module, tokenizer: Any, folder: Path, pairs: list[Pair], loss: str
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of TRL's DPOTrainer on all pairs as one batch."""
    config = trl.DPOConfig(
        output_dir=str(folder), loss_type=[{"dpo": "sigmoid", "ipo": "ipo"}[loss]], beta=0.3, use_cpu=True,
        report_to=[], bf16=False, gradient_checkpointing=False, disable_dropout=True,
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
    trainer = trl.DPOTrainer(model, reference, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.model.eval()
    value = trainer.compute_loss(trainer.model, trl_inputs(pairs))
    value.backward()
    return float(value.detach()), gradients_of(trainer.model)


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_loss_and_gradients_are_trls(tokenizer: Any, tiny_llama: Any, tmp_path: Path, loss: Any) -> None:
    pairs = SCRIPT.make_pairs(tokenizer)
    lengths = [int(text.answer.sum()) for pair in pairs for text in pair.documents]
    assert len(set(lengths)) > 5
    method = Preference(trainable="full", loss=loss, beta=0.3)
    reference, start = copy.deepcopy(tiny_llama), SCRIPT.disturb(tiny_llama)
    value, gradients = trl_gradients(copy.deepcopy(start), reference, tokenizer, tmp_path, pairs, loss)
    module = PreferenceModule(start, method, Course(1, 0))
    with torch.no_grad():
        module._stored = answer_log_probabilities(reference, batch_of(pairs)).view(2, -1).T
    ours = module.loss_sum(batch_of(pairs)) / len(pairs)
    ours.backward()
    assert float(ours.detach()) == pytest.approx(value, rel=1e-5)
    assert_same_gradients(gradients_of(module.model), gradients)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_two_ranks_and_three_micro_batches_give_trls_gradients_of_the_whole_step(
    tokenizer: Any, tiny_llama: Any, model_folder: Path, tmp_path: Path, loss: str
) -> None:
    (tmp_path / "1").mkdir()
    pairs = SCRIPT.make_pairs(tokenizer)
    start = SCRIPT.disturb(copy.deepcopy(tiny_llama))
    value, gradients = trl_gradients(start, tiny_llama, tokenizer, tmp_path / "trl", pairs, loss)
    SCRIPT.train(model_folder, tmp_path / "1", loss, 1, 1)
    alone = torch.load(tmp_path / "1" / "gradients.pt", weights_only=True)
    for left in (alone, run_rank(tmp_path / "2", model_folder, loss, 2, 3)):
        assert left["loss"] == pytest.approx(value, rel=1e-5)
        assert_same_gradients(left["gradients"], gradients)
    one, two = ((tmp_path / name / "reference.safetensors").read_bytes() for name in ("1", "2"))
    assert one == two


# closed forms


@pytest.mark.parametrize(("loss", "value"), [("dpo", math.log(2)), ("ipo", 1 / (4 * 0.3**2))])
def test_of_equal_answers_the_loss_is_known_and_dpo_has_no_gradient(
    tokenizer: Any, tiny_llama: Any, loss: Any, value: float
) -> None:
    module = adapted(tiny_llama, loss=loss, beta=0.3).eval()
    pairs = [Pair(pair.chosen, pair.chosen) for pair in SCRIPT.make_pairs(tokenizer)]
    total = module.loss_sum(batch_of(pairs))
    assert float(total.detach()) / len(pairs) == pytest.approx(value, rel=1e-6)
    total.backward()
    both = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
    module.zero_grad()
    chosen = answer_log_probabilities(module.model, batch_of(pairs))[: len(pairs)]
    (-0.3 / 2 * chosen).sum().backward()  # what the chosen side alone gives
    one = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norms = [float(torch.cat([part.flatten() for part in parts]).norm()) for parts in (both, one)]
    assert norms[1] > 0
    assert norms[0] < 1e-6 * norms[1]


def test_the_losses_are_those_of_the_papers_in_double_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = 5 * torch.randn(2, 50, generator=generator, dtype=torch.float64)
    for number, (won, lost) in enumerate(zip(chosen.tolist(), rejected.tolist(), strict=True)):
        sigmoid = 1 / (1 + math.exp(-0.2 * (won - lost)))
        plain, smooth = -math.log(sigmoid), -0.9 * math.log(sigmoid) - 0.1 * math.log(1 - sigmoid)
        ours = dpo_losses(chosen, rejected, beta=0.2), dpo_losses(chosen, rejected, beta=0.2, label_smoothing=0.1)
        assert [float(one[number]) for one in ours] == pytest.approx([plain, smooth], rel=1e-12)
        assert float(ipo_losses(chosen, rejected, beta=0.2)[number]) == pytest.approx(
            (won - lost - 2.5) ** 2, rel=1e-12
        )


def test_smoothing_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1 and loss is ipo; expected 0"):
        Preference(loss="ipo", label_smoothing=0.1)


# log-probabilities and the reference


def test_log_probabilities_are_sums_over_the_answer_and_its_eos(tokenizer: Any, tiny_llama: Any) -> None:
    pairs = SCRIPT.make_pairs(tokenizer)
    ours = answer_log_probabilities(tiny_llama, batch_of(pairs))
    assert ours.dtype == torch.float32
    for number, text in enumerate([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]):
        tokens = torch.tensor(text.tokens).long()
        shares = tiny_llama(tokens[None]).logits[0].double().log_softmax(-1)
        slow = sum(float(shares[t - 1, tokens[t]].detach()) for t in range(1, len(tokens)) if text.answer[t])
        assert tokens[-1] == tokenizer.eos_token_id
        assert float(ours[number].detach()) == pytest.approx(slow, rel=1e-5)


class Steps(L.Callback):
    """Keeps the reference of a fixed batch before the first and after every step, and what was logged."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self.batch = batch
        self.references: list[Tensor] = []
        self.own: list[Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        with torch.no_grad():
            self.references.append(torch.stack(pl_module.reference(self.batch)))
            pl_module.model.eval()
            self.own.append(answer_log_probabilities(pl_module.model, self.batch).view(2, -1))
            pl_module.model.train()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        self.on_train_start(trainer, pl_module)


def fit(module: PreferenceModule, pairs: list[Pair], steps: int, watch: list[Any], accumulation: int = 1) -> L.Trainer:
    plan = StepPlan(tuple(len(pair) for pair in pairs), 8, steps, seed=3)
    batches = MicroBatches(pairs, AnswerPairs(), plan, accumulation=accumulation, rank=0, ranks=1, pad_id=2)
    trainer = L.Trainer(
        max_steps=steps, max_epochs=-1, accumulate_grad_batches=accumulation, callbacks=watch, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, training_loader(batches, first=0, workers=0, pin_memory=False))
    return trainer


@pytest.mark.parametrize("trainable", ["lora", "full"])
def test_the_reference_is_bit_for_bit_that_of_the_base_at_every_step(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, trainable: Any
) -> None:
    pairs = SCRIPT.make_pairs(tokenizer)
    method = Preference(trainable=trainable, lora=LORA, optimizer=OptimizerOptions(lr=1e-2))
    with torch.no_grad():
        base = answer_log_probabilities(tiny_llama, batch_of(pairs)).view(2, -1)
    course = Course(10, 0, SCRIPT.data_of(pairs), 2, tmp_path / "reference.safetensors")
    steps = Steps(batch_of(pairs))
    fit(method.build(method.prepare(tiny_llama), course), pairs, 10, [steps])
    assert len(steps.references) == 11
    assert torch.allclose(steps.references[0], base, rtol=1e-5)
    assert all(torch.equal(reference, steps.references[0]) for reference in steps.references)
    assert (tmp_path / "reference.safetensors").is_file() == (trainable == "full")
    # And the model itself has moved, towards the chosen answers.
    gains = [own - steps.references[0] for own in (steps.own[0], steps.own[-1])]
    assert float((gains[1][0] - gains[1][1]).mean()) > float((gains[0][0] - gains[0][1]).mean()) + 0.1


def test_the_adapter_and_the_dropout_are_on_again_after_the_reference(tokenizer: Any, tiny_llama: Any) -> None:
    for layer in tiny_llama.model.layers:  # dropout of the base, beside that of the adapter
        layer.self_attn.attention_dropout = 0.3
    module = adapted(tiny_llama)
    module.model.train()
    batch = batch_of(SCRIPT.make_pairs(tokenizer))
    modes = {name: each.training for name, each in module.named_modules()}
    first = torch.stack(module.reference(batch))
    assert torch.equal(torch.stack(module.reference(batch)), first)  # no dropout in it
    assert {name: each.training for name, each in module.named_modules()} == modes
    assert {parameter.requires_grad for name, parameter in module.named_parameters() if "lora" in name} == {True}
    own = [answer_log_probabilities(module.model, batch) for _ in range(2)]
    assert not torch.equal(own[0], own[1])
    assert not torch.allclose(own[0], first.flatten(), rtol=1e-3)


def test_what_is_logged_is_the_mean_over_pairs(tokenizer: Any, tiny_llama: Any) -> None:
    module, pairs = adapted(tiny_llama, beta=0.3).eval(), SCRIPT.make_pairs(tokenizer)
    batch = batch_of(pairs)
    sums = {name: float(value) / len(pairs) for name, value in module.sums(batch).items()}
    with torch.no_grad():
        own = answer_log_probabilities(module.model, batch).view(2, -1).tolist()
        before = torch.stack(module.reference(batch)).tolist()
    margins = [0.3 * ((cw - rw) - (cl - rl)) for cw, cl, rw, rl in zip(*own, *before, strict=True)]
    assert 0 < sum(margin > 0 for margin in margins) < len(margins)
    assert sums["reward_margin"] == pytest.approx(sum(margins) / len(pairs), rel=1e-4)
    assert sums["reward_accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / len(pairs))
    assert sums["log_probability_chosen"] == pytest.approx(sum(own[0]) / len(pairs), rel=1e-5)
    assert sums["log_probability_rejected"] == pytest.approx(sum(own[1]) / len(pairs), rel=1e-5)


# the stored reference


def stored(model: Any, pairs: list[Pair], path: Path, made_from: str = "tiny") -> Tensor:
    course = Course(10, 0, SCRIPT.data_of(pairs), 2, path, lambda: {"model": made_from})
    return stored_reference(model, course, answer_log_probabilities, nullcontext)


def test_a_stored_reference_is_read_and_made_again_to_the_same_bytes(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignlab.methods.reference._BATCH_TOKENS", 100)
    pairs, path = SCRIPT.make_pairs(tokenizer), tmp_path / "run" / "reference.safetensors"
    calls = 0

    def broken(model: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return answer_log_probabilities(model, batch)

    course = Course(10, 0, SCRIPT.data_of(pairs), 2, path, lambda: {"model": "tiny"})
    with pytest.raises(KeyboardInterrupt):
        stored_reference(tiny_llama, course, broken, nullcontext)
    assert not path.exists()
    first = stored(tiny_llama, pairs, path)
    written = path.read_bytes()
    for _ in range(5):
        path.unlink()
        assert torch.equal(stored(tiny_llama, pairs, path), first)
        assert path.read_bytes() == written
    # Read, not made: another model at hand changes nothing.
    assert torch.equal(stored(SCRIPT.disturb(tiny_llama), pairs, path), first)
    assert is_ours(path)


def test_a_reference_of_something_else_or_damaged_is_refused(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    pairs, path = SCRIPT.make_pairs(tokenizer), tmp_path / "reference.safetensors"
    stored(tiny_llama, pairs, path)
    for others, model, said in (
        (pairs[::-1], "tiny", "of other pairs or another model (different: data)"),
        (pairs[1:], "tiny", "of other pairs or another model (different: pairs, data)"),
        (pairs, "large", "of other pairs or another model (different: model)"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            stored(tiny_llama, others, path, model)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="its checksum does not fit"):
        stored(tiny_llama, pairs, path)
    path.write_bytes(whole[:50])
    with pytest.raises(InputError, match="it is no whole file"):
        stored(tiny_llama, pairs, path)
