"""Published sets of neurons by the name of their format; `NeuronSets.load` and `.save` come here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean
from alignlab.neurons.formats.attribution import read_attribution, save_attribution
from alignlab.neurons.formats.files import load_torch
from alignlab.neurons.formats.masks import index_lists, layer_masks, save_index_lists, save_layer_masks
from alignlab.neurons.formats.plnd import read_plnd, save_plnd

SetFormat = Literal["lape", "culture", "plnd", "attribution"]
SET_FORMATS: tuple[SetFormat, ...] = get_args(SetFormat)

# Where the published code of each reads its neurons.
DEFAULT_SITE: dict[SetFormat, str] = {
    "lape": "mlp.act",
    "culture": "mlp.act",
    "plnd": "mlp.up",
    "attribution": "mlp.act",
}


def load_sets(
    path: Path,
    languages: Sequence[str] | None,
    num_neurons: int | None = None,
    num_layers: int | None = None,
    format: str | None = None,  # noqa: A002
    site: str | None = None,
) -> tuple[dict[str, Tensor], str]:
    """The sets of a file by name, (L, N) bool, and their site; the parameters are those of `NeuronSets.load`."""
    if not languages or not all(languages) or len(set(languages)) < len(languages):
        found = "not given" if not languages else f"{list(languages)!r}"
        fix = "The file has no names; pass languages=[...] in the order in which the sets were written."
        raise InputError(Problem("languages", found, "a name for each set, each once", fix))
    known = _known(format) if format is not None else _by_suffix(path)
    content = load_torch(path, "a torch file of neuron sets") if known in (None, "lape", "culture") else None
    if known is None:
        known = "lape" if isinstance(content, list) and content and isinstance(content[0], list | tuple) else "culture"
    site = site or DEFAULT_SITE[known]
    if known == "lape":
        sets = index_lists(path, content, languages, num_neurons)
    else:
        if len(languages) != 1:
            fix = "Load each file by itself, then NeuronSets.join(...)."
            raise InputError(Problem("languages", f"{len(languages)} names", f"one: {known} files hold one set", fix))
        sets = {languages[0]: _one_set(path, known, content, num_neurons, num_layers, site)}
    layers = len(next(iter(sets.values())))
    if num_layers is not None and layers != num_layers:
        raise InputError(Problem(f"{path}", f"{layers} layers", f"{num_layers} layers"))
    return sets, site


def save_sets(path: Path, sets: Mapping[str, Tensor], format: str, site: str, model: str = "") -> None:  # noqa: A002
    """Write the sets, (L, N) bool by name, in a published format. Names are lost: no such format has any.

    Raises InputError for several sets in a format of one, and for sites that the format lacks; OSError when it cannot
    be written.
    """
    known = _known(format)
    if known == "lape":
        return save_index_lists(path, sets)
    if len(sets) != 1:
        fix = "Save them one by one."
        raise InputError(Problem("sets", f"{len(sets)} of them", f"one: {known} files hold one set", fix))
    (mask,) = sets.values()
    if known == "culture":
        return save_layer_masks(path, mask)
    if known == "plnd":
        return save_plnd(path, mask, site)
    return save_attribution(path, mask, site, model)


def _one_set(
    path: Path, known: SetFormat, content: object, num_neurons: int | None, num_layers: int | None, site: str
) -> Tensor:
    if known == "culture":
        return layer_masks(path, content, num_neurons)
    missing = [name for name, value in (("num_neurons", num_neurons), ("num_layers", num_layers)) if value is None]
    if known == "plnd":
        missing = [name for name in missing if name == "num_neurons"]
    if missing or num_neurons is None:
        found = f"{' and '.join(missing)} not given"
        raise InputError(Problem(f"{path}", found, "both sizes of the model: indices alone do not tell them"))
    if known == "plnd":
        return read_plnd(path, site, num_neurons, num_layers)
    assert num_layers is not None
    return read_attribution(path, site, num_neurons, num_layers)


def _by_suffix(path: Path) -> SetFormat | None:
    """The format of text files by their names; None for torch files, whose content tells it."""
    suffixes: dict[str, SetFormat] = {".json": "attribution", ".txt": "plnd"}
    return suffixes.get(path.suffix)


def _known(name: str) -> SetFormat:
    for known in SET_FORMATS:
        if name == known:
            return known
    raise InputError(Problem("format", f"{name!r}", ", ".join(SET_FORMATS), did_you_mean(name, SET_FORMATS)))
