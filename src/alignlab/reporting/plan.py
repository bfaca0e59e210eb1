"""The plan of a run in words: what it will train, count, read and write, before anything expensive happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from alignlab.console import size
from alignlab.data.mixing import MixedPlan
from alignlab.data.overlap import CHARACTERS, WORDS, Overlap
from alignlab.evaluation import answering
from alignlab.evaluation.output_language import cannot_be_told
from alignlab.evaluation.tasks import Task
from alignlab.languages import get
from alignlab.neurons.selection import small_selection
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import check_can_answer
from alignlab.reporting.estimates import (
    Planned,
    PlannedStage,
    checkpoint_bytes,
    loaded_bytes,
    memory,
    merged_bytes,
    response_tokens,
    snapshot_bytes,
    weight_bytes,
)


def _experts(planned: Planned) -> str:
    """Of routed experts, how many there are and of what probabilities are shares."""
    experts = planned.sites[0].experts
    if experts is None:
        return ""
    of = "all counted tokens" if planned.probe.denominator == "all" else "the tokens routed to the expert"
    return f"; {experts.count} experts x {experts.columns:,}, {experts.chosen} of them a token; shares of {of}"


def plan_rows(planned: Planned) -> list[tuple[str, str]]:
    """What the plan says, as (subject, text) rows.

    Raises `InputError` for a model that is to answer the probe itself and cannot.
    """
    model, probe = planned.model, planned.probe
    check_can_answer(probe, model)
    if planned.task is not None:
        answering.check_can_answer(planned.task, model)
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    widths = planned.sites[0].width
    rows = [
        ("model", f"{_name(model)}, {total:,} parameters, {size(weight_bytes(parameters))} as {_dtypes(parameters)}"),
        (
            "neurons",
            f"{len(planned.sites)} x {widths:,} sites at {planned.sites[0].at}, {planned.sites[0].name} and so on"
            + _experts(planned),
        ),
        *(row for stage in planned.stages for row in _stage(stage)),
        ("probe", _probe_text(probe)),
        *([("shards", probe.dealing)] if probe.dealing else []),
        ("probe languages", _languages(probe.languages, planned.trained_languages)),
        *(_responses(probe, len(planned.snapshot_steps)) if isinstance(probe, PromptProbe) else ()),
        ("snapshots", _snapshots(planned)),
        *([("evaluation", _evaluation(planned.task, len(planned.evaluation_steps)))] if planned.task else []),
        *([("in training", _overlap(planned.overlap))] if planned.overlap else []),
        (
            "checkpoints",
            f"{planned.checkpoints}, {size(checkpoint_bytes(planned))} each (weights, those trained, Adam's moments)",
        ),
        *([("merged", _merged(planned))] if planned.merged else []),
        ("memory", _memory(planned)),
        *([("sharded", _sharded(planned))] if planned.sharded else []),
    ]
    few = small_selection(planned.top_rate, len(planned.sites) * widths) if planned.top_rate is not None else ""
    if few:
        rows.append(("warning", few))
    if not planned.weights_at_hand:
        rows.append(("weights", "unknown (there is no model.safetensors in the folder); the run itself needs them"))
    return rows


def _stage(stage: PlannedStage) -> list[tuple[str, str]]:
    """What a stage trains, on what, for how long."""
    parameters = list(stage.model.parameters())
    trained, total = (sum(p.numel() for p in some) for some in ((p for p in parameters if p.requires_grad), parameters))
    first = stage.last - stage.plan.total_steps + 1
    named = [(f"stage {stage.name}", f"steps {first:,} to {stage.last:,} of the run")] if stage.name else []
    return [
        *named,
        ("method", stage.method),
        ("trained parameters", f"{trained:,} ({trained / total:.2%})"),
        ("training text", _training_text(stage)),
        *_mixture(stage),
        *_validation(stage),
        ("steps", _steps(stage)),
    ]


def _training_text(stage: PlannedStage) -> str:
    documents = stage.training.documents
    tokens = sum(len(document) for document in documents)
    answers = sum(int(document.answer.sum()) for document in documents)
    examples = stage.training.examples
    languages = Counter(example.language for example in examples)
    parts = ", ".join(f"{code} {count:,}" for code, count in languages.items())
    text = f"{len(examples):,} examples ({parts}), {tokens:,} tokens an epoch, {answers:,} of them answers"
    if stage.training.truncated:
        text += f"; {stage.training.truncated:,} cut at data.max_length"
    if stage.training.dropped:
        text += f"; {stage.training.dropped:,} left out for lack of {stage.training.kind.needs}"
    return text


def _mixture(stage: PlannedStage) -> list[tuple[str, str]]:
    """What each part of a mixture gives."""
    plan, parts = stage.plan, stage.training.parts
    if not isinstance(plan, MixedPlan):
        return []
    given = plan.shares(plan.total_steps * plan.examples_per_step)
    total = sum(part.weight for part in parts)
    return [
        (
            f"part {part.name}",
            f"{plan.examples_per_step * part.weight / total:.4g} of {plan.examples_per_step} examples a step, "
            f"{number:,} in all = {number / part.size:.2f} epochs of its {part.size:,}",
        )
        for part, number in zip(parts, given, strict=True)
    ]


def _validation(stage: PlannedStage) -> list[tuple[str, str]]:
    """What is held out."""
    held = stage.training.validation
    if not held:
        return []
    languages = Counter(example.language for example in held)
    parts = ", ".join(f"{code} {count:,}" for code, count in languages.items())
    return [("validation", f"{len(held):,} examples ({parts}), not trained on")]


def _steps(stage: PlannedStage) -> str:
    plan = stage.plan
    text = f"{plan.total_steps:,} optimiser steps of {plan.examples_per_step} examples"
    if isinstance(plan, MixedPlan):  # each part has epochs of its own
        return text
    return f"{text} = {plan.total_steps * plan.examples_per_step / len(plan.lengths):.2f} epochs"


def _probe_text(probe: Probe | PromptProbe) -> str:
    documents = sum(len(texts) for texts in probe.documents.values())
    counted = sum(int(probe.most_tokens(language).sum()) for language in probe.languages)
    most = "up to " if isinstance(probe, PromptProbe) else ""
    text = f"{documents:,} documents in {len(probe.languages)} languages, "
    text += f"{most}{counted:,} tokens counted (scope {probe.scope})"
    return text + (f"; {probe.truncated:,} documents cut at probe.max_length" if probe.truncated else "")


def _responses(probe: PromptProbe, snapshots: int) -> list[tuple[str, str]]:
    tokens, new = response_tokens(probe), f"{probe.max_new_tokens:,} a prompt"
    when = {
        "generated_once": f"generated once, at step 0: up to {tokens:,} tokens ({new})",
        "regenerated": f"generated at every snapshot: up to {tokens:,} tokens ({new}), {snapshots} times",
    }
    return [("responses", when[probe.responses])]


def _evaluation(task: Task, times: int) -> str:
    """What the answers cost, at most: a model that ends its answers writes less."""
    each = len(task.prompts) * task.max_new_tokens
    read = sum(map(len, task.prompts))
    untold = cannot_be_told(task.languages)
    clusters = f", {len({prompt.cluster for prompt in task.prompts}):,} {task.clusters}" if task.clusters else ""
    unseen = sum(seen is False for seen in task.seen) if task.clusters else 0
    apart = f" ({unseen:,} problems of {task.clusters} that are not in training)" if 0 < unseen < len(task.seen) else ""
    return (
        f"{task.name}: {len(task.prompts):,} problems in {len(task.languages)} languages{clusters}{apart}, answered "
        f"{times} times: each {read:,} tokens read and up to {each:,} written ({task.max_new_tokens:,} an answer), "
        f"{times * each:,} in all"
        + (f"; {' '.join(untold)}: it cannot be told whether an answer is in it" if untold else "")
    )


def _overlap(by_language: Mapping[str, Overlap]) -> str:
    """How many of the problems are in the training text, as a whole or in part."""
    documents, whole = (sum(getattr(one, name) for one in by_language.values()) for name in ("documents", "whole"))
    sharing = [f"{code} {one.sharing:,} of {one.long:,}" for code, one in by_language.items() if one.sharing]
    none = "none" if not sharing else "" if len(sharing) == len(by_language) else "none of the others"
    units = {one.unit for one in by_language.values()}
    runs = [f"{count} {unit}" for count, unit in ((WORDS, "words"), (CHARACTERS, "characters")) if unit in units]
    return (
        f"whole problems {whole:,} of {documents:,}; of those that are as long, with a run of {' or '.join(runs)} that "
        f"is in the training text: {', '.join(filter(None, [*sharing, none]))}"
    )


def _languages(languages: Sequence[str], trained: Sequence[str]) -> str:
    marked = [f"{get(code).name} ({code}){' trained' if code in trained else ''}" for code in languages]
    outside = [code for code in trained if code not in languages]
    return ", ".join(marked) + (f"; trained but not in the probe: {' '.join(outside)}" if outside else "")


def _snapshots(planned: Planned) -> str:
    count, each = len(planned.snapshot_steps), snapshot_bytes(planned)
    most = "up to " if isinstance(planned.probe, PromptProbe) else ""
    beside = "".join(f", {name}" for name in planned.statistics)
    return (
        f"{count}, {most}{size(each)} each, {size(count * each)} in all "
        f"(firings{beside}; {planned.probe.shards} shards a language)"
    )


def _merged(planned: Planned) -> str:
    each = f"{size(merged_bytes(planned))}{' each' if planned.merged > 1 else ''}"
    return f"{planned.merged} model{'s' * (planned.merged > 1)}, {each} (adapters merged into the weights for a stage)"


def _memory(planned: Planned) -> str:
    need = memory(planned)
    return (
        f"about {size(need.total)} a device: weights {size(need.weights)}, "
        + (f"gathered {size(need.gathered)}, " if need.gathered else "")
        + f"gradients {size(need.gradients)}, "
        f"Adam {size(need.optimiser)}, activations {size(need.activations)}, logits {size(need.logits)} "
        f"(largest micro-batch seen: {need.tokens:,} tokens)"
    )


def _sharded(planned: Planned) -> str:
    machine = " on each machine" if planned.machines > 1 else ""
    return (
        f"over {planned.ranks} ranks: each holds 1/{planned.ranks} of weights, gradients and Adam's moments; gathered "
        "are two layers, and what is in no layer. Before that every rank loads the whole model into the memory of its "
        f"machine: {size(loaded_bytes(planned))} in all{machine}"
    )


def _name(model: nn.Module) -> str:
    return str(model.config.model_type)  # type: ignore[union-attr]


def _dtypes(parameters: Sequence[nn.Parameter]) -> str:
    sizes: Counter[torch.dtype] = Counter()
    for parameter in parameters:
        sizes[parameter.dtype] += parameter.numel()
    return " and ".join(str(dtype).removeprefix("torch.") for dtype, _ in sizes.most_common())
