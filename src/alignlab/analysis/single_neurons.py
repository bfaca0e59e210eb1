"""Analyses neuron by neuron: from which kind to which, how many stayed, how stable they are, and profiles of some."""

from __future__ import annotations

from alignlab.analysis.snapshots import Snapshot
from alignlab.analysis.view import View
from alignlab.neurons.dynamics import survival, survival_by_language, transitions
from alignlab.neurons.experts import expert_and_column
from alignlab.neurons.kinds import Kind
from alignlab.neurons.summary import COUNTED_KINDS
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import STABLE


def changes_of_kind(view: View, earlier: Snapshot) -> list[Row]:
    """How many neurons went from each kind to each."""
    before, after = (shot.result.kinds(view.convention) for shot in (earlier, view.now))
    return [
        view.row(number, kind=old.label, to_kind=new.label, denominator=sum(line), convention=view.convention)
        for old, line in zip(Kind, transitions(before, after).tolist(), strict=True)
        for new, number in zip(Kind, line, strict=True)
    ]


def survivors(view: View, earlier: Snapshot) -> list[Row]:
    """Of the neurons of each kind in the earlier record, the share that is still of it; by language too."""
    first, now = earlier.result, view.now.result
    columns = {"convention": view.convention, "unit": "share"}
    before = first.kinds(view.convention)
    of_kind = {kind: before == kind for kind in Kind}
    kept = survival(before, now.kinds(view.convention))
    rows = [
        view.row(share, kind=kind.label, denominator=int(of_kind[kind].sum()), **columns)
        for kind, share in kept.items()
    ]
    for name, shares in survival_by_language(first, now, view.convention).items():
        rows += [
            view.row(
                share,
                group="language",
                language=name,
                kind=kind.label,
                denominator=int((of_kind[kind] & first.above[name]).sum()),
                **columns,
            )
            for kind, share in shares.items()
        ]
    return rows


def stability(view: View) -> list[Row]:
    """Neurons that keep their kind in 95 % of the resamples; and how many chance alone would give each kind."""
    if view.noise is None:
        return []
    codes = view.now.result.kinds(view.convention)
    stable = view.noise.kept >= STABLE
    columns = {"convention": view.convention}
    rows = [
        view.row(
            int((stable & (codes == kind)).sum()),
            kind=kind.label,
            measure="stable",
            denominator=int((codes == kind).sum()),
            **columns,
        )
        for kind in COUNTED_KINDS
    ]
    return rows + [
        view.row(number, kind=kind.label, measure="by chance", **columns) for kind, number in view.noise.chance.items()
    ]


def profile(view: View) -> list[Row]:
    """The activation probability of single neurons in each language."""
    if not view.neurons:
        return []
    result = view.now.result
    codes = result.kinds(view.convention)
    return [
        view.row(
            probability,
            group="language",
            language=name,
            layer=layer,
            kind=Kind(int(codes[layer, neuron])).label,
            degree=int(result.degree[layer, neuron]),
            label=f"{layer}.{neuron}{_expert(view, neuron)}",
            unit="probability",
        )
        for layer, neuron in view.neurons
        for name, probability in zip(result.languages, view.p[:, layer, neuron].tolist(), strict=True)
    ]


def _expert(view: View, neuron: int) -> str:
    """Of a neuron of routed experts, which column of which it is."""
    if not view.counts.experts:
        return ""
    expert, column = expert_and_column(neuron, view.counts.experts, view.counts.shape[3])
    return f" (expert {expert}, column {column})"
