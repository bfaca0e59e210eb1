"""Scores and answers under arms as one of two ranks; used by test_two_ranks_under_arms.

Usage: python one_of_two_ranks_under_arms.py RANK MODEL_FOLDER FOLDER STOP. Leaves FOLDER/rank-RANK.pt.
Where STOP is a number but 0, the first rank dies when it is about to write that many parts and one; where it is
`sharded`, each rank holds one half of the model, and texts are scored alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from alignlab.data.encoding import Document
from alignlab.models.edits import Arm, NeuronEdit
from alignlab.models.lower_layers import find_lower_layers
from alignlab.parts import Parts
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.kept import Kept
from alignlab.recording.sampling import Sampling
from alignlab.recording.scoring import score


def arms() -> list[Arm]:
    """The baseline, and four that begin in either layer."""
    made: list[Arm] = [()]
    for seed in range(4):
        neurons = torch.randperm(48, generator=torch.Generator().manual_seed(seed))[:9]
        made.append((NeuronEdit(torch.full((9,), seed % 2), neurons, torch.full((9,), float(seed)), torch.ones(9)),))
    return made


def load(model_folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(model_folder).eval()


def scored(model: Any, kept: Kept | None) -> tuple[dict[str, Any], list[Document]]:
    """The likelihoods of 7 texts under 5 arms, and the forwards of this rank."""
    rng = np.random.default_rng(0)
    documents = []
    for number, length in enumerate((4, 9, 9, 3, 12, 5, 7)):
        tokens = rng.integers(3, 300, size=length).astype(np.int32)
        documents.append(Document(str(number), "en", tokens, np.arange(length) > 1, np.zeros(length, dtype=bool)))
    lower = find_lower_layers(model)
    forwards: list[int] = []
    handle = model.register_forward_pre_hook(lambda _m, _a: forwards.append(1))
    found = score(model, documents, arms(), max_tokens_per_batch=40, lower=lower, kept=kept)
    handle.remove()
    return {"nats": found.nats, "cost": found.forwards, "forwards": len(forwards)}, documents


def measure(model_folder: Path, folder: Path) -> dict[str, Any]:
    """The same, and what is drawn as answers to them."""
    model, kept = load(model_folder), Kept(folder / "parts", "weights")
    found, documents = scored(model, kept)
    prompts = [document.tokens for document in documents]
    sampling = Sampling(3, [document.id for document in documents], 0.8)
    answers = generate_under(
        model, prompts, arms(), max_new_tokens=5, max_tokens_per_batch=60, sampling=sampling, kept=kept
    )
    return {**found, "answers": [[one.tokens.tolist() for one in of_prompt] for of_prompt in answers]}


def sharded(model_folder: Path) -> dict[str, Any]:
    """The likelihoods by a model of which this rank holds one half."""
    model, mesh = load(model_folder), init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return scored(model, None)[0]


def main() -> None:
    """Join the other rank, measure, and store the result."""
    rank, model_folder, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    halves = sys.argv[4] == "sharded"
    last, write = 0 if halves else int(sys.argv[4]), Parts.write

    def stop(self: Parts, number: int, rows: Any) -> None:
        if last and len(list(self.path.glob("part-*.jsonl"))) == last:
            os._exit(9)
        write(self, number, rows)

    Parts.write = stop  # type: ignore[method-assign]
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting-{last}", rank=rank, world_size=2)
    found = sharded(model_folder) if halves else measure(model_folder, folder)
    torch.save(found, folder / f"rank-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
