"""Everything that the page shows, as data. The page is a pure function of it: what is not here is not on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alignlab.neurons.kinds import Kind
from alignlab.neurons.table import ANCHORED, Row

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
class PageRow:
    """A count with its uncertainty: columns of `Row`, then these; None where nothing was computed.

    thresholds: "anchored" to the run's first snapshot, or "reestimated" at this one.
    low, high: 95 % interval of the count.
    change, change_low, change_high: since the run's first snapshot, with its 95 % interval.
    beyond_noise: whether the interval of the change leaves out zero.
    """

    step: int | None
    group: str
    language: str
    layer: int | None
    kind: str
    degree: int | None
    convention: str
    count: float
    denominator: int
    thresholds: str = ANCHORED
    low: float | None = None
    high: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    beyond_noise: bool | None = None

    @classmethod
    def of(cls, row: Row) -> PageRow:
        """A row without its change."""
        names = (
            "step",
            "group",
            "language",
            "layer",
            "kind",
            "degree",
            "convention",
            "denominator",
            "thresholds",
            "low",
            "high",
        )
        return cls(count=row.value, **{name: getattr(row, name) for name in names})


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
class Thresholds:
    """What neurons were classified with; lambda_ is None for identifiers that have none."""

    tau: float
    lambda_: float | None = None


@dataclass(frozen=True)
class LossRow:
    """Mean negative log-likelihood of a language's counted tokens, in nats a token."""

    step: int
    language: str
    loss: float


@dataclass(frozen=True)
class Transition:
    """Neurons by their kind at the run's first snapshot (rows) and at `step` (columns), in the order of `Kind`.

    table: 5 x 5. thresholds: at which the later snapshot was classified.
    low, high: 95 % intervals, 5 x 5; None where none were computed.
    """

    step: int
    table: Sequence[Sequence[int]]
    thresholds: str = ANCHORED
    low: Sequence[Sequence[float]] | None = None
    high: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True)
class LanguageOverlap:
    """How much the languages' sets share at a step, as `alignlab.neurons.overlaps.overlap` gives it.

    of: what the sets are, and the pool chance draws from, such as "related neurons, among those selected".
    languages: codes, the order of rows and columns. jaccard, chance, z: G x G; None or NaN where not defined.
    low, high: 95 % intervals of jaccard - chance, G x G; None where none were computed.
    """

    step: int
    of: str
    languages: Sequence[str]
    jaccard: Sequence[Sequence[float | None]]
    chance: Sequence[Sequence[float | None]]
    z: Sequence[Sequence[float | None]]
    low: Sequence[Sequence[float | None]] | None = None
    high: Sequence[Sequence[float | None]] | None = None

    @property
    def against_noise(self) -> tuple[int, int, int] | None:
        """Pairs that share more than chance, beyond noise; that share less; and all with an interval."""
        if self.low is None or self.high is None:
            return None
        ends = [
            (low, high)
            for a in range(len(self.languages))
            for b in range(a)
            if (low := self.low[a][b]) is not None and (high := self.high[a][b]) is not None
        ]
        return sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends), len(ends)


@dataclass(frozen=True)
class LayerParts:
    """The segments of the layers at a step.

    cuts: first layer of the second and every later segment. labels: one a segment, "" where no signature holds.
    costs: squared error by number of segments. cut_shares: share of resamples with each cut within one layer.
    """

    step: int
    cuts: Sequence[int]
    labels: Sequence[str]
    costs: Mapping[int, float]
    cut_shares: Sequence[float] | None = None


@dataclass(frozen=True)
class PageNumber:
    """A number that stands in a table beside the figures.

    table: which, a key of `alignlab.reporting.page.numbers.TABLES`. what: its row, in words.
    value, unit: the number. low, high: its 95 % interval. reference: its value without an effect; None where unknown.
    """

    step: int
    table: str
    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    reference: float | None = None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the interval leaves out the reference; None without either."""
        if self.reference is None or self.low is None or self.high is None:
            return None
        return not self.low <= self.reference <= self.high


@dataclass(frozen=True)
class PageRun:
    """One run. Whatever is None is named on the page as not computed, with `how_to` (see HOW_TO) or why it was refused.

    model, revision: as loaded. site, scope: what was counted. shape: layers and neurons a layer.
    options: of the identifier. anchored: thresholds of the first snapshot. reestimated: by step.
    rows: of every step, at anchored and, if computed, at re-estimated thresholds; totals at anchored ones at least.
    training_loss: (step, loss) in nats a token. overlaps: before and after. parts: of any steps.
    parts_refused: why there are none, such as too few layers. numbers: for the tables, of the first and last step.
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
    rows: Sequence[PageRow]
    anchored: Thresholds | None = None
    reestimated: Mapping[int, Thresholds] | None = None
    losses: Sequence[LossRow] | None = None
    training_loss: Sequence[tuple[int, float]] | None = None
    transitions: Sequence[Transition] | None = None
    overlaps: Sequence[LanguageOverlap] | None = None
    parts: Sequence[LayerParts] | None = None
    parts_refused: str = ""
    numbers: Sequence[PageNumber] | None = None
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
