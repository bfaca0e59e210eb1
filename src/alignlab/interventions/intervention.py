"""What is done to neurons of a model while it runs: which ones, what becomes of them, where and on which tokens."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.interventions.expressions import select_neurons
from alignlab.interventions.layers import Layers, layer_mask
from alignlab.interventions.operations import DiffMean, Operation, Statistics, Zero
from alignlab.models.edits import NeuronEdit, Scope
from alignlab.models.options import SiteName
from alignlab.neurons.checks import grid_problems, require_one_of
from alignlab.neurons.classification import Classification
from alignlab.neurons.sets import NeuronSets
from alignlab.redaction import hide


@dataclass(frozen=True, eq=False, repr=False)
class Intervention:
    """An operation on some neurons of a model.

    neurons: (L, N) bool, which ones.
    operation: what becomes of their activations, such as `Zero()` or `Scale(strength=3)`; see
        `alignlab.interventions.operations`.
    at: the site where it is done, such as `mlp.act`; the mask is of its width.
    scope: on which tokens: `all`, those of the `prompt`, or those `generated` after it.
    layers: in which layers alone, such as `0-7, 12`, or numbers; None for wherever the neurons are.
    language: whose activations an operation takes that needs any (`Add`, `Replace`, `DiffMean`).
    statistics: where it takes them from: `ActivationMeans`, or `ActivationCounts` with moments, of the same site.
    name: for tables and messages.

    It is checked, and what it takes from statistics is read, when it is made; a model is needed to run it only.
    Raises InputError with every mistake.

        >>> import torch
        >>> from alignlab import Intervention
        >>> from alignlab.interventions import Scale
        >>> neurons = torch.tensor([[True, False, True], [True, True, True]])
        >>> double = Intervention(neurons, Scale(strength=2), layers="0")
        >>> double
        <Intervention: scale by 2 of 2 neurons in 1 layers at mlp.act>
        >>> double.edit.gain
        tensor([2., 2.])
    """

    neurons: Tensor
    operation: Operation = field(default_factory=Zero)
    _: KW_ONLY
    at: SiteName = "mlp.act"
    scope: Scope = "all"
    layers: Layers | None = None
    language: str = ""
    statistics: Statistics | None = None
    name: str = ""

    def __post_init__(self) -> None:
        refuse_any(_problems(self))
        object.__setattr__(self, "neurons", self.neurons & layer_mask(self.layers, len(self.neurons)).unsqueeze(1))
        self.edit  # noqa: B018 - what is wrong with it is said here

    @classmethod
    def of(cls, sets: NeuronSets, expression: str, operation: Operation | None = None, **settings: Any) -> Intervention:
        """An operation on the neurons that an expression names among sets, at their site.

        expression: such as `zh - en`; see `alignlab.interventions.select_neurons`.
        settings: as for `Intervention`; `language` is the expression, and `name` too, unless others are given.

            >>> import torch
            >>> from alignlab import Intervention, NeuronSets
            >>> sets = NeuronSets({"zh": torch.tensor([[True, True]]), "en": torch.tensor([[False, True]])})
            >>> Intervention.of(sets, "zh - en")
            <Intervention: zh - en: zero of 1 neurons in 1 layers at mlp.act>
        """
        neurons = select_neurons(expression, sets)
        _refuse_classification(sets)
        defaults = {"at": sets.site, "name": expression, "language": expression if expression in sets else ""}
        return cls(neurons, operation or Zero(), **defaults | settings)

    @cached_property
    def edit(self) -> NeuronEdit:
        """What is done to each neuron, as a number it is multiplied with and one that is added."""
        layers, neurons = self.neurons.nonzero().T
        gain, offset = self.operation.affine(self.neurons, self.statistics, self.language)
        return NeuronEdit(layers, neurons, gain.float(), offset.float(), self.at, self.scope)

    def __repr__(self) -> str:
        name = f"{hide(self.name)}: " if self.name else ""
        language = f" ({self.language})" if self.operation.needs_statistics else ""
        where = f"{int(self.neurons.sum())} neurons in {int(self.neurons.any(dim=1).sum())} layers at {self.at}"
        scope = f", {self.scope} tokens" if self.scope != "all" else ""
        return f"<Intervention: {name}{self.operation.described}{language} of {where}{scope}>"


def residual_diff_mean(
    means: Statistics, language: str, layers: Layers, strength: float = 1.0, scope: Scope = "all"
) -> Intervention:
    """Steering by the residual stream, the baseline of steering by neurons: in the layers, what its mean in a language
    has over that in the others is added to all of its columns.

    means: of the site `residual`.

    Raises InputError for statistics of another site, and as `Intervention` does.
    """
    if means.site != "residual":
        fix = 'Record them at find_sites(model, "residual").'
        raise InputError.of("means", f"of the site {means.site}", "of the residual stream", fix)
    shape = means.shape[-2:]
    name = f"residual diff-mean {language}"
    everywhere = torch.ones(shape, dtype=torch.bool)
    return Intervention(everywhere, DiffMean(strength=strength), at="residual", scope=scope, layers=layers,
                        language=language, statistics=means, name=name)  # fmt: skip


def _refuse_classification(sets: object) -> None:
    if isinstance(sets, Classification):
        fix = "Give NeuronSets.of(result, counts=counts), or Intervention(select_neurons(...), at=SITE)."
        raise InputError.of("sets", "a classification, which knows no site", "NeuronSets", fix)


def _misplaced(neurons: object, operation: object, statistics: object) -> list[Problem]:
    """What of an intervention is of another kind than it has to be."""
    problems = []
    if not isinstance(neurons, Tensor):
        expected = "a tensor of torch.bool, (layers, neurons)"
        problems.append(Problem("neurons", f"of the type {type(neurons).__name__}", expected))
    if isinstance(operation, type) or not callable(getattr(operation, "affine", None)):
        expected = "an operation, such as Zero() or Scale(strength=3)"
        problems.append(Problem("operation", f"{operation!r:.100}", expected))
    if not isinstance(statistics, Statistics | None):
        expected = "ActivationMeans, or ActivationCounts with moments"
        problems.append(Problem("statistics", f"of the type {type(statistics).__name__}", expected))
    return problems


def _problems(one: Intervention) -> list[Problem]:
    require_one_of("at", one.at, get_args(SiteName))
    require_one_of("scope", one.scope, get_args(Scope))
    problems = _misplaced(one.neurons, one.operation, one.statistics)
    if problems:
        return problems
    problems = grid_problems({"neurons": one.neurons}, torch.bool)
    named = one.operation.name
    if not one.operation.needs_statistics:
        return problems
    if one.statistics is None:
        fix = "Give statistics=..., from record_means or counts with moments."
        problems.append(Problem("statistics", f"none, for {named}", "mean activations by language", fix))
        return problems
    known = one.statistics.languages
    if one.language not in known:
        found = f"{one.language!r}, for {named}"
        expected = f"one of {', '.join(known)}"
        problems.append(Problem("language", found, expected, did_you_mean(one.language, known)))
    if one.statistics.site != one.at:
        problems.append(Problem("statistics", f"of the site {one.statistics.site}", f"of {one.at}, where it is done"))
    elif tuple(one.statistics.shape[-2:]) != tuple(one.neurons.shape):
        found = f"of {tuple(one.statistics.shape[-2:])} layers, neurons"
        problems.append(Problem("statistics", found, f"{tuple(one.neurons.shape)}, as the mask"))
    return problems
