"""Supervised fine-tuning on answers; question translation is its first use.

In question translation the model reads a question in another language under an instruction and learns to write it in
English; the loss is on the English question and EOS only (QAlign, Zhu et al. 2024; Spontaneous Learners, Zhang et al.
2024). Which answers are learnt, and of what, is the data's: the same method learns worked answers or conversations.
"""

from __future__ import annotations

from torch import Tensor, nn

from alignlab.data.examples import Answers
from alignlab.methods.base import AlignmentModule, Course, Method
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import QuestionTranslationOptions, SupervisedOptions
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses


class Supervised(SupervisedOptions, Method):
    """Supervised fine-tuning on answers."""

    examples = Answers()

    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        return SupervisedModule(model, OptimizerConfig.of(self.optimizer), course)


class QuestionTranslation(QuestionTranslationOptions, Method):
    """Question translation: questions of other languages into English ones."""

    examples = Answers()

    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        return SupervisedModule(model, OptimizerConfig.of(self.optimizer), course)


class SupervisedModule(AlignmentModule):
    """Negative log-likelihood of the answer tokens; logits are computed at those positions only."""

    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        rows = predicting_rows(batch["answer"])
        with only_rows(self.model, rows):
            output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        return token_losses(output.logits, batch["input_ids"], rows).sum()
