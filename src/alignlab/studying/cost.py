"""What a study will cost, before its first cell: one training of each model and method is planned, for all like it."""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from alignlab import console
from alignlab.building import check_trainer
from alignlab.config import to_plain
from alignlab.console import size
from alignlab.errors import InputError, Problem, UnsupportedModelError, refuse_any
from alignlab.options import TrainConfig
from alignlab.reporting.estimates import PlannedStage, checkpoint_bytes, memory, merged_bytes, snapshot_bytes
from alignlab.reporting.plan import plan_rows
from alignlab.run_plan import RunPlan
from alignlab.studying.early import told_early
from alignlab.studying.grid import Cell

_LOOKED_AT = 16  # steps of a stage whose texts are counted, for all of them


@dataclass(frozen=True)
class Cost:
    """Of a training: optimiser steps, tokens read, FLOPs of the steps (None where they cannot be counted), bytes that
    lie on the disk at its end, and bytes of memory of a device. Snapshots and answers are in none but the bytes.
    """

    steps: int
    tokens: float
    flops: float | None
    disk: int
    memory: int


@dataclass(frozen=True)
class Group:
    """Cells of one model and method, with what one of them costs: their training text may differ, and so its tokens."""

    planned: Cell
    cells: tuple[Cell, ...]
    cost: Cost


def costs_of(cells: Sequence[Cell], configs: dict[str, TrainConfig], *, later: str = "") -> list[Group]:
    """What the cells cost, planned with one of each model and method.

    later: leave out what cannot be planned yet, since its data are made first, in a folder whose path ends so.
    Raises InputError for what is wrong with a plan, by its cell.
    """
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[_alike(configs[cell.name])].append(cell)
    found, problems = [], []
    with console.progress("Planning cells", len(groups)) as advance:
        for members in groups.values():
            first = members[0]
            try:
                found.append(Group(first, tuple(members), _cost(configs[first.name])))
            except InputError as error:
                told = told_early(configs[first.name], later) if later else error.problems
                problems += [replace(one, where=f"cell {first.name}: {one.where}") for one in told]
            gc.collect()  # the plan of one at a time
            advance()
    refuse_any(list(dict.fromkeys(problems)))
    return found


def _alike(config: TrainConfig) -> str:
    """What decides the cost of a cell, but for its text."""
    plain = to_plain(config)
    keys = ("model", "method", "trainer", "tracker", "checkpoints", "evaluation")
    stages = {name: [stage["method"], stage["trainer"]] for name, stage in plain["stages"].items()}
    return json.dumps([{key: plain[key] for key in keys}, stages], sort_keys=True, default=str)


def _cost(config: TrainConfig) -> Cost:
    plan = RunPlan(config)
    check_trainer(plan)
    planned = plan.planned()
    plan_rows(planned)  # what it refuses
    tokens, flops = 0.0, 0.0
    counted = True
    for stage, of_stage in zip(plan.stages, planned.stages, strict=True):
        sizes = _sizes(of_stage)
        tokens += sizes[0]
        try:
            each = stage.method.flops(stage.outline)
            flops += each.token * sizes[0] + each.square * sizes[1] + each.answer * sizes[2]
        except UnsupportedModelError:
            counted = False
    disk = len(planned.snapshot_steps) * snapshot_bytes(planned) + planned.checkpoints * checkpoint_bytes(planned)
    disk += planned.merged * merged_bytes(planned) if planned.merged else 0
    return Cost(plan.total_steps(), tokens, flops if counted else None, disk, memory(planned).total)


def _sizes(stage: PlannedStage) -> tuple[float, float, float]:
    """Tokens, the sum of the squares of their texts' lengths, and tokens learnt, of all steps of a stage."""
    plan, examples = stage.plan, stage.training.examples
    looked = range(0, plan.total_steps, max(1, plan.total_steps // _LOOKED_AT))
    tokens = squares = learnt = 0
    for step in looked:
        for group in plan.micro_batches(step, 1):
            for text in (text for index in group for text in examples[index].documents):
                tokens, squares = tokens + len(text), squares + len(text) ** 2
                learnt += int(text.answer.sum())
    times = plan.total_steps / len(looked)
    return tokens * times, squares * times, learnt * times


def check_disk(groups: Sequence[Group], todo: Collection[Cell], free: int) -> None:
    """Refuse what does not fit on the disk: what the cells that are not done will take. Raises InputError."""
    needed = sum(group.cost.disk * sum(cell in todo for cell in group.cells) for group in groups)
    if needed > free:
        found = f"the disk has {size(free)} free, snapshots and checkpoints of all cells take {size(needed)}"
        fix = "Set checkpoints.keep_last or a larger tracker.every_n_steps in cell.set, or another study.root."
        raise InputError(Problem("study.root", found, "room for them", fix))
