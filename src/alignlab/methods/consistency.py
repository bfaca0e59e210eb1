"""Direct consistency optimisation: two languages learn to prefer the same of two answers to the same question.

Liu et al. 2026 (2603.04678, as of its first version). The reward of an answer is what the reference makes of its
translation in the other language, so no label is needed: which of the two answers is called chosen changes nothing.
"""

from __future__ import annotations

from torch import Tensor, nn

from alignlab.data.examples import ParallelPairs
from alignlab.methods.base import AlignmentModule, Course, Method
from alignlab.methods.losses import dco_losses
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import ConsistencyOptions
from alignlab.methods.preference import ReferenceModule, answer_log_probabilities


class Consistency(ConsistencyOptions, Method):
    """Direct consistency optimisation on pairs of answers that say the same in two languages."""

    examples = ParallelPairs()

    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        return ConsistencyModule(model, self, course)


class ConsistencyModule(ReferenceModule):
    """One forward for the four answers to each question of a micro-batch, and one of the reference."""

    def __init__(self, model: nn.Module, method: ConsistencyOptions, course: Course) -> None:
        super().__init__(model, OptimizerConfig.of(method.optimizer), course)
        self.method = method

    def sums(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, and whether both languages prefer the same answer: () each, summed over questions."""
        leads = _leads(*answer_log_probabilities(self.model, batch).chunk(4))
        gamma_1, gamma_2 = self.method.gammas
        losses = dco_losses(
            leads, _leads(*self.reference(batch)), beta=self.method.beta, gamma_1=gamma_1, gamma_2=gamma_2
        )
        return {"loss": losses.sum(), "consistency": (leads[0] * leads[1] > 0).sum().to(losses.dtype)}


def _leads(chosen_1: Tensor, rejected_1: Tensor, chosen_2: Tensor, rejected_2: Tensor) -> tuple[Tensor, Tensor]:
    """What the chosen answer's log-probability has before the rejected one's, in each language: (Q,) each."""
    return chosen_1 - rejected_1, chosen_2 - rejected_2
