"""What the page says in words: the answer, and under every figure what its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignlab.neurons.table import ANCHORED, REESTIMATED, Row
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.figures import KINDS, LANGUAGE_KINDS
from alignlab.reporting.page.panels import digits

VERDICTS = {True: "beyond noise", False: "within noise", None: "no interval computed"}
# Their classes in the page's style sheet.
VERDICT_STYLES = {True: "beyond", False: "", None: "unknown"}


@dataclass(frozen=True)
class Moved:
    """A count at the first and at the last step, and its change, which has its interval where one was computed."""

    first: Row
    last: Row
    change: Row

    @property
    def verdict(self) -> str:
        return VERDICTS[self.change.beyond_noise]

    def words(self) -> str:
        """For example "rose from 60 to 70 (+10; beyond noise)"."""
        places = digits(self.last.group)
        before, after = number(self.first.value, places), number(self.last.value, places)
        change = signed(self.change.value, places)
        if not change.strip("+0."):
            course = f"stayed at {after}"
        else:
            course = f"{'rose' if self.change.value > 0 else 'fell'} from {before} to {after}"
        return f"{course} ({change}; {self.verdict})"


class Answer:
    """The totals of a run, and sentences made from them."""

    def __init__(self, run: PageRun) -> None:
        self.run = run
        self.first, self.last = min(run.steps), max(run.steps)
        self._rows: dict[tuple[object, ...], Row] = {
            (row.thresholds, row.step or 0, row.is_change, *_whose(row)): row for row in run.of("kinds") if row.kind
        }

    def at(
        self, step: int, kind: str, group: str = "all", language: str = "", layer: int | None = None,
        thresholds: str = ANCHORED,
    ) -> Row | None:  # fmt: skip
        """A count; None where the run has no such row."""
        return self._rows.get((thresholds, step, False, kind, group, language, layer))

    def moved(
        self, kind: str, group: str = "all", language: str = "", layer: int | None = None, thresholds: str = ANCHORED
    ) -> Moved | None:
        """A count before and after; None where the run has no such row, or one snapshot and nothing to compare."""
        whose = (kind, group, language, layer)
        first = self._rows.get((thresholds, self.first, False, *whose))
        last = self._rows.get((thresholds, self.last, False, *whose))
        change = self._rows.get((thresholds, self.last, True, *whose))
        return Moved(first, last, change) if first and last and change else None

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
            words = _joined([f"{moved.last.kind} ({signed(moved.change.value)})" for moved in found])
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
        if any(moved.change.beyond_noise is None for moved in self.totals()):
            found.append(f"Intervals: {self._small(self.run.missing('intervals'))}")
        return [sentence for sentence in found if sentence]

    def _kinds(self) -> str:
        words = [f"{moved.last.kind} neurons {moved.words()}" for moved in self.totals()]
        if not words:
            return ""
        return f"{self.span}, of {self.run.neurons:,} neurons at the first snapshot's thresholds: {_joined(words)}."

    def _one_snapshot(self) -> str:
        found = [self.at(self.last, kind) for kind in KINDS]
        words = [f"{number(row.value)} {row.kind}" for row in found if row]
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
            if (moved := self.moved(kind, layer=layer)) and moved.change.value
        ]
        if not moves:
            return ""
        # Of equal moves the first kind and layer.
        most = max(moves, key=lambda moved: abs(moved.change.value))
        # One of many: the largest of so many is beyond noise more often than one that was named before.
        among = f"{len(moves)} kinds and layers that changed"
        return f"The largest move of the {among}: {most.last.kind} in layer {most.last.layer} {most.words()}."

    def _reestimated(self) -> str:
        found = self.totals(thresholds=REESTIMATED)
        if not found:
            return f"At re-estimated thresholds: {self._small(self.run.missing('reestimated'))}"
        words = [f"{moved.last.kind} {number(moved.first.value)} to {number(moved.last.value)}" for moved in found]
        return (
            f"At thresholds re-estimated at each snapshot (compositional: more of one degree leave fewer of the "
            f"others): {_joined(words)}."
        )

    def _losses(self) -> list[str]:
        if not self.run.losses:
            return [f"Loss by language: {self._small(self.run.missing('losses'))}"]
        words = []
        for group in ("trained", "unseen"):
            means = {row.step or 0: row.value for row in self.run.losses if row.group == group}
            if self.first in means and self.last in means:
                before, after = means[self.first], means[self.last]
                verb = "rose" if after > before else "fell" if after < before else "stayed"
                words.append(
                    f"{verb} from {before:.3f} to {after:.3f} on {group} languages ({self._loss_verdict(group)})"
                )
        return [f"The loss (nats a token) {_joined(words)}."] if words else []

    def _loss_verdict(self, group: str) -> str:
        changes = [row for row in self.run.of("losses", group=group, step=self.last) if row.since]
        return VERDICTS[changes[0].beyond_noise if changes else None]

    @staticmethod
    def _small(text: str) -> str:
        return text[:1].lower() + text[1:]


def basis(run: PageRun, thresholds: str) -> str:
    """What the counts are: site, scope, thresholds and denominator. It stands under every figure of counts."""
    layers, width = run.shape
    what = f"Site {run.site}, scope {run.scope}; {run.neurons:,} neurons ({layers:,} layers x {width:,})"
    if thresholds == ANCHORED:
        at = f"thresholds anchored to {run.step_name(min(run.steps))}"
        found = thresholds_of(run, ANCHORED)
        at += f" ({', '.join(f'{name} {_range(values)}' for name, values in found.items())})" if found else _NOT_GIVEN
        return f"{what}; {at}."
    at = "thresholds re-estimated at every snapshot"
    found = thresholds_of(run, REESTIMATED)
    at += f" ({', '.join(f'{name} {_range(values)}' for name, values in found.items())})" if found else ""
    return f"{what}; {at}: compositional, more neurons of one degree leave fewer of the others."


_NOT_GIVEN = " (tau and lambda not given)"


def thresholds_of(run: PageRun, thresholds: str) -> dict[str, list[float]]:
    """By name, such as tau, the thresholds at all steps."""
    found: dict[str, list[float]] = {}
    for row in run.of("thresholds", thresholds=thresholds, since=""):
        found.setdefault(row.measure, []).append(row.value)
    return found


def alternative(runs: Mapping[str, PageRun], thresholds: str, group: str) -> str:
    """What a chart of kinds over steps shows, for those who cannot see it."""
    said = []
    for label, run in runs.items():
        answer = Answer(run)
        groups = ("all",) if group == "all" else ("trained", "unseen")
        for name in groups:
            words = [
                f"{moved.last.kind} {number(moved.first.value, digits(name))} to "
                f"{number(moved.last.value, digits(name))}"
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


def _whose(row: Row) -> tuple[object, ...]:
    return row.kind, row.group, row.language, row.layer


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
