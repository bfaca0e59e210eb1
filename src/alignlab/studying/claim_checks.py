"""Claims of which no cell of their study can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignlab.errors import Problem, did_you_mean
from alignlab.studying.options import StudyOptions


def claim_problems(options: StudyOptions, axes: Sequence[str], where: Mapping[str, str]) -> list[Problem]:
    """What no cell of the study can tell of. where: of each claim, by its name."""
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
        for axis, levels in claim.levels.items():
            if axis not in options.axes:
                expected = f"one of: {', '.join(axes) or 'none'}"
                problems.append(Problem(where[name], f"there is no axis {axis!r}", expected, did_you_mean(axis, axes)))
                continue
            for level in levels:
                if level not in options.axes[axis]:
                    known = list(options.axes[axis])
                    fix = did_you_mean(level, known)
                    found = f"{axis} has no level {level!r}"
                    problems.append(Problem(where[name], found, f"one of: {', '.join(known)}", fix))
    return problems
