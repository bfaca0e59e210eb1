"""The stages of a run, as its config has them: each as the config of a run of its own, and which do not go together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from alignlab.config import differences, to_plain
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.options import StageOptions, TrainConfig
from alignlab.redaction import hide

# What may stand in the key of a stage, so that it is told from the keys in it.
_NAME = re.compile(r"\w+")
_ENDS = ("max_steps", "max_epochs")
# What a stage sets in place of what the run sets.
_SHARED = tuple(name for name in StageOptions.model_fields if name in TrainConfig.model_fields)


def stage_configs(config: TrainConfig) -> dict[str, TrainConfig]:
    """By name the config of each stage, as that of a run of its own; of a run without stages itself, by an empty name.

    Its seed is `stage_seed`. Of `trainer` it has what the stage sets, and else what the run sets; where the stage says
    in steps or epochs how long it is, what the run says of that does not count.
    """
    if not config.stages:
        return {"": config}
    return {
        name: config.model_copy(
            update={name: getattr(stage, name) for name in _SHARED}
            | {"seed": stage_seed(config.seed, number), "trainer": _trainer(config, stage), "stages": {}}
        )
        for number, (name, stage) in enumerate(config.stages.items())
    }


def stage_seed(seed: int, number: int) -> int:
    """The seed of a stage, by its number from 0: the run's for the first, of the others each an independent one.

    With one seed for all, the adapters of all stages would begin with the same random projection, and stages on the
    same examples would take them in the same order.
    """
    if number == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"stage {number} of seed {seed}".encode()).digest()[:4])


@contextmanager
def in_stage(config: TrainConfig, name: str) -> Iterator[None]:
    """Let what is refused within name the keys of a stage; `name` is empty for a run without stages."""
    try:
        yield
    except InputError as error:
        if not name:
            raise
        raise type(error)(*(_placed(problem, name, config.stages[name]) for problem in error.problems)) from error


def check_stages(config: TrainConfig) -> None:
    """Refuse stages that do not follow on one another, before anything is loaded. Raises InputError for all of them."""
    problems = []
    before: StageOptions | None = None
    for name, stage in config.stages.items():
        if not _NAME.fullmatch(name):
            problems.append(Problem(f"stages.{name}", f"its name is {name!r}", "letters, digits and _"))
        elif hide(name) != name:
            problems.append(Problem(f"stages.{name}", "its name holds a secret", "a name, which is written and shown"))
        problems += _adapter_problems(f"stages.{name}", stage, before, four_bit=config.model.four_bit)
        before = stage
    refuse_any(problems)


def _adapter_problems(where: str, stage: StageOptions, before: StageOptions | None, *, four_bit: bool) -> list[Problem]:
    """What is wrong with what a stage does with the adapter of the one before it."""
    if stage.adapter == "merge":
        if four_bit and before is not None:
            fix = f"Set {where}.adapter=carry, or model.four_bit=false."
            return [Problem(f"{where}.adapter", "merge, and model.four_bit is true", "weights that take a sum", fix)]
        return []
    if before is None:
        return [Problem(f"{where}.adapter", "carry, and there is no stage before", "merge", "Leave it out.")]
    kinds = (stage.method.trainable, before.method.trainable)
    if kinds != ("lora", "lora"):
        found = f"carry, but the stage trains {kinds[0]} and the one before {kinds[1]}"
        return [Problem(f"{where}.adapter", found, "method.trainable=lora in both, or adapter=merge")]
    lora, earlier = to_plain(stage.method.lora), to_plain(before.method.lora)
    return [
        Problem(
            f"{where}.method.lora.{one.key}",
            f"it is {one.new!r}, and the adapter that is carried on has {one.old!r}",
            "the same",
            f"Set {where}.adapter=merge for a new adapter.",
        )
        for one in differences(earlier, lora)
    ]


def _trainer(config: TrainConfig, stage: StageOptions) -> dict[str, Any]:
    own = dict(stage.trainer)
    given: dict[str, Any] = {**config.trainer}
    if any(key in own for key in _ENDS):
        given = {key: value for key, value in given.items() if key not in _ENDS}
    return given | own


def _placed(problem: Problem, name: str, stage: StageOptions) -> Problem:
    """The same problem of the stage's key, where the stage has that key."""
    section, _, key = problem.where.partition(".")
    if section not in _SHARED or (section == "trainer" and key and key.partition(".")[0] not in stage.trainer):
        return problem
    return replace(problem, where=f"stages.{name}.{problem.where}")
