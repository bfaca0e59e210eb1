"""What becomes of an activation: operations by name, each an affine map of it, `gain * a + offset`.

A new one is a class here, with options in `options.py`, and its place in `OPERATIONS`. Those that need statistics of
activations take them from an :class:`~alignlab.recording.means.ActivationMeans`, or, where a mean over tokens is
enough, from :class:`~alignlab.neurons.counts.ActivationCounts` that were counted with the statistic `moments`.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.interventions.options import (
    AddOptions,
    ConstantOptions,
    DiffMeanOptions,
    OperationOptions,
    ReplaceOptions,
    ScaleOptions,
    ZeroOptions,
)
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.counts import ActivationCounts
from alignlab.recording.means import ActivationMeans

Statistics = ActivationMeans | ActivationCounts


class Operation(Protocol):
    """What becomes of the activations of chosen neurons.

    name: by which it is asked for.
    needs_statistics: it takes the mean activations of a language.
    described: in words, with its strength.
    """

    name: Any

    @property
    def needs_statistics(self) -> bool: ...

    @property
    def described(self) -> str: ...

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        """Gain and offset of the neurons of a mask, (K,) float64 each, in the order of `neurons.nonzero()`.

        neurons: (L, N) bool.  statistics, language: of whose activations, for an operation that needs them.
        Raises InputError for a language that the statistics do not have, and for statistics without what it takes.
        """


class _Plain:
    """An operation that looks at nothing but the activation."""

    needs_statistics = False


class _OfLanguage:
    """An operation that takes statistics of a language."""

    needs_statistics = True


class Zero(_Plain, ZeroOptions):
    """0."""

    @property
    def described(self) -> str:
        return "zero"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        return _same(neurons, 0, 0)


class Constant(_Plain, ConstantOptions):
    """`value`."""

    @property
    def described(self) -> str:
        return f"constant {self.value:g}"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        return _same(neurons, 0, self.value)


class Scale(_Plain, ScaleOptions):
    """`strength * a`."""

    @property
    def described(self) -> str:
        return f"scale by {self.strength:g}"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        return _same(neurons, self.strength, 0)


class Add(_OfLanguage, AddOptions):
    """`a + strength * mu`, mu the mean over the counted tokens of the language."""

    @property
    def described(self) -> str:
        return f"add {self.strength:g} times the mean"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        gain, _ = _same(neurons, 1, 0)
        return gain, self.strength * _mean_of(statistics, language)[neurons]


class Replace(_OfLanguage, ReplaceOptions):
    """mu, or the maximum, lower median or a percentile over documents of their token means."""

    @property
    def described(self) -> str:
        return f"replace by {self.by}{f' {self.percentile:g}' if self.by == 'percentile' else ''}"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        gain, _ = _same(neurons, 0, 0)
        if self.by == "mean":
            return gain, _mean_of(statistics, language)[neurons]
        if not isinstance(statistics, ActivationMeans):
            found = "counts, which have means over tokens alone"
            fix = "Record them by alignlab.recording.means.record_means."
            raise InputError.of("statistics", found, f"mean activations of documents for replace by {self.by}", fix)
        _check_language(statistics, language)
        layers = neurons.any(dim=1).nonzero().flatten().tolist()
        return gain, statistics.over_documents(language, self.by, self.percentile, layers)[neurons]


class DiffMean(_OfLanguage, DiffMeanOptions):
    """`a + strength * (mu - the mean of the other languages' mu)`, in which every other language weighs the same."""

    @property
    def described(self) -> str:
        return f"diff_mean, {self.strength:g} times"

    def affine(self, neurons: Tensor, statistics: Statistics | None, language: str) -> tuple[Tensor, Tensor]:
        gain, _ = _same(neurons, 1, 0)
        target = _mean_of(statistics, language)[neurons]
        assert statistics is not None
        others = [name for name in statistics.languages if name != language]
        if not others:
            raise InputError.of("statistics", f"{language} alone", "two or more languages, for diff_mean")
        rest = torch.stack([_mean_of(statistics, name)[neurons] for name in others]).mean(dim=0)
        return gain, self.strength * (target - rest)


OPERATIONS: dict[str, Any] = {
    "zero": Zero,
    "constant": Constant,
    "scale": Scale,
    "add": Add,
    "replace": Replace,
    "diff_mean": DiffMean,
}  # classes of options that change neurons


def operation_of(options: OperationOptions) -> Operation:
    """The operation that the options name, with them."""
    operation: Operation = OPERATIONS[options.name].of(options)
    return operation


def _same(neurons: Tensor, gain: float, offset: float) -> tuple[Tensor, Tensor]:
    """The same gain and offset for every neuron of a mask."""
    count = int(neurons.sum())
    return torch.full((count,), gain, dtype=torch.float64), torch.full((count,), offset, dtype=torch.float64)


def _mean_of(statistics: Statistics | None, language: str) -> Tensor:
    """Mean activation over the counted tokens of a language, (L, N) float64."""
    assert statistics is not None
    _check_language(statistics, language)
    if isinstance(statistics, ActivationMeans):
        return statistics.mean(language)
    if statistics.activation_sum is None:
        fix = "Count with tracker.statistics=[moments], or record means by alignlab.recording.means.record_means."
        raise InputError.of("statistics", "counts without sums of activations", "means of activations", fix)
    row = statistics.languages.index(language)
    tokens = int(statistics.language_tokens()[row])
    if tokens == 0:
        raise InputError.of("statistics", f"no counted token in {language}", "one or more, for its mean")
    return statistics.activation_sum[row] / tokens


def _check_language(statistics: Statistics, language: str) -> None:
    require_one_of("language", language, statistics.languages)
