"""What makes a record of counts contradictory, and several of them unfit to be merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import Problem
from alignlab.neurons.fields import FIELDS, INTEGER_DTYPES, Axis, TensorField

if TYPE_CHECKING:
    from alignlab.neurons.counts import ActivationCounts

# Whole numbers up to here are exact in float64, in which probabilities are made; a sum over all languages and shards
# that stays below it cannot overflow int64 on its way either.
MOST = 1 << 53
# What rounding may do to a sum of 2^53 float64 addends, or to a loss in half precision; what no real record exceeds.
ROUNDING = 1e-3


def as_array(tensor: Tensor) -> NDArray[np.generic]:
    """The tensor as a numpy array on the same memory: torch has few operations on uint16 and uint32, numpy has all."""
    return tensor.detach().cpu().numpy()


def problems_of(counts: ActivationCounts) -> list[Problem]:
    """Everything that a record contradicts itself in; empty where it is sound."""
    # Values are only looked at once the shapes and types are right.
    problems = _name_problems(counts.languages) + _shape_problems(counts)
    return problems or _value_problems(counts)


def merge_problems(counts: Sequence[ActivationCounts]) -> list[Problem]:
    """Everything in which the second and later records do not match the first."""
    first, problems = counts[0], []
    for number, other in enumerate(counts[1:], start=2):
        where = f"counts {number}"
        if set(other.languages) != set(first.languages):
            found = f"languages {', '.join(other.languages)}"
            problems.append(Problem(where, found, f"those of the first: {', '.join(first.languages)}"))
        if other.shape[1:] != first.shape[1:]:
            shards, layers, neurons = other.shape[1:]
            expected = "{} shards of {} x {} neurons, as the first".format(*first.shape[1:])
            problems.append(Problem(where, f"{shards} shards of {layers} x {neurons} neurons", expected))
        for name in ("site", "scope", "model", "revision", "step", "trained_languages"):
            mine, its = getattr(first, name), getattr(other, name)
            if mine != its:
                problems.append(Problem(where, f"{name} {its!r}", f"{mine!r}, as the first"))
        # Of two fields that come together one is enough to say.
        for name in (name for name, field in FIELDS.items() if not (field.required or field.beside)):
            mine, its = getattr(first, name) is not None, getattr(other, name) is not None
            if mine != its:
                fix = f"Leave it out of all: dataclasses.replace(counts, {name}=None)."
                found = f"{name} is {'there' if its else 'missing'}, and {'there' if mine else 'missing'} in the first"
                problems.append(Problem(where, found, "all or none", fix))
    for name in ("tokens", "documents", "loss_tokens"):
        tensors = [tensor for other in counts if (tensor := getattr(other, name)) is not None]
        problems += _beyond(name, [float(tensor.double().sum()) for tensor in tensors])
    problems += _beyond("firings", [float(as_array(other.firings).max()) for other in counts if other.subtracted])
    known: dict[str, int] = {}
    for number, other in enumerate(counts, start=1):
        earlier = known.setdefault(other.data_fingerprint, number)
        if other.data_fingerprint and earlier != number:
            found = f"the same texts as counts {earlier} (fingerprint {other.data_fingerprint!r})"
            problems.append(Problem(f"counts {number}", found, "other documents: these would be counted twice"))
    return problems


def _name_problems(languages: tuple[str, ...]) -> list[Problem]:
    repeated = sorted({name for name in languages if languages.count(name) > 1})
    problems = [Problem("languages", f"{name!r} is there more than once", "every language once") for name in repeated]
    if not languages or not all(languages):
        problems.append(Problem("languages", f"{list(languages)!r}", "one or more names, none of them empty"))
    return problems


def _shape_problems(counts: ActivationCounts) -> list[Problem]:
    g, shape = len(counts.languages), tuple(counts.firings.shape)
    problems = []
    if len(shape) != 4 or shape[0] != g or 0 in shape:
        expected = f"({g}, shards, layers, neurons), {g} being the number of languages"
        problems.append(Problem("firings", f"shape {shape}", expected))
    if counts.firings.dtype not in INTEGER_DTYPES:
        problems.append(Problem("firings", f"type {counts.firings.dtype}", "an integer type"))
    if len(shape) == 4:  # else nothing tells how large the others are to be
        sizes: dict[Axis, int] = {"language": g, "shard": shape[1], "layer": shape[2], "neuron": shape[3]}
        problems += [problem for field in FIELDS.values() for problem in _misfit(counts, field, sizes)]
    for field in FIELDS.values():
        pair = (field.beside, field.name)
        missing = [name for name in pair if field.beside and getattr(counts, name) is None]
        if len(missing) == 1:
            problems.append(Problem(missing[0], "not given", f"both {' and '.join(pair)}, or neither"))
    return problems


def _misfit(counts: ActivationCounts, field: TensorField, sizes: dict[Axis, int]) -> list[Problem]:
    """That a tensor, of which the firings set the sizes, has another shape or type."""
    tensor = getattr(counts, field.name)
    if tensor is None or field.name == "firings":
        return []
    expected = field.shape(sizes)
    # Those that come together are alike: by shard, or over all shards.
    leading = getattr(counts, field.beside or field.name)
    if field.over_shards and leading is not None and tuple(leading.shape) == field.shape({**sizes, "shard": 1}):
        expected = tuple(leading.shape)
    if tuple(tensor.shape) == expected and tensor.dtype in field.types:
        return []
    found = f"shape {tuple(tensor.shape)} of {tensor.dtype}"
    return [Problem(field.name, found, f"{expected} of {field.type_name}")]


def _value_problems(counts: ActivationCounts) -> list[Problem]:
    problems = []
    for name, field in FIELDS.items():
        tensor = getattr(counts, name)
        if tensor is None or field.negative:
            continue
        if tensor.dtype.is_signed and not float(tensor.min()) >= 0:
            problems.append(Problem(name, f"{tensor.min().item()}", "no negative count"))
    problems += _beyond_problems(counts)
    if counts.activation_sum is not None and not bool(counts.activation_sum.isfinite().all()):
        problems.append(Problem("activation_sum", "values that are not finite", "sums of activations"))
    if counts.maximum is not None and bool((counts.maximum.isnan() | (counts.maximum == torch.inf)).any()):
        problems.append(Problem("maximum", "values that are not a number or infinite", "activations"))
    for name, field in FIELDS.items():
        bounded = field.limit and not (counts.subtracted and field.limit == "tokens")
        if bounded and getattr(counts, name) is not None:
            problems += _excess(counts, name, getattr(counts, name), getattr(counts, field.limit), field.limit)
    if counts.loss_tokens is not None:
        over_shards = counts.loss_tokens.shape != counts.tokens.shape
        limits = counts.language_tokens()[:, None] if over_shards else counts.tokens
        for language, shard in (counts.loss_tokens > limits).nonzero().tolist():
            found = f"{int(counts.loss_tokens[language, shard])} of {int(limits[language, shard])} counted tokens"
            where = f"loss_tokens of {counts.languages[language]!r}" + ("" if over_shards else f", shard {shard}")
            problems.append(Problem(where, found, "at most every counted token"))
    # A loss that is not a number is what a model that overflows has; one below 0 no model has.
    if counts.loss_sum is not None and counts.loss_tokens is not None:
        for language, shard in (counts.loss_sum < -ROUNDING * counts.loss_tokens).nonzero().tolist():
            where = f"loss_sum of {counts.languages[language]!r}, shard {shard}"
            found = f"{float(counts.loss_sum[language, shard])} nats"
            problems.append(Problem(where, found, "no negative log-likelihood below 0"))
    return problems or _moment_problems(counts)


def _beyond_problems(counts: ActivationCounts) -> list[Problem]:
    """Numbers that no machine has counted, and whose sums would overflow."""
    problems = []
    for name in ("tokens", "documents", "loss_tokens"):
        tensor = getattr(counts, name)
        if tensor is not None:
            problems += _beyond(name, tensor.double().flatten().tolist())
    if counts.subtracted:  # others are bounded by the tokens
        g, s, *_ = counts.shape
        problems += _beyond("firings", as_array(counts.firings).reshape(g * s, -1).max(axis=1).astype(float).tolist())
    return problems


def _beyond(name: str, numbers: Sequence[float]) -> list[Problem]:
    total = sum(numbers)
    if total <= MOST:
        return []
    found = f"{total:,.0f} over all languages and shards"
    fix = "Restore the file from a copy, or count again: no text is that long."
    return [Problem(name, found, f"at most 2^53 = {MOST:,}", fix)]


def _moment_problems(counts: ActivationCounts) -> list[Problem]:
    """Sums, squares and maxima of activations that no tokens can have together."""
    tokens = counts.language_tokens().double()[:, None, None]
    total, squares, maximum = counts.activation_sum, counts.activation_squares, counts.maximum
    rows: list[tuple[str, Tensor, str]] = []
    if total is not None and squares is not None:
        # Cauchy and Schwarz; with no token at all both are 0.
        unlike = (total.square() > tokens * squares * (1 + ROUNDING)) | ((tokens == 0) & (squares > 0))
        rows.append(("activation_squares", unlike, "sum^2 <= tokens x sum of squares"))
    if maximum is not None:
        unlike = maximum.isneginf() != (tokens == 0)
        rows.append(("maximum", unlike, "-inf where no token was counted, and only there"))
        highest = torch.where(maximum.isneginf(), 0.0, maximum.double())
        if squares is not None:
            unlike = highest.square() > squares * (1 + ROUNDING)
            rows.append(("maximum", unlike, "its square at most the sum of squares"))
        if total is not None:
            unlike = total > tokens * highest + ROUNDING * (tokens * highest).abs()
            rows.append(("maximum", unlike, "at least the mean activation"))
    problems = []
    for name, unlike, expected in rows:
        places = unlike.nonzero().tolist()
        if places:
            language, layer, neuron = places[0]
            where = f"{name} of {counts.languages[language]!r}, neuron {layer}.{neuron}"
            found = f"{float(getattr(counts, name)[language, layer, neuron])}"
            found += f", and {len(places) - 1} more like it" if len(places) > 1 else ""
            problems.append(Problem(where, found, expected))
    return problems


def _excess(counts: ActivationCounts, name: str, firings: Tensor, limits: Tensor, unit: str) -> list[Problem]:
    g, s, *_ = counts.shape
    most = torch.from_numpy(as_array(firings).reshape(g, s, -1).max(axis=-1).astype(np.int64))
    problems = []
    for language, shard in (most > limits).nonzero().tolist():
        found = f"a neuron fires on {int(most[language, shard])} of {int(limits[language, shard])} {unit}"
        where = f"{name} of {counts.languages[language]!r}, shard {shard}"
        problems.append(Problem(where, found, f"at most every counted {unit.removesuffix('s')}"))
    return problems
