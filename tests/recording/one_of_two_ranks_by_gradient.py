"""Records attribution and relevance as one of two ranks; used by test_gradient_importance.

Usage: python one_of_two_ranks_by_gradient.py RANK MODEL_FOLDER FOLDER BUDGET. Leaves FOLDER/NAME, two records.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from torch import distributed

from alignlab.data.records import Record
from alignlab.neurons.importance import Wanted
from alignlab.recording.importance import record_importance
from alignlab.recording.probes import Probe, build_probe

WANTED = (
    Wanted("attribution", ("mlp.act",), {"probability": "token"}),
    Wanted("relevance", ("mlp.act", "attention.v")),
)


def record(model_folder: Path, folder: Path, budget: int) -> None:
    """Both records of a probe of five documents a language."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    records = [
        Record(str(n), code, f"question {'x' * (n * 5 % 7)} {n}", f"answer {n} in {code}")
        for code in ("en", "de")
        for n in range(5)
    ]
    probe = build_probe(records, tokenizer, shards=2, max_tokens_per_batch=budget)
    assert isinstance(probe, Probe)
    for wanted in WANTED:
        record_importance(model, replace(wanted), probe, folder / wanted.measure)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def main() -> None:
    """Join the other rank and record."""
    rank, model_folder, folder, budget = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    record(model_folder, folder, budget)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
