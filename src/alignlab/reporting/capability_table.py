"""What a model can do as the table that people read, and by the names that loggers know."""

from __future__ import annotations

from collections.abc import Sequence

from alignlab import console
from alignlab.analysis.capability import BOTH, IN_LANGUAGE, RIGHT
from alignlab.neurons.table import Row
from alignlab.reporting.wording import interval as ends
from alignlab.reporting.wording import number

_GROUPS = ("trained", "reference", "unseen", "all languages")
_MOST_LANGUAGES = 12  # that have a line of their own on the terminal
TABLE_HEADER = ("", "right", "95 %", "change", "95 %", "", "right in language", IN_LANGUAGE)
TABLE_ALIGN = "lrrrrlrr"
_OF_CHANGES = (3, 4, 5)  # columns of them, which the first step has not


def scalars(rows: Sequence[Row]) -> dict[str, float]:
    """Every share of all problems, by paths such as `capability/right/zh` and `capability/trained/right`."""
    values: dict[str, float] = {"capability/step": rows[0].step or 0}
    for row in _of_all(rows):
        if not row.is_change:
            measure = row.measure.replace(" ", "_")
            name = f"{measure}/{row.language}" if row.language else f"{row.group.replace(' ', '_')}/{measure}"
            values[f"capability/{name}"] = row.value
    return values


def table_title(rows: Sequence[Row]) -> str:
    """What the table's numbers are: of which record, task and problems."""
    sizes = sorted({row.denominator or 0 for row in rows if row.group == "language"})
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return f"Answers at {rows[0].record}: {rows[0].task}, {each} a language"


def table_rows(rows: Sequence[Row]) -> list[list[str]]:
    """The table that people read: a line a group, then a line a language unless they are many."""
    found = {(row.group, row.language, row.measure, row.is_change): row for row in _of_all(rows)}
    who = list(dict.fromkeys((row.group, row.language) for row in _of_all(rows)))
    groups = [one for one in who if one[0] in _GROUPS]
    languages = [one for one in who if one[1]]
    lines = sorted(groups, key=lambda one: _GROUPS.index(one[0]))
    return [_line(found, *one) for one in [*lines, *(languages if len(languages) <= _MOST_LANGUAGES else [])]]


def show(rows: Sequence[Row]) -> None:
    """Print the table, with what its numbers are above it and how to read them below."""
    console.say()
    console.heading(table_title(rows))
    changed = any(row.is_change for row in rows)
    kept = [place for place in range(len(TABLE_HEADER)) if changed or place not in _OF_CHANGES]
    lines = [[line[place] for place in kept] for line in table_rows(rows)]
    console.table(lines, [TABLE_HEADER[place] for place in kept], "".join(TABLE_ALIGN[place] for place in kept))
    console.note(table_note(rows))


def table_note(rows: Sequence[Row]) -> str:
    """How to read the table, in a line or two."""
    groups = {
        group: next((row.denominator for row in rows if row.group == group and not row.label), None)
        for group in _GROUPS[:3]
    }
    asked = ", ".join(f"{group} {count:,}" for group, count in groups.items() if count)
    over = "clusters of problems" if any(row.over == "clusters" for row in rows) else "problems"
    since = next((row.since for row in rows if row.since), "")
    change = (
        f", changes since {since} are paired by problem, and verdicts corrected for what is asked together"
        if since
        else ""
    )
    return (
        f"right: the last number of the greedy answer is the expected one; in language: the answer is in the language "
        f"of the question, as far as its text tells. Groups: all problems of their languages ({asked}); intervals are "
        f"over {over}{change}."
    )


def _of_all(rows: Sequence[Row]) -> list[Row]:
    """Without those of a part of the problems."""
    return [row for row in rows if not row.label]


def _line(found: dict[tuple[str, str, str, bool], Row], group: str, language: str) -> list[str]:
    def row(measure: str, change: bool = False) -> Row | None:
        return found.get((group, language, measure, change))

    moved = row(RIGHT, change=True)
    return [
        language or group,
        share(row(RIGHT)),
        interval(row(RIGHT)),
        share(moved),
        interval(moved),
        verdict(moved),
        share(row(BOTH)),
        share(row(IN_LANGUAGE)),
    ]


def share(row: Row | None) -> str:
    """A share to three digits, a change with its sign; empty for none."""
    if row is None:
        return ""
    return number(row.value, 3, "+" if row.is_change else "")


def interval(row: Row | None) -> str:
    """Its interval, such as `.012 to .045`; empty for none."""
    return "" if row is None else ends(row.low, row.high, 3, "+" if row.is_change else "")


def verdict(row: Row | None) -> str:
    """Whether a change is told from noise."""
    if row is None:
        return ""
    return "too few to tell" if row.beyond_noise is None else f"{'beyond' if row.beyond_noise else 'within'} noise"
