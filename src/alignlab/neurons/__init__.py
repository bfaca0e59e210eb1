"""Counts of neuron activations and what follows from them; pure, knows no model."""

from alignlab.neurons.counts import ActivationCounts, merge, smallest_dtype
from alignlab.neurons.counts_file import CountsHeader, read_header
from alignlab.neurons.identifiers import Identified, Identifier
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.lape import Lape, lape
from alignlab.neurons.overlaps import Overlap, overlap
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.summary import kind_counts
from alignlab.neurons.table import Row
from alignlab.neurons.ternary import Ternary, ternary
from alignlab.neurons.uncertainty import Bootstrap, Difference, bootstrap, bootstrap_difference, chance_level

__all__ = [
    "ActivationCounts",
    "Bootstrap",
    "Convention",
    "CountsHeader",
    "Difference",
    "Identified",
    "Identifier",
    "Kind",
    "Lape",
    "NeuronSets",
    "Overlap",
    "Row",
    "Ternary",
    "bootstrap",
    "bootstrap_difference",
    "chance_level",
    "kind_counts",
    "lape",
    "merge",
    "overlap",
    "read_header",
    "smallest_dtype",
    "ternary",
]
