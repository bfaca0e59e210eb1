"""Language modelling: the loss is on every token of the texts."""

from __future__ import annotations

from torch import nn

from alignlab.data.examples import Texts
from alignlab.methods.base import AlignmentModule, Course, Method
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import CausalOptions
from alignlab.methods.supervised import SupervisedModule


class Causal(CausalOptions, Method):
    """Language modelling on whole texts."""

    examples = Texts()

    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        return SupervisedModule(model, OptimizerConfig.of(self.optimizer), course)
