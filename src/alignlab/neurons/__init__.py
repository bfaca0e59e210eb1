"""Counts of neuron activations and what follows from them; pure, knows no model.

Names are imported when they are asked for: the options in here are read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignlab.neurons.classification import Classification
    from alignlab.neurons.counts import ActivationCounts, merge, smallest_dtype
    from alignlab.neurons.counts_file import CountsHeader, read_header
    from alignlab.neurons.experts import expert_and_column, neuron_of
    from alignlab.neurons.identifiers import Identifier
    from alignlab.neurons.kinds import Kind
    from alignlab.neurons.lape_identifier import lape
    from alignlab.neurons.options import Convention
    from alignlab.neurons.overlap_chance import LanguageOverlaps, language_overlaps
    from alignlab.neurons.overlaps import Overlap, overlap
    from alignlab.neurons.sets import NeuronSets
    from alignlab.neurons.summary import kind_counts
    from alignlab.neurons.table import Row
    from alignlab.neurons.ternary_identifier import ternary
    from alignlab.neurons.uncertainty import (
        Bootstrap,
        Difference,
        bootstrap,
        bootstrap_difference,
        chance_level,
    )

_PLACES = {
    "classification": "Classification",
    "counts": "ActivationCounts merge smallest_dtype",
    "counts_file": "CountsHeader read_header",
    "experts": "expert_and_column neuron_of",
    "identifiers": "Identifier",
    "kinds": "Kind",
    "lape_identifier": "lape",
    "options": "Convention",
    "overlap_chance": "LanguageOverlaps language_overlaps",
    "overlaps": "Overlap overlap",
    "sets": "NeuronSets",
    "summary": "kind_counts",
    "table": "Row",
    "ternary_identifier": "ternary",
    "uncertainty": "Bootstrap Difference bootstrap bootstrap_difference chance_level",
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ActivationCounts",
    "Bootstrap",
    "Classification",
    "Convention",
    "CountsHeader",
    "Difference",
    "Identifier",
    "Kind",
    "LanguageOverlaps",
    "NeuronSets",
    "Overlap",
    "Row",
    "bootstrap",
    "bootstrap_difference",
    "chance_level",
    "expert_and_column",
    "kind_counts",
    "language_overlaps",
    "lape",
    "merge",
    "neuron_of",
    "overlap",
    "read_header",
    "smallest_dtype",
    "ternary",
]
