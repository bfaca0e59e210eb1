"""The plan of an evaluation in words: models, tasks, what that costs, and what is there already."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from alignlab import console
from alignlab.errors import UnsupportedModelError
from alignlab.evaluating.plan import EvaluationPlan, Work
from alignlab.evaluating.task import BuiltTask
from alignlab.models.distributed import world_size
from alignlab.models.flops import matrix_peak, text_flops
from alignlab.recording.dealing import cluster_count
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
    return f"{len(set(missing))} of {len(works)} records (model x task); {there} are there"


def _time(plan: EvaluationPlan, todo: Sequence[Work]) -> str:
    """About how long it takes, by the operations of the models' matrices and what this device does at best."""
    total = 0.0
    try:
        for work in todo:
            sizes = [len(text) + work.task.new_tokens for text in work.task.texts]
            flops = text_flops(plan.outline(work.model), backward=False)
            total += flops.of((sum(sizes), sum(size**2 for size in sizes), sum(sizes)))
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
