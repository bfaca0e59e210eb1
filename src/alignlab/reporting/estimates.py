"""What a run needs, estimated before it starts: memory of a device, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import peft
import psutil
import torch
from torch import nn

from alignlab.console import size
from alignlab.data.batching import StepPlan
from alignlab.data.overlap import Overlap
from alignlab.data.training import TrainingData
from alignlab.errors import InputError, Problem
from alignlab.evaluation.tasks import Task
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.load import embedding_rows
from alignlab.models.sites import Site
from alignlab.neurons.fields import FIELDS, Axis
from alignlab.recording.probes import Probe, PromptProbe

_ADAM_BYTES = 8  # two float32 moments a trained weight
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # a weight: a scale of 8 bits for 64, one of 32 bits for 256 of those
_LOOKED_AT = 64  # steps whose batches are made to find the largest: enough, and quick for any run


@dataclass(frozen=True)
class PlannedStage:
    """What a stage of the training is; the whole of it, without a name, where it has none.

    method: its name, and which weights it trains.  model: as it trains it; may be on the meta device.
    last: its last step, counted from the start of the run.
    """

    name: str
    method: str
    model: nn.Module
    training: TrainingData
    plan: StepPlan
    accumulation: int
    last: int


@dataclass(frozen=True)
class Planned:
    """What the plan is made from. `top_rate` is the identifier's, if it has one; `merged` models are saved whole.

    sharded: each of the `ranks`, on so many `machines`, holds a part of what is trained with.
    """

    stages: Sequence[PlannedStage]
    sites: Sequence[Site]
    probe: Probe | PromptProbe
    trained_languages: tuple[str, ...]
    snapshot_steps: Sequence[int]
    checkpoints: int
    ranks: int
    gradient_checkpointing: bool
    weights_at_hand: bool
    four_bit: bool = False
    statistics: Sequence[str] = ("documents",)
    top_rate: float | None = None
    task: Task | None = None
    evaluation_steps: Sequence[int] = ()
    overlap: Mapping[str, Overlap] = field(default_factory=dict)
    merged: int = 0
    sharded: bool = False
    machines: int = 1

    @property
    def model(self) -> nn.Module:
        """As the first stage trains it."""
        return self.stages[0].model


@dataclass(frozen=True)
class Memory:
    """Bytes of one device, and the tokens of the largest micro-batch seen, padding included.

    gathered: of a sharded model what is whole while it runs: two layers, of which one comes while the other works, and
        what is in no layer, such as the embeddings; of a layer's trained weights the gradients too.

    An estimate: what it leaves out (fragmentation, the framework's own) is a few per cent to a GB.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    tokens: int
    gathered: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.gathered + self.gradients + self.optimiser + self.activations + self.logits


def memory(planned: Planned) -> Memory:
    """What training takes on one device: of the stage that takes most."""
    return max((_memory(planned, stage) for stage in planned.stages), key=lambda one: one.total)


def _memory(planned: Planned, stage: PlannedStage) -> Memory:
    parameters = list(stage.model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    tokens, answers = _largest_micro_batch(stage, planned.ranks)
    config = stage.model.config.get_text_config()  # type: ignore[operator, union-attr]
    width, layers = parameters[0].element_size(), len(planned.sites)
    # What a layer keeps for the backward pass: about 14 times its width and 3 times its neurons a token; with gradient
    # checkpointing its input only, and one layer at a time in full.
    experts = planned.sites[0].experts  # a token has the neurons of those that it is sent to
    neurons = planned.sites[0].width if experts is None else experts.chosen * experts.columns
    whole_layer = tokens * (14 * config.hidden_size + 3 * neurons) * width
    inputs = tokens * config.hidden_size * width * layers
    parts = planned.ranks if planned.sharded else 1
    return Memory(
        weights=(weight_bytes(parameters) - (_saved_by_four_bits(stage.model) if planned.four_bit else 0)) // parts,
        gradients=weight_bytes(trained) // parts,
        optimiser=sum(parameter.numel() for parameter in trained) * _ADAM_BYTES // parts,
        gathered=_gathered(stage.model) if planned.sharded else 0,
        activations=inputs + whole_layer if planned.gradient_checkpointing else whole_layer * layers,
        logits=answers * embedding_rows(stage.model) * (width + 8),
        tokens=tokens,
    )


def _gathered(model: nn.Module) -> int:
    """Bytes that a rank holds beside its part of a sharded model."""
    layers = [list(layer.parameters()) for layer in decoder_layers(model)[1]]
    inside = {id(weight) for layer in layers for weight in layer}
    outside = [weight for weight in model.parameters() if id(weight) not in inside]
    trained = max(weight_bytes([one for one in unit if one.requires_grad]) for unit in (*layers, outside))
    return weight_bytes(outside) + 2 * max(map(weight_bytes, layers)) + trained


def loaded_bytes(planned: Planned) -> int:
    """Size of all the whole models that the ranks of a machine hold at once while they load them to be sharded."""
    whole = max(weight_bytes(list(stage.model.parameters())) for stage in planned.stages)
    return whole * (planned.ranks // planned.machines) if planned.sharded else 0


def snapshot_bytes(planned: Planned) -> int:
    """Size of a snapshot in bytes: what is counted of each neuron, at its largest where responses are to come."""
    probe, sites = planned.probe, planned.sites
    sizes: dict[Axis, int] = {
        "language": len(probe.languages),
        "shard": probe.shards,
        "layer": len(sites),
        "neuron": sites[0].width,
        "expert": sites[0].experts.count if sites[0].experts else 0,
    }
    limits = {
        "tokens": max(int(probe.most_tokens(language).max()) for language in probe.languages),
        "documents": max(int(probe.shard_documents(language).max()) for language in probe.languages),
    }
    always = ("firings", "routed")
    counted = (field for name, field in FIELDS.items() if name in always or field.statistic in planned.statistics)
    return sum(field.bytes(sizes, limits) for field in counted)


def response_tokens(probe: Probe | PromptProbe) -> int:
    """The tokens that a model may write when it answers the probe; 0 where it is not to."""
    return sum(int((probe.most_tokens(language) - probe.tokens(language)).sum()) for language in probe.languages)


def checkpoint_bytes(planned: Planned) -> int:
    """Size of a checkpoint in bytes: what is loaded (an adapter, or the whole model), and what is gone on from: the
    trained weights and Adam's moments. Of the stage whose checkpoints are the largest.
    """
    return max(_checkpoint_bytes(stage.model) for stage in planned.stages)


def _checkpoint_bytes(model: nn.Module) -> int:
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    loaded = trained * 4 if isinstance(model, peft.PeftModel) else weight_bytes(parameters)
    return loaded + trained * (4 + _ADAM_BYTES)


def merged_bytes(planned: Planned) -> int:
    """Size of a model in bytes into which an adapter is merged."""
    model = planned.model.get_base_model() if isinstance(planned.model, peft.PeftModel) else planned.model
    names = ("lora_", "modules_to_save.")
    return weight_bytes([weight for name, weight in model.named_parameters() if not any(one in name for one in names)])


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
    room, loaded = psutil.virtual_memory().total, loaded_bytes(planned)
    if loaded > room:
        found = f"this machine has {size(room)} of memory, and its ranks load {size(loaded)} before it is shared out"
        fix = "Take fewer ranks a machine (trainer.devices), set model.dtype=bfloat16, or take a smaller model."
        problems.append(Problem("memory of the machine", found, "room for the whole model on every rank", fix))
    disk = len(planned.snapshot_steps) * snapshot_bytes(planned) + planned.checkpoints * checkpoint_bytes(planned)
    disk += planned.merged * merged_bytes(planned)
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


def _largest_micro_batch(stage: PlannedStage, ranks: int) -> tuple[int, int]:
    """Padded tokens of the largest micro-batch among some steps, and the answer tokens of the richest."""
    plan, examples = stage.plan, stage.training.examples
    stride = max(1, plan.total_steps // _LOOKED_AT)
    tokens = answers = 0
    for step in range(0, plan.total_steps, stride):
        for group in plan.micro_batches(step, stage.accumulation * ranks):
            texts = [text for index in group for text in examples[index].documents]
            tokens = max(tokens, len(texts) * max(map(len, texts), default=0))
            answers = max(answers, sum(int(text.answer.sum()) for text in texts))
    return tokens, answers
