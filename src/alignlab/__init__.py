"""alignlab: fine-tune language models across languages and watch their neurons change.

What is named here is loaded when it is first used.

    >>> import alignlab
    >>> alignlab.ternary.__module__
    'alignlab.neurons.ternary_identifier'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignlab.callbacks import CapabilityTracker, NeuronTracker, NeuronTrackerCallback
    from alignlab.errors import InputError, UnsupportedModelError
    from alignlab.interventions import Intervention
    from alignlab.neurons.counts import ActivationCounts
    from alignlab.neurons.lape_identifier import lape
    from alignlab.neurons.sets import NeuronSets
    from alignlab.neurons.ternary_identifier import ternary
    from alignlab.sharing.hub_folder import from_hub, push_to_hub
    from alignlab.stored_run import StoredRun, load_run

__version__ = "0.2.0"

_HOMES = {
    "ActivationCounts": "alignlab.neurons",
    "CapabilityTracker": "alignlab.callbacks",
    "InputError": "alignlab.errors",
    "Intervention": "alignlab.interventions",
    "NeuronSets": "alignlab.neurons",
    "NeuronTracker": "alignlab.callbacks",
    "NeuronTrackerCallback": "alignlab.callbacks",
    "StoredRun": "alignlab.stored_run",
    "UnsupportedModelError": "alignlab.errors",
    "from_hub": "alignlab.sharing.hub_folder",
    "lape": "alignlab.neurons",
    "load_run": "alignlab.stored_run",
    "push_to_hub": "alignlab.sharing.hub_folder",
    "ternary": "alignlab.neurons",
}

__all__ = [
    "ActivationCounts",
    "CapabilityTracker",
    "InputError",
    "Intervention",
    "NeuronSets",
    "NeuronTracker",
    "NeuronTrackerCallback",
    "StoredRun",
    "UnsupportedModelError",
    "from_hub",
    "lape",
    "load_run",
    "push_to_hub",
    "ternary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alignlab' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
