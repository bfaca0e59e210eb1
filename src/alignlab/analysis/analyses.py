"""All analyses by name. A new one is a function from a `View` to rows, and an entry here."""

from __future__ import annotations

from alignlab.analysis import languages, layers, moves
from alignlab.analysis.view import Analysis, Asked, Compared, Counted
from alignlab.neurons.table import ANCHORED, Row


def _by_layer(row: Row) -> bool:
    return row.analysis == "kinds" and row.layer is not None


def _anchored_by_layer(row: Row) -> bool:
    return _by_layer(row) and row.thresholds == ANCHORED


def _of_groups(row: Row) -> bool:
    return row.analysis == "kinds" and row.group in {"trained", "unseen"}


ANALYSES: dict[str, Analysis] = {
    "kinds": Counted(
        "neurons by kind, language, layer and degree, with their change", "", lambda row: row.analysis == "kinds"
    ),
    "layer_distribution": Counted(
        "neurons of each kind in each layer", "its layer-wise distributions of the three kinds", _by_layer, ("",)
    ),
    "layer_delta": Counted(
        "change by layer since the first record",
        "its layer-wise changes from base to aligned model",
        _anchored_by_layer,
        ("since",),
    ),
    "checkpoint_layer_delta": Counted(
        "change by layer since the record before",
        "its layer-wise changes, at every checkpoint",
        _anchored_by_layer,
        ("since_before",),
    ),
    "sharing_histogram": Counted(
        "neurons by the number of languages that share them",
        "its histograms of neurons by number of languages",
        lambda row: row.degree is not None and row.thresholds == ANCHORED,
    ),
    "trained_vs_unseen": Counted(
        "mean of the trained and of the unseen languages, with their change",
        "its comparison of trained with untrained languages",
        _of_groups,
    ),
    "english_uniqueness": Asked(
        "English beside the others, unseen languages with and without it",
        "its section on the uniqueness of English",
        languages.uniqueness,
    ),
    "overlap_ratio": Compared(
        "share of a language's earlier neurons that it still has", "its overlap ratios of two sets", languages.ratios
    ),
    "layer_parts": Asked(
        "four parts of the layers and their labels", "its four functional parts of the model", layers.parts, False
    ),
    "single_neuron_profile": Asked(
        "probability of the neurons named in `neurons`, by language", "its examples of single neurons", moves.profile
    ),
    "transitions": Compared("neurons from each kind to each", "", moves.moves),
    "survival": Compared("share of the neurons of each kind that are still of it", "", moves.survivors),
    "stability": Asked(
        "neurons that keep their kind in 95 % of the resamples, and chance (with intervals)",
        "",
        moves.stability,
        False,
    ),
    "losses": Counted(
        "loss of each language, mean of the trained and the unseen ones, change",
        "",
        lambda row: row.analysis == "losses",
    ),
    "language_overlap": Asked(
        "what each pair of languages shares of its related neurons, beside chance", "", languages.language_overlap
    ),
    "family_overlap": Asked("pairs within a language family against others, beyond chance", "", languages.families),
    "thresholds": Counted(
        "tau and whatever else neurons were classified with", "", lambda row: row.analysis == "thresholds"
    ),
}
