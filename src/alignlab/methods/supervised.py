"""Supervised fine-tuning on answers: question translation.

The model reads a question in another language under an instruction and learns to write it in English; the loss is on
the English question and EOS only (QAlign, Zhu et al. 2024; Spontaneous Learners, Zhang et al. 2024).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from alignlab.methods.base import AlignmentModule
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import QuestionTranslationOptions
from alignlab.methods.trainable import make_trainable
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses


class QuestionTranslation(QuestionTranslationOptions):
    """Question translation: questions of other languages into English ones."""

    def prepare(self, model: nn.Module) -> Any:
        """The model with its trainable weights; also on the meta device."""
        return make_trainable(model, self)

    def build(self, model: nn.Module, *, total_steps: int, seed: int) -> AlignmentModule:
        """The Lightning module around a prepared model."""
        return SupervisedModule(model, OptimizerConfig.of(self.optimizer), total_steps=total_steps, seed=seed)


class SupervisedModule(AlignmentModule):
    """Negative log-likelihood of the answer tokens; logits are computed at those positions only."""

    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        rows = predicting_rows(batch["answer"])
        with only_rows(self.model, rows):
            output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        return token_losses(output.logits, batch["input_ids"], rows).sum()
