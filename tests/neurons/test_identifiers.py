"""What every identifier by name has: the rest of the record it reads, refusals of sizes, its line in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from alignlab.neurons.identifiers import IDENTIFIERS, ImportanceIdentifier, RecordName, SizedIdentifier, size_problems
from alignlab.recording.importance import MEASURES

DOCS = Path(__file__).parents[2] / "docs/identifiers.md"
NEURONS = 100
NONE_OR_TOO_MANY: dict[str, float] = {"top_rate": 0.001, "size": NEURONS + 1, "k": NEURONS + 1}


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_one_of_importance_says_all_that_is_asked_of_it(name: str) -> None:
    identifier = IDENTIFIERS[name]()
    assert identifier.reads in get_args(RecordName)
    # Without `wanted`, `at_sites` or `shape_problems` nothing would be recorded for it.
    assert (identifier.reads == "importance") == isinstance(identifier, ImportanceIdentifier)
    if isinstance(identifier, ImportanceIdentifier):
        assert identifier.wanted.measure in MEASURES


@pytest.mark.parametrize(
    ("kind", "option"),
    [(kind, option) for kind in IDENTIFIERS.values() for option in NONE_OR_TOO_MANY if option in kind.model_fields],
)
def test_no_neuron_and_more_than_there_are_is_refused_before_anything_is_recorded(kind: Any, option: str) -> None:
    found = size_problems(kind(**{option: NONE_OR_TOO_MANY[option]}), NEURONS)
    assert [problem.where for problem in found] == [f"identifier.{option}"]
    small: dict[str, float] = {"top_rate": 0.1, "size": NEURONS, "k": NEURONS}
    assert size_problems(kind(**{option: small[option]}), NEURONS) == []


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_one_that_is_told_its_size_takes_no_more_than_there_are(name: str) -> None:
    identifier = IDENTIFIERS[name]()
    if isinstance(identifier, SizedIdentifier):
        for size in (2, NEURONS):
            assert size_problems(identifier.of_size(size, NEURONS), NEURONS) == []


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_each_has_a_line_in_the_docs(name: str) -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` (")]
    assert len(rows) == 1, f"docs/identifiers.md: {len(rows)} rows begin with | `{name}` (, its table has one of each"
