"""How certain counts of neurons are, given the documents that were counted; and what chance alone would count.

The shards of documents are resampled with replacement and classified again; `alignlab.neurons.interval_methods` makes
intervals of what the resamples give. An interval covers the count that is expected at *this amount of text*: with more
text neurons are counted with less noise, and counts change. How far noise moves them shows in `Row.noise_bias`. So
counts are compared at equal numbers of documents only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.checks import require_alike
from alignlab.neurons.classification import Classification, by_tau
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import as_array
from alignlab.neurons.fields import FIELDS
from alignlab.neurons.groups import REFERENCE, group_languages
from alignlab.neurons.identifiers import Identifier, TauIdentifier, require_tau
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.probabilities import Bools, Floats, degree_of, threshold_near
from alignlab.neurons.resampling import Weights, check_shards, draw_weights, over_resamples, resampled
from alignlab.neurons.row_intervals import with_intervals
from alignlab.neurons.selection import Cut
from alignlab.neurons.summary import COUNTED_KINDS, count_values, kind_counts, members_of
from alignlab.neurons.table import Row

# A neuron that keeps its kind in this share of the resamples is stable.
STABLE = 0.95
# Of each language, to stand in for all.
CHANCE_DRAWS = 20

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What resampling says of one record.

    result: the classification of the record as it is.
    rows: its `kind_counts`.
    values: (R, rows) float64, the same counts in each resample.
    kept: (L, N) float64, share of the resamples in which a neuron is of the same kind.
    shards: S.
    over: what intervals are over, as `Row.over` says it.
    """

    result: Classification
    rows: list[Row]
    values: Floats
    kept: Tensor
    shards: int
    over: str = "shards"

    @property
    def resamples(self) -> int:
        """R."""
        return len(self.values)

    @property
    def intervals(self) -> list[Row]:
        """The rows with their intervals."""
        return with_intervals(self.rows, self.values, self.shards, self.over)

    @property
    def stable(self) -> Tensor:
        """Neurons of the same kind in at least 95 % of the resamples, (L, N) bool."""
        return self.kept >= STABLE

    def since(self, first: Bootstrap) -> list[Row]:
        """The change of each row from `first`, whose resamples are of the same draws, with its interval."""
        rows = [row.less(old, since=old.record or "the first") for row, old in zip(self.rows, first.rows, strict=True)]
        return with_intervals(rows, self.values - first.values, self.shards, self.over)


@dataclass(frozen=True, eq=False)
class Difference:
    """What resampling says of the change from one record to another.

    first, second: the classifications.
    intervals: of each row of `kind_counts` the second's count less the first's, with its interval.
    anchored: the second was classified at the tau, lambda and cut of the first. Else each at its own: such differences
        are compositional, since tau is a quantile of all probabilities.
    """

    first: Classification
    second: Classification
    intervals: list[Row]
    anchored: bool
    resamples: int
    shards: int


class ClassifiedResample(NamedTuple):
    """A resample: its classification, and its (G, L, N) probabilities, overwritten by those of a later one."""

    result: Classification
    p: Floats


def bootstrap(
    counts: ActivationCounts,
    identifier: Identifier,
    trained: Collection[str] = (),
    kinds: Convention = "paper",
    *,
    reference: str | None = REFERENCE,
    anchor: Classification | None = None,
    resamples: int = 200,
    seed: int = 0,
    parallel: bool = True,
) -> Bootstrap:
    """Resample the shards of a record and classify each resample.

    identifier: with a tau.  trained, kinds, reference: as for `kind_counts`.
    anchor: a classification at whose tau, lambda and cut this one is made. Without, tau and cut are taken anew from
        each resample; lambda is held at the record's own either way.
    parallel: the shards of all languages hold the same documents and are drawn together.

    Records of the same documents, resampled with the same seed, are of the same draws. Raises InputError for counts
    whose shards cannot tell: see `alignlab.neurons.resampling.check_shards`.
    """
    again = _Again.of(counts, identifier, anchor, anchor is not None, resamples)
    held = again.held
    observed = held.kinds(kinds).numpy()
    kept = np.zeros(held.shape, dtype=np.int32)
    values = []
    groups = group_languages(counts.languages, trained, reference)
    work = partial(_counted, kinds=kinds, members=members_of(groups.values(), counts.languages))
    for counted, codes in _over([again], _weights(counts, resamples, seed, parallel), work):
        values.append(counted)
        kept += codes == observed
    rows = kind_counts(held, trained, kinds, reference=reference, step=counts.step)
    return Bootstrap(held, rows, np.stack(values), torch.from_numpy(kept / resamples), counts.shape[1], counts.over)


def bootstrap_difference(
    first: ActivationCounts,
    second: ActivationCounts,
    identifier: Identifier,
    trained: Collection[str] = (),
    kinds: Convention = "paper",
    *,
    reference: str | None = REFERENCE,
    anchored: bool = True,
    resamples: int = 200,
    seed: int = 0,
    parallel: bool = True,
) -> Difference:
    """Resample the shards of two records of the same documents with the same draws, and compare each pair.

    anchored: classify both at the tau, lambda and cut of the first as it is; else each at its own lambda and with its
        own tau and cut, taken anew from each resample.

    The rest is as for `bootstrap`. Raises InputError also where the records differ in languages, shards or documents.
    """
    check_pair(first, second)
    before = identifier.identify(first) if anchored else None
    old, new = (
        bootstrap(
            counts,
            identifier,
            trained,
            kinds,
            reference=reference,
            anchor=before,
            resamples=resamples,
            seed=seed,
            parallel=parallel,
        )
        for counts in (first, second)
    )
    return Difference(old.result, new.result, new.since(old), anchored, resamples, old.shards)


def over_classified(
    records: Sequence[ActivationCounts],
    identifier: Identifier,
    work: Callable[[Sequence[ClassifiedResample]], Found],
    *,
    anchor: Classification,
    resamples: int = 200,
    seed: int = 0,
) -> Iterator[Found]:
    """`work` on each resample of records of the same documents, drawn alike: what it says of them, in order.

    anchor: every record is classified at its tau, lambda and cut. `work` may run on several threads; it may not keep
        the probabilities of a resample, whose memory is used again.

    Raises InputError as `bootstrap` does, and for records of other documents.
    """
    first = records[0]
    for counts in records[1:]:
        check_pair(first, counts)
    again = [_Again.of(counts, identifier, anchor, True, resamples) for counts in records]
    return _over(again, _weights(first, resamples, seed), work)


def resampled_losses(counts: ActivationCounts, resamples: int = 200, seed: int = 0) -> Floats | None:
    """The mean loss of each language in each resample, (R, G); NaN where a resample has no token of it.

    The draws are those of `bootstrap` with the same seed. None where losses are not known by shard.
    """
    if counts.loss_sum is None or counts.loss_tokens is None or counts.loss_sum.shape != counts.tokens.shape:
        return None
    weights = _weights(counts, resamples, seed)
    pair = (counts.loss_sum.numpy(), counts.loss_tokens.numpy())
    sums, tokens = (np.einsum("rgs,gs->rg", weights, numbers) for numbers in pair)
    return np.where(tokens > 0, sums / np.maximum(tokens, 1), np.nan)


def resamples_digest(counts: ActivationCounts, resamples: int = 200, seed: int = 0) -> str:
    """Changes with the documents of a record, how they are dealt to shards, and which shards are in which resample.

    What records with the same digest are in each resample, as `bootstrap` has it, is of the same documents, whatever
    model they are of. Empty where it is not known what was counted.
    """
    if not counts.data_fingerprint:
        return ""
    digest = hashlib.sha256(counts.data_fingerprint.encode())
    for array in (as_array(counts.documents), as_array(counts.tokens), _weights(counts, resamples, seed)[:, 0]):
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()[:32]


def chance_level(
    counts: ActivationCounts,
    identifier: Identifier,
    kinds: Convention = "paper",
    *,
    anchor: Classification | None = None,
    draws: int = CHANCE_DRAWS,
    seed: int = 0,
) -> dict[Kind, float]:
    """How many neurons of each kind would be counted if all languages were one, and only their texts differed.

    For each language G independent resamples of its own shards stand in for G languages; their neurons are counted at
    the tau and lambda of the record, or of `anchor`, with a selection of the usual size. Mean over `draws` times G
    languages.

    Raises InputError as `bootstrap` does.
    """
    again = _Again.of(counts, identifier, anchor, True, draws)
    g, shards, *_ = counts.shape
    work = partial(_counted, kinds=kinds, members=members_of((), counts.languages))
    random = np.random.default_rng(seed)
    values: list[Floats] = []
    for language in range(g):
        one = replace(again, counts=_repeated(counts, language), cut=None)
        weights = draw_weights(random, draws, g, shards, parallel=False)
        values += [counted for counted, _ in _over([one], weights, work)]
    mean = np.stack(values).mean(axis=0)[: len(COUNTED_KINDS)]
    return dict(zip(COUNTED_KINDS, mean.tolist(), strict=True))


@dataclass(frozen=True)
class _Again:
    """Classifies resamples of `counts` as these were: `held`; at its tau, or at their own.

    cut: where their selections end; None where they have their usual size.
    """

    counts: ActivationCounts
    identifier: TauIdentifier
    held: Classification
    tau_held: bool
    cut: Cut | None

    @classmethod
    def of(
        cls,
        counts: ActivationCounts,
        identifier: Identifier,
        anchor: Classification | None,
        tau_held: bool,
        resamples: int,
    ) -> _Again:
        if resamples < 2:
            raise InputError(Problem("resamples", f"{resamples}", "2 or more; 200 is usual"))
        check_shards(counts)
        tau_identifier, held = require_tau(identifier, "intervals"), identifier.identify(counts, anchor)
        return cls(counts, tau_identifier, held, tau_held, held.cut if anchor is not None else None)

    def classified(self, p: Floats) -> ClassifiedResample:
        """The classification of (G, n) probabilities."""
        held = self.held
        tau = held.threshold if self.tau_held else threshold_near(p, self.identifier.bar, held.threshold)
        above = p > tau
        selected = self.identifier.select(p, degree_of(above), held, self.cut)
        others = {name: value for name, value in held.thresholds.items() if name not in ("tau", "score")}
        thresholds = {"tau": tau, **others}
        result = by_tau(held.identifier, held.languages, above, selected, held.shape, thresholds, cut=self.cut)
        return ClassifiedResample(result, p.reshape(len(p), *held.shape))


def _weights(counts: ActivationCounts, resamples: int, seed: int, parallel: bool = True) -> Weights:
    g, shards, *_ = counts.shape
    return draw_weights(np.random.default_rng(seed), resamples, g, shards, parallel)


def _over(
    again: Sequence[_Again], weights: Weights, work: Callable[[Sequence[ClassifiedResample]], Found]
) -> Iterator[Found]:
    """`work` on each resample of some records, drawn alike, classified."""

    def asked(probabilities: Sequence[Floats]) -> Found:
        return work([one.classified(p) for one, p in zip(again, probabilities, strict=True)])

    return over_resamples(asked, zip(*(resampled(one.counts, weights) for one in again), strict=True))


def _counted(
    resamples: Sequence[ClassifiedResample], kinds: Convention, members: Bools
) -> tuple[Floats, NDArray[np.int8]]:
    """The values of the rows of `kind_counts`, and the kind of every neuron, (L, N), of the resample of one record."""
    ((result, _),) = resamples
    codes = result.kinds(kinds).numpy()
    return count_values(codes, result, members), codes


def _repeated(counts: ActivationCounts, language: int) -> ActivationCounts:
    """A record in which one language has the place of every language; a view."""
    tensors: dict[str, Any] = {
        name: tensor[language].expand_as(tensor)
        for name, tensor in counts.tensors().items()
        if FIELDS[name].required or name == "routed"
    }
    same = {name: getattr(counts, name) for name in ("site", "scope", "subtracted", "denominator")}
    return ActivationCounts(counts.languages, **tensors, **same)


def check_pair(first: ActivationCounts, second: ActivationCounts) -> None:
    """Raises InputError unless two records are of the same languages, shards and documents."""
    names, shapes = (first.languages, second.languages), (first.shape[1:], second.shape[1:])
    require_alike("record", names, shapes, axes="shards, layers, neurons", in_order=True)
    if not torch.equal(first.documents, second.documents):
        found = "other numbers of documents in the shards than in the first"
        fix = "Counts depend on the amount of text: count both records on the same probe."
        raise InputError(Problem("documents of the second record", found, "the same documents", fix))
