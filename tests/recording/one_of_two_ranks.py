"""Answers and counts a probe as one of two ranks; used by test_ranks.

Usage: python one_of_two_ranks.py RANK MODEL_FOLDER FOLDER BUDGET. Leaves FOLDER/rank-RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import distributed

from alignlab.data.records import Record
from alignlab.models.sites import find_sites
from alignlab.recording.by_document import DocumentLosses, DocumentMeans
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.highest import HighestActivations
from alignlab.recording.means import record_means
from alignlab.recording.passing import pass_through
from alignlab.recording.probes import build_probe
from alignlab.recording.responses import respond
from alignlab.recording.tallies import STATISTICS


def answer_and_count(model_folder: Path, folder: Path, budget: int, main: bool) -> dict[str, Any]:
    """What there is of a probe that the model answers itself, by name."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    records = [
        Record(str(n), code, f"question {'x' * (n * 5 % 7)} {n} in {code}") for code in ("en", "de") for n in range(7)
    ]
    probe = build_probe(
        records, tokenizer, responses="regenerated", max_new_tokens=12, shards=3, max_tokens_per_batch=budget
    )
    answered = respond(probe, model, folder=folder / "responses", step=0, main=main)
    counts = count_firings(model, find_sites(model), answered, origin=Origin(), statistics=tuple(STATISTICS))
    forwards: list[int] = []
    handle = model.register_forward_pre_hook(lambda _m, _a: forwards.append(1))
    losses, means = DocumentLosses(), {}
    neurons = {0: torch.tensor([3, 40]), 1: torch.arange(48)}
    observers = [losses, DocumentMeans(neurons, means.__setitem__)]
    pass_through(model, answered, observers, sites=find_sites(model))
    handle.remove()
    # torch.save stores no uint16 in older versions; nothing is lost in float64 here.
    stored = {name: getattr(counts, name).to(torch.float64) for name in counts.tensors() if name != "loss_tokens"}
    recorded = record_means(model, find_sites(model), answered, folder / "means")
    layers = {language: [recorded.layer(layer, language) for layer in range(2)] for language in ("en", "de")}
    every = {layer: torch.arange(48) for layer in range(2)}
    observer = HighestActivations(every, 5)
    pass_through(model, answered, [observer], sites=find_sites(model))
    highest = {language: vars(of) for language, of in observer.found.items()}
    by_document = {
        "highest": highest,
        "nats": losses.nats,
        "loss_tokens": losses.tokens,
        "means": means,
        "recorded": layers,
    }
    return {"fingerprint": answered.fingerprint, "forwards": len(forwards), **by_document, **stored}


def main() -> None:
    """Join the other rank, count, and store the result."""
    rank, model_folder, folder, budget = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(answer_and_count(model_folder, folder, budget, main=rank == 0), folder / f"rank-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
