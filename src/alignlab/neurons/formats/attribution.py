"""JSON files of attributed neurons (CULNIG): records of module, layer, neuron and score, one set a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignlab.atomic import write_text
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.formats.files import read_text
from alignlab.redaction import hide

MODULES = {
    "mlp.act": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.product": "mlp.down_proj",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
}
EXPECTED = "a list of {module_name, layer_idx, neuron_idx, attribute_score}, or a dict with it as top_neurons"


def read_attribution(path: Path, site: str, num_neurons: int, num_layers: int) -> Tensor:
    """The neurons at one site, (L, N) bool, whatever their score. Neurons at other sites are left out.

    Raises InputError for files of another form, unknown modules, indices out of range, and where all are elsewhere.
    """
    require_one_of("site", site, MODULES)
    module = MODULES[site]
    records = _records(path)
    mask = torch.zeros(num_layers, num_neurons, dtype=torch.bool)
    problems, elsewhere = [], set()
    for number, record in enumerate(records):
        where = f"{path}, record {number}"
        name = record.get("module_name") if isinstance(record, dict) else None
        known = [known for known in MODULES.values() if isinstance(name, str) and f".{name}".endswith(f".{known}")]
        if not known:
            problems.append(Problem(where, f"module_name {name!r:.100}", f"one of {', '.join(MODULES.values())}"))
        elif known[0] != module:
            elsewhere.add(known[0])
        else:
            layer, neuron = record.get("layer_idx"), record.get("neuron_idx")
            wrong = [
                Problem(where, f"{key} {value!r}", f"from 0 to {size - 1}")
                for key, value, size in (("layer_idx", layer, num_layers), ("neuron_idx", neuron, num_neurons))
                if type(value) is not int or not 0 <= value < size
            ]
            problems += wrong
            if not wrong:
                mask[layer, neuron] = True
    refuse_any(problems)
    if elsewhere and not mask.any():
        found = f"no neuron of {module}; its neurons are of {', '.join(sorted(elsewhere))}"
        sites = ", ".join(there for there, name in MODULES.items() if name in elsewhere)
        raise InputError(Problem(f"{path}", found, f"site={site!r}", f"Sites that it has: {sites}."))
    return mask


def save_attribution(path: Path, mask: Tensor, site: str, model: str = "", scores: Tensor | None = None) -> None:
    """Write the neurons of a set, (L, N) bool, highest score first.

    scores: (L, N) floating point; without them `attribute_score` is null, and the order is that of the neurons.
    """
    require_one_of("site", site, MODULES)
    module = MODULES[site]
    neurons = mask.nonzero().tolist()
    if scores is not None:
        neurons.sort(key=lambda place: -float(scores[tuple(place)]))
    records = [
        {
            "module_name": module,
            "layer_idx": layer,
            "neuron_idx": neuron,
            "attribute_score": None if scores is None else float(scores[layer, neuron]),
        }
        for layer, neuron in neurons
    ]
    content = {"model_name": hide(model), "dataset_ids": {}, "top_neurons": records}
    write_text(path, json.dumps(content, indent=4, ensure_ascii=False) + "\n")


def _records(path: Path) -> list[Any]:
    try:
        content = json.loads(read_text(path, EXPECTED))
    except (ValueError, RecursionError):
        raise InputError(Problem(f"{path}", "it is no JSON", EXPECTED)) from None
    if isinstance(content, dict):
        content = content.get("top_neurons")
    if not isinstance(content, list):
        raise InputError(Problem(f"{path}", "it holds something else", EXPECTED))
    return content
