"""The files of a run whose model answered problems, with answers that would be markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignlab.analysis.capability import capability_rows
from alignlab.checksums import of_values
from alignlab.neurons.table import write_csv
from alignlab.recording.effects import BASELINE, Effects, Item

EVIL = "</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e"
SHARES = {0: {"en": 0.9, "de": 0.2, "sw": 0.5}, 40: {"en": 0.9, "de": 0.9, "sw": 0.05}}


def write_run(folder: Path, steps: tuple[int, ...] = (0, 40)) -> None:
    """Answers of a run: German rises, Swahili falls, English stays."""
    first: Effects | None = None
    tables = []
    (folder / "evaluation").mkdir(parents=True)
    for step in steps:
        items = tuple(Item(f"{n}", code, f"{n}", "7") for code in ("en", "de", "sw") for n in range(60))
        random = np.random.default_rng(1)
        right = torch.tensor([[random.random() < SHARES[step][item.language]] for item in items])
        told = torch.tensor([[("en", "de", "sw").index(item.language)] for item in items], dtype=torch.int16)
        tokens = torch.ones((len(items), 1), dtype=torch.int32)
        effects = Effects(
            items, (BASELINE,), ("en", "de", "sw"), right, told, tokens, tokens.bool(), task="sums", step=step,
            trained_languages=("de",),
        )  # fmt: skip
        effects.save(folder / f"evaluation/step-{step:06d}.safetensors")
        lines: list[dict[str, Any]] = [
            {"language": item.language, "id": item.id, "prompt": f"{EVIL} {item.id}?", "tokens": [1], "ended": True,
             "text": f"{EVIL} {step}", "expected": "7", "right": bool(hit), "output_language": None}
            for item, hit in zip(items, right, strict=True)
        ]  # fmt: skip
        text = "".join(json.dumps(line | {"checksum": of_values(line)}) + "\n" for line in lines)
        (folder / f"evaluation/step-{step:06d}.jsonl").write_text(text, encoding="utf-8")
        tables += capability_rows(effects, first)
        first = first or effects
    write_csv(folder / "evaluation.csv", tables)
