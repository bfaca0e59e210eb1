"""What removal holds at its peak, by the allocations that torch makes: it grows as a text does, not as its square."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from alignlab.data.encoding import Document
from alignlab.neurons.importance import Wanted
from alignlab.recording.pieces import make_batch
from alignlab.recording.probes import Probe
from alignlab.recording.removal import Removal

from .test_removal import build


def peak(model: Any, length: int, sites: tuple[str, ...]) -> int:
    """Bytes on top of the weights, at most, for one text."""
    tokens = np.random.default_rng(0).integers(3, 300, size=length).astype(np.int32)
    some = np.ones(length, dtype=bool)
    text = Document("0", "0", tokens, some, ~some)
    batch = make_batch(Probe({"en": [text]}, "all", 1, max_tokens_per_batch=4096), "en", [0], torch.device("cpu"))
    measure = Removal(model, Wanted("removal", sites))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen, torch.no_grad():
        measure.of(batch, nullcontext)
    results: Any = seen.profiler.kineto_results  # type: ignore[union-attr]
    changes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    return max(accumulate(bytes_ for _, bytes_ in sorted(changes)))


@pytest.mark.slow
def test_memory_grows_as_a_text_does() -> None:
    model = build("llama", max_position_embeddings=2048, num_hidden_layers=1, rope_parameters=None).float()
    sites = ("mlp.act", "attention.q", "attention.k", "attention.v", "attention.o")
    short, long = peak(model, 256, sites), peak(model, 2048, sites)
    assert short > 4 * 256 * 32  # it does see allocations
    assert long <= 8 * short
    # One temporary of all columns at once would be forty times what is allowed.
    assert long < 4 * 2048 * 2048 * 12
