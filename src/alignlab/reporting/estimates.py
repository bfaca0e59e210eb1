"""What a run needs, estimated before it starts: memory of a device, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import peft
import psutil
import torch
from torch import nn

from alignlab.console import size
from alignlab.data.batching import StepPlan
from alignlab.data.training import TrainingData
from alignlab.errors import InputError, Problem
from alignlab.evaluation.tasks import Task
from alignlab.models.load import embedding_rows
from alignlab.models.sites import Site
from alignlab.neurons.fields import FIELDS, Axis
from alignlab.recording.probes import Probe, PromptProbe

_ADAM_BYTES = 8  # two float32 moments a trained weight
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # a weight: a scale of 8 bits for 64, one of 32 bits for 256 of those
_LOOKED_AT = 64  # steps whose batches are made to find the largest: enough, and quick for any run


@dataclass(frozen=True)
class Planned:
    """What the plan is made from. `model` may be on the meta device; `top_rate` is the identifier's, if it has one."""

    model: nn.Module
    sites: Sequence[Site]
    training: TrainingData
    plan: StepPlan
    probe: Probe | PromptProbe
    trained_languages: tuple[str, ...]
    snapshot_steps: Sequence[int]
    checkpoints: int
    accumulation: int
    ranks: int
    gradient_checkpointing: bool
    weights_at_hand: bool
    four_bit: bool = False
    statistics: Sequence[str] = ("documents",)
    top_rate: float | None = None
    task: Task | None = None
    evaluation_steps: Sequence[int] = ()


@dataclass(frozen=True)
class Memory:
    """Bytes of one device, and the tokens of the largest micro-batch seen, padding included.

    An estimate: what it leaves out (fragmentation, the framework's own) is a few per cent to a GB.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    tokens: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits


def memory(planned: Planned) -> Memory:
    """What training takes on one device."""
    parameters = list(planned.model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    tokens, answers = _largest_micro_batch(planned)
    config = planned.model.config.get_text_config()  # type: ignore[operator, union-attr]
    width, layers = parameters[0].element_size(), len(planned.sites)
    # What a layer keeps for the backward pass: about 14 times its width and 3 times its neurons a token; with gradient
    # checkpointing its input only, and one layer at a time in full.
    whole_layer = tokens * (14 * config.hidden_size + 3 * planned.sites[0].width) * width
    inputs = tokens * config.hidden_size * width * layers
    return Memory(
        weights=weight_bytes(parameters) - (_saved_by_four_bits(planned.model) if planned.four_bit else 0),
        gradients=weight_bytes(trained),
        optimiser=sum(parameter.numel() for parameter in trained) * _ADAM_BYTES,
        activations=inputs + whole_layer if planned.gradient_checkpointing else whole_layer * layers,
        logits=answers * embedding_rows(planned.model) * (width + 8),
        tokens=tokens,
    )


def snapshot_bytes(planned: Planned) -> int:
    """Size of a snapshot in bytes: what is counted of each neuron, at its largest where responses are to come."""
    probe, sites = planned.probe, planned.sites
    sizes: dict[Axis, int] = {
        "language": len(probe.languages),
        "shard": probe.shards,
        "layer": len(sites),
        "neuron": sites[0].width,
    }
    limits = {
        "tokens": max(int(probe.most_tokens(language).max()) for language in probe.languages),
        "documents": max(int(probe.shard_documents(language).max()) for language in probe.languages),
    }
    counted = (field for name, field in FIELDS.items() if name == "firings" or field.statistic in planned.statistics)
    return sum(field.bytes(sizes, limits) for field in counted)


def response_tokens(probe: Probe | PromptProbe) -> int:
    """The tokens that a model may write when it answers the probe; 0 where it is not to."""
    return sum(int((probe.most_tokens(language) - probe.tokens(language)).sum()) for language in probe.languages)


def checkpoint_bytes(planned: Planned) -> int:
    """Size of a checkpoint in bytes: what is loaded (an adapter, or the whole model), and what is gone on from: the
    trained weights and Adam's moments.
    """
    parameters = list(planned.model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    loaded = trained * 4 if isinstance(planned.model, peft.PeftModel) else weight_bytes(parameters)
    return loaded + trained * (4 + _ADAM_BYTES)


def weight_bytes(parameters: Sequence[nn.Parameter]) -> int:
    """Size of parameters in bytes."""
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _saved_by_four_bits(model: nn.Module) -> int:
    """By how many bytes the frozen linear maps, but for the output layer, are smaller in NF4."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    maps = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    frozen = [linear.weight for linear in maps if not linear.weight.requires_grad]
    return round(sum(weight.numel() * (weight.element_size() - _NF4_BYTES) for weight in frozen))


def check_fits(planned: Planned, folder: Path, *, on_gpu: bool) -> None:
    """Refuse a plan that cannot fit into the memory of the device or on the disk of the run folder."""
    problems = []
    need = memory(planned)
    room = torch.cuda.get_device_properties(0).total_memory if on_gpu else psutil.virtual_memory().total
    if need.weights + need.gradients + need.optimiser > room:
        device = "the GPU" if on_gpu else "this machine"
        found = f"{device} has {size(room)} of memory, weights, gradients and Adam take {size(need.total)}"
        fix = "Train fewer weights (method.trainable=lora), set model.dtype=bfloat16, or take a smaller model."
        problems.append(Problem("memory", found, "room for them", fix))
    disk = len(planned.snapshot_steps) * snapshot_bytes(planned) + planned.checkpoints * checkpoint_bytes(planned)
    free = shutil.disk_usage(existing(folder)).free
    if disk > free:
        found = f"the disk has {size(free)} free, snapshots and checkpoints take {size(disk)}"
        fix = "Set checkpoints.keep_last, a larger tracker.every_n_steps, fewer probe.shards, or another run.folder."
        problems.append(Problem(f"disk of {folder}", found, "room for them", fix))
    if problems:
        raise InputError(*problems)


def existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _largest_micro_batch(planned: Planned) -> tuple[int, int]:
    """Padded tokens of the largest micro-batch among some steps, and the answer tokens of the richest."""
    plan, examples = planned.plan, planned.training.examples
    stride = max(1, plan.total_steps // _LOOKED_AT)
    tokens = answers = 0
    for step in range(0, plan.total_steps, stride):
        for group in plan.micro_batches(step, planned.accumulation * planned.ranks):
            texts = [text for index in group for text in examples[index].documents]
            tokens = max(tokens, len(texts) * max(map(len, texts), default=0))
            answers = max(answers, sum(int(text.answer.sum()) for text in texts))
    return tokens, answers
