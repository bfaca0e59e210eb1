"""Everything that the page shows, as data. The page is a pure function of it: what is not here is not on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from alignlab.neurons.kinds import Kind
from alignlab.neurons.table import Row

# The rows and columns of a transition table.
TRANSITION_KINDS = tuple(kind.label for kind in Kind)

# Of a part that is None: what would compute it. `PageRun.how_to` puts the exact command in its place.
HOW_TO = {
    "numbers": "compare the sets of every snapshot",
    "intervals": "resample the shards of the stored counts",
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
class PageLanguage:
    """A language of a run.

    name: in English. own_name: in its own script, where known. script: ISO 15924; tells the direction of `own_name`.
    tokens, documents: counted in the probe.
    """

    code: str
    name: str
    own_name: str = ""
    script: str = ""
    family: str = ""
    trained: bool = False
    tokens: int | None = None
    documents: int | None = None


@dataclass(frozen=True)
class PageRun:
    """One run: facts, and rows of the table. What no row tells is named on the page as not computed, with `how_to` (see
    HOW_TO) or why it was refused.

    model, revision: as loaded. site, scope: what was counted. shape: layers and neurons a layer.
    options: of the identifier.
    rows: of the analyses that the page shows, at these steps, with their changes since the first.
    training_loss: (step, loss) in nats a token. parts_refused: why there are no parts, such as too few layers.
    config: YAML. environment: what the run was made with.
    step_names: names of snapshots where "step 0" is not one, such as {0: "before", 1: "after"}.
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
    parts_refused: str = ""
    config: str | None = None
    environment: Mapping[str, object] | None = None
    notes: Sequence[str] = ()
    how_to: Mapping[str, str] = field(default_factory=dict)
    step_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def neurons(self) -> int:
        """Layers x neurons a layer."""
        return self.shape[0] * self.shape[1]

    def step_name(self, step: int) -> str:
        return self.step_names.get(step, f"step {step:,}")

    def missing(self, part: str) -> str:
        """What stands on the page in place of a part."""
        return f"Not computed. To have it: {self.how_to.get(part, HOW_TO[part])}."

    def of_group(self, *, trained: bool) -> list[str]:
        """Codes of the trained or of the unseen languages."""
        return [language.code for language in self.languages if language.trained is trained]

    @property
    def ends(self) -> list[int]:
        """The first and the last step; one where there is one."""
        return sorted({min(self.steps), max(self.steps)})

    @cached_property
    def _of(self) -> Mapping[str, Sequence[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.analysis, []).append(row)
        return found

    def of(self, analysis: str, **columns: object) -> list[Row]:
        """The rows of an analysis that have these values in these columns."""
        return [
            row
            for row in self._of.get(analysis, ())
            if all(getattr(row, name) == value for name, value in columns.items())
        ]

    @cached_property
    def _counts(self) -> Mapping[tuple[str, str], Sequence[Row]]:
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.of("kinds", since=""):
            found.setdefault((row.thresholds, part_of(row)), []).append(row)
        return found

    def counts(self, thresholds: str, part: str) -> Sequence[Row]:
        """The counts of every step, see `part_of`."""
        return self._counts.get((thresholds, part), ())

    @cached_property
    def losses(self) -> list[Row]:
        """Losses of languages and means of groups that are numbers: a language without counted tokens has none."""
        return [row for row in self.of("losses", since="") if math.isfinite(row.value)]

    def steps_of(self, analysis: str) -> list[int]:
        """The steps that have rows of an analysis."""
        return sorted({row.step or 0 for row in self.of(analysis)})


def part_of(row: Row) -> str:
    """Which table a count belongs to: total, mean (over the trained or unseen languages), language, layer or degree."""
    if row.degree is not None:
        return "degree"
    if row.layer is not None:
        return "layer"
    return {"all": "total", "language": "language"}.get(row.group, "mean")
