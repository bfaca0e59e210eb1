"""Counts of neuron activations and what follows from them; pure, knows no model."""

from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts, merge, smallest_dtype
from alignlab.neurons.counts_file import CountsHeader, read_header
from alignlab.neurons.identifiers import Identifier
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.lape import lape
from alignlab.neurons.overlaps import Overlap, overlap
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.summary import CountRow, kind_counts
from alignlab.neurons.ternary import ternary
from alignlab.neurons.uncertainty import Bootstrap, Difference, Interval, bootstrap, bootstrap_difference, chance_level

__all__ = [
    "ActivationCounts",
    "Bootstrap",
    "Classification",
    "Convention",
    "CountRow",
    "CountsHeader",
    "Difference",
    "Identifier",
    "Interval",
    "Kind",
    "NeuronSets",
    "Overlap",
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
