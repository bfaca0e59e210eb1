"""Rankings order what identifiers take: nothing stands before it that the identifier itself leaves out."""

from __future__ import annotations

import numpy as np
import torch

from alignlab.benchmarking.rankings import RANKINGS, identifier_at
from alignlab.neurons.attribution_identifier import attribution


def test_a_score_that_is_the_same_for_all_languages_stands_out_for_none() -> None:
    # With a least z of 0 the mean itself is enough, but one score of all has no z.
    scores = torch.tensor([[[0.9, 0.5, 0.1]], [[0.9, 0.1, 0.5]], [[0.9, 0.2, 0.3]]], dtype=torch.float64)
    identifier = identifier_at("attribution", {"least_z": 0.0, "top_rate": 1.0})
    found = attribution(scores, 1.0, 0.0, languages=["a", "b", "c"])
    ranking = RANKINGS["attribution"](identifier, None, found)
    sets = np.stack([found.sets[name].flatten().numpy() for name in "abc"])
    assert np.array_equal(np.isfinite(ranking), sets)
    assert not sets[:, 0].any()
