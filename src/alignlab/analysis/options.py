"""What can be asked of stored counts, by name. Like all modules called options this one imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

CountsFormat = Literal["alignlab", "lape", "ternary", "arithmetic"]
AnalysisName = Literal[
    "kinds",
    "layer_distribution",
    "layer_delta",
    "checkpoint_layer_delta",
    "sharing_histogram",
    "trained_vs_unseen",
    "english_uniqueness",
    "overlap_ratio",
    "layer_parts",
    "single_neuron_profile",
    "transitions",
    "survival",
    "stability",
    "losses",
    "language_overlap",
    "family_overlap",
    "label_properties",
    "thresholds",
]


class Meaning(NamedTuple):
    """What an analysis shows, and what it corresponds to in Zhang et al. 2025, or ""."""

    shows: str
    figure: str

    @property
    def words(self) -> str:
        """For people: what it shows, and the paper's figure."""
        return f"{self.shows} (there: {self.figure})" if self.figure else self.shows


MEANINGS: dict[AnalysisName, Meaning] = {
    "kinds": Meaning("neurons by kind, language, layer and degree, with their change", ""),
    "layer_distribution": Meaning(
        "neurons of each kind in each layer", "its layer-wise distributions of the three kinds"
    ),
    "layer_delta": Meaning(
        "change by layer since the first record", "its layer-wise changes from base to aligned model"
    ),
    "checkpoint_layer_delta": Meaning(
        "change by layer since the record before", "its layer-wise changes, at every checkpoint"
    ),
    "sharing_histogram": Meaning(
        "neurons by the number of languages that share them", "its histograms of neurons by number of languages"
    ),
    "trained_vs_unseen": Meaning(
        "mean of the trained, the reference, the unseen and all languages, with their change",
        "its comparison of trained with untrained languages",
    ),
    "english_uniqueness": Meaning(
        "the reference (English) beside the others, mean of each group of languages",
        "its section on the uniqueness of English",
    ),
    "overlap_ratio": Meaning(
        "share of a language's earlier neurons that it still has", "its overlap ratios of two sets"
    ),
    "layer_parts": Meaning("four parts of the layers and their labels", "its four functional parts of the model"),
    "single_neuron_profile": Meaning(
        "probability of the neurons named in `neurons`, by language", "its examples of single neurons"
    ),
    "transitions": Meaning("neurons from each kind to each", ""),
    "survival": Meaning("share of the neurons of each kind that are still of it", ""),
    "stability": Meaning("neurons that keep their kind in 95 % of the resamples, and chance (with intervals)", ""),
    "losses": Meaning("loss of each language, mean of each group of languages, change", ""),
    "language_overlap": Meaning(
        "which pairs of languages share more of their related neurons (or sets, without kinds) than others: beside "
        "chance that keeps the number of every language and the degree of every neuron",
        "",
    ),
    "family_overlap": Meaning(
        "whether pairs within a language family share more than others, beyond the same chance", ""
    ),
    "label_properties": Meaning(
        "whether each language's neurons and loss go with its resource, family, script and typology, beside chance; "
        "n is languages, so that few tell little",
        "",
    ),
    "thresholds": Meaning("tau and whatever else neurons were classified with", ""),
}
# What is asked unless others are named: all but what needs neurons named, or labels of which something is known.
USUAL = [name for name in MEANINGS if name not in ("single_neuron_profile", "label_properties")]
