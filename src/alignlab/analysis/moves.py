"""Analyses of single neurons and of their moves: degrees, kinds that changed, what stayed, and profiles."""

from __future__ import annotations

from dataclasses import replace

from alignlab.analysis.noise import NO_THRESHOLDS
from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.neurons.dynamics import survival, survival_by_language, transitions
from alignlab.neurons.kinds import Kind
from alignlab.neurons.summary import COUNTED_KINDS
from alignlab.neurons.uncertainty import STABLE
from alignlab.reporting.snapshots import ANCHORED, LOSS, loss_rows


def kinds(view: View) -> list[Row]:
    """Neurons by kind, language, layer and degree, and their change since the first record."""
    rows = []
    for thresholds, table, old in view.tables():
        rows += [view.of_count(row, thresholds) for row in table]
        if view.first is not None:
            since = view.first.label
            rows += [view.change(row, before, since, thresholds) for row, before in zip(table, old, strict=True)]
    return rows


def losses(view: View) -> list[Row]:
    """The loss of every language, its mean over the trained and the unseen ones, and their change."""
    now = loss_rows(view.now)
    rows = [view.of_count(row, NO_THRESHOLDS) for row in now]
    if now and view.first is not None and view.first.losses:
        pairs = zip(now, loss_rows(view.first), strict=True)
        rows += [view.change(row, before, view.first.label, NO_THRESHOLDS) for row, before in pairs]
    return [replace(row, kind="", label=LOSS, unit="nats a token", denominator=None) for row in rows]


def sharing_histogram(view: View) -> list[Row]:
    """How many languages share a neuron: neurons by degree, over all and within the selection."""
    return [view.of_count(row) for row in view.now.anchored if row.degree is not None]


def moves(view: View) -> list[Row]:
    """How many neurons went from each kind to each, since the first record."""
    if view.first is None:
        return []
    before, after = (shot.result.kinds(view.convention) for shot in (view.first, view.now))
    columns = {"since": view.first.label, "convention": view.convention}
    return [
        view.row(number, kind=old.label, to_kind=new.label, denominator=sum(line), **columns)
        for old, line in zip(Kind, transitions(before, after).tolist(), strict=True)
        for new, number in zip(Kind, line, strict=True)
    ]


def survivors(view: View) -> list[Row]:
    """Of the neurons of each kind in the first record, the share that is still of it; by language too."""
    if view.first is None:
        return []
    first, now = view.first.result, view.now.result
    columns = {"since": view.first.label, "convention": view.convention, "unit": "share"}
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
    stable = view.noise.at[ANCHORED].kept >= STABLE
    columns = {"convention": view.convention}
    rows = [
        view.row(
            int((stable & (codes == kind)).sum()),
            kind=kind.label,
            label="stable",
            denominator=int((codes == kind).sum()),
            **columns,
        )
        for kind in COUNTED_KINDS
    ]
    return rows + [
        view.row(number, kind=kind.label, label="by chance", **columns) for kind, number in view.noise.chance.items()
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
            label=f"{layer}.{neuron}",
            unit="probability",
        )
        for layer, neuron in view.neurons
        for name, probability in zip(result.languages, view.p[:, layer, neuron].tolist(), strict=True)
    ]
