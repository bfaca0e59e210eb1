"""The plan of a grid in words: its arms, its text, what that costs and what is there already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from alignlab import console
from alignlab.begun_folder import Start
from alignlab.data.encoding import Document
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.evaluation.tasks import Task
from alignlab.intervening.documents import Division
from alignlab.intervening.falling import labels_at, languages_of
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.objects import Objects, dropped
from alignlab.intervening.options import WITH_STRENGTH
from alignlab.intervening.plan import GridPlan
from alignlab.interventions.intervention import Intervention
from alignlab.interventions.operations import Constant
from alignlab.interventions.running import notes
from alignlab.models.distributed import world_size
from alignlab.models.edits import Arm, NeuronEdit
from alignlab.models.flops import matrix_peak, text_flops
from alignlab.models.load import embedding_rows
from alignlab.recording.arms import ArmPlan
from alignlab.recording.scoring import plan_of
from alignlab.reporting.estimates import existing, weight_bytes

# Of what a device does at best on large matrices, a forward of texts reaches about so much.
_REACHED = 0.3
# Of the file of the answers: a token as text, one as its text and its number, and what else a line has.
_TEXT_BYTES, _TOKEN_BYTES, _LINE_BYTES = 4, 11, 350


def show_plan(plan: GridPlan, start: Start) -> None:
    """Print it."""
    console.heading("Plan of the interventions")
    console.table([*_rows(plan), ("folder", f"{plan.folder.path}{_kept(plan, start)}")])


def _rows(plan: GridPlan) -> list[tuple[str, str]]:
    options, first = plan.options, plan.grids[0]
    models = ", ".join(grid.subject.label for grid in plan.grids)
    rows = [
        ("models", f"{models} of {options.run or options.model.source}; "  # type: ignore[union-attr]
                   f"{plan.loader.precision} on {plan.loader.device}, ranks {world_size()}"),
        ("neurons", _neurons(plan, first)),
    ]  # fmt: skip
    for grid in plan.grids:
        sizes = ", ".join(f"{name} {size}" for name, size in grid.sets.sizes().items())
        rows.append((f"sets{_at(plan, grid)}", sizes))
        empty = [name for name, size in grid.sets.sizes().items() if not size]
        if empty:
            rows.append(("warning", f"no neuron in {' '.join(empty)}: there is nothing to change"))
    measured = _measured(first) if "perplexity" in options.measures else []
    rows += [("found on", _found_on(first.division)), *measured]
    rows += [("arms", _arms(plan, first))] if options.measures != ["fallback"] else []
    rows += [(f"controls{_at(plan, grid)}", text) for grid in plan.grids if (text := _general_controls(grid))]
    if options.controls and options.seeds < 2:
        rows.append(("warning", "one draw of each control: no verdict takes the draw into account"))
    if "constant" in options.operations:
        constants = [Constant(value=value) for value in options.strengths]
        changed = [Intervention(first.sets.union(), constant, at=first.site) for constant in constants]
        rows += [("warning", note) for one in changed for note in notes(one, first.found_sites)]
    share, cost = _cost(plan)
    rows += [*cost, ("time", _time(plan, share))]
    rows += _objects(first.objects, len(first.labels)) if first.objects is not None else []
    rows += _answers(first) if "accuracy" in options.measures else []
    return rows + (_path(first, first.path_task) if first.path_task is not None else [])


def _neurons(plan: GridPlan, grid: Grid) -> str:
    """What the sets are made of."""
    options = plan.options
    each = [f"for every language g: {grid.each}"] if grid.each else []
    named = [f"{name}: {expression}" for name, expression in options.sets.items()]
    by = f"of {options.neurons}" if options.neurons else f"by {options.identifier.name} ({options.kinds})"
    where = f", layers {options.layers}" if options.layers else ""
    where += f", and layers {' and '.join(options.bands)} apart" if options.bands else ""
    sites = " and ".join(dict.fromkeys(one.sets.site for one in plan.grids))
    return f"{'; '.join([*each, *named])}; {by}, at {sites}{where}"


def _general_controls(grid: Grid) -> str:
    """How many neurons of the controls, all draws together, are general; empty without controls, or without kinds."""
    general, told = grid.chosen.general, []
    for control in grid.plan.options.controls if general is not None else []:
        of_set: dict[str, list[tuple[int, int]]] = {}
        drawn = {(label.set, label.seed): label for label in grid.labels if label.control == control}
        for label in drawn.values():
            found, size = grid.chosen.general_in(label), int(grid.sets[label.set].sum())
            assert found is not None
            of_set.setdefault(label.set, []).append((found, size))
        sums = {name: (sum(a for a, _ in of), sum(b for _, b in of)) for name, of in of_set.items()}
        found, size = (sum(pair[place] for pair in sums.values()) for place in range(2))
        each = ", ".join(f"{name} {a / b:.0%}" for name, (a, b) in sums.items() if a)
        told.append(f"{found:,} of {size:,} {control} ones{f' ({each})' if each else ''}")
    return f"general, above tau in every language and so in no set: {'; '.join(told)}" if told else ""


def _at(plan: GridPlan, grid: Grid) -> str:
    return f" at {grid.subject.label}" if len(plan.grids) > 1 else ""


def _found_on(division: Division | None) -> str:
    if division is None:
        return "unknown (a file of sets does not say its documents): they may be those that are measured"
    documents = sum(map(len, division.found_on.values()))
    if division.same:
        return f"the {documents:,} documents that are measured too, or some of them (same_documents=true)"
    shards = "all shards" if division.shards is None else f"shards {' '.join(map(str, division.shards))}"
    return f"{documents:,} documents of {shards}"


def _measured(grid: Grid) -> list[tuple[str, str]]:
    documents = grid.measured.documents
    tokens = sum(len(one) for texts in documents.values() for one in texts)
    counted = sum(int(grid.measured.counted(one)[1:].sum()) for texts in documents.values() for one in texts)
    clusters = {one.cluster for texts in documents.values() for one in texts}
    of_each = ", ".join(f"{code} {len(texts)}" for code, texts in documents.items())
    text = f"{sum(map(len, documents.values())):,} documents ({of_each}) of {len(clusters):,} "
    text += f"{grid.measured.clusters or 'clusters'}, {tokens:,} tokens, of which {counted:,} count"
    left_out = grid.division.left_out if grid.division is not None else 0
    rows = [("measured on", text)]
    if left_out:
        why = "what they say, or their cluster, is among those that neurons were found on in another language"
        rows.append(("left out", f"{left_out:,} documents: {why}"))
    return rows


def _answers(grid: Grid) -> list[tuple[str, str]]:
    task = grid.task
    assert task is not None
    of_each = ", ".join(f"{code} {count}" for code, count in Counter(one.language for one in task.prompts).items())
    answers = len(task.prompts) * len(grid.labels)
    text = f"{task.name}: {len(task.prompts):,} problems ({of_each}), {answers:,} answers under all arms, "
    most = answers * task.max_new_tokens
    prompts = len(grid.labels) * sum(len(prompt) for prompt in task.prompts)
    kept = console.size(_TOKEN_BYTES * most + _TEXT_BYTES * prompts + _LINE_BYTES * answers)
    return [("answers", f"{text}at most {most:,} tokens and about {kept} of texts")]


def _path(grid: Grid, task: Task) -> list[tuple[str, str]]:
    options = grid.plan.options
    order = options.fallback.order or languages_of(grid)
    how = (
        f"off in this order: {' '.join(order)}"
        if options.fallback.order
        else "off is always the one most answers are in"
    )
    of_each = ", ".join(f"{code} {count}" for code, count in Counter(one.language for one in task.prompts).items())
    answers = _arms_of_path(grid) * len(task.prompts)
    text = (
        f"at most {len(order)} steps, {how}; {len(task.prompts):,} problems ({of_each}) at each, at most {answers:,} "
    )
    return [("fallback", f"{text}answers of {task.max_new_tokens} tokens with the controls")]


def _arms_of_path(grid: Grid) -> int:
    """Under how many arms problems are answered along a fallback at most."""
    options = grid.plan.options
    order = options.fallback.order or languages_of(grid)
    return sum(len(labels_at(order[:count], options)) for count in range(len(order) + 1))


def _objects(objects: Objects, arms: int) -> list[tuple[str, str]]:
    items, languages = len(objects.items.choices), len(objects.languages)
    text = (
        f"{items // languages:,} items in {languages} languages, each with the objects of all: {items * languages:,} "
    )
    text += f"texts, {items * languages * arms:,} under all arms"
    alike = dropped(objects)
    return [("objects", f"{text}; {alike:,} pairs left out, whose objects tokenise alike" if alike else text)]


def _arms(plan: GridPlan, grid: Grid) -> str:
    options = plan.options
    strengths = ", ".join(f"{one:g}" for one in options.strengths)
    operations = [
        f"{name} ({'value' if name == 'constant' else 'strength'} {strengths})" if name in WITH_STRENGTH else name
        for name in options.operations
    ]
    controls = [f"{options.seeds} {name}" for name in options.controls]
    beside = f", each beside {' and '.join(controls)}" if controls else ", without controls"
    tokens = "" if options.scope == "all" else f", at {options.scope} tokens"
    return f"{len(grid.labels):,}: none, and {', '.join(operations)} of {len(grid.chosen.named)} sets{tokens}{beside}"


@dataclass(frozen=True)
class Cost:
    """cells: documents times arms. forwards, unshared: of a document through all layers, as run and a cell each."""

    cells: int
    forwards: float
    unshared: float
    largest: int

    @classmethod
    def of(cls, plan: ArmPlan, documents: Sequence[Document], arms: int) -> Cost:
        largest = max(job.rows * max(len(documents[text]) for text in job.texts) for job in plan.jobs)
        cells = len(documents) * arms
        return cls(cells, plan.forwards(), cells, largest)


def _cost(plan: GridPlan) -> tuple[float, list[tuple[str, str]]]:
    """Forwards through all layers a cell, and what scoring takes; nothing where no text is scored.

    Without weights, and so without the means that some operations take.
    """
    costs = []
    for grid in plan.grids:
        arms = planned_arms(grid)
        for documents in _scored(grid):
            jobs = plan_of(plan.outline, documents, arms, plan.options.max_tokens_per_batch, plan.loader.device)
            costs.append(Cost.of(jobs, documents, len(arms)))
    if not costs:
        return 1.0, []
    cells, forwards = sum(one.cells for one in costs), sum(one.forwards for one in costs)
    text = f"{forwards:,.0f} of a document through all layers for {cells:,} cells (documents x arms), "
    text += f"{forwards / cells:.2f} a cell: lower layers once for arms that change higher ones"
    rows = [("forwards", text)]
    largest = max(one.largest for one in costs)
    weights = weight_bytes(list(plan.outline.parameters()))
    width = next(plan.outline.parameters()).element_size()
    logits = largest * embedding_rows(plan.outline) * (width + 4)
    layers = largest * 8 * max(grid.found_sites[0].width for grid in plan.grids) * width
    need = f"about {console.size(weights + logits + layers)} a device: weights {console.size(weights)}, "
    rows.append(("memory", f"{need}a forward of up to {largest:,} tokens {console.size(logits + layers)}"))
    kept = sum(8 * len(documents) * len(grid.labels) for grid in plan.grids for documents in _scored(grid))
    rows.append(("disk", f"about {console.size(kept)} of effects, and {console.size(3 * kept)} while it is measured"))
    _check_disk(plan, 4 * kept)
    return forwards / cells, rows


def _scored(grid: Grid) -> list[Sequence[Document]]:
    """The texts that are scored under all arms, of each measure that scores any."""
    found: list[Sequence[Document]] = [grid.documents] if "perplexity" in grid.plan.options.measures else []
    return found + ([grid.objects.documents] if grid.objects is not None else [])


def _asked(grid: Grid) -> list[tuple[Task, int]]:
    """The problems that are answered, and under how many arms at most, of each measure that asks any."""
    found = []
    if "accuracy" in grid.plan.options.measures:
        assert grid.task is not None
        found.append((grid.task, len(grid.labels)))
    if grid.path_task is not None:
        found.append((grid.path_task, _arms_of_path(grid)))
    return found


def planned_arms(grid: Grid) -> list[Arm]:
    """Arms that change the same neurons as those of the grid, each in a way of its own: what they cost is the same."""
    neurons = grid.neurons()
    arms: list[Arm] = []
    for number, mask in enumerate(neurons):
        layers, columns = mask.nonzero().T
        value = torch.full((len(layers),), float(number))
        arms.append((NeuronEdit(layers, columns, torch.zeros_like(value), value),) if len(layers) else ())
    return arms


def _time(plan: GridPlan, share: float) -> str:
    """About how long it takes at most, by the operations of its matrices and what this device does.

    share: of the forwards of scored texts, how much of a model each goes through.
    """
    try:
        flops = text_flops(plan.outline, backward=False)
    except UnsupportedModelError as error:
        return f"unknown ({error.problems[0].found})"
    total = 0.0
    for grid in plan.grids:
        for documents in _scored(grid):
            sizes = [len(one) for one in documents]
            answers = sum(int(grid.measured.counted(one)[1:].sum()) for one in documents)
            total += flops.of((sum(sizes), sum(size**2 for size in sizes), answers)) * len(grid.labels) * share
        for task, arms in _asked(grid):
            sizes = [len(prompt) + task.max_new_tokens for prompt in task.prompts]
            total += flops.of((sum(sizes), sum(size**2 for size in sizes), sum(sizes))) * arms
    device = plan.loader.device
    dtype = next(plan.outline.parameters()).dtype
    peak = matrix_peak(device, dtype, size=1024 if device.type == "cpu" else 8192, rounds=3)
    seconds = total / (_REACHED * peak * world_size())
    said = (
        f"about {console.duration(seconds)}: {total:.3g} operations at {_REACHED:.0%} of what this device does at best"
    )
    if any(_asked(grid) for grid in plan.grids):
        said += "; answers token by token take longer, and less where they end early"
    return said


def _kept(plan: GridPlan, start: Start) -> str:
    """What is there already."""
    if start != "continue":
        return ""
    parts = len(list(plan.folder.parts.path.glob("part-*.jsonl")))
    return f", in which {parts:,} forwards are kept"


def _check_disk(plan: GridPlan, needed: int) -> None:
    free = psutil.disk_usage(str(existing(plan.folder.path))).free
    if needed > free:
        found = f"the disk has {console.size(free)} free, and about {console.size(needed)} are needed"
        raise InputError.of(f"folder ({plan.folder.path})", found, "room for them", "Name another folder.")
