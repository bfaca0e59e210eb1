"""What is wrong with cells whose data are prepared first, told before hours are spent on these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from alignlab.building import check_arguments
from alignlab.config import Options
from alignlab.errors import InputError, Problem
from alignlab.models.load import ModelConfig
from alignlab.options import ModelOptions, TrainConfig
from alignlab.preparation.options import ResponsesOptions
from alignlab.preparation.responses_plan import ResponsesPlan
from alignlab.run_plan import RunPlan


def told_early(config: TrainConfig, prepared: str) -> list[Problem]:
    """What is wrong with a training, but for what is not there yet in the folder of what is prepared."""
    plan = RunPlan(config)
    problems = _raised(
        lambda: plan.tokenizer,
        lambda: plan.probe,
        lambda: plan.problems,
        lambda: [stage.shapes for stage in plan.made_stages],
        lambda: check_arguments(plan),
        lambda: plan.stages,
    )
    return [one for one in problems if prepared not in one.where and prepared not in one.found]


def models_told_early(steps: Sequence[tuple[str, Options]], *, weights: bool) -> list[Problem]:
    """What is wrong with the models of what is prepared: the last of them is first loaded when all others have run.

    steps: by their keys.  weights: whether these are to be there.
    """
    problems = []
    for key, options in steps:
        for at, model in _models_in(options, f"{key}.set"):
            asked = ModelConfig.of(model)
            told = _raised(asked.build_config, asked.build_tokenizer, *([asked.check] if weights else []))
            problems += [Problem(at if one.where == "model.source" else one.where, one.found, one.expected, one.fix)
                         for one in told]  # fmt: skip
    return list(dict.fromkeys(problems))


def questions_told_early(steps: Sequence[tuple[str, Options]], prepared: str) -> list[Problem]:
    """What is wrong with the questions of which answers are prepared, but for files that are themselves prepared."""
    return [
        replace(one, where=f"{key}: {one.where}")
        for key, options in steps
        if isinstance(options, ResponsesOptions)
        for one in _raised(ResponsesPlan(options).check)
        if prepared not in one.where and prepared not in one.found
    ]


def _models_in(options: Options, above: str) -> Iterator[tuple[str, ModelOptions]]:
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, ModelOptions):
            yield f"{above}.{name}.source", value
        elif isinstance(value, Options):
            yield from _models_in(value, f"{above}.{name}")


def _raised(*asked: Callable[[], Any]) -> list[Problem]:
    problems: dict[Problem, None] = {}
    for one in asked:
        try:
            one()
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    return list(problems)
