"""Counts a probe with a model of which each of two ranks holds one half; used by test_two_ranks_tally.

Usage: python one_of_two_sharded_ranks.py RANK MODEL_FOLDER FOLDER. Leaves FOLDER/sharded-RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from alignlab.data.records import Record
from alignlab.models.access import edit
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import build_probe

NAMES = ("tokens", "firings", "document_firings", "activation_sum", "loss_sum")


def load(model_folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()


def count(model: Any, model_folder: Path) -> dict[str, Any]:
    """Counts of three batches a language, an odd number, as the model is and with a layer's second half zeroed."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    records = [Record(str(n), code, f"{code} {'x' * n}", "and so on") for code in ("en", "de") for n in (1, 20, 40)]
    probe = build_probe(records, tokenizer, scope="all", shards=2, max_tokens_per_batch=1)
    sites = find_sites(model)
    forwards: list[int] = []
    handle = model.register_forward_pre_hook(lambda _m, _a: forwards.append(1))
    plain = count_firings(model, sites, probe, origin=Origin(), statistics=("documents", "moments"))
    handle.remove()
    mask = torch.arange(sites[0].width) < 24
    with edit(model, sites[:1], lambda _layer, activations, _forward: activations * mask):
        edited = count_firings(model, sites, probe, origin=Origin(), statistics=("documents", "moments"))
    found = {name: torch.stack([getattr(counts, name).double() for counts in (plain, edited)]) for name in NAMES}
    return {**found, "forwards": len(forwards)}


def main() -> None:
    """Join the other rank, shard the model, count, and store the result."""
    rank, model_folder, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model, mesh = load(model_folder), init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    torch.save(count(model, model_folder), folder / f"sharded-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
