"""All analyses by name. A new one is a function from a `View` to rows, and an entry here."""

from __future__ import annotations

from alignlab.analysis import languages, layers, moves
from alignlab.analysis.view import Analysis

ANALYSES: dict[str, Analysis] = {
    "kinds": Analysis("neurons by kind, language, layer and degree, with their change", "", moves.kinds),
    "layer_distribution": Analysis(
        "neurons of each kind in each layer",
        "its layer-wise distributions of the three kinds",
        layers.layer_distribution,
    ),
    "layer_delta": Analysis(
        "change by layer since the first record",
        "its layer-wise changes from base to aligned model",
        layers.layer_delta,
    ),
    "checkpoint_layer_delta": Analysis(
        "change by layer since the record before",
        "its layer-wise changes, at every checkpoint",
        layers.checkpoint_layer_delta,
    ),
    "sharing_histogram": Analysis(
        "neurons by the number of languages that share them",
        "its histograms of neurons by number of languages",
        moves.sharing_histogram,
        needs_degree=True,
    ),
    "trained_vs_unseen": Analysis(
        "mean of the trained and of the unseen languages, with their change",
        "its comparison of trained with untrained languages",
        languages.trained_vs_unseen,
    ),
    "english_uniqueness": Analysis(
        "English beside the others, unseen languages with and without it",
        "its section on the uniqueness of English",
        languages.uniqueness,
        redrawn=True,
        needs_degree=True,
    ),
    "overlap_ratio": Analysis(
        "share of a language's first neurons that it still has",
        "its overlap ratios of two sets",
        languages.ratios,
        redrawn=True,
    ),
    "layer_parts": Analysis(
        "four parts of the layers and their labels",
        "its four functional parts of the model",
        layers.parts,
        needs_degree=True,
    ),
    "single_neuron_profile": Analysis(
        "probability of the neurons named in `neurons`, by language",
        "its examples of single neurons",
        moves.profile,
        redrawn=True,
        needs_degree=True,
    ),
    "transitions": Analysis("neurons from each kind to each", "", moves.moves, redrawn=True, needs_degree=True),
    "survival": Analysis(
        "share of the neurons of each kind that are still of it", "", moves.survivors, redrawn=True, needs_degree=True
    ),
    "stability": Analysis(
        "neurons that keep their kind in 95 % of the resamples, and chance (with intervals)",
        "",
        moves.stability,
        needs_degree=True,
    ),
    "losses": Analysis("loss of each language, mean of the trained and the unseen ones, change", "", moves.losses),
    "language_overlap": Analysis(
        "what each pair of languages shares of its related neurons (or its sets, without kinds), beside chance",
        "",
        languages.language_overlap,
        redrawn=True,
    ),
    "family_overlap": Analysis(
        "pairs within a language family against others, beyond chance", "", languages.families, redrawn=True
    ),
}
