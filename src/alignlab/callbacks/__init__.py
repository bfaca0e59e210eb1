"""Trainers' callbacks, one a file."""

from alignlab.callbacks.capability_tracker import CapabilityTracker
from alignlab.callbacks.hf_trainer import NeuronTrackerCallback
from alignlab.callbacks.neuron_tracker import NeuronTracker

__all__ = ["CapabilityTracker", "NeuronTracker", "NeuronTrackerCallback"]
