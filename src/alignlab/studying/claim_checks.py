"""Claims of which no cell of their study can tell, and what is asked of cells that are not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from alignlab.errors import Problem, did_you_mean, some_of
from alignlab.studying.groups import GROUPS
from alignlab.studying.options import ClaimOptions, StudyOptions


def claim_problems(
    options: StudyOptions, axes: Mapping[str, Collection[str]], where: Mapping[str, str]
) -> list[Problem]:
    """What no cell of the study can tell of. axes: with their levels.  where: of each claim, by its name."""
    problems = []
    sources = ["neurons", "capability", *options.then] if not options.models else ["counts", *options.then]
    for name, claim in options.claims.items():
        if claim.source not in sources:
            expected = f"one of: {', '.join(sources)}"
            found = f"source is {claim.source!r}"
            problems.append(Problem(where[name], found, expected, did_you_mean(claim.source, sources)))
        if not claim.groups:
            problems.append(Problem(where[name], "groups is empty", "groups or languages, such as [trained, unseen]"))
        for group in claim.groups:
            # Whatever else it is may be a language, or a label of the user's own.
            if group not in GROUPS and (meant := did_you_mean(group, GROUPS)):
                found, expected = f"there is no group {group!r}", f"{', '.join(GROUPS)}, or a language"
                problems.append(Problem(where[name], found, expected, meant))
        if claim.what == "difference" and not options.baseline:
            problems.append(Problem(where[name], "what is difference", "a baseline of the study", "Set baseline."))
        problems += level_problems(axes, claim.levels, where[name])
        problems += _unasked_problems(options, claim, where[name])
    return problems


def level_problems(
    axes: Mapping[str, Collection[str]], asked: Mapping[str, Sequence[str]], where: str
) -> list[Problem]:
    """Axes and levels that are asked for and not there. axes: those that are, with their levels."""
    problems = []
    for axis, levels in asked.items():
        if axis not in axes:
            expected = f"one of: {', '.join(axes) or 'none'}"
            problems.append(Problem(where, f"there is no axis {axis!r}", expected, did_you_mean(axis, list(axes))))
            continue
        known = list(axes[axis])
        if not levels:
            problems.append(Problem(where, f"no level of {axis}, which takes no cell", "one or more, or no such axis"))
        problems += [
            Problem(where, f"{axis} has no level {level!r}", f"one of: {', '.join(known)}", did_you_mean(level, known))
            for level in levels
            if level not in known
        ]
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
