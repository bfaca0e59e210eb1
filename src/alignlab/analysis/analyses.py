"""All analyses by name. A new one is a function from a `View` to rows, an entry here and a meaning in `options.py`."""

from __future__ import annotations

from alignlab.analysis import languages, layers, moves
from alignlab.analysis.view import Analysis

ANALYSES: dict[str, Analysis] = {
    "kinds": Analysis(moves.kinds),
    "layer_distribution": Analysis(layers.layer_distribution),
    "layer_delta": Analysis(layers.layer_delta),
    "checkpoint_layer_delta": Analysis(layers.checkpoint_layer_delta),
    "sharing_histogram": Analysis(moves.sharing_histogram, needs_degree=True),
    "trained_vs_unseen": Analysis(languages.trained_vs_unseen),
    "english_uniqueness": Analysis(languages.uniqueness, redrawn=True, needs_degree=True),
    "overlap_ratio": Analysis(languages.ratios, redrawn=True),
    "layer_parts": Analysis(layers.parts, needs_degree=True),
    "single_neuron_profile": Analysis(moves.profile, redrawn=True, needs_degree=True),
    "transitions": Analysis(moves.moves, redrawn=True, needs_degree=True),
    "survival": Analysis(moves.survivors, redrawn=True, needs_degree=True),
    "stability": Analysis(moves.stability, needs_degree=True),
    "losses": Analysis(moves.losses),
    "language_overlap": Analysis(languages.language_overlap, redrawn=True),
    "family_overlap": Analysis(languages.families, redrawn=True),
}
