"""What a snapshot says: its counts as tidy rows, as scalars for a logger, and as the table that people read."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier
from alignlab.neurons.kinds import Convention
from alignlab.neurons.summary import CountRow, kind_counts
from alignlab.runs import step_of

ANCHORED, REESTIMATED = "anchored", "reestimated"
_HEADER = ["thresholds", *(field.name for field in fields(CountRow))]
_HEADER_LINE = ",".join(_HEADER) + "\n"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's counts with their classification.

    label: what people call it, such as `step 100`.

    result, own: classified at the thresholds of the run's first snapshot, and at its own.
    anchored: rows at the thresholds of the run's first snapshot, by which differences are meant.
    reestimated: rows at those of this snapshot; their differences are compositional: tau is a quantile of all
        probabilities, so more neurons of one degree leave fewer of the others.
    losses: mean negative log-likelihood of each language's counted tokens, in nats a token.
    """

    step: int
    label: str
    trained: tuple[str, ...]
    unseen: tuple[str, ...]
    result: Classification
    own: Classification
    anchored: list[CountRow]
    reestimated: list[CountRow]
    losses: dict[str, float]
    shape: tuple[int, int]


def summarise(
    counts: ActivationCounts,
    identifier: Identifier,
    trained: Collection[str],
    anchor: Classification | None,
    kinds: Convention = "paper",
    label: str = "",
) -> Snapshot:
    """Classify a snapshot, at its own thresholds and at those of `anchor`, the run's first (None where this is it).

    kinds: which neurons count as of a kind.  label: by default the step.
    """
    step = counts.step or 0
    own = identifier.identify(counts)
    result = own if anchor is None else identifier.identify(counts, anchor)
    losses = counts.losses()
    return Snapshot(
        step=step,
        label=label or f"step {step}",
        trained=tuple(language for language in counts.languages if language in trained),
        unseen=tuple(language for language in counts.languages if language not in trained),
        result=result,
        own=own,
        anchored=kind_counts(result, trained, kinds, counts.step),
        reestimated=kind_counts(own, trained, kinds, counts.step),
        losses={} if losses is None else dict(zip(counts.languages, losses.tolist(), strict=True)),
        shape=(counts.shape[2], counts.shape[3]),
    )


LOSS = "loss"


def loss_rows(snapshot: Snapshot) -> list[CountRow]:
    """The loss of every language, then its mean over the trained and the unseen ones, as rows of the kind `loss`."""

    def row(group: str, language: str, value: float) -> CountRow:
        return CountRow(snapshot.step, group, language, None, LOSS, None, "", value, 0)

    if not snapshot.losses:
        return []
    groups = (("trained", snapshot.trained), ("unseen", snapshot.unseen))
    return [
        *(row("language", language, loss) for language, loss in snapshot.losses.items()),
        *(row(group, "", mean_loss(snapshot, languages)) for group, languages in groups if languages),
    ]


def scalars(snapshot: Snapshot) -> dict[str, float]:
    """Every count over all layers and every loss, by paths such as `neurons/specific/zh`, `neurons/trained/related`."""
    values: dict[str, float] = {"neurons/step": snapshot.step}
    for prefix, rows in (("neurons", snapshot.anchored), ("neurons/reestimated", snapshot.reestimated)):
        for row in rows:
            if row.layer is not None or not row.kind:
                continue
            group = {"all": "", "language": ""}.get(row.group, f"{row.group}/")
            name = f"/{row.language}" if row.language else ""
            values[f"{prefix}/{group}{row.kind}{name}"] = row.count
    for language, loss in snapshot.losses.items():
        values[f"neurons/loss/{language}"] = loss
    for group, languages in (("trained", snapshot.trained), ("unseen", snapshot.unseen)):
        if snapshot.losses and languages:
            values[f"neurons/{group}/loss"] = mean_loss(snapshot, languages)
    return values | {f"neurons/{name}": value for name, value in snapshot.result.thresholds.items()}


def write_csv(path: Path, snapshot: Snapshot) -> None:
    """The snapshot's rows: the columns of `CountRow` behind `thresholds`, which is `anchored` or `reestimated`.

    A language's loss is a row of the kind `loss` (nats a token; denominator 0).
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text(snapshot))


def csv_text(snapshot: Snapshot) -> str:
    """The text of `write_csv`."""
    out = io.StringIO()
    header, lines = table_of(snapshot)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue()


def table_of(snapshot: Snapshot) -> tuple[list[str], list[list[Any]]]:
    """The header and the lines of `write_csv`."""
    rows = [(ANCHORED, row) for row in snapshot.anchored] + [(REESTIMATED, row) for row in snapshot.reestimated]
    for language, loss in snapshot.losses.items():
        rows.append(("", CountRow(snapshot.step, "language", language, None, "loss", None, "", loss, 0)))
    return _HEADER, [[thresholds, *asdict(row).values()] for thresholds, row in rows]


def read_anchored(path: Path) -> list[CountRow]:
    """The counts at anchored thresholds of a table that `write_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            CountRow(
                step=int(line["step"]),
                group=line["group"],
                language=line["language"],
                layer=int(line["layer"]) if line["layer"] else None,
                kind=line["kind"],
                degree=int(line["degree"]) if line["degree"] else None,
                convention=line["convention"],
                count=float(line["count"]),
                denominator=int(line["denominator"]),
            )
            for line in csv.DictReader(file)
            if line["thresholds"] == ANCHORED
        ]


def collect_csv(tables: Sequence[Path], path: Path) -> None:
    """Put the tables of snapshots, which `write_csv` wrote, into one at `path`, in order of their steps.

    Raises InputError for one that has another header, as an empty file has.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as out:
        out.write(_HEADER_LINE)
        for table in sorted(tables, key=step_of):
            with table.open(encoding="utf-8", newline="") as file:
                header = file.readline()
                if header != _HEADER_LINE:
                    fix = "Remove it, stop the run and give the same command again: it is written anew from its counts."
                    raise InputError(Problem(f"{table}:1", f"the header {header!r}", repr(_HEADER_LINE), fix))
                out.writelines(file)


def kinds_counted(snapshot: Snapshot) -> list[str]:
    """What its rows count, in order: the kinds; where its identifier has no tau, the neurons selected."""
    return list(dict.fromkeys(row.kind for row in snapshot.anchored if row.kind))


def table_rows(snapshot: Snapshot, first: Snapshot | None) -> list[list[str]]:
    """The table that people read: a row a kind, its count and its change since the first snapshot.

    Columns: kind; all neurons and change; mean of the trained languages and change; of the unseen ones and change.
    Counts are those at anchored thresholds. The last row is the loss.
    """
    rows = [_row(snapshot, first, kind) for kind in kinds_counted(snapshot)]
    if snapshot.losses:
        cells = ["loss", "", ""]
        for languages in (snapshot.trained, snapshot.unseen):
            value = mean_loss(snapshot, languages)
            before = mean_loss(first, languages) if first else None
            cells += [_number(value, 3), _change(value, before, 3)]
        rows.append(cells)
    return rows


TABLE_HEADER = ("kind", "all", "change", "trained", "change", "unseen", "change")
TABLE_ALIGN = "lrrrrrr"


def table_title(snapshot: Snapshot) -> str:
    """What the table's numbers are: sites, convention, thresholds."""
    layers, width = snapshot.shape
    result = snapshot.result
    thresholds = [f"{name} {value:.4f}" for name, value in result.thresholds.items()]
    selected = f"{int(result.selected.sum())} selected"
    return ", ".join([f"Neurons at {snapshot.label}: {layers} x {width} = {layers * width}", selected, *thresholds])


def table_note(snapshot: Snapshot, since: str = "step 0") -> str:
    """How to read the table; its changes are `since` that snapshot."""
    trained = " ".join(snapshot.trained) or "none"
    unseen = " ".join(snapshot.unseen) or "none"
    thresholds = " and ".join(snapshot.result.thresholds)
    return (
        f"trained: mean a language of {trained}; unseen (no training prompts): of {unseen}; "
        f"change: since {since}{thresholds and f', at its {thresholds}'}; loss: nats a token"
    )


def _row(snapshot: Snapshot, first: Snapshot | None, kind: str) -> list[str]:
    cells = [kind]
    for group, languages in (
        ("all", snapshot.result.languages),
        ("trained", snapshot.trained),
        ("unseen", snapshot.unseen),
    ):
        value = _find(snapshot, group, kind) if languages else None
        if value is None:
            cells += ["", ""]
            continue
        digits = 0 if group == "all" else 1
        before = _find(first, group, kind) if first else None
        cells += [_number(value, digits), _change(value, before, digits)]
    return cells


def _find(snapshot: Snapshot, group: str, kind: str) -> float | None:
    """None for a kind that is not counted by language."""
    found = (row for row in snapshot.anchored if row.group == group and row.kind == kind and row.layer is None)
    return next((row.count for row in found), None)


def mean_loss(snapshot: Snapshot, languages: Sequence[str]) -> float:
    """The mean over the languages, each of one weight; not a number where there is none."""
    return sum(snapshot.losses[language] for language in languages) / len(languages) if languages else float("nan")


def _number(value: float, digits: int) -> str:
    return "" if value != value else f"{value:,.{digits}f}"


def _change(value: float, before: float | None, digits: int) -> str:
    return "" if before is None or value != value else f"{value - before:+,.{digits}f}"
