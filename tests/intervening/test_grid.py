"""The grid against nested loops."""

from __future__ import annotations

import itertools

from alignlab.intervening.grid import labels_of
from alignlab.recording.effects import NO_INTERVENTION


def test_every_combination_once() -> None:
    labels = labels_of(["zh", "sw th"], ["zero", "scale", "replace"], [0.5, 2.0], ["random", "matched"], 3)
    found = [(one.set, one.operation, one.strength, one.control, one.seed) for one in labels]
    expected: list[tuple[object, ...]] = [("", "", None, "", None)]
    for name in ("zh", "sw th"):
        for operation, strength in (("zero", None), ("scale", 0.5), ("scale", 2.0), ("replace", None)):
            expected.append((name, operation, strength, "", None))
            expected += [
                (name, operation, strength, *one) for one in itertools.product(("random", "matched"), (0, 1, 2))
            ]
    assert found == expected
    names = [one.name for one in labels]
    assert len(set(names)) == len(names) == 1 + 2 * 4 * 7
    assert names[0] == NO_INTERVENTION
    assert "zero zh" in names
    assert "scale 0.5 sw th, matched 2" in names


def test_without_controls() -> None:
    assert [one.name for one in labels_of(["zh"], ["zero"], [1.0], [], 5)] == [NO_INTERVENTION, "zero zh"]
