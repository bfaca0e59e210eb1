"""What studies of labels share: documents of each label as files that alignlab reads, and the analysis of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import alignlab.analyze
from alignlab.atomic import write_text

ANALYSES = "[kinds,language_overlap,family_overlap,label_properties,stability]"


@dataclass(frozen=True)
class Excerpt:
    """A document. id: "" where it says what no other does.  cluster: what it comes from, such as a package."""

    text: str
    cluster: str
    id: str = ""


def write_labels(
    out: Path, documents: Mapping[str, Sequence[Excerpt]], table: Mapping[str, Any], axis: str, *, shuffled: int | None
) -> Path:
    """A file for each label, and the config that declares them and counts on them.

    shuffled: a seed, by which labels are dealt anew to all clusters: what is then found is what chance finds.
    """
    if shuffled is not None:
        documents = _shuffled(documents, shuffled)
    for label, excerpts in documents.items():
        rows = [
            {"id": one.id or f"{label}-{number}", "cluster": one.cluster, "text": one.text}
            for number, one in enumerate(excerpts)
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_text(out / "text" / f"{label}.jsonl", "".join(lines))
    columns = {"prompt": "text", "id": "id", "cluster": "cluster", "languages": list(documents)}
    probe = {
        "scope": "all",
        "max_length": 512,
        "source": {"name": "files", "path": str(out / "text"), **columns},
        "prompts": {"template": "{prompt}"},
        "max_texts": max(map(len, documents.values())),
    }
    labels = {"axis": axis, "table": {label: dict(table.get(label, {})) for label in documents}}
    config = out / "labels.yaml"
    write_text(config, yaml.safe_dump({"labels": labels, "probe": probe}, allow_unicode=True, sort_keys=False))
    return config


def ask(out: Path, config: Path, model: str, top_rate: float) -> None:
    """Count the model on the labels, and print sizes and overlaps; everything is in `out`/results."""
    argv = [f"config={config}", f"models=[{model}]", f"analyses={ANALYSES}", f"identifier.top_rate={top_rate}"]
    argv += ["reference=null", f"folder={out / 'results'}"]
    status = alignlab.analyze.main(argv)
    if status:
        raise SystemExit(status)


def _shuffled(documents: Mapping[str, Sequence[Excerpt]], seed: int) -> dict[str, list[Excerpt]]:
    """As many documents of each label, drawn from those of all: within an id, or else from any."""
    rng = random.Random(seed)
    sizes = {label: len(excerpts) for label, excerpts in documents.items()}
    everything = [one for excerpts in documents.values() for one in excerpts]
    rng.shuffle(everything)
    dealt: dict[str, list[Excerpt]] = {label: [] for label in documents}
    # Of one id every label has one document at most, so the fullest labels are served first.
    taken: dict[str, set[str]] = {label: set() for label in documents}
    for one in everything:
        free = [
            label for label in dealt if len(dealt[label]) < sizes[label] and not (one.id and one.id in taken[label])
        ]
        if free:
            label = max(free, key=lambda name: sizes[name] - len(dealt[name]))
            dealt[label].append(one)
            taken[label].add(one.id)
    return dealt
