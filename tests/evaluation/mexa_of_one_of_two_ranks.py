"""MEXA as one of two ranks; used by test_mexa_ranks.

Usage: python mexa_of_one_of_two_ranks.py RANK MODEL_FOLDER FOLDER. Leaves FOLDER/rank-RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers
from torch import Tensor, distributed

from alignlab.data.records import Record
from alignlab.evaluation.mexa import mexa
from alignlab.recording.probes import Probe, build_probe


def compared(model_folder: Path) -> dict[str, Tensor]:
    """Which sentences of each language are aligned, by state."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    words = ("apples", "street", "children", "Anna", "long", "green", "12", "Juma", "asleep")
    texts = {"en": "{0} is {0}, {0}", "de": "{0} {0} {0} {0}", "sw": "Juma {0} {0}"}
    records = [Record(word, code, text.format(word)) for code, text in texts.items() for word in words]
    probe = build_probe(records, tokenizer, scope="all", count_special_tokens=True, max_tokens_per_batch=40)
    assert isinstance(probe, Probe)
    return dict(mexa(model, probe).aligned)


def main() -> None:
    """Join the other rank, compare, and store the result."""
    rank, model_folder, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(compared(model_folder), folder / f"rank-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
