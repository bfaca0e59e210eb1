"""The grid: sets x operations x strengths, each beside its controls; every combination is an arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignlab.intervening.options import WITH_STRENGTH, OperationName
from alignlab.recording.effects import BASELINE, ArmLabel


def labels_of(
    sets: Sequence[str],
    operations: Sequence[OperationName],
    strengths: Sequence[float],
    controls: Sequence[str],
    seeds: int,
) -> list[ArmLabel]:
    """What the arms of a grid are: first the model as it is, then set by set what is done to it, each time the set
    itself, then its controls with seeds from 0.

    strengths: of the operations that have one; of the others there is one arm.
    """
    labels = [BASELINE]
    for name in sets:
        for operation in operations:
            for strength in strengths if operation in WITH_STRENGTH else [None]:
                labels += _beside_controls(name, operation, strength, controls, seeds)
    return labels


def _beside_controls(
    name: str, operation: str, strength: float | None, controls: Sequence[str], seeds: int
) -> Iterator[ArmLabel]:
    what = f"{operation} {name}" if strength is None else f"{operation} {strength:g} {name}"
    yield ArmLabel(what, name, operation, strength)
    for control in controls:
        for seed in range(seeds):
            yield ArmLabel(f"{what}, {control} {seed}", name, operation, strength, control, seed)
