"""What can be asked of stored counts, as options."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from alignlab.config import Options, option, section
from alignlab.models.options import ModelOptions, PrecisionName
from alignlab.neurons.options import Convention, IdentifierOptions, TernaryOptions
from alignlab.recording.options import ProbeOptions
from alignlab.reporting.options import WandbOptions

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
        "mean of the trained and of the unseen languages, with their change",
        "its comparison of trained with untrained languages",
    ),
    "english_uniqueness": Meaning(
        "English beside the others, unseen languages with and without it", "its section on the uniqueness of English"
    ),
    "overlap_ratio": Meaning("share of a language's first neurons that it still has", "its overlap ratios of two sets"),
    "layer_parts": Meaning("four parts of the layers and their labels", "its four functional parts of the model"),
    "single_neuron_profile": Meaning(
        "probability of the neurons named in `neurons`, by language", "its examples of single neurons"
    ),
    "transitions": Meaning("neurons from each kind to each", ""),
    "survival": Meaning("share of the neurons of each kind that are still of it", ""),
    "stability": Meaning("neurons that keep their kind in 95 % of the resamples, and chance (with intervals)", ""),
    "losses": Meaning("loss of each language, mean of the trained and the unseen ones, change", ""),
    "language_overlap": Meaning(
        "what each pair of languages shares of its related neurons (or its sets, without kinds), beside chance", ""
    ),
    "family_overlap": Meaning("pairs within a language family against others, beyond chance", ""),
}
# Of the analyses, those that cost next to nothing beside the classification: all but those that need neurons named.
USUAL = [name for name in MEANINGS if name != "single_neuron_profile"]


def _neurons(values: Any) -> str | None:
    good = isinstance(values, list) and all(re.fullmatch(r"\d+\.\d+", str(value)) for value in values)
    return None if good else "layers and neurons from 0, such as ['3.127', '0.5']"


class AnalyzeOptions(Options):
    """Everything about an analysis."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, all of whose snapshots are analysed")
    recount: bool = option(False, "count the checkpoints of the run again, on `probe`, instead of its snapshots")
    models: list[str] = option(
        [], "folders or Hub ids of models or PEFT adapters to count and compare, first to last; in a run also steps"
    )
    model: ModelOptions | None = section(
        None, "how models are loaded, and the base of adapters; by default as in the run, or as they say"
    )
    probe: ProbeOptions = section(ProbeOptions, "on which text models are counted; by default as in the run")
    against: ProbeOptions | None = section(None, "a second probe, on which every model is counted too")
    precision: PrecisionName | None = option(None, "of counting; null: as the run was trained, else 32-true")
    counts: str | None = option(None, "file of counts, or folder of published ones")
    counts_format: CountsFormat = option("alignlab", "who wrote `counts`")
    counts_tag: str | None = option(None, "part of the names of published files after the code; null where all agree")
    languages: list[str] | None = option(None, "languages to compare, by name; null takes all")
    shards: list[int] | None = option(None, "groups of documents to count, by number from 0; null takes all")
    trained: list[str] | None = option(None, "languages in training; null takes those that the counts name")
    identifier: IdentifierOptions = section(TernaryOptions, "how neurons are classified; by default as in the run")
    kinds: Convention = option(
        "paper",
        "which neurons count as of a kind; paper: specific and related from the selection, general from all; "
        "selection: from the selection; all: from all, by degree",
    )
    analyses: list[AnalysisName] = option(USUAL, "what is asked")
    neurons: list[str] = option([], "neurons of single_neuron_profile, as layer.neuron from 0", check=_neurons)
    intervals: Literal["none", "ends", "all"] = option(
        "none", "resample shards of documents, for an interval of every count and change: of the first and last, or all"
    )
    resamples: int = option(200, "resamples of each record", ge=2)
    seed: int = option(0, "of the resamples", ge=0)
    log: bool = option(False, "also log to W&B, as a run of its own that names the run that is analysed")
    wandb: WandbOptions = section(WandbOptions, "Weights & Biases, where log is true; by default as in the run")
    folder: str | None = option(
        None, "where tables and sets are written; null: analysis/<identifier>-<digest> in the run, else in runs/"
    )
