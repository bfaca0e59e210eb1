"""Everything that the page shows, as data. The page is a pure function of it: what is not here is not on the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alignlab.neurons.kinds import Kind
from alignlab.neurons.summary import SELECTED
from alignlab.neurons.table import ANCHORED, Row

if TYPE_CHECKING:
    from alignlab.reporting.driving_texts import TextTables
    from alignlab.reporting.page.capability import PageCapability
    from alignlab.reporting.page.evaluations import PageEvaluation
    from alignlab.reporting.page.interventions import PageIntervention

_NUMBERS = (
    "step", "layer", "degree", "value", "denominator", "low", "high", "reference", "p", "p_adjusted", "movement",
    "movement_low", "movement_high",
)  # fmt: skip
_TEXTS = (
    "analysis", "since", "since_before", "thresholds", "convention", "group", "language", "other", "kind", "to_kind",
    "measure", "label", "unit", "status", "over", "family", "correction", "beyond_noise", "beyond_movement",
)  # fmt: skip
_VALUES_OF = attrgetter(*_TEXTS, *_NUMBERS)

VERDICTS = {True: "beyond noise", False: "within noise", None: "no interval computed"}
TOO_FEW, DIVERGED = "too few to tell", "diverged"
STATUS_WORDS = {"too few": TOO_FEW, "diverged": DIVERGED}  # in place of an interval
MOVEMENT_VERDICTS = {True: "beyond movement", False: "not told from movement", None: "not computed"}

# Groups of neurons or of languages whose counts stand first, in their order; of a group of languages the mean.
GROUPS = ("all", "trained", "reference", "unseen", "all languages")
MEANS = GROUPS[1:]

# The rows and columns of a transition table.
TRANSITION_KINDS = (*(kind.label for kind in Kind if kind is not Kind.NONE), Kind.NONE.label)

# Parts that only two snapshots or more have, and those that only a run has.
_OF_TWO = ("movement", "transitions")
_OF_A_RUN = ("training_loss", "environment")

# Of a part that is None: what would compute it. `PageRun.how_to` puts the exact command in its place.
HOW_TO = {
    "numbers": "compare the sets of every snapshot",
    "intervals": "resample the shards of the stored counts",
    "movement": "compare the stored counts of the first and the last snapshot with intervals",
    "reestimated": "reclassify every snapshot at thresholds of its own",
    "totals": "give rows over all layers",
    "layers": "give rows by layer",
    "languages": "give rows by language",
    "tokens": "give the probe's tokens and documents of every language",
    "degrees": "give rows by degree",
    "losses": "count with tracker.loss=true",
    "training_loss": "keep metrics.csv beside the run",
    "transitions": "classify the first and the later snapshots with their stored counts",
    "overlaps": "compare the languages' sets from the stored counts",
    "parts": "segment the counts by layer",
    "config": "keep config.yaml beside the run",
    "environment": "keep environment.json beside the run",
}


@dataclass(frozen=True)
class Asked:
    """The numbers of an analysis as people read them: a line a number.

    shows: what the analysis shows, in words.  lines: texts, as many as the header has.
    said: the answer in sentences, where there are any; the lines that tell most then stand first.
    """

    analysis: str
    shows: str
    header: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]
    said: Sequence[str] = ()


@dataclass(frozen=True)
class PageLanguage:
    """A language of a run.

    name: in English. own_name: in its own script, where known. script: ISO 15924; tells the direction of `own_name`.
    group: `trained`, `reference` (that others are aligned to) or `unseen`.
    tokens, documents: counted in the probe.
    """

    code: str
    name: str
    own_name: str = ""
    script: str = ""
    family: str = ""
    group: str = "unseen"
    tokens: int | None = None
    documents: int | None = None


@dataclass(frozen=True)
class PageRun:
    """One run: facts, and rows of the table. What no row tells is named on the page as not computed, with `how_to` (see
    HOW_TO) or why it was refused.

    model, revision: as loaded. site, scope: what was counted. shape: layers and neurons a layer.
    options: of the identifier.
    rows: of the analyses that the page shows, at these steps, with their changes since the first.
    training_loss: (step, loss), means over the `training_units` of a step. stage_ends: by name the last step of each
        stage of the training that another has followed. parts_refused: why there are no parts, such as too few layers.
    config: YAML. environment: what the run was made with.
    step_names: names of snapshots where "step 0" is not one, such as {0: "before", 1: "after"}.
    capability: what the model answered while it trained; None where it was asked nothing.
    interventions: what was done to the neurons of the model, and what that did to every language.
    evaluations: the tasks that its models were asked.
    asked: of the analyses that were asked by name, the numbers as the terminal says them; they stand first.
    texts: what drives neurons; None where it was not asked.
    is_run: whether the snapshots are those of a training run, and not of published counts or of models.
    left_out: parts that are left out to keep the page small.
    """

    name: str
    folder: str
    model: str
    revision: str
    site: str
    scope: str
    shape: tuple[int, int]
    identifier: str
    options: Mapping[str, object]
    languages: Sequence[PageLanguage]
    steps: Sequence[int]
    rows: Sequence[Row]
    training_loss: Sequence[tuple[int, float]] | None = None
    training_units: str = "answer tokens"
    stage_ends: Mapping[str, int] = field(default_factory=dict)
    parts_refused: str = ""
    config: str | None = None
    environment: Mapping[str, object] | None = None
    notes: Sequence[str] = ()
    how_to: Mapping[str, str] = field(default_factory=dict)
    step_names: Mapping[int, str] = field(default_factory=dict)
    asked: Sequence[Asked] = ()
    is_run: bool = True
    left_out: frozenset[str] = frozenset()
    capability: PageCapability | None = None
    interventions: Sequence[PageIntervention] = ()
    evaluations: Sequence[PageEvaluation] = ()
    texts: TextTables | None = None

    @property
    def neurons(self) -> int:
        """Layers x neurons a layer."""
        return self.shape[0] * self.shape[1]

    def step_name(self, step: int) -> str:
        return self.step_names.get(step, f"step {step:,}")

    def step_title(self, step: int) -> str:
        """The same where a sentence begins; names stay as they are."""
        return self.step_names.get(step, f"Step {step:,}")

    def missing(self, part: str) -> str:
        """What stands on the page in place of a part."""
        if part in _OF_TWO and len(self.steps) == 1:
            return "One snapshot: there is nothing to compare it with."
        if part in _OF_A_RUN and not self.is_run:
            return "None: these counts are not those of a run."
        why = "Left out, to keep this page small" if part in self.left_out else "Not computed"
        return f"{why}. To have it: {self.how_to.get(part, HOW_TO[part])}."

    def of_group(self, group: str) -> list[str]:
        """Codes of the trained languages, of the reference, or of the unseen ones."""
        return [language.code for language in self.languages if language.group == group]

    @property
    def ends(self) -> list[int]:
        """The first and the last step; one where there is one."""
        return sorted({min(self.steps), max(self.steps)})

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        # The size of the selection is no kind: `selection` has it.
        table = frame([row for row in self.rows if row.kind != SELECTED or row.analysis != "kinds"])
        return defaultdict(lambda: table[:0], iter(table.groupby("analysis")))

    def of(self, analysis: str, **columns: object) -> pd.DataFrame:
        """The rows of an analysis that have these values in these columns, see `frame`."""
        found = self._tables[analysis]
        chosen = [found[name].to_numpy() == value for name, value in columns.items()]
        return found[np.logical_and.reduce(chosen)] if chosen else found

    def counts(self, thresholds: str, part: str) -> pd.DataFrame:
        """The counts of every step that belong to a part, see `frame`."""
        return self.of("kinds", thresholds=thresholds, part=part, is_change=False)

    @cached_property
    def losses(self) -> pd.DataFrame:
        """Losses of languages and means of groups that are numbers: a language without counted tokens has none."""
        found = self.of("losses", is_change=False)
        return found[np.isfinite(found.value)]

    @cached_property
    def moves(self) -> pd.DataFrame:
        """Of each count its kind, group, language, layer and thresholds, `before` at the first step and `after` at the
        last, and its `change` with interval (`low`, `high`), `verdict`, what reassigned movement brings
        (`movement_low`, `movement_high`) and `movement_verdict`; none of one snapshot.

        Kinds are in their order, and layers within them.
        """
        rows = self.of("kinds")
        order = rows.kind.map({kind: place for place, kind in enumerate(TRANSITION_KINDS)})
        rows = rows.assign(order=order).dropna(subset="order").sort_values(["order", "layer"])
        counts, changes = rows[~rows.is_change], rows[rows.is_change & (rows.step == max(self.steps))]
        whose = ["thresholds", "kind", "group", "language", "layer"]
        said = ["low", "high", "verdict", "movement_low", "movement_high", "movement_verdict"]
        found = changes[[*whose, "value", *said]].rename(columns={"value": "change"})
        for name, step in (("before", min(self.steps)), ("after", max(self.steps))):
            values = counts[counts.step == step][[*whose, "value"]].rename(columns={"value": name})
            found = found.merge(values, on=whose)
        return found

    @cached_property
    def selection(self) -> Mapping[int, float]:
        """By step, how many neurons are selected at anchored thresholds."""
        return {
            row.step: row.value
            for row in self.rows
            if row.analysis == "kinds" and row.kind == SELECTED and row.group == "all" and row.layer is None
            and row.thresholds == ANCHORED and not row.is_change and row.step is not None
        }  # fmt: skip

    def moved(self, group: str = "all", thresholds: str = ANCHORED) -> list[Any]:
        """The `moves` of a group over all layers, kind by kind."""
        of = self.moves
        found = of[(of["group"] == group) & (of.thresholds == thresholds) & of.layer.isna()]
        return list(found.itertuples(index=False))

    @cached_property
    def transitions(self) -> Mapping[tuple[str, int], Mapping[tuple[str, str], Any]]:
        """By thresholds and step, the rows of the neurons that went from each kind at the first step to each."""
        found: dict[tuple[str, int], dict[tuple[str, str], Any]] = {}
        for row in self.of("transitions").itertuples():
            found.setdefault((row.thresholds, row.step), {})[row.kind, row.to_kind] = row
        return found

    def totals(self, thresholds: str, step: int) -> dict[str, float | None]:
        """Neurons of each kind over all layers at a step, those of none among them; None where there is no such row."""
        found = {row.kind: row.value for row in self._totals.get((thresholds, step), ())}
        none = self.neurons - sum(found.values()) if found else None
        return {**dict.fromkeys(TRANSITION_KINDS), **found, Kind.NONE.label: none}

    @cached_property
    def _totals(self) -> Mapping[tuple[str, int], list[Any]]:
        found: dict[tuple[str, int], list[Any]] = {}
        for row in self.of("kinds", part="total", is_change=False).itertuples(index=False):
            found.setdefault((row.thresholds, row.step), []).append(row)
        return found

    def steps_of(self, analysis: str) -> list[int]:
        """The steps that have rows of an analysis."""
        return sorted(set(self.of(analysis).step))


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """The columns of the rows that the page shows, and four more, which say what it does with them.

    is_change: as `Row.is_change`.  verdict, movement_verdict: `beyond_noise` and `beyond_movement` in words.
    part: of counts, the table to which they belong: total, mean (over a group of languages), language, layer or degree.

    Whole numbers that may be missing are floats here: NaN is none.
    """
    # Few and plain types: what is selected from columns of a type each takes many times as long.
    found = pd.DataFrame(map(_VALUES_OF, rows), columns=[*_TEXTS, *_NUMBERS], dtype=object)
    found = found.astype(dict.fromkeys(_NUMBERS, float))
    found["step"] = found.step.fillna(0).astype(int)
    found["is_change"] = (found.since != "") | (found.since_before != "")
    verdicts = zip(found.status, found.beyond_noise, strict=True)
    found["verdict"] = np.array([STATUS_WORDS.get(one, VERDICTS[beyond]) for one, beyond in verdicts], dtype=object)
    found["movement_verdict"] = np.array([MOVEMENT_VERDICTS[one] for one in found.beyond_movement], dtype=object)
    conditions = [found.degree.notna(), found.layer.notna(), found["group"] == "all", found["group"] == "language"]
    found["part"] = np.select(conditions, ["degree", "layer", "total", "language"], "mean").astype(object)
    return found
