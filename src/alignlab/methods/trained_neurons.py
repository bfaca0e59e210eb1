"""Which neurons are trained: those of some kinds in a run, of sets in a file, or a control of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.methods.options import TrainedNeurons
from alignlab.neurons.classification import Classification
from alignlab.neurons.controls import matched_control, random_control
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import identifier_of, require_tau
from alignlab.neurons.kinds import Kind
from alignlab.neurons.options import IdentifierOptions, TernaryOptions
from alignlab.neurons.probabilities import Bools
from alignlab.neurons.sets import NeuronSets
from alignlab.runs import RunFolder, step_of
from alignlab.sharing.hub_folder import load_sets

_WHERE = "method.neurons"
# A matched neuron is drawn from this many nearest ones: with the nearest itself seeds would hardly differ.
_AMONG = 10


class ChosenNeurons:
    """The neurons that a config names.

    mask: (L, N) bool. site: where in the model they are.

    Raises InputError for a run, a snapshot, a file or a language that is not there, for sets that hold no neuron, and
    where a control finds too few neurons outside every set.
    """

    def __init__(self, options: TrainedNeurons) -> None:
        _check(options)
        with torch.device("cpu"):  # also while a plan is made on the meta device
            counts = _snapshot(options, options.step) if options.run is not None else None
            if options.file is not None:
                every = load_sets(options.file)
                sets, taken = every, every.union()
            else:
                assert counts is not None
                found = _classified(options, counts)
                kinds = [Kind[kind.upper()] for kind in options.kinds]
                sets = NeuronSets.of(found, kinds, counts=counts)
                taken = NeuronSets.of(found).union() | sets.union()
            chosen = _of_languages(sets, options)
            if options.control == "none":
                self.mask = chosen.union()
            else:
                probabilities = None if options.control == "random" else _probabilities(chosen, counts)
                self.mask = control(chosen.sets, ~taken, options.seed, probabilities)
            self.site = sets.site
        if not self.mask.any():
            what = options.file or f"{' and '.join(options.kinds)} of {', '.join(chosen)} at step {options.step}"
            raise InputError.of(_WHERE, f"the sets hold no neuron: {what}", "one or more", "Take other kinds or sets.")

    def digest(self) -> str:
        """Changes with the neurons and their site."""
        about = json.dumps([self.site, list(self.mask.shape)]).encode()
        return hashlib.sha256(about + np.packbits(self.mask.numpy()).tobytes()).hexdigest()[:32]


def control(
    sets: Mapping[str, Tensor], free: Tensor, seed: int, probabilities: Mapping[str, Tensor] | None = None
) -> Tensor:
    """As many neurons in every layer as the union of `sets` has, of those that are `free`: all (L, N) bool.

    probabilities: by set, (L, N) float64; each neuron is then exchanged for one of the ten that are nearest to it in
        the first set that it is in. None draws at random.

    In contrast to `NeuronSets.random` and `matched`, controls of several sets share no neuron, so that their union is
    as large. Raises InputError where a layer has too few free neurons.
    """
    union = torch.stack(list(sets.values())).any(0).numpy()
    left = free.numpy().copy()
    if probabilities is None:
        return torch.from_numpy(random_control(union, left, seed, _WHERE))
    drawn: Bools = np.zeros_like(union)
    todo = union.copy()
    for name, mask in sets.items():
        target = mask.numpy() & todo
        mine = matched_control(target, left, probabilities[name].numpy(), seed, name, _AMONG)
        drawn, left, todo = drawn | mine, left & ~mine, todo & ~target
    return torch.from_numpy(drawn)


def _check(options: TrainedNeurons) -> None:
    """Refuse options that name no neurons."""
    problems = []
    if options.run is None and options.file is None:
        fix = "Write method.neurons.run=runs/demo, or method.neurons.file=sets.safetensors."
        problems.append(Problem(_WHERE, "neither run nor file is set", "where the neurons come from", fix))
    if options.run is None and options.file is not None and options.control == "matched":
        fix = "Also set method.neurons.run, whose probabilities are taken."
        problems.append(Problem(f"{_WHERE}.control", "matched, but no run is set", "a run that counted them", fix))
    if options.file is None and not options.kinds:
        problems.append(Problem(f"{_WHERE}.kinds", "none", "one or more of: specific, related, general"))
    if options.languages is not None and not options.languages:
        problems.append(Problem(f"{_WHERE}.languages", "none", "one or more, or null for all"))
    refuse_any(problems)


def _snapshot(options: TrainedNeurons, step: int) -> ActivationCounts:
    """The counts of a step of the run."""
    folder = Path(options.run or "").expanduser()
    paths = {step_of(path): path for path in RunFolder(folder).snapshots()}
    if not paths:
        beside = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        found = f"{folder} holds no snapshot" if folder.is_dir() else f"there is no folder {folder}"
        fix = "" if folder.is_dir() else did_you_mean(folder.name, beside)
        raise InputError.of(f"{_WHERE}.run", found, "the folder of a run of alignlab.train, or of a tracker", fix)
    if step not in paths:
        found = f"{folder} has no snapshot of step {step}"
        raise InputError.of(f"{_WHERE}.step", found, f"one of: {', '.join(map(str, sorted(paths)))}")
    return ActivationCounts.load(paths[step])


def _classified(options: TrainedNeurons, counts: ActivationCounts) -> Classification:
    """The neurons as the run itself classifies them: at the thresholds of its first snapshot."""
    folder = RunFolder(Path(options.run or "").expanduser())
    stored = folder.stored_config().get("identifier") if folder.config.is_file() else {"name": TernaryOptions().name}
    try:
        identifier = require_tau(identifier_of(TypeAdapter(IdentifierOptions).validate_python(stored)))
    except ValidationError:
        expected = "one that this version knows"
        raise InputError.of(str(folder.config), f"identifier {stored}", expected) from None
    first = step_of(folder.snapshots()[0])
    if options.step == first:
        return identifier.identify(counts)
    return identifier.identify(counts, identifier.identify(_snapshot(options, first)))


def _of_languages(sets: NeuronSets, options: TrainedNeurons) -> NeuronSets:
    names = list(dict.fromkeys(sets if options.languages is None else options.languages))
    there = ", ".join(sets)
    refuse_any(
        [
            Problem(f"{_WHERE}.languages", f"there is no set {name!r}", f"some of: {there}", did_you_mean(name, sets))
            for name in names
            if name not in sets
        ]
    )
    return NeuronSets({name: sets[name] for name in names}, site=sets.site)


def _probabilities(sets: NeuronSets, counts: ActivationCounts | None) -> dict[str, Tensor]:
    """Of each set's language, (L, N) float64."""
    assert counts is not None
    p = dict(zip(counts.languages, counts.probabilities(), strict=True))
    there = f"{counts.shape[2]} x {counts.shape[3]} neurons at {counts.site}"
    here = f"{sets.shape[0]} x {sets.shape[1]} at {sets.site}"
    missing = [name for name in sets if name not in p]
    if missing:
        found = f"it has not counted {', '.join(missing)}"
        raise InputError.of(f"{_WHERE}.run", found, "the languages of the sets", f"It has: {', '.join(p)}.")
    if (*counts.shape[2:], counts.site) != (*sets.shape, sets.site):
        raise InputError.of(f"{_WHERE}.run", f"it has counted {there}", f"those of the sets, {here}")
    return {name: p[name] for name in sets}
