"""All analyses by name. A new one: a function from a `View` to rows, an entry here, name and meaning in `options`."""

from __future__ import annotations

from typing import get_args

from alignlab.analysis import label_properties, languages, layer_parts, single_neurons
from alignlab.analysis.view import Analysis, Asked, Counted
from alignlab.neurons.groups import Group
from alignlab.neurons.table import ANCHORED, Row


def _by_layer(row: Row) -> bool:
    return row.analysis == "kinds" and row.layer is not None


def _anchored_by_layer(row: Row) -> bool:
    return _by_layer(row) and row.thresholds == ANCHORED


def _by_group(row: Row) -> bool:
    return row.analysis == "kinds" and row.group in get_args(Group)


ANALYSES: dict[str, Analysis] = {
    "kinds": Counted(lambda row: row.analysis == "kinds"),
    "layer_distribution": Counted(_by_layer, shows=("",)),
    "layer_delta": Counted(_anchored_by_layer, shows=("since",)),
    "checkpoint_layer_delta": Counted(_anchored_by_layer, shows=("since_before",)),
    "sharing_histogram": Counted(lambda row: row.degree is not None and row.thresholds == ANCHORED, needs_degree=True),
    "trained_vs_unseen": Counted(_by_group),
    "english_uniqueness": Asked(languages.uniqueness, redrawn=True, needs_degree=True),
    "overlap_ratio": Asked(languages.ratios, redrawn=True, compares=True),
    "layer_parts": Asked(layer_parts.parts, needs_degree=True),
    "single_neuron_profile": Asked(single_neurons.profile, redrawn=True, needs_degree=True),
    "transitions": Asked(single_neurons.changes_of_kind, redrawn=True, compares=True, needs_degree=True),
    "survival": Asked(single_neurons.survivors, redrawn=True, compares=True, needs_degree=True),
    "stability": Asked(single_neurons.stability, needs_degree=True),
    "losses": Counted(lambda row: row.analysis == "losses"),
    "language_overlap": Asked(languages.language_overlap, redrawn=True),
    "family_overlap": Asked(languages.families, redrawn=True),
    "label_properties": Asked(label_properties.label_properties),
    "thresholds": Counted(lambda row: row.analysis == "thresholds"),
}
