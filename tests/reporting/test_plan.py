"""What the plan says of snapshots and responses, against what a run then writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from alignlab.callbacks import NeuronTracker
from alignlab.data.batching import StepPlan
from alignlab.data.examples import Answers
from alignlab.data.records import Record
from alignlab.data.training import TrainingData, TrainingPart
from alignlab.errors import InputError
from alignlab.models.sites import find_sites
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.recording.probes import Probe, build_probe
from alignlab.reporting.estimates import Planned, PlannedStage, response_tokens, snapshot_bytes
from alignlab.reporting.plan import plan_rows

COUNTED = ("firings", "document_firings", "activation_sum", "activation_squares", "maximum")


def make_probe(tokenizer: Any, **options: Any) -> Probe:
    records = [
        Record(str(n), code, f"question {n}", "an answer of some words") for code in ("en", "de") for n in range(7)
    ]
    return build_probe(records, tokenizer, shards=3, **options)


def planned(model: Any, probe: Probe, **changes: Any) -> Planned:
    documents = probe.documents["en"]
    training = TrainingData(list(documents), Answers(), (TrainingPart("", len(documents)),))
    plan = StepPlan(tuple(len(document) for document in documents), 2, 4, 0)
    given = {
        "stages": [PlannedStage("", "causal, full", model, training, plan, accumulation=1, last=4)],
        "sites": find_sites(model),
        "probe": probe,
        "trained_languages": ("de",),
        "snapshot_steps": [0, 2, 4],
        "checkpoints": 1,
        "ranks": 1,
        "gradient_checkpointing": False,
        "weights_at_hand": True,
    }
    return Planned(**{**given, **changes})


@pytest.mark.parametrize(
    "statistics", [(), ("documents",), ("moments",), ("maximum",), ("documents", "moments", "maximum")]
)
def test_the_bytes_of_a_snapshot_are_those_of_its_file(
    statistics: tuple[str, ...], tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    probe = make_probe(tokenizer)
    identifier = TernaryConfig(top_rate=0.3, bar=0.6)
    tracker = NeuronTracker(probe, folder=tmp_path, statistics=statistics, identifier=identifier, show=False)
    tracker.prepare(tiny_llama)
    tracker.take(tiny_llama, 0)
    stored = safetensors.torch.load_file(tmp_path / "neurons/step-000000.safetensors")
    assert snapshot_bytes(planned(tiny_llama, probe, statistics=statistics)) == sum(
        stored[name].numel() * stored[name].itemsize for name in COUNTED if name in stored
    )


def test_the_snapshots_row_names_what_is_counted(tokenizer: Any, tiny_llama: Any) -> None:
    plan = planned(tiny_llama, make_probe(tokenizer), statistics=("documents", "maximum"))
    each = 2 * 2 * 48 * (3 + 3 + 4)
    assert dict(plan_rows(plan))["snapshots"] == (
        f"3, {each / 1000:.3g} kB each, {3 * each / 1000:.3g} kB in all (firings, documents, maximum; "
        "3 shards a language)"
    )
    assert "responses" not in dict(plan_rows(plan))


def test_the_plan_tells_how_clusters_are_dealt(tokenizer: Any, tiny_llama: Any) -> None:
    assert "shards" not in dict(plan_rows(planned(tiny_llama, make_probe(tokenizer))))
    records = [Record(str(n), code, "question", "answer", f"{n % 5}") for code in ("en", "de") for n in range(9)]
    for shards, told in ((4, ""), (8, ", not 8, of which some would be empty")):
        rows = dict(plan_rows(planned(tiny_llama, build_probe(records, tokenizer, shards=shards))))
        number = min(shards, 5)
        assert rows["shards"] == f"5 clusters (named by the records): {number} shards a language{told}"
        assert rows["snapshots"].endswith(f"{number} shards a language)")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("generated_once", "generated once, at step 0: up to 4,200 tokens (300 a prompt)"),
        ("regenerated", "generated at every snapshot: up to 4,200 tokens (300 a prompt), 3 times"),
    ],
)
def test_responses_are_planned_at_their_longest(kind: Any, text: str, tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer, responses=kind, max_new_tokens=300)
    plan = planned(tiny_llama, probe, statistics=())
    assert response_tokens(probe) == 4200
    rows = dict(plan_rows(plan))
    assert rows["responses"] == text
    assert rows["probe"] == "14 documents in 2 languages, up to 4,200 tokens counted (scope response)"
    # Three documents in the fullest shard: 900 tokens, which need two bytes.
    assert snapshot_bytes(plan) == 2 * 2 * 48 * 3 * 2
    assert rows["snapshots"].startswith("3, up to 1.15 kB each")


def test_a_model_that_cannot_answer_is_refused_with_the_plan(tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer, responses="regenerated", max_new_tokens=3000)
    with pytest.raises(InputError, match="3000 new ones for a model of 2048 positions"):
        plan_rows(planned(tiny_llama, probe))


def test_a_selection_of_few_neurons_is_told_with_a_rate_that_selects_more(tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer)
    sites = [dataclasses.replace(site, width=1280) for site in find_sites(tiny_llama)]
    few = dict(plan_rows(planned(tiny_llama, probe, sites=sites, top_rate=0.01)))["warning"]
    assert "selects 26 of 2,560 neurons" in few
    assert few.endswith("identifier.top_rate=0.04 selects 102")
    for top_rate in (0.04, 0.1, None):
        assert "warning" not in dict(plan_rows(planned(tiny_llama, probe, sites=sites, top_rate=top_rate)))
