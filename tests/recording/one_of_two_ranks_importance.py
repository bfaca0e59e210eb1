"""Records importance as one of two ranks; used by test_importance.

Usage: python one_of_two_ranks_importance.py RANK MODEL_FOLDER FOLDER BUDGET. Leaves FOLDER/importance.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers
from torch import distributed

from alignlab.data.records import Record
from alignlab.neurons.importance import Importance, Wanted
from alignlab.recording.importance import record_importance
from alignlab.recording.probes import Probe, build_probe

WANTED = Wanted("removal", ("mlp.act", "attention.k"))


def record(model_folder: Path, folder: Path, budget: int) -> Importance:
    """Of some documents in two languages."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    records = [
        Record(str(n), code, f"question {'x' * (n * 5 % 7)} {n} in {code}") for code in ("en", "de") for n in range(7)
    ]
    probe = build_probe(records, tokenizer, scope="all", shards=3, max_tokens_per_batch=budget)
    assert isinstance(probe, Probe)
    return record_importance(model, WANTED, probe, folder / "importance")


def main() -> None:
    """Join the other rank and record."""
    rank, model_folder, folder, budget = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    record(model_folder, folder, budget)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
