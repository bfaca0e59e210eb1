"""The arms of a grid on a model, and what each does to the documents that are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignlab import console
from alignlab.atomic import whole_file
from alignlab.data.encoding import Document
from alignlab.errors import UnsupportedModelError
from alignlab.evaluation.answering import checked
from alignlab.evaluation.fallback import fallback
from alignlab.evaluation.tasks import Task
from alignlab.intervening.falling import labels_at, languages_of, neurons_at
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.objects import OBJECTS
from alignlab.intervening.options import WITH_MEANS, InterveneOptions, Measure
from alignlab.intervening.plan import GridPlan
from alignlab.interventions.intervention import Intervention
from alignlab.interventions.operations import OPERATIONS, Operation
from alignlab.manifest import checksum
from alignlab.models.distributed import is_first
from alignlab.models.edits import Arm
from alignlab.models.lower_layers import LowerLayers, find_lower_layers
from alignlab.models.options import SiteName
from alignlab.models.precision import precision_of
from alignlab.models.sites import Site, find_sites
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.counting import Origin
from alignlab.recording.effects import ABSTAINED, ANSWERS, NO_INTERVENTION, ArmLabel, Effects, joined
from alignlab.recording.kept import Kept
from alignlab.recording.likelihoods import effects_on_texts, labelled
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.scoring import Masks, Scores, score

HELD_OUT, SAME = "text", "text on which the neurons were found"


def measure(plan: GridPlan, grid: Grid, model: nn.Module) -> dict[Measure, Effects]:
    """What every arm does, of each measure; a collective call where there are several ranks.

    What each forward has found is kept in the parts of the folder. Raises InputError for neurons that do not fit.
    """
    context = precision_of(plan.loader.precision, plan.loader.device).forward_context
    shared = _Shared(
        model,
        arms_of(grid, _means(plan, grid, model, context)),
        {grid.site: find_sites(model, grid.site)},
        context,
        Kept(plan.folder.parts.path, plan.loader.digest(grid.subject.source)),
    )
    ways = {"perplexity": _likelihoods, "accuracy": _answers, "lss": _shifts, "fallback": _path}
    return {name: ways[name](plan, grid, shared) for name in plan.options.measures}


@dataclass(frozen=True)
class _Shared:
    """What all measures take."""

    model: nn.Module
    arms: list[Arm]
    sites: dict[SiteName, list[Site]]
    context: Any
    kept: Kept


def _likelihoods(plan: GridPlan, grid: Grid, shared: _Shared) -> Effects:
    """The likelihood of every document under every arm."""
    measured, documents = grid.measured, grid.documents
    masks = [measured.counted(document) for document in documents]
    scores = _score(plan, grid, shared, documents, masks)
    same = grid.division is not None and grid.division.same
    return effects_on_texts(
        documents,
        labelled(grid.labels, shared.arms),
        scores,
        origin=_origin(grid),
        task=SAME if same else HELD_OUT,
        clusters=measured.clusters,
        counted=masks,
    )


def _shifts(plan: GridPlan, grid: Grid, shared: _Shared) -> Effects:
    """The likelihood of every object behind every prompt under every arm."""
    objects = grid.objects
    assert objects is not None
    scores = _score(plan, grid, shared, objects.documents)
    same = grid.division is not None and grid.division.same
    name = f"{OBJECTS}, {SAME}" if same else OBJECTS
    return objects.effects(labelled(grid.labels, shared.arms), scores, _origin(grid), name)


def _score(
    plan: GridPlan, grid: Grid, shared: _Shared, documents: Sequence[Document], masks: Masks | None = None
) -> Scores:
    with console.progress(f"Measuring {grid.subject.label}", len(documents) * len(grid.labels)) as advance:
        return score(
            shared.model,
            documents,
            shared.arms,
            max_tokens_per_batch=plan.options.max_tokens_per_batch,
            counted=masks,
            lower=_lower_layers(shared.model),
            sites=shared.sites,
            context=shared.context,
            advance=advance,
            kept=shared.kept,
        )


def _answers(plan: GridPlan, grid: Grid, shared: _Shared) -> Effects:
    """The answers to every problem under every arm."""
    task = grid.task
    assert task is not None
    path = plan.folder.texts(grid.subject, "accuracy")
    with _written_by_first(path) as write:
        found = _answer(plan, grid, shared, task, labelled(grid.labels, shared.arms), shared.arms, write)
    return _beside(found, path)


def _path(plan: GridPlan, grid: Grid, shared: _Shared) -> Effects:
    """The answers at every step of a fallback: what is switched off next may hang on the answers before.

    Each step is kept as any answers are, so that a killed path is taken again as far as it went, without the model.
    """
    task = grid.path_task
    assert task is not None
    records: list[Effects] = []
    path = plan.folder.texts(grid.subject, "fallback")

    def answer(off: tuple[str, ...]) -> list[str | None]:
        asked = labels_at(off, plan.options)
        arms = [_arm(grid, label, neurons_at(grid, off, label)) for label in asked]
        records.append(_answer(plan, grid, shared, task, labelled(asked, arms), arms, write))
        told, languages = records[-1].measured("output_language")[:, 0].tolist(), records[-1].languages
        return [None if place == ABSTAINED else languages[place] for place in told]

    with _written_by_first(path) as write:
        fallback(answer, languages_of(grid), plan.options.fallback.order)
    return _beside(joined(records), path)


def _answer(
    plan: GridPlan,
    grid: Grid,
    shared: _Shared,
    task: Task,
    labels: Sequence[ArmLabel],
    arms: Sequence[Arm],
    write: Callable[[str], object],
) -> Effects:
    """The answers to the problems of a task under these arms; their texts are written."""
    eos = task.tokenizer.eos_token_id
    with console.progress(f"Answering, {grid.subject.label}", len(task.prompts) * len(arms)) as advance:
        responses = generate_under(
            shared.model,
            [prompt.tokens for prompt in task.prompts],
            arms,
            max_new_tokens=task.max_new_tokens,
            max_tokens_per_batch=plan.options.max_tokens_per_batch,
            eos_ids=() if eos is None else (eos,),
            sites=shared.sites,
            context=shared.context,
            advance=advance,
            kept=shared.kept,
        )
    origin = _origin(grid)
    by_arm = []
    for place, label in enumerate(labels):  # arm by arm: the texts of all together may be large
        found = checked(task, [of[place] for of in responses], origin, told_of(label))
        write(found.text)
        by_arm.append(found.effects)
    columns: dict[str, Any] = {name: torch.cat([one.measured(name) for one in by_arm], dim=1) for name in ANSWERS}
    same = grid.division is not None and grid.division.same
    name = f"{task.name}, {SAME}" if same else task.name
    return replace(by_arm[0], labels=tuple(labels), task=name, answers_checksum="", **columns)


def told_of(label: ArmLabel) -> dict[str, object]:
    """What the lines of the answers under an arm say of it."""
    return {
        "arm": label.name, "set": label.set, "operation": label.operation, "strength": label.strength,
        "control": label.control, "seed": label.seed,
    }  # fmt: skip


@contextmanager
def _written_by_first(path: Path) -> Iterator[Callable[[str], object]]:
    """What writes text to a file, whole or not at all; on other ranks than zero nothing."""
    if not is_first():
        yield lambda text: None
        return
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file.write


def _beside(effects: Effects, path: Path) -> Effects:
    """The record of answers whose texts are in a file."""
    return replace(effects, answers_checksum=checksum(path) if is_first() else "")  # by whom the record is kept


def _origin(grid: Grid) -> Origin:
    """Where the numbers come from: what the run's counts say."""
    counts = grid.counts
    if counts is None:
        return Origin(grid.subject.source, reference="")
    names = ("model", "revision", "step", "trained_languages", "reference")
    return Origin(**{name: getattr(counts, name) for name in names})


def arms_of(grid: Grid, means: ActivationMeans | None = None) -> list[Arm]:
    """What each label of the grid means, in their order."""
    return [_arm(grid, label, neurons, means) for label, neurons in zip(grid.labels, grid.neurons(), strict=True)]


def _arm(grid: Grid, label: ArmLabel, neurons: Tensor, means: ActivationMeans | None = None) -> Arm:
    if label.name == NO_INTERVENTION:
        return ()
    options = grid.plan.options
    made = Intervention(
        neurons,
        operation_of(label, options),
        at=grid.site,
        scope=options.scope,
        language=grid.chosen.languages.get(label.set, ""),
        statistics=means,
        name=label.name,
    )
    return (made.edit,)


def operation_of(label: ArmLabel, options: InterveneOptions) -> Operation:
    """The operation of an arm, at its strength."""
    kind = OPERATIONS[label.operation]
    settings: dict[str, Any] = {}
    if label.operation == "constant":
        settings = {"value": label.strength}
    elif label.operation == "replace":
        settings = {"by": options.replace_by, "percentile": options.percentile}
    elif label.strength is not None:
        settings = {"strength": label.strength}
    operation: Operation = kind(**settings)
    return operation


def _means(plan: GridPlan, grid: Grid, model: nn.Module, context: Any) -> ActivationMeans | None:
    """The mean activations of the documents on which neurons were found, for operations that take any."""
    if not any(name in WITH_MEANS for name in plan.options.operations):
        return None
    assert grid.probe is not None
    assert grid.division is not None
    probe = replace(grid.probe, documents=grid.division.found_on, site=grid.site)
    return record_means(
        model,
        find_sites(model, probe.site),
        probe,
        plan.folder.means(grid.subject),
        origin=Origin(step=grid.subject.step),
        context=context,
        progress=partial(console.progress, f"Means of {grid.subject.label}"),
    )


def _lower_layers(model: nn.Module) -> LowerLayers | None:
    try:
        return find_lower_layers(model)
    except UnsupportedModelError as error:
        console.say(f"note: lower layers are run for every arm: {error.problems[0].found}")
        return None
