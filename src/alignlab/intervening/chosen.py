"""Which neurons are changed: the sets, the controls that stand in for them, and how alike these are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.intervening.options import ControlName
from alignlab.interventions.expressions import names_in, select_neurons
from alignlab.neurons.classification import Classification
from alignlab.neurons.kinds import Convention
from alignlab.neurons.sets import NeuronSets
from alignlab.recording.effects import ArmLabel

_ANY_LANGUAGE = re.compile(r"\bg\b")


def expressions_of(each: str, sets: Mapping[str, str], languages: Sequence[str]) -> dict[str, str]:
    """The expression of every set by its name: `each` made for every language, and `sets` as they are.

    In `each` the name g, alone or in parentheses, stands for the language; empty, it makes no sets.
    languages: those that are measured and of which something is known.
    Raises InputError for no set at all, an `each` without a g, and a name that a language has already.
    """
    problems = []
    if not each and not sets:
        problems.append(Problem("each", "empty, and so is sets", "neurons to change", "Leave each out."))
    if each and not languages and not sets:
        found, fix = (
            "no language that is measured has neurons by this name",
            "Name sets in sets, such as sets.mine=NAME.",
        )
        problems.append(Problem("each", found, "sets named as languages, by their codes", fix))
    if each and not _ANY_LANGUAGE.search(each):
        fix = "Put it under a name in sets, and set each to empty text."
        problems.append(Problem("each", f"{each!r} is the same for every language", "g for the language", fix))
    if each:
        problems += [
            Problem(f"sets.{name}", "the language has a set of this name, by each", "another name, or an empty each")
            for name in sets
            if name in languages
        ]
    problems += [Problem("sets", f"the name {name!r}", "a name") for name in sets if not name.strip()]
    refuse_any(problems)
    made = {code: _ANY_LANGUAGE.sub(_quoted(code), each) for code in languages} if each else {}
    return {**made, **sets}


def neurons_of(
    expressions: Mapping[str, str],
    source: NeuronSets | Classification,
    convention: Convention,
    each: Collection[str],
    languages: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """By set, (L, N) bool, what its expression names. Raises InputError for all that are no expressions.

    each: the sets that the option of this name has made, for messages.
    languages: by label the neurons of its language, (L, N) bool.
    """
    found: dict[str, Tensor] = {}
    problems: dict[str, list[Problem]] = {}
    for name, expression in expressions.items():
        try:
            found[name] = select_neurons(expression, source, convention, languages)
        except InputError as error:
            where = "each" if name in each else f"sets.{name}"
            # What is wrong with `each` is wrong for every language: it is told for the first.
            problems.setdefault(where, [replace(one, where=f"{where} ({name})") for one in error.problems])
    refuse_any([problem for those in problems.values() for problem in those])
    return found


def in_common(draws: Sequence[Tensor]) -> float:
    """What share of its neurons a draw has in common with another, on average over pairs of two or more as large ones.

    draws: masks, (L, N) bool each.
    """
    times = torch.stack(list(draws)).sum(dim=0)
    # A neuron of n draws is common to n (n - 1) of the ordered pairs.
    return int((times * (times - 1)).sum()) / (int(times.sum()) * (len(draws) - 1))


def languages_of(expression: str, languages: Sequence[str]) -> list[str]:
    """The languages that an expression names."""
    names = names_in(expression)
    return [code for code in languages if code in names]


def _quoted(code: str) -> str:
    return code if code.isidentifier() else f'"{code}"'


@dataclass(frozen=True)
class Chosen:
    """The neurons of every arm.

    sets: those that are changed, by name.
    taken: (L, N) bool, neurons of any language, which no control may hold.
    languages: by set, the language whose probabilities and means count for it; none for a set of no one language.
    probabilities: by set, how often each neuron is active, (L, N) float64; empty where nothing has counted them.
    among: nearest neurons that a matched one is drawn from.
    general: (L, N) bool, neurons of every language, which are in no language's set and so may be controls; None where
        nothing tells.
    """

    sets: NeuronSets
    taken: Tensor
    languages: Mapping[str, str]
    probabilities: Mapping[str, Tensor]
    among: int = 10
    general: Tensor | None = None

    def neurons(self, label: ArmLabel) -> Tensor:
        """(L, N) bool, the neurons of an arm. Raises InputError where a layer has too few for a control."""
        if not label.control:
            return self.sets[label.set]
        assert label.seed is not None
        alone = replace(self.sets, sets={label.set: self.sets[label.set]})
        if label.control == "random":
            return alone.random(label.seed, self.taken)[label.set]
        return alone.matched(self.probabilities, label.seed, self.taken, self.among)[label.set]

    def gap(self, label: ArmLabel) -> float:
        """How far a control's neurons are from the set's in probability, on average over neurons; NaN without counts.

        Within each layer both are put in order of probability, and compared one by one: no other way to pair them has
        a smaller mean distance.
        """
        if label.set not in self.probabilities:
            return float("nan")
        p, mask, control = self.probabilities[label.set], self.sets[label.set], self.neurons(label)
        distances = [
            (p[layer][mask[layer]].sort().values - p[layer][control[layer]].sort().values).abs()
            for layer in range(len(p))
        ]
        return float(torch.cat(distances).mean())

    def shared(self, name: str, control: ControlName, seeds: int) -> float:
        """What share of its neurons a draw of a set's control has in common with another, on average over pairs."""
        return in_common([self.neurons(ArmLabel("", name, control=control, seed=seed)) for seed in range(seeds)])

    def general_in(self, label: ArmLabel) -> int | None:
        """How many neurons of a control are general; None where nothing tells."""
        return None if self.general is None else int((self.neurons(label) & self.general).sum())

    def check(self, controls: Sequence[ControlName]) -> None:
        """Refuse sets of no neuron, controls that cannot be drawn, and matched ones without counts."""
        empty = [name for name, size in self.sets.sizes().items() if not size]
        problems = []
        if len(empty) == len(self.sets):
            fix = "Take other kinds, layers or an identifier with a larger top_rate."
            problems.append(Problem("sets", f"all {len(empty)} are empty: {', '.join(empty)}", "neurons", fix))
        lacking = [name for name in self.sets if name not in self.probabilities]
        if "matched" in controls and lacking:
            fix = "Set controls=[random], or run=FOLDER, a run that has counted them."
            found = f"matched, but nothing tells how often the neurons of {', '.join(lacking)} are active"
            problems.append(Problem("controls", found, "counts of the languages", fix))
        refuse_any(problems)
        refuse_any(list(self._without_room()) if controls else [])

    @cached_property
    def named(self) -> list[str]:
        """The sets that hold a neuron."""
        return [name for name, size in self.sets.sizes().items() if size]

    def _without_room(self) -> Iterator[Problem]:
        left = (~self.taken & ~self.sets.union()).sum(dim=1).tolist()
        for name, sizes in self.sets.sizes_by_layer().items():
            for layer, (needed, there) in enumerate(zip(sizes.tolist(), left, strict=True)):
                if needed > there:
                    found = f"layer {layer} has {there} neurons of no language, and {name!r} has {needed}"
                    fix = "Take fewer neurons (identifier.top_rate), or set controls=[]."
                    yield Problem("controls", found, "as many outside every set as in it", fix)
