"""What an identifier finds in a record, whatever its method: one value for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.kinds import Convention, kinds_of
from alignlab.neurons.probabilities import Bools, Floats, degree_of
from alignlab.neurons.selection import Cut
from alignlab.neurons.short_repr import in_words


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """Neurons of L layers of N, as one identifier sees them in G languages.

    identifier: its name, such as `ternary`.
    languages: G names; the order of `sets` and `owned`.
    sets: by language, (L, N) bool, what was found: with degrees, selected and above tau. Empty ones are there too.
    selected: (L, N) bool, what the languages share out among themselves; without degrees, the neurons of any set.
    owned: (G, L, N) bool, above tau, selected or not: a language owns these neurons. None where sets do not follow
        from these and the selection, and so without degrees.
    thresholds: by name, in the order in which people read them, such as `tau`, `lambda` and `score`, the highest score
        that is selected: what another classification can be anchored to. Where tau is the highest probability there is,
        no neuron lies above it.
    scores: by name, (L, N) float64, what the selection was made by.
    reason: why it is not quite what was asked for, in plain text; else empty.
    cut: where the selection ends, the `score` of the thresholds and which of equal ones; None where it has no such end.
    capped: lambda* was asked for and is the largest that is looked for.

    What follows from owners (`above`, `degree`, `general`, `kinds`) raises InputError where there are none, and so does
    a threshold that is not there.
    """

    identifier: str
    languages: tuple[str, ...]
    sets: dict[str, Tensor]
    selected: Tensor
    owned: Tensor | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    reason: str = ""
    cut: Cut | None = None
    capped: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """L, N."""
        layers, neurons = self.selected.shape
        return layers, neurons

    @property
    def has_degree(self) -> bool:
        """Whether sets follow from a selection and from tau, and so there are degrees and kinds."""
        return self.owned is not None

    @property
    def above(self) -> dict[str, Tensor]:
        """By language, (L, N) bool: the neurons above tau, selected or not."""
        return dict(zip(self.languages, self._owned("owners"), strict=True))

    @cached_property
    def degree(self) -> Tensor:
        """Number of languages in which a neuron lies above tau, (L, N) int64."""
        return torch.from_numpy(degree_of(self._owned("degrees").numpy()))

    @property
    def general(self) -> Tensor:
        """Neurons above tau in every language, selected or not, (L, N) bool."""
        return self.degree == len(self.languages)

    @property
    def threshold(self) -> float:
        """tau."""
        return self._threshold("tau")

    @property
    def lambda_(self) -> float:
        """The weight of the peak in the score, as classified with."""
        return self._threshold("lambda")

    def kinds(self, convention: Convention = "paper") -> Tensor:
        """The Kind of every neuron, (L, N) int8; the conventions are those of `alignlab.neurons.kinds.kinds_of`."""
        return kinds_of(self.degree, self.selected, len(self.languages), convention)

    def __repr__(self) -> str:
        layers, neurons = self.shape
        thresholds = [f"{name} {value:.4g}" for name, value in self.thresholds.items()]
        facts = [f"{layers} x {neurons} neurons", f"{int(self.selected.sum())} selected", *thresholds]
        sizes = [f"{name} {int(mask.sum())}" for name, mask in self.sets.items()]
        general = f"; {int(self.general.sum())} in every language" if self.has_degree else ""
        return (
            f"<Classification by {self.identifier}: {', '.join(facts)}\n"
            f" sets of {len(self.languages)} languages: {in_words(sizes)}{general}>"
        )

    def _owned(self, what: str) -> Tensor:
        if self.owned is None:
            raise InputError(sets_only(self.identifier, what))
        return self.owned

    def _threshold(self, name: str) -> float:
        if name not in self.thresholds:
            where, expected = f"identifier {self.identifier}", f"an identifier with a {name}"
            raise InputError(Problem(where, f"it has no {name}", expected))
        return self.thresholds[name]


def sets_only(identifier: str, what: str) -> Problem:
    """That an identifier finds no degrees and kinds, from which `what` follows."""
    expected = "one that finds degrees and kinds, such as ternary or lape"
    return Problem(f"identifier {identifier}", f"it finds sets only, and so no {what}", expected)


def by_sets(
    identifier: str,
    languages: Sequence[str],
    sets: Tensor,
    thresholds: dict[str, float] | None = None,
    scores: dict[str, Tensor] | None = None,
    reason: str = "",
) -> Classification:
    """The classification whose sets are these, (G, L, N) bool, without degrees and kinds."""
    return Classification(
        identifier,
        languages=tuple(languages),
        sets=dict(zip(languages, sets, strict=True)),
        selected=sets.any(dim=0),
        thresholds=thresholds or {},
        scores=scores or {},
        reason=reason,
    )


def by_tau(
    identifier: str,
    languages: Sequence[str],
    above: Bools,
    selected: Bools,
    shape: tuple[int, int],
    thresholds: dict[str, float],
    scores: dict[str, Floats] | None = None,
    reason: str = "",
    cut: Cut | None = None,
    capped: bool = False,
) -> Classification:
    """The classification whose sets are the selected neurons above tau.

    above: (G, L * N). selected and scores: (L * N,). shape: L, N. cut: its score joins the thresholds.
    """

    def grid(values: Bools | Floats) -> Tensor:
        return torch.from_numpy(values).view(*values.shape[:-1], *shape)

    return Classification(
        identifier,
        languages=tuple(languages),
        sets=dict(zip(languages, grid(above & selected), strict=True)),
        selected=grid(selected),
        owned=grid(above),
        thresholds=thresholds if cut is None else {**thresholds, "score": cut.score},
        scores={name: grid(score) for name, score in (scores or {}).items()},
        reason=reason,
        cut=cut,
        capped=capped,
    )
