"""What a model chooses among options, from the record of their likelihoods, as measures of each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alignlab.analysis.capability import RIGHT, Measure
from alignlab.evaluation.multiple_choice import choose
from alignlab.recording.effects import Effects

BY_TOKEN, BY_CHARACTER, BY_BYTE, TIED = "right by token", "right by character", "right by byte", "tied"


def _chance(effects: Effects) -> Tensor:
    """(I,): one over the number of options."""
    return 1 / (effects.measured("option_tokens") > 0).sum(dim=1).double()


def _right(effects: Effects, lengths: Tensor | None) -> Tensor:
    gold = torch.tensor([int(item.expected) for item in effects.items])
    nats, broken = _finite(effects)
    right = choose(nats, lengths).right(gold)
    return right.double().masked_fill(broken, torch.nan) if bool(broken.any()) else right


def _tied(effects: Effects) -> Tensor:
    nats, broken = _finite(effects)
    tied = choose(nats).tied
    return tied.double().masked_fill(broken, torch.nan) if bool(broken.any()) else tied


def _finite(effects: Effects) -> tuple[Tensor, Tensor]:
    """The nats with 0 for what is not finite of options that are there, and where that is: (I, A, O) and (I, A)."""
    nats = effects.measured("option_nats")
    there = (effects.measured("option_tokens") > 0).unsqueeze(1)
    broken = there & ~nats.isfinite()
    return nats.masked_fill(broken, 0.0), broken.any(dim=-1)


def by_byte(lengths: Mapping[tuple[str, str], Sequence[int]]) -> Measure:
    """Right by the nats divided by the bytes of the options in UTF-8, which a record does not have.

    lengths: of each question, by its language and id, those of its options.
    """

    def right(effects: Effects) -> Tensor:
        options = effects.measured("option_tokens").shape[1]
        rows = [lengths[item.language, item.id] for item in effects.items]
        return _right(effects, torch.tensor([[*row, *[0] * (options - len(row))] for row in rows]))

    return Measure(right, chance=_chance)


CHOICES = {
    RIGHT: Measure(lambda effects: _right(effects, None), chance=_chance),
    BY_TOKEN: Measure(lambda effects: _right(effects, effects.measured("option_tokens")), chance=_chance),
    BY_CHARACTER: Measure(lambda effects: _right(effects, effects.measured("option_characters")), chance=_chance),
    TIED: Measure(_tied),
}
