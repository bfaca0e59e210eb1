"""One of two ranks that hold parts of a model; used by test_sharding.

Usage: python one_sharded_rank.py RANK MODEL_FOLDER FOLDER. Leaves FOLDER/adapter and FOLDER/full, saved by rank zero.
Every weight of every rank's part has a value of its own in them: see `stamp`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh

from alignlab.errors import InputError
from alignlab.models.finite import check_finite
from alignlab.models.sharding import is_sharded, local_part, part_of, shard, whole, whole_weights

RANKS = 2


def adapted(model: Any) -> Any:
    """In an adapter on maps of all shapes and the embeddings, with a head that is trained whole."""
    targets = ["q_proj", "down_proj", "embed_tokens"]
    return peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", r=3, target_modules=targets, modules_to_save=["lm_head"])
    )


def stamp(rank: int, number: int, part: torch.Tensor) -> torch.Tensor:
    """What a rank writes into its part of the weight of that number: no two entries of a model are the same."""
    return rank * 500_000 + number * 10_000 + torch.arange(part.numel(), dtype=torch.float32).view(part.shape)


def save(model: nn.Module, rank: int, target: Path) -> None:
    """Stamp this rank's part of the trained weights, and save the whole; and part it again from what was saved."""
    shard(model, init_device_mesh("cpu", (RANKS,)))
    assert is_sharded(model)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with torch.no_grad():
        for number, weight in enumerate(trained):
            local_part(weight).copy_(stamp(rank, number, local_part(weight)))
    check_finite(model, 0)
    weights = whole_weights(model)
    if rank == 0:
        model.save_pretrained(target, state_dict=weights)  # type: ignore[operator]
    for weight in trained:
        gathered = [whole(weight)]
        assert (gathered[0] is None) == bool(rank)
        distributed.broadcast_object_list(gathered)
        assert torch.equal(local_part(part_of(gathered[0], weight)), local_part(weight))
    # A number that is none, on one rank alone, is refused on both.
    if rank == 1:
        with torch.no_grad():
            local_part(trained[0]).fill_(torch.nan)
    with pytest.raises(InputError, match=r"step 1: 1 of \d+ trained tensors hold NaN"):
        check_finite(model, 1)


def main() -> None:
    """Join the other rank, and save both ways."""
    rank, model_folder, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    rank_zero_only.rank = rank  # type: ignore[attr-defined]  # as Lightning has it once ranks are connected
    for name, prepare in (("adapter", adapted), ("full", lambda model: model)):
        save(prepare(transformers.AutoModelForCausalLM.from_pretrained(model_folder)), rank, folder / name)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
