"""Preference optimisation: the model learns to prefer chosen answers to rejected ones, held to what it was before.

DPO (Rafailov et al. 2023) and IPO (Azar et al. 2024); MAPO (She et al. 2024) is DPO on the model's own answers.
"""

from __future__ import annotations

from collections.abc import Mapping

import peft
import torch
from torch import Tensor, nn

from alignlab.data.examples import AnswerPairs
from alignlab.errors import InputError
from alignlab.methods.base import AlignmentModule, Course, Method
from alignlab.methods.losses import dpo_losses, ipo_losses
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import PreferenceOptions
from alignlab.methods.reference import stored_reference
from alignlab.models.flops import TextFlops, text_flops
from alignlab.models.modes import evaluating
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses


class Preference(PreferenceOptions, Method):
    """Preference optimisation on pairs."""

    examples = AnswerPairs()

    def flops(self, prepared: nn.Module) -> TextFlops:
        """An adapter's reference is read anew in every step, without a backward; another's is kept."""
        training = super().flops(prepared)
        if not isinstance(prepared, peft.PeftModel):
            return training
        with prepared.disable_adapter():
            return training + text_flops(prepared, backward=False)

    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        return PreferenceModule(model, self, course)


class ReferenceModule(AlignmentModule):
    """Compares the log-probabilities of answers with those under a reference, the model as it was before.

    The reference is the same model with its adapter off, in evaluation mode. Where there is no adapter, or one that was
    trained before, its log-probabilities are taken once, before the first step, and kept in the run folder.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, course: Course) -> None:
        super().__init__(model, optimizer, course)
        self._stored: Tensor | None = None  # (examples, answers) float32 log-probabilities, answers as in `documents`

    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        return self.sums(batch)["loss"]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.device_mesh is None:
            self._keep_reference()

    def configure_model(self) -> None:
        super().configure_model()
        if self.device_mesh is not None:  # no device may have room for the whole model
            self._keep_reference()

    def _keep_reference(self) -> None:
        """Take the log-probabilities of the reference where they are to be kept.

        Before Lightning loads a checkpoint, so that the weights are those that the run began with.
        """
        adapter_off = isinstance(self.model, peft.PeftModel) and not self.course.carries
        if adapter_off or self._stored is not None:
            return
        self.to(self.trainer.strategy.root_device)
        self._stored = stored_reference(
            self.model, self.course, answer_log_probabilities, self.trainer.precision_plugin.forward_context
        )

    def reference(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Log-probabilities under the reference, of each answer that an example has: (examples,) float32 each."""
        if self._stored is not None:
            self._stored = self._stored.to(batch["index"].device)
            return self._stored.index_select(0, batch["index"]).unbind(1)
        if not isinstance(self.model, peft.PeftModel):
            raise InputError.of("method.name", "no reference to compare with", "an adapter, or a run with a folder")
        with torch.no_grad(), evaluating(self.model), self.model.disable_adapter():
            return answer_log_probabilities(self.model, batch).view(-1, len(batch["index"])).unbind(0)


class PreferenceModule(ReferenceModule):
    """One forward for the chosen and rejected answers of a micro-batch, and one of the reference."""

    def __init__(self, model: nn.Module, method: PreferenceOptions, course: Course) -> None:
        super().__init__(model, OptimizerConfig.of(method.optimizer), course)
        self.method = method

    def sums(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, and of the reward (beta times what the log-probability has gained on the reference) its lead of
        chosen over rejected answers and whether there is one; and the log-probabilities: () each, summed over pairs.
        """
        chosen, rejected = answer_log_probabilities(self.model, batch).chunk(2)
        chosen_before, rejected_before = self.reference(batch)
        chosen_gain, rejected_gain = chosen - chosen_before, rejected - rejected_before
        beta = self.method.beta
        if self.method.loss == "dpo":
            smoothing = self.method.label_smoothing
            losses = dpo_losses(chosen_gain, rejected_gain, beta=beta, label_smoothing=smoothing)
        else:
            counts, rejected_counts = batch["answer"][:, 1:].sum(1).chunk(2)
            losses = ipo_losses(chosen_gain / counts, rejected_gain / rejected_counts, beta=beta)
        margins = beta * (chosen_gain - rejected_gain)
        return {
            "loss": losses.sum(),
            "reward_margin": margins.sum(),
            "reward_accuracy": (margins > 0).sum().to(losses.dtype),
            "log_probability_chosen": chosen.sum(),
            "log_probability_rejected": rejected.sum(),
        }


def answer_log_probabilities(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The log-probability of each row's answer, summed over its tokens, the EOS included: (B,) float32."""
    ids, rows = batch["input_ids"], predicting_rows(batch["answer"])
    with only_rows(model, rows):
        output = model(input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False)
    losses = token_losses(output.logits, ids, rows)
    # Each in its place of a table, and then by row: adding to rows by index has no fixed order on a GPU.
    table = losses.new_zeros(ids.numel()).index_copy(0, rows, losses)
    return -table.view(ids.shape).sum(1)
