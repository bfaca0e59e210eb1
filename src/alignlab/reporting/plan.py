"""The plan of a run: what it will train, count, read and write, before anything expensive happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from alignlab.console import size
from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Encoded
from alignlab.languages import get
from alignlab.models.load import embedding_rows
from alignlab.models.sites import Site
from alignlab.neurons.counts import smallest_dtype
from alignlab.recording.probes import Probe

_ADAM_BYTES = 8  # two float32 moments a trained weight
_LOOKED_AT = 64  # steps whose batches are made to find the largest: enough, and quick for any run


@dataclass(frozen=True)
class Planned:
    """What the plan is made from. `model` may be on the meta device."""

    model: nn.Module
    sites: Sequence[Site]
    training: Encoded
    plan: StepPlan
    probe: Probe
    trained_languages: tuple[str, ...]
    snapshot_steps: Sequence[int]
    checkpoints: int
    accumulation: int
    ranks: int
    gradient_checkpointing: bool
    weights_at_hand: bool


def plan_rows(planned: Planned) -> list[tuple[str, str]]:
    """What the plan says, as (subject, text) rows."""
    model, probe = planned.model, planned.probe
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    widths = planned.sites[0].width
    rows = [
        ("model", f"{_name(model)}, {total:,} parameters, {size(_bytes(parameters))} as {_dtypes(parameters)}"),
        ("trained parameters", f"{trained:,} ({trained / total:.2%})"),
        ("neurons", f"{len(planned.sites)} x {widths:,} sites at mlp.act, {planned.sites[0].name} and so on"),
        ("training text", _training_text(planned)),
        ("steps", _steps(planned)),
        ("probe", _probe_text(probe)),
        ("probe languages", _languages(probe.languages, planned.trained_languages)),
        ("snapshots", _snapshots(planned)),
        (
            "checkpoints",
            f"{planned.checkpoints}, {size(trained * 16)} each (float32 weights twice, and Adam's moments)",
        ),
        ("memory", _memory(planned)),
    ]
    if not planned.weights_at_hand:
        rows.append(("weights", "unknown (there is no model.safetensors in the folder); the run itself needs them"))
    return rows


def _training_text(planned: Planned) -> str:
    documents = planned.training.documents
    tokens = sum(len(document) for document in documents)
    answers = sum(int(document.answer.sum()) for document in documents)
    languages = Counter(document.language for document in documents)
    parts = ", ".join(f"{code} {count:,}" for code, count in languages.items())
    text = f"{len(documents):,} examples ({parts}), {tokens:,} tokens an epoch, {answers:,} of them answers"
    if planned.training.truncated:
        text += f"; {planned.training.truncated:,} cut at data.max_length"
    if planned.training.dropped:
        text += f"; {planned.training.dropped:,} left out, of which no answer remained"
    return text


def _steps(planned: Planned) -> str:
    plan = planned.plan
    epochs = plan.total_steps * plan.examples_per_step / len(plan.lengths)
    return f"{plan.total_steps:,} optimiser steps of {plan.examples_per_step} examples = {epochs:.2f} epochs"


def _probe_text(probe: Probe) -> str:
    documents = sum(len(texts) for texts in probe.documents.values())
    counted = sum(int(probe.tokens(language).sum()) for language in probe.languages)
    text = (
        f"{documents:,} documents in {len(probe.languages)} languages, {counted:,} tokens counted (scope {probe.scope})"
    )
    return text + (f"; {probe.truncated:,} documents cut at probe.max_length" if probe.truncated else "")


def _languages(languages: Sequence[str], trained: Sequence[str]) -> str:
    marked = [f"{get(code).name} ({code}){' trained' if code in trained else ''}" for code in languages]
    outside = [code for code in trained if code not in languages]
    return ", ".join(marked) + (f"; trained but not in the probe: {' '.join(outside)}" if outside else "")


def snapshot_bytes(probe: Probe, sites: Sequence[Site]) -> int:
    """Size of a snapshot's firings in bytes."""
    most = max(int(probe.tokens(language).max()) for language in probe.languages)
    return len(probe.languages) * probe.shards * len(sites) * sites[0].width * smallest_dtype(most).itemsize


def _snapshots(planned: Planned) -> str:
    count, each = len(planned.snapshot_steps), snapshot_bytes(planned.probe, planned.sites)
    return f"{count}, {size(each)} each, {size(count * each)} in all ({planned.probe.shards} shards a language)"


def _memory(planned: Planned) -> str:
    """An estimate for one device; what it leaves out (fragmentation, the framework's own) is a few per cent to a GB."""
    parameters = list(planned.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    gradients = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    weights, optimiser = _bytes(parameters), trained * _ADAM_BYTES
    tokens, answers = _largest_micro_batch(planned)
    config = planned.model.config.get_text_config()  # type: ignore[operator, union-attr]
    width = parameters[0].element_size()
    # What a layer keeps for the backward pass: about 14 times its width and 3 times its neurons a token; with gradient
    # checkpointing its input only, and one layer at a time in full.
    whole_layer = tokens * (14 * config.hidden_size + 3 * planned.sites[0].width) * width
    layers = len(planned.sites)
    kept = tokens * config.hidden_size * width * layers + whole_layer
    activations = kept if planned.gradient_checkpointing else whole_layer * layers
    logits = answers * embedding_rows(planned.model) * (width + 8)
    total = weights + gradients + optimiser + activations + logits
    return (
        f"about {size(total)} a device: weights {size(weights)}, gradients {size(gradients)}, "
        f"Adam {size(optimiser)}, activations {size(activations)}, logits {size(logits)} "
        f"(largest micro-batch seen: {tokens:,} tokens)"
    )


def _largest_micro_batch(planned: Planned) -> tuple[int, int]:
    """Padded tokens of the largest micro-batch among some steps, and the answer tokens of the richest."""
    plan, documents = planned.plan, planned.training.documents
    stride = max(1, plan.total_steps // _LOOKED_AT)
    tokens = answers = 0
    for step in range(0, plan.total_steps, stride):
        for group in plan.micro_batches(step, planned.accumulation * planned.ranks):
            tokens = max(tokens, len(group) * max((len(documents[index]) for index in group), default=0))
            answers = max(answers, sum(int(documents[index].answer.sum()) for index in group))
    return tokens, answers


def _name(model: nn.Module) -> str:
    return str(model.config.model_type)  # type: ignore[union-attr]


def _bytes(parameters: Sequence[nn.Parameter]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _dtypes(parameters: Sequence[nn.Parameter]) -> str:
    sizes: Counter[torch.dtype] = Counter()
    for parameter in parameters:
        sizes[parameter.dtype] += parameter.numel()
    return " and ".join(str(dtype).removeprefix("torch.") for dtype, _ in sizes.most_common())
