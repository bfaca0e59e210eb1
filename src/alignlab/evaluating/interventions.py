"""Interventions under which tasks are done: whose neurons, on each model, beside which controls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alignlab import console
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.evaluating.options import EvaluateOptions, InterventionOptions
from alignlab.intervening.chosen import Chosen, in_common, languages_of
from alignlab.intervening.grid import labels_of
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.options import WITH_MEANS, WITHOUT_MEANS, InterveneOptions
from alignlab.intervening.plan import GridPlan
from alignlab.intervening.subjects import Subject, subjects_of_run
from alignlab.interventions.expressions import select_neurons
from alignlab.interventions.intervention import Intervention
from alignlab.interventions.layers import layer_mask
from alignlab.interventions.operations import Operation, operation_of
from alignlab.interventions.options import ReplaceOptions
from alignlab.models.edits import Arm
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.classification import Classification
from alignlab.neurons.sets import NeuronSets
from alignlab.recording.counting import Origin
from alignlab.recording.effects import ArmLabel
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.probes import Probe
from alignlab.run_models import NamedModel

_SHARED = ("run", "model", "precision", "identifier", "kinds", "probe", "identify_shards", "same_documents")


# The ids and clusters of documents.
Names = tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True, eq=False)
class Under:
    """An intervention on one model, and its controls. It holds no neurons: there may be hundreds of models.

    labels: of the intervention, then of its controls.
    choose: what chooses the neurons, anew each time; the counts of one model are kept meanwhile.
    size: neurons that are changed.
    fingerprint: changes with whatever decides what its arms do to the model; not with its name.
    language: whose mean activations the operation takes; empty where it takes none.
    found_on: the probe with the documents on which the neurons were found; None where that is not known.
    found_in: their ids and clusters.  apart: whether items that have one of these are left out.
    """

    name: str
    options: InterventionOptions
    labels: tuple[ArmLabel, ...]
    choose: Callable[[], Chosen]
    site: SiteName
    size: int
    fingerprint: str
    language: str = ""
    found_on: Probe | None = None
    found_in: Names = (frozenset(), frozenset())
    apart: bool = True

    @property
    def operation(self) -> Operation:
        return operation_of(self.options.operation)

    @property
    def needs_means(self) -> bool:
        return self.operation.needs_statistics

    @property
    def left_out(self) -> Names:
        """The ids and clusters whose items are left out of what is compared."""
        return self.found_in if self.apart else (frozenset(), frozenset())

    @cached_property
    def gaps(self) -> dict[tuple[str, int | None], float]:
        """By control and seed how far its neurons are from the set's in activation probability, on average."""
        chosen = self.choose()
        return {(label.control, label.seed): chosen.gap(label) for label in self.labels if label.control}

    @cached_property
    def shared(self) -> dict[str, float]:
        """By control what share of its neurons a draw has in common with another; of those with several draws."""
        chosen, draws = self.choose(), dict[str, list[Tensor]]()
        for label in self.labels:
            if label.control:
                draws.setdefault(label.control, []).append(chosen.neurons(label))
        return {control: in_common(masks) for control, masks in draws.items() if len(masks) > 1}

    def arms(self, means: ActivationMeans | None) -> tuple[Arm, ...]:
        """What each label means; means: of `found_on`, in this model, for an operation that takes any."""
        chosen = self.choose()
        made = [
            Intervention(
                chosen.neurons(label),
                self.operation,
                at=self.site,
                scope=self.options.scope,
                language=self.language,
                statistics=means,
                name=label.name,
            )
            for label in self.labels
        ]
        return tuple((one.edit,) for one in made)

    def sites(self, model: nn.Module) -> dict[SiteName, list[Site]]:
        return {self.site: find_sites(model, self.site)}


def _fingerprint(chosen: Chosen, labels: Sequence[ArmLabel], *about: object) -> str:
    """Of the neurons, of what their controls are drawn from, and of what else decides what is done to them."""
    drawn = [(label.control, label.seed) for label in labels]
    digest = hashlib.sha256(repr([*about, drawn, chosen.among]).encode())
    digest.update(np.packbits(chosen.sets.union().numpy()).tobytes())
    if len(labels) > 1:
        digest.update(np.packbits(chosen.taken.numpy()).tobytes())
    if any(label.control == "matched" for label in labels):
        for p in chosen.probabilities.values():
            digest.update(p.numpy().tobytes())
    return digest.hexdigest()[:16]


def means_of(
    model: nn.Module,
    under: Under,
    folder: Path,
    step: int | None,
    context: Callable[[], AbstractContextManager[object]],
    label: str,
) -> ActivationMeans:
    """The mean activations of a model on the documents on which neurons were found; a collective call."""
    assert under.found_on is not None
    progress = partial(console.progress, f"Means of {label}")
    return record_means(model, find_sites(model, under.site), under.found_on, folder, origin=Origin(step=step),
                        context=context, progress=progress)  # fmt: skip


@dataclass
class Interventions:
    """Those of a config, on models that the plan names.

    outline: of a model, on the meta device.
    """

    options: EvaluateOptions
    outline: Callable[[NamedModel], nn.Module]
    # By file of sets, those of one snapshot: counts are large, and there may be hundreds.
    _grids: dict[str | None, Grid] = field(default_factory=dict)
    _plans: dict[str | None, GridPlan] = field(default_factory=dict)
    _found_in: dict[tuple[int, ...] | None, Names] = field(default_factory=dict)

    def check_options(self) -> list[Problem]:
        """What of the options does not go together, told before anything is read."""
        options, problems = self.options, list[Problem]()
        for name, one in options.interventions.items():
            where = f"interventions.{name}"
            if options.run is None and one.sets is None:
                fix = f"Set {where}.sets=FILE, or run=FOLDER."
                problems.append(Problem(where, "there is no run, and no file of sets", "neurons of one of them", fix))
            if options.run is None and one.found_at is not None:
                problems.append(Problem(f"{where}.found_at", "set, and there is no run", "null", "Set run=FOLDER."))
            if one.language is not None and not operation_of(one.operation).needs_statistics:
                found = f"set, and {one.operation.name} takes no means of a language"
                problems.append(Problem(f"{where}.language", found, f"null, or one of {', '.join(WITH_MEANS)}"))
            if isinstance(one.operation, ReplaceOptions) and one.operation.by != "percentile":
                default = ReplaceOptions.model_fields["percentile"].default
                if one.operation.percentile != default:
                    found = f"{one.operation.percentile:g}, but by is {one.operation.by}"
                    problems.append(Problem(f"{where}.operation.percentile", found, f"{where}.operation.by=percentile"))
            if options.run is None and operation_of(one.operation).needs_statistics:
                found = (
                    f"{one.operation.name} takes means of documents on which neurons were found, and there is no run"
                )
                expected = f"one of {', '.join(WITHOUT_MEANS)}"
                problems.append(Problem(f"{where}.operation", found, expected, "Set run=FOLDER."))
        if options.interventions and options.run is None and "matched" in options.controls:
            fix = "Set controls=[random], or also run=FOLDER."
            problems.append(Problem("controls", "matched, but no run has counted the neurons", "random", fix))
        if options.same_documents and options.identify_shards is not None:
            problems.append(Problem("identify_shards", "set beside same_documents=true", "one of them"))
        return problems

    def on(self, model: NamedModel) -> list[Under]:
        """Each on one model. Raises InputError with what is wrong with all of them."""
        made, problems = list[Under](), list[Problem]()
        for name, one in self.options.interventions.items():
            try:
                made.append(self._under(name, one, model))
            except InputError as error:
                problems += error.problems
        refuse_any(problems)
        return made

    def _under(self, name: str, one: InterventionOptions, model: NamedModel) -> Under:
        where, options = f"interventions.{name}", self.options
        grid = self._grid(where, one, model)
        chosen = self._chosen(name, one, model)
        try:
            chosen.check(options.controls)
        except InputError as error:
            raise InputError(*(replace(fault, where=f"{where}: {fault.where}") for fault in error.problems)) from error
        operation = operation_of(one.operation)
        known = () if grid.found_by is None else grid.found_by.languages
        language = _language(where, one, known) if operation.needs_statistics else ""
        strength: float = getattr(one.operation, "strength", getattr(one.operation, "value", 0.0))
        made = labels_of([name], [one.operation.name], [strength], options.controls, options.seeds)[1:]
        labels = tuple(replace(label, name=_label(name, label)) for label in made)
        found_on, text = None, ""
        if one.sets is None or operation.needs_statistics:
            assert grid.probe is not None
            assert grid.division is not None
            found_on = replace(grid.probe, documents=grid.division.found_on)
            text = found_on.fingerprint if operation.needs_statistics else ""
        site = self._check_site(where, one, chosen.sets, model)
        about = site, one.scope, repr(one.operation), language, text
        return Under(
            name,
            one,
            labels,
            partial(self._chosen, name, one, model),
            site,
            chosen.sets.sizes()[name],
            _fingerprint(chosen, labels, *about),
            language,
            found_on,
            self._names(grid) if one.sets is None else (frozenset(), frozenset()),
            one.sets is None and not options.same_documents,
        )

    def _chosen(self, name: str, one: InterventionOptions, model: NamedModel) -> Chosen:
        """The neurons, and what controls are drawn from."""
        where = f"interventions.{name}"
        grid = self._grid(where, one, model)
        source = _source(where, one, grid)
        whole = _selected(f"{where}.neurons", one.neurons, source, self.options)
        found = source if isinstance(source, NeuronSets) else NeuronSets.of(source, counts=grid.found_by)
        self._check_site(where, one, found, model)
        try:
            inside = layer_mask(one.layers, len(whole)).unsqueeze(1)
        except InputError as error:
            raise InputError(*(replace(fault, where=f"{where}.layers") for fault in error.problems)) from error
        if not bool((whole & inside).any()):
            fix = "Take other neurons or layers"
            if one.sets is None and one.found_at is None:
                fix += ", or set found_at=last: then those of one step are taken in every model"
            fix += "."
            raise InputError.of(f"{where}.neurons", f"{one.neurons!r} is no neuron at {model.label}", "neurons", fix)
        probabilities = {}
        # Counts at another site tell nothing of these neurons.
        if grid.found_by is not None and grid.found_by.site == found.site and grid.found_by.shape[2:] == found.shape:
            p = dict(zip(grid.found_by.languages, grid.found_by.probabilities(), strict=True))
            of = languages_of(one.neurons, list(p)) or list(p)
            probabilities = {name: torch.stack([p[code] for code in of]).mean(dim=0)}
        sets = replace(found, sets={name: whole & inside})
        return Chosen(sets, whole | found.union(), {}, probabilities, self.options.among)

    def _names(self, grid: Grid) -> Names:
        """Of the documents on which neurons were found: the same for the counts of every step."""
        assert grid.division is not None
        shards = grid.division.shards
        if shards not in self._found_in:
            every = [one for texts in grid.division.found_on.values() for one in texts]
            self._found_in[shards] = frozenset(one.id for one in every), frozenset(one.cluster for one in every)
        return self._found_in[shards]

    def _grid(self, where: str, one: InterventionOptions, model: NamedModel) -> Grid:
        """The counts and the classification by which neurons are found on a model."""
        subject = self._subject(where, one, model)
        if one.sets not in self._plans:
            given = {name: getattr(self.options, name) for name in _SHARED}
            self._plans[one.sets] = GridPlan(InterveneOptions(**given, each="", neurons=one.sets))
        last = self._grids.get(one.sets)
        if last is None or last.subject.snapshot != subject.snapshot:
            self._grids[one.sets] = Grid(self._plans[one.sets], subject)
        return self._grids[one.sets]

    def _subject(self, where: str, one: InterventionOptions, model: NamedModel) -> Subject:
        """Whose counts are taken: those of the model, or of the step that is set."""
        options = self.options
        if options.run is None:
            return Subject(model.label, model.source)
        step = model.step if one.found_at is None else one.found_at
        if step is None:
            fix = f"Set {where}.found_at=last, or another step."
            found = f"null, and {model.label} is no checkpoint of the run"
            raise InputError.of(f"{where}.found_at", found, "a step by whose counts neurons are found", fix)
        assert options.model is not None
        asked = None if step == "last" else [int(step)]
        try:
            return subjects_of_run(Path(options.run).expanduser(), options.model.source, asked)[-1]
        except InputError as error:
            raise InputError(*(replace(fault, where=f"{where}.found_at") for fault in error.problems)) from error

    def _check_site(self, where: str, one: InterventionOptions, found: NeuronSets, model: NamedModel) -> SiteName:
        """The site, which the model has in the shape of the sets."""
        if one.site is not None and one.site != found.site:
            what = "the run has counted" if one.sets is None else "the sets are"
            fix = "Leave it out, or count there: train with tracker.site, or take other sets."
            raise InputError.of(f"{where}.site", f"{one.site}, and {what} at {found.site}", found.site, fix)
        outline = self.outline(model)
        with torch.device("meta"):
            sites = find_sites(outline, found.site)  # type: ignore[arg-type]  # an unknown site is refused there
        shape = len(sites), sites[0].width
        if tuple(found.shape) != shape:
            what = f"{found.shape[0]} x {found.shape[1]} neurons, and {model.label} has {shape[0]} x {shape[1]} there"
            raise InputError.of(f"{where}.{'sets' if one.sets else 'neurons'}", what, "neurons of the same model")
        return sites[0].at


def _source(where: str, one: InterventionOptions, grid: Grid) -> NeuronSets | Classification:
    """What the names in an expression mean."""
    if one.sets is None:
        return grid.source
    try:
        return grid.source
    except InputError as error:
        raise InputError(*(replace(fault, where=f"{where}.sets: {fault.where}") for fault in error.problems)) from error


def _selected(where: str, expression: str, source: NeuronSets | Classification, options: EvaluateOptions) -> Tensor:
    try:
        return select_neurons(expression, source, options.kinds)
    except InputError as error:
        raise InputError(*(replace(fault, where=where) for fault in error.problems)) from error


def _language(where: str, one: InterventionOptions, known: Sequence[str]) -> str:
    """Whose mean activations are taken."""
    named = languages_of(one.neurons, known)
    language = one.language or (named[0] if len(named) == 1 else "")
    if language not in known:
        found = repr(one.language) if one.language else f"null, and {one.neurons!r} names {len(named)} languages"
        fix = did_you_mean(one.language or "", known)
        raise InputError.of(f"{where}.language", found, f"one of: {', '.join(known)}", fix)
    return language


def _label(name: str, label: ArmLabel) -> str:
    return name if not label.control else f"{name}, {label.control} {label.seed}"
