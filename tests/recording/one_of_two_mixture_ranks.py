"""Counts a probe at the experts of a small mixture as one of two ranks; used by test_experts.

Usage: python one_of_two_mixture_ranks.py RANK FOLDER. Leaves FOLDER/rank-RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import distributed, nn

from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe
from alignlab.recording.tallies import STATISTICS


def count(model: nn.Module, probe: Probe) -> dict[str, Any]:
    """Every field of the counts by name; whole numbers as float64, in which none is lost."""
    sites = find_sites(model, "experts.act")
    counts = count_firings(model, sites, probe, origin=Origin(), statistics=tuple(STATISTICS))
    return {name: tensor.to(torch.float64) for name, tensor in counts.tensors().items()}


def main() -> None:
    """Join the other rank, count, and store the result."""
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    probe = torch.load(folder / "probe.pt", weights_only=False)
    torch.save(count(model, probe), folder / f"rank-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
