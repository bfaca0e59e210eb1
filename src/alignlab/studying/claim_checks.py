"""Claims of which no cell of their study can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignlab.errors import Problem, did_you_mean, some_of
from alignlab.studying.options import ClaimOptions, StudyOptions

Levels = Mapping[str, Sequence[str]]  # by axis


def claim_problems(options: StudyOptions, known: Levels, where: Mapping[str, str]) -> list[Problem]:
    """What no cell of the study can tell of. known: all levels.  where: of each claim, by its name."""
    problems = []
    sources = ["neurons", "capability", *options.then] if not options.models else ["counts", *options.then]
    for name, claim in options.claims.items():
        if claim.source not in sources:
            expected = f"one of: {', '.join(sources)}"
            found = f"source is {claim.source!r}"
            problems.append(Problem(where[name], found, expected, did_you_mean(claim.source, sources)))
        if not claim.groups:
            problems.append(Problem(where[name], "groups is empty", "groups or languages, such as [trained, unseen]"))
        if claim.what == "difference" and not options.baseline:
            problems.append(Problem(where[name], "what is difference", "a baseline of the study", "Set baseline."))
        if not claim.measure:
            problems.append(Problem(where[name], "measure is empty", "one or more, such as right"))
        problems += level_problems(claim.levels, known, where[name])
        problems += _unasked_problems(options, claim, where[name])
    return problems


def level_problems(levels: Levels, known: Levels, where: str) -> list[Problem]:
    """Levels that the study does not have."""
    problems = []
    for axis, some in levels.items():
        if axis not in known:
            expected = f"one of: {', '.join(known) or 'none'}"
            problems.append(Problem(where, f"there is no axis {axis!r}", expected, did_you_mean(axis, [*known])))
            continue
        if not some:
            problems.append(Problem(where, f"no level of {axis}, which takes no cell", "one or more, or no such axis"))
        for level in some:
            if level not in known[axis]:
                found, expected = f"{axis} has no level {level!r}", f"one of: {', '.join(known[axis])}"
                problems.append(Problem(where, found, expected, did_you_mean(level, [*known[axis]])))
    return problems


def _unasked_problems(options: StudyOptions, claim: ClaimOptions, where: str) -> list[Problem]:
    """A claim of cells of which its source is not asked."""
    asked = options.then[claim.source].levels if claim.source in options.then else {}
    problems = []
    for axis, levels in asked.items():
        there = f"then.{claim.source} is asked of {axis} {some_of([*levels])} alone"
        if axis in claim.levels and not set(claim.levels[axis]) & set(levels):
            problems.append(Problem(where, there, f"levels with one of: {', '.join(levels)}"))
        elif claim.what == "difference" and options.baseline.get(axis, levels[0] if levels else "") not in levels:
            problems.append(Problem(where, f"{there}, and so not of the baseline", "another what, or that level too"))
    return problems
