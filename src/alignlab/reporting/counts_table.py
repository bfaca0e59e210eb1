"""A snapshot's rows as the table that people read, and by the names that loggers know."""

from __future__ import annotations

from alignlab.analysis.snapshots import LOSS, Snapshot
from alignlab.neurons.kinds import Kind
from alignlab.neurons.table import REESTIMATED
from alignlab.reporting.wording import number, signed

_GROUPS = ("all", "trained", "reference", "unseen")
TABLE_HEADER = ("kind", *(cell for group in _GROUPS for cell in (group, "change")))
TABLE_ALIGN = "l" + "rr" * len(_GROUPS)
UNASSIGNED = Kind.UNASSIGNED.label


def scalars(snapshot: Snapshot) -> dict[str, float]:
    """Every count over all layers and every loss, by paths such as `neurons/specific/zh`, `neurons/trained/related`."""
    values: dict[str, float] = {"neurons/step": snapshot.step}
    for row in snapshot.rows:
        at = "reestimated/" if row.thresholds == REESTIMATED else ""
        if row.analysis == "thresholds" and not at:
            values[f"neurons/{row.measure}"] = row.value
        elif row.analysis != "thresholds" and row.layer is None and row.degree is None:
            group = "" if row.group in {"all", "language", "selection"} else f"{row.group.replace(' ', '_')}/"
            name = f"/{row.language}" if row.language else ""
            values[f"neurons/{at}{group}{row.kind or row.measure}{name}"] = row.value
    return values


def kinds_counted(snapshot: Snapshot) -> list[str]:
    """What its rows count, in order: the kinds; where its identifier has no tau, the neurons selected."""
    return list(dict.fromkeys(row.kind for row in snapshot.anchored if row.kind))


def table_rows(snapshot: Snapshot) -> list[list[str]]:
    """The table that people read: a row a kind, its count and its change since the first snapshot.

    Columns: kind; all neurons and change; mean of the trained languages and change; of the reference; of the unseen.
    Counts are those at anchored thresholds. The last row is the loss.
    """
    values = {
        (row.group, row.kind or row.measure, row.is_change): row.value
        for row in snapshot.table
        if row.thresholds != REESTIMATED and row.layer is None and row.degree is None and not row.language
    }
    table = []
    for what in (*kinds_counted(snapshot), LOSS):
        cells = [what]
        for group in _GROUPS:
            digits = {LOSS: 3}.get(what, 0 if group == "all" else 1)
            cells += [
                number(values.get((group, what, False)), digits),
                signed(values.get((group, what, True)), digits),
            ]
        table.append(cells)
    return table if any(row.analysis == "losses" for row in snapshot.rows) else table[:-1]


def table_of(snapshot: Snapshot) -> tuple[list[list[str]], list[str], str]:
    """The rows, header and alignment of the table, without columns in which nothing stands, such as first changes."""
    rows = table_rows(snapshot)
    kept = [place for place, column in enumerate(zip(*rows, strict=True)) if any(column)]
    lines = [[cells[place] for place in kept] for cells in rows]
    return lines, [TABLE_HEADER[place] for place in kept], "".join(TABLE_ALIGN[place] for place in kept)


LINE_LOSSES = tuple(f"loss {group}" for group in _GROUPS[1:])


def line_of(snapshot: Snapshot) -> list[str]:
    """A snapshot as one line among others: its label, its `kinds_counted`, then `LINE_LOSSES`."""
    of = {cells[0]: cells for cells in table_rows(snapshot)}
    loss = of.pop(LOSS, [""] * len(TABLE_HEADER))
    return [snapshot.label, *(cells[1] for cells in of.values()), *loss[3::2]]


def table_title(snapshot: Snapshot) -> str:
    """What the table's numbers are: sites, convention, thresholds."""
    layers, width = snapshot.shape
    result = snapshot.result
    thresholds = [f"{name} {number(value, 4)}" for name, value in result.thresholds.items()]
    selected = f"{int(result.selected.sum())} selected"
    return ", ".join([f"Neurons at {snapshot.label}: {layers} x {width:,} = {layers * width:,}", selected, *thresholds])


def table_note(snapshot: Snapshot, since: str = "step 0") -> str:
    """How to read the table, in a line or two; its changes are `since` that snapshot."""
    reference, unseen = (" ".join(names) or "none" for names in (snapshot.reference, snapshot.unseen))
    if snapshot.trained:
        parts = [f"trained: mean a language of {' '.join(snapshot.trained)}", f"reference: {reference}"]
        parts.append(f"unseen (no prompts in training): of {unseen}")
    else:
        parts = [f"reference: {reference}"]
        parts.append(f"unseen (all others, as none is known to be in training): mean a language of {unseen}")
    if any(row.is_change for row in snapshot.table):
        *others, last = snapshot.result.thresholds or [""]
        thresholds = " and ".join(filter(None, [", ".join(others), last]))
        parts.append(f"change: since {since}{thresholds and f', at its {thresholds}'}")
    if any(row.analysis == "losses" for row in snapshot.rows):
        parts.append("loss: nats a token")
    note = "; ".join(parts)
    if snapshot.site:
        note += f"\nsite: {snapshot.site}"
    if any(row.kind == UNASSIGNED and row.value for row in snapshot.anchored):
        note += f"\n{UNASSIGNED}: selected, but above tau in no language, so in no language's set"
    return note
