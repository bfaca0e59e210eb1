"""Published sets of neurons by the name of their format; `NeuronSets.load` and `.save` come here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import name_problems, require_one_of
from alignlab.neurons.formats.attribution import read_attribution, save_attribution
from alignlab.neurons.formats.files import load_torch
from alignlab.neurons.formats.masks import index_lists, layer_masks, save_index_lists, save_layer_masks
from alignlab.neurons.formats.plnd import read_plnd, save_plnd

SET_FORMATS = ("lape", "culture", "plnd", "attribution")

# Where the published code of each reads its neurons.
DEFAULT_SITE = {
    "lape": "mlp.act",
    "culture": "mlp.act",
    "plnd": "mlp.up",
    "attribution": "mlp.act",
}

SUFFIXES = {".json": "attribution", ".txt": "plnd"}  # what torch files hold tells their format
# Which sizes of the model a file of theirs does not tell.
SIZES: dict[str, tuple[str, ...]] = {
    "lape": ("num_neurons",),
    "culture": (),
    "plnd": ("num_neurons",),
    "attribution": ("num_neurons", "num_layers"),
}

# More than any model has; a mask of both takes 10 GB.
MOST_SIZES = {"num_neurons": 10_000_000, "num_layers": 1000}


def load_sets(
    path: Path,
    languages: Sequence[str] | None,
    num_neurons: int | None = None,
    num_layers: int | None = None,
    format: str | None = None,  # noqa: A002
    site: str | None = None,
) -> tuple[dict[str, Tensor], str]:
    """The sets of a file by name, (L, N) bool, and their site; the parameters are those of `NeuronSets.load`."""
    if not languages or name_problems("languages", languages):
        raise InputError(
            Problem(
                "languages",
                f"{list(languages)!r}" if languages else "not given",
                "a name for each set, each once",
                "The file has no names; pass languages=[...] in the order in which the sets were written.",
            )
        )
    known, content = format or SUFFIXES.get(path.suffix), None
    require_one_of("format", known or "lape", SET_FORMATS)
    if known in (None, "lape", "culture"):
        content = load_torch(path, "a torch file of neuron sets")
        lists = isinstance(content, list) and content and isinstance(content[0], list | tuple)
        known = known or ("lape" if lists else "culture")
    if known != "lape" and len(languages) != 1:
        fix = "Load each file by itself, then NeuronSets.join(...)."
        raise InputError(Problem("languages", f"{len(languages)} names", f"one: {known} files hold one set", fix))
    sizes = {"num_neurons": num_neurons, "num_layers": num_layers}
    missing = [name for name in SIZES[known] if sizes[name] is None]
    if missing:
        found = f"{' and '.join(missing)} not given"
        raise InputError(Problem(f"{path}", found, "the sizes of the model: indices alone do not tell them"))
    refuse_any(
        [
            Problem(name, f"{size!r}", f"a number from 1 to {MOST_SIZES[name]:,}")
            for name, size in sizes.items()
            if size is not None and not (type(size) is int and 1 <= size <= MOST_SIZES[name])
        ]
    )
    site = site or DEFAULT_SITE[known]
    neurons, layers = num_neurons or 0, num_layers or 0  # where they are needed they are there
    if known == "lape":
        sets = index_lists(path, content, languages, neurons)
    elif known == "culture":
        sets = {languages[0]: layer_masks(path, content, num_neurons)}
    elif known == "plnd":
        sets = {languages[0]: read_plnd(path, site, neurons, num_layers)}
    else:
        sets = {languages[0]: read_attribution(path, site, neurons, layers)}
    depth = len(next(iter(sets.values())))
    if num_layers not in (None, depth):
        raise InputError(Problem(f"{path}", f"{depth} layers", f"{num_layers} layers"))
    return sets, site


def save_sets(path: Path, sets: Mapping[str, Tensor], format: str, site: str, model: str = "") -> None:  # noqa: A002
    """Write the sets, (L, N) bool by name, in a published format. Names are lost: no such format has any.

    Raises InputError for several sets in a format of one, and for sites that the format lacks; OSError when it cannot
    be written.
    """
    require_one_of("format", format, SET_FORMATS)
    if format == "lape":
        return save_index_lists(path, sets)
    if len(sets) != 1:
        fix = "Save them one by one."
        raise InputError(Problem("sets", f"{len(sets)} of them", f"one: {format} files hold one set", fix))
    (mask,) = sets.values()
    if format == "culture":
        return save_layer_masks(path, mask)
    if format == "plnd":
        return save_plnd(path, mask, site)
    return save_attribution(path, mask, site, model)
