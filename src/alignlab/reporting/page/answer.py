"""What the page says in words: the answer, and under every figure what its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page.data import PageRow, PageRun
from alignlab.reporting.page.figures import KINDS, LANGUAGE_KINDS
from alignlab.reporting.page.panels import digits

# The table of numbers that holds the changes of the losses.
LOSS_CHANGE = "loss change"
VERDICTS = {True: "beyond noise", False: "within noise", None: "no interval computed"}
# Their classes in the page's style sheet.
VERDICT_STYLES = {True: "beyond", False: "", None: "unknown"}

Key = tuple[str, int, str, str, int | None, str]


@dataclass(frozen=True)
class Moved:
    """A count at the first and at the last step. `last` holds the change; its verdict is None where there is none."""

    first: PageRow
    last: PageRow

    @property
    def change(self) -> float:
        return self.last.count - self.first.count

    @property
    def verdict(self) -> str:
        return VERDICTS[self.last.beyond_noise]

    def words(self) -> str:
        """For example "rose from 60 to 70 (+10; beyond noise)"."""
        places = digits(self.last.group)
        before, after = number(self.first.count, places), number(self.last.count, places)
        change = signed(self.change, places)
        if not change.strip("+0."):
            course = f"stayed at {after}"
        else:
            course = f"{'rose' if self.change > 0 else 'fell'} from {before} to {after}"
        return f"{course} ({change}; {self.verdict})"


class Answer:
    """The totals of a run, and sentences made from them."""

    def __init__(self, run: PageRun) -> None:
        self.run = run
        self.first, self.last = min(run.steps), max(run.steps)
        self._rows: dict[Key, PageRow] = {
            (row.thresholds, row.step or 0, row.group, row.language, row.layer, row.kind): row
            for row in run.rows
            if row.kind
        }

    def moved(
        self, kind: str, group: str = "all", language: str = "", layer: int | None = None, thresholds: str = ANCHORED
    ) -> Moved | None:
        """A count before and after; None where the run has no such row.

        A run of one snapshot has nothing to compare. The first snapshot is the same at either thresholds.
        """
        first = self._rows.get((thresholds, self.first, group, language, layer, kind))
        last = self._rows.get((thresholds, self.last, group, language, layer, kind))
        if first is None and thresholds == REESTIMATED:
            first = self._rows.get((ANCHORED, self.first, group, language, layer, kind))
        return Moved(first, last) if first and last else None

    def totals(self, group: str = "all", thresholds: str = ANCHORED) -> list[Moved]:
        found = [self.moved(kind, group, thresholds=thresholds) for kind in KINDS]
        return [moved for moved in found if moved]

    @property
    def span(self) -> str:
        """For example "Over 200 steps"; or between the names of the snapshots, where they have some."""
        if self.first in self.run.step_names or self.last in self.run.step_names:
            return f"From {self.run.step_name(self.first)} to {self.run.step_name(self.last)}"
        return f"Over {self.last - self.first:,} steps"

    def lead(self) -> str:
        """The answer in one sentence."""
        totals = self.totals()
        if len(self.run.steps) == 1:
            return "One snapshot: there is nothing yet to compare it with."
        parts = []
        for verdict in VERDICTS:
            found = [moved for moved in totals if moved.verdict == VERDICTS[verdict]]
            words = _joined([f"{moved.last.kind} ({signed(moved.change)})" for moved in found])
            if found and verdict is True:
                parts.append(f"changed beyond noise: {words}")
            elif found and verdict is False:
                parts.append(f"not told from noise: {words}")
            elif found:
                parts.append(f"not tested against noise: {words}")
        if not parts:
            return "No counts over all layers are given."
        return _capital("; ".join(parts)) + "."

    def sentences(self) -> list[str]:
        """The answer in full, most important first; for what was not computed, that it was not."""
        if len(self.run.steps) == 1:
            return [self._one_snapshot(), *self._losses()]
        found = [self._kinds(), *self._groups(), self._layers(), self._reestimated(), *self._losses()]
        if any(moved.last.beyond_noise is None for moved in self.totals()):
            found.append(f"Intervals: {self._small(self.run.missing('intervals'))}")
        return [sentence for sentence in found if sentence]

    def _kinds(self) -> str:
        words = [f"{moved.last.kind} neurons {moved.words()}" for moved in self.totals()]
        if not words:
            return ""
        return f"{self.span}, of {self.run.neurons:,} neurons at the first snapshot's thresholds: {_joined(words)}."

    def _one_snapshot(self) -> str:
        words = [f"{number(moved.last.count)} {moved.last.kind}" for moved in self.totals()]
        name = _capital(self.run.step_name(self.last))
        return f"{name}, of {self.run.neurons:,} neurons: {_joined(words)}." if words else ""

    def _groups(self) -> list[str]:
        sentences = []
        for group in ("trained", "unseen"):
            codes = self.run.of_group(trained=group == "trained")
            found = [self.moved(kind, group) for kind in LANGUAGE_KINDS]
            words = [f"its {moved.last.kind} neurons {moved.words()}" for moved in found if moved]
            if words:
                article = "A trained" if group == "trained" else "An unseen"
                sentences.append(f"{article} language ({', '.join(codes)}), on average: {_joined(words)}.")
            elif not codes:
                sentences.append(f"No language is {group}.")
        return sentences

    def _layers(self) -> str:
        moves = [
            moved
            for kind in KINDS
            for layer in range(self.run.shape[0])
            if (moved := self.moved(kind, layer=layer)) and moved.change
        ]
        if not moves:
            return ""
        # Of equal moves the first kind and layer.
        most = max(moves, key=lambda moved: abs(moved.change))
        # One of many: the largest of so many is beyond noise more often than one that was named before.
        among = f"{len(moves)} kinds and layers that changed"
        return f"The largest move of the {among}: {most.last.kind} in layer {most.last.layer} {most.words()}."

    def _reestimated(self) -> str:
        found = self.totals(thresholds=REESTIMATED)
        if not found:
            return f"At re-estimated thresholds: {self._small(self.run.missing('reestimated'))}"
        words = [f"{moved.last.kind} {number(moved.first.count)} to {number(moved.last.count)}" for moved in found]
        return (
            f"At thresholds re-estimated at each snapshot (compositional: more of one degree leave fewer of the "
            f"others): {_joined(words)}."
        )

    def _losses(self) -> list[str]:
        words = []
        for group in ("trained", "unseen"):
            before, after = (self.mean_loss(step, trained=group == "trained") for step in (self.first, self.last))
            if before is not None and after is not None:
                verb = "rose" if after > before else "fell" if after < before else "stayed"
                words.append(
                    f"{verb} from {before:.3f} to {after:.3f} on {group} languages ({self._loss_verdict(group)})"
                )
        if self.run.losses is None:
            return [f"Loss by language: {self._small(self.run.missing('losses'))}"]
        return [f"The loss (nats a token) {_joined(words)}."] if words else []

    def _loss_verdict(self, group: str) -> str:
        for one in self.run.numbers or ():
            if (one.table, one.what, one.step) == (LOSS_CHANGE, f"{group}, mean", self.last):
                return VERDICTS[one.beyond_noise]
        return VERDICTS[None]

    def mean_loss(self, step: int, *, trained: bool) -> float | None:
        """The mean over the languages of a group, each of one weight."""
        codes = self.run.of_group(trained=trained)
        found = [row.loss for row in self.run.losses or () if row.step == step and row.language in codes]
        return sum(found) / len(found) if found and len(found) == len(codes) else None

    @staticmethod
    def _small(text: str) -> str:
        return text[:1].lower() + text[1:]


def with_changes(run: PageRun) -> PageRun:
    """Fill in the change of every row, where it was not computed with an interval: a difference needs no resampling."""
    first = min(run.steps)
    before: dict[tuple[object, ...], float] = {}
    for row in run.rows:
        if row.step == first:
            before[row.thresholds, *_place(row)] = row.count
    rows = []
    for row in run.rows:
        start = before.get((row.thresholds, *_place(row)))
        if row.change is None and row.step != first and start is not None:
            row = replace(row, change=row.count - start)
        rows.append(row)
    return replace(run, rows=rows)


def basis(run: PageRun, thresholds: str) -> str:
    """What the counts are: site, scope, thresholds and denominator. It stands under every figure of counts."""
    layers, width = run.shape
    what = f"Site {run.site}, scope {run.scope}; {run.neurons:,} neurons ({layers:,} layers x {width:,})"
    if thresholds == ANCHORED:
        at = f"thresholds anchored to {run.step_name(min(run.steps))}"
        if run.anchored:
            at += f" (tau {run.anchored.tau:.4f}{_lambda(run.anchored.lambda_)})"
        else:
            at += " (tau and lambda not given)"
        return f"{what}; {at}."
    at = "thresholds re-estimated at every snapshot"
    if run.reestimated:
        taus = [found.tau for found in run.reestimated.values()]
        at += f" (tau {_range(taus)}"
        lambdas = [found.lambda_ for found in run.reestimated.values() if found.lambda_ is not None]
        at += f", lambda {_range(lambdas)})" if lambdas else ")"
    return f"{what}; {at}: compositional, more neurons of one degree leave fewer of the others."


def alternative(runs: Mapping[str, PageRun], thresholds: str, group: str) -> str:
    """What a chart of kinds over steps shows, for those who cannot see it."""
    said = []
    for label, run in runs.items():
        answer = Answer(run)
        groups = ("all",) if group == "all" else ("trained", "unseen")
        for name in groups:
            words = [
                f"{moved.last.kind} {number(moved.first.count, digits(name))} to "
                f"{number(moved.last.count, digits(name))}"
                for moved in answer.totals(name, thresholds)
            ]
            if words:
                said.append(f"{label} {'' if name == 'all' else name}".strip() + f": {', '.join(words)}")
    return "Lines of neurons over steps. " + "; ".join(said)


def number(value: float | None, places: int = 0) -> str:
    """With thousands separators; "" for none."""
    if value is None or value != value:
        return ""
    text = f"{value:,.{places}f}"
    return text[1:] if text.startswith("-") and float(text.replace(",", "")) == 0 else text.replace("-", "−")


def signed(value: float | None, places: int = 0) -> str:
    """A change, with a minus as long as the plus."""
    if value is None or value != value:
        return ""
    text = f"{value:+,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.replace("-", "+")
    return text.replace("-", "−")


def _place(row: PageRow) -> tuple[object, ...]:
    return row.group, row.language, row.layer, row.kind, row.degree, row.convention


def _lambda(value: float | None) -> str:
    return "" if value is None else f", lambda {value:.4f}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
