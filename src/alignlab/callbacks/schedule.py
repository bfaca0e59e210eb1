"""When a callback does what it does: at the start, at given steps or every so many, and at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection


class Schedule:
    """Base of callbacks that look at a model at some steps.

    every_n_steps: optimiser steps between two looks; None takes the first and the last step only.
    steps: the very steps, instead; a training that ends elsewhere has none there.
    """

    every_n_steps: int | None
    steps: Collection[int] | None

    @abstractmethod
    def taken(self, step: int) -> bool:
        """Whether the last look was at this step."""

    def due(self, step: int) -> bool:
        """Whether to look after this step."""
        if self.steps is not None:
            return step in self.steps and not self.taken(step)
        return self.every_n_steps is not None and step % self.every_n_steps == 0 and not self.taken(step)

    def due_at_end(self, step: int) -> bool:
        """Whether to look where the training ends."""
        return self.steps is None and not self.taken(step)
