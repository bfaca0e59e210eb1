"""A model of which every rank holds a part: sharded by FSDP2, gathered to be saved, dealt out to be loaded.

Forwards of such a model are collective: every rank has to make as many. Outside of a forward each weight is a DTensor,
of which a rank has its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import peft
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from alignlab.models.distributed import is_first, rank, world_size
from alignlab.models.layer_traces import decoder_layers

T = TypeVar("T")


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Leave of every weight this rank's rows, in place: a decoder layer is gathered when it runs, and given up after.

    model: as it is called, in its PEFT wrapper if it has one, with the same weights on every rank.
    mesh: (R,), the ranks.
    """
    for layer in decoder_layers(model)[1]:
        fully_shard(layer, mesh=mesh)
    # What is in no layer is given up after a forward too: else one without a backward, such as a counting one, would
    # leave a copy behind that a checkpoint, which is loaded later, does not reach.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    if isinstance(model, peft.PeftModel):
        # PEFT passes it on to the model within, past the wrapper at which the weights outside of layers are gathered.
        register_fsdp_forward_method(model, "generate")


def is_sharded(model: nn.Module) -> bool:
    """Whether the ranks hold parts of the weights, so that forwards are collective."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def whole(value: Any) -> Any:
    """A tensor of which ranks hold parts as a whole one, on the CPU of rank zero and nowhere else (None there); what is
    whole, or no tensor, as it is. Collective.
    """
    if not isinstance(value, DTensor):
        return value
    gathered: Tensor = value.full_tensor().detach()
    return gathered.cpu() if is_first() else None


def local_part(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor: the same memory, without a gradient of its own."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_of(value: Tensor, weight: Tensor) -> Tensor:
    """Of a whole tensor of a weight's shape what this rank has of the weight, as a DTensor; a weight that is whole, or
    a tensor without dimensions, has no parts. Ranks do not speak.
    """
    if not isinstance(weight, DTensor) or value.ndim == 0:
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)


def whole_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """What `save_pretrained` is to be given as `state_dict`; None where weights are whole, and it takes them itself.

    Of a model in an adapter it is what PEFT writes: the trained weights, and embeddings that an adapter is on. Of
    others all weights and buffers. Collective; on rank zero alone the tensors are there.
    """
    if not is_sharded(model):
        return None
    # The very parameters, so that one of two names stays one.
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    if isinstance(model, peft.PeftModel):
        state = {name: state[name] for name in _of_adapter(model, state)}
    gathered: dict[int, Tensor] = {}
    for value in state.values():
        if id(value) not in gathered:
            gathered[id(value)] = whole(value)
    return {name: gathered[id(value)] for name, value in state.items()}


def _of_adapter(model: peft.PeftModel, state: dict[str, Tensor]) -> list[str]:
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    ends = [weight for head in heads if head is not None for weight in head.parameters()]
    beside = {id(weight) for weight in ends if any(one.requires_grad for one in ends)}
    return [name for name, value in state.items() if value.requires_grad or id(value) in beside]


def dealt(batches: Sequence[T], *, collective: bool) -> Iterator[tuple[T, bool]]:
    """This rank's batches, in order and in turn with the other ranks, each with whether it counts.

    collective: every rank is to make as many forwards; one that is short of batches takes the first again, and it does
        not count.
    """
    for place in range(rank(), len(batches), world_size()):
        yield batches[place], True
    if collective and rank() >= len(batches) % world_size() > 0:
        yield batches[0], False
