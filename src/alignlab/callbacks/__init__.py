"""Lightning callbacks, one a file."""

from alignlab.callbacks.neuron_tracker import NeuronTracker

__all__ = ["NeuronTracker"]
