"""Fallback: languages are switched off one after another, each time beside controls, until no answer is in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignlab.analysis.effect_fallback import TOGETHER, off_at
from alignlab.errors import Problem, did_you_mean, refuse_any
from alignlab.evaluation.tasks import Task
from alignlab.intervening.chosen import in_common
from alignlab.intervening.options import WITH_MEANS, WITH_STRENGTH, WITHOUT_MEANS, InterveneOptions
from alignlab.recording.effects import BASELINE, ArmLabel

if TYPE_CHECKING:
    from alignlab.intervening.model_grid import Grid


def languages_of(grid: Grid) -> list[str]:
    """Those that can be switched off: measured ones whose own set holds a neuron."""
    return [code for code in grid.measured.languages if code in grid.chosen.languages and code in grid.chosen.named]


def labels_at(off: Sequence[str], options: InterveneOptions) -> list[ArmLabel]:
    """The arms of a step: the languages that are off, then what stands in their place; with none off the model."""
    if not off:
        return [BASELINE]
    operation = options.operations[0]
    strength = options.strengths[0] if operation in WITH_STRENGTH else None
    together = TOGETHER.join(off)
    what = f"{operation} {together}" if strength is None else f"{operation} {strength:g} {together}"
    drawn = [(control, seed) for control in options.controls for seed in range(options.seeds)]
    return [
        ArmLabel(what, together, operation, strength),
        *(ArmLabel(f"{what}, {name} {seed}", together, operation, strength, name, seed) for name, seed in drawn),
    ]


def neurons_at(grid: Grid, off: Sequence[str], label: ArmLabel) -> Tensor:
    """(L, N) bool, all that is changed at a step.

    A control grows as the languages do: what a language adds is drawn beside what was drawn for those before it, so
    that a seed is one path, with as many neurons in every layer at each step.
    """
    chosen = grid.chosen
    before, taken = torch.zeros_like(chosen.taken), chosen.taken.clone()
    found = torch.zeros_like(chosen.taken)
    for code in off:
        added = replace(chosen.sets, sets={code: chosen.sets[code] & ~before})
        before |= chosen.sets[code]
        if not label.control:
            found |= added[code]
            continue
        assert label.seed is not None
        if label.control == "random":
            drawn = added.random(label.seed, taken)[code]
        else:
            drawn = added.matched(chosen.probabilities, label.seed, taken, chosen.among)[code]
        found, taken = found | drawn, taken | drawn
    return found


def shared_at(grid: Grid, labels: Sequence[ArmLabel]) -> dict[str, dict[str, float]]:
    """By step and control, what share of its neurons a control has in common with another draw.

    labels: of all arms of a path; a step is called as their set is.
    """
    drawn: dict[tuple[str, str], list[Tensor]] = {}
    for label in labels:
        if label.control:
            drawn.setdefault((label.set, label.control), []).append(neurons_at(grid, off_at(label.set), label))
    found: dict[str, dict[str, float]] = {}
    for (name, control), masks in drawn.items():
        if len(masks) > 1:
            found.setdefault(name, {})[control] = in_common(masks)
    return found


def asked(task: Task, options: InterveneOptions) -> Task:
    """The problems that are answered at every step."""
    codes = options.fallback.prompts
    kept = [codes is None or prompt.language in codes for prompt in task.prompts]
    places = [number for number, there in enumerate(kept) if there]
    return replace(
        task,
        prompts=[task.prompts[number] for number in places],
        expected=[task.expected[number] for number in places],
        seen=[task.seen[number] for number in places],
    )


def option_problems(options: InterveneOptions) -> list[Problem]:
    """What a path cannot have, known before anything is read."""
    problems = []
    if len(options.operations) > 1 or len(options.strengths) > 1:
        count = max(len(options.operations), len(options.strengths))
        fix = "Name one, or leave fallback out of measures."
        problems.append(Problem("operations", f"{count} ways to change neurons, and fallback is one path", "one", fix))
    means = [name for name in options.operations if name in WITH_MEANS]
    if means:
        found = f"{' and '.join(means)} takes means of one language, and fallback changes neurons of several"
        problems.append(Problem("operations", found, f"one of {', '.join(WITHOUT_MEANS)}"))
    return problems


def check(grid: Grid, options: InterveneOptions) -> None:
    """Refuse languages that cannot be switched off or asked, and controls without room. Raises `InputError`."""
    task = grid.task
    assert task is not None
    places = {"fallback.order": languages_of(grid), "fallback.prompts": list(task.languages)}
    given = {"fallback.order": options.fallback.order, "fallback.prompts": options.fallback.prompts}
    problems = [
        Problem(where, f"{code!r}", f"some of: {', '.join(there)}", did_you_mean(code, there))
        for where, there in places.items()
        for code in given[where] or ()
        if code not in there
    ]
    if not places["fallback.order"]:
        problems.append(Problem("each", "no language has neurons of its own", "one or more to switch off"))
    refuse_any(problems)
    off = options.fallback.order or languages_of(grid)
    whole = torch.stack([grid.chosen.sets[code] for code in off]).any(dim=0).sum(dim=1).tolist()
    left = (~grid.chosen.taken).sum(dim=1).tolist()
    fix = "Take fewer neurons (identifier.top_rate), fewer languages, or set controls=[]."
    refuse_any(
        [
            Problem(
                "controls", f"layer {layer} has {there} neurons of no language, and all sets {needed}", "as many", fix
            )
            for layer, (needed, there) in enumerate(zip(whole, left, strict=True))
            if options.controls and needed > there
        ]
    )
