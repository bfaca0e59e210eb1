"""The plan of an evaluation in words: models, tasks, what that costs, and what is there already."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from alignlab import console
from alignlab.errors import UnsupportedModelError
from alignlab.evaluating.interventions import Under
from alignlab.evaluating.plan import EvaluationPlan, Work
from alignlab.evaluating.task import BuiltTask, apart_from
from alignlab.models.distributed import world_size
from alignlab.models.flops import TextFlops, matrix_peak, text_flops
from alignlab.recording.dealing import cluster_count
from alignlab.redaction import hide
from alignlab.reporting.estimates import weight_bytes

# Of what a device does at best on large matrices, a forward of texts reaches about so much.
_REACHED = 0.3


def show_plan(plan: EvaluationPlan, missing: Collection[str]) -> None:
    """Print it. missing: digests of the records that are not there yet."""
    console.heading("Plan of the evaluation")
    loader = plan.loader
    labels = [model.label for model in plan.models]
    shown = labels if len(labels) <= 8 else [*labels[:4], "...", *labels[-3:]]
    trained, reference = plan.languages
    rows = [
        ("models", f"{len(labels)}: {', '.join(shown)}; {loader.precision} on {loader.device}, ranks {world_size()}"),
        *((f"task {task.name}", _task(task)) for task in plan.tasks),
        ("groups", f"trained {' '.join(trained) or 'none'}; reference {reference}"),
        *_interventions(plan),
        ("to do", _to_do(plan, missing)),
    ]
    todo = [work for work in plan.works if work.digest in missing]
    if todo:
        rows += [("time", _time(plan, todo)), ("memory", _memory(plan))]
    rows.append(("folder", f"{plan.folder.path}{_kept(plan, todo)}"))
    console.table(rows)


def _task(task: BuiltTask) -> str:
    """Its items by language, its tokens, and what a model does with them."""
    items, tokens = task.items, sum(map(len, task.texts))
    of_each = ", ".join(f"{code} {count}" for code, count in items.items())
    said = f"{items.total():,} items ({of_each})"
    if cluster_count(task.texts) < items.total():
        said += f" of {cluster_count(task.texts):,} clusters"
    cost = (
        f"{len(task.texts):,} forwards" if not task.new_tokens else f"up to {task.new_tokens * len(task.texts):,} new"
    )
    return f"{said}; {tokens:,} tokens, {cost}{' tokens' if task.new_tokens else ''} a model"


def _to_do(plan: EvaluationPlan, missing: Collection[str]) -> str:
    works = {work.digest for work in plan.works}
    there = len(works) - len(set(missing))
    what = "model x task" + (" x intervention or none" if plan.options.interventions else "")
    return f"{len(set(missing))} of {len(works)} records ({what}); {there} are there"


def _interventions(plan: EvaluationPlan) -> list[tuple[str, str]]:
    """What each does to how many neurons, beside which controls."""
    options, rows = plan.options, list[tuple[str, str]]()
    for number, name in enumerate(options.interventions):
        at = [plan.under(model)[number] for model in plan.models]
        one, sizes = at[0], [under.size for under in at]
        counts = f"{sizes[0]:,}" if len(set(sizes)) == 1 else f"{min(sizes):,} to {max(sizes):,}"
        where = f", layers {one.options.layers}" if one.options.layers else ""
        tokens = "" if one.options.scope == "all" else f", at {one.options.scope} tokens"
        of = f" of {one.language}" if one.language else ""
        said = f"{one.operation.described}{of}: {one.options.neurons}, {counts} neurons at {one.site}{where}{tokens}; "
        rows.append((f"under {name}", f"{said}{_found_by(plan, one)}"))
    if rows:
        controls = [f"{options.seeds} {name}" for name in options.controls]
        beside = f"{' and '.join(controls)} of each intervention" if controls else "none: no change can be told from "
        rows.append(("controls", beside if controls else f"{beside}what any other neurons would do"))
        if controls and options.seeds < 2:
            rows.append(("warning", "one draw of each control: no verdict takes the draw into account"))
    return rows


def _found_by(plan: EvaluationPlan, under: Under) -> str:
    """Where the neurons were found, and what of the tasks is left out for that."""
    if under.options.sets is not None:
        return f"of {hide(under.options.sets)}, which does not say on which documents they were found"
    step = under.options.found_at
    by = f"by {plan.options.identifier.name}, counts of {'each model' if step is None else f'step {step}'}"
    texts = [text for task in plan.tasks if task.names_texts for text in task.texts]
    left = sum(apart_from(text, *under.found_in) for text in texts)
    if left == len(texts):
        return by
    what = "share an id or a cluster with the documents they were found on"
    shared = f"{len(texts) - left:,} of {len(texts):,} texts {what}"
    return f"{by}; {shared}, and are {'left out of what is compared' if under.apart else 'compared too'}"


def _time(plan: EvaluationPlan, todo: Sequence[Work]) -> str:
    """About how long it takes, by the operations of the models' matrices and what this device does at best."""
    total = 0.0
    known: dict[nn.Module, TextFlops] = {}  # of models of one shape, such as checkpoints, counted once
    try:
        for work in todo:
            sizes = [len(text) + work.task.new_tokens for text in work.task.texts]
            outline = plan.outline(work.model)
            if outline not in known:
                known[outline] = text_flops(outline, backward=False)
            total += work.arms * known[outline].of((sum(sizes), sum(size**2 for size in sizes), sum(sizes)))
    except UnsupportedModelError as error:
        return f"unknown ({error.problems[0].found})"
    device = plan.loader.device
    dtype = next(plan.outline(todo[0].model).parameters()).dtype
    peak = matrix_peak(device, dtype, size=1024 if device.type == "cpu" else 8192, rounds=3)
    seconds = total / (_REACHED * peak * world_size())
    said = (
        f"about {console.duration(seconds)}: {total:.3g} operations at {_REACHED:.0%} of what this device does at best"
    )
    if any(work.task.new_tokens for work in todo):
        said += "; answers token by token take longer, and less where they end early"
    return said


def _memory(plan: EvaluationPlan) -> str:
    largest = max(weight_bytes(list(plan.outline(model).parameters())) for model in plan.models)
    return (
        f"weights {console.size(largest)} a device, and a forward of up to {plan.options.max_tokens_per_batch:,} tokens"
    )


def _kept(plan: EvaluationPlan, todo: Sequence[Work]) -> str:
    """What is there already of records that are not whole."""
    parts = sum(plan.folder.parts_kept(work.digest) for work in todo)
    return f", in which {parts:,} batches are kept" if parts else ""
