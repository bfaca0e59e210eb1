"""What makes a record of counts contradictory, and several of them unfit to be merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import Problem
from alignlab.neurons.checks import differences, name_problems
from alignlab.neurons.fields import FIELDS, INTEGER_DTYPES, NOTHING, Axis, TensorField

if TYPE_CHECKING:
    from alignlab.neurons.counts import ActivationCounts

# Whole numbers up to here are exact in float64, in which probabilities are made; a sum over all languages and shards
# that stays below it cannot overflow int64 on its way either.
MOST = 1 << 53
# What rounding may do to a sum of 2^53 float64 addends, or to a loss in half precision; what no real record exceeds.
ROUNDING = 1e-3
# What records that are merged have in common, beside languages and sizes.
SOURCE = ("site", "scope", "model", "revision", "step", "trained_languages", "reference", "clusters", "denominator")


def as_array(tensor: Tensor) -> NDArray[np.generic]:
    """The tensor as a numpy array on the same memory: torch has few operations on uint16 and uint32, numpy has all."""
    return tensor.detach().cpu().numpy()


def problems_of(counts: ActivationCounts) -> list[Problem]:
    """Everything that a record contradicts itself in; empty where it is sound."""
    # Values are only looked at once the shapes and types are right.
    problems = name_problems("languages", counts.languages) + _shape_problems(counts)
    return problems or _value_problems(counts)


def merge_problems(counts: Sequence[ActivationCounts]) -> list[Problem]:
    """Everything in which the second and later records do not match the first."""
    first, problems = counts[0], []
    seen: dict[str, int] = {}
    for number, other in enumerate(counts, start=1):
        where = f"counts {number}"
        problems += _unlike(where, first, other)
        for name, field in FIELDS.items():
            its = "missing" if getattr(other, name) is None else "there"
            wanted = "missing" if getattr(first, name) is None else "there"
            if its != wanted and not field.beside:  # of two that come together one is enough to say
                fix = f"Leave it out of all: dataclasses.replace(counts, {name}=None)."
                problems.append(Problem(where, f"{name} is {its}, and {wanted} in the first", "all or none", fix))
        earlier = seen.setdefault(other.data_fingerprint, number)
        if other.data_fingerprint and earlier != number:
            found = f"the same texts as counts {earlier} (fingerprint {other.data_fingerprint!r})"
            problems.append(Problem(where, found, "other documents: these would be counted twice"))
    return problems + _beyond_problems(counts)


def _unlike(where: str, first: ActivationCounts, other: ActivationCounts) -> list[Problem]:
    """In which languages, in whatever order, sizes and source a record differs from the first."""
    found, expected = (
        {
            "languages": f"languages {', '.join(counts.languages)}",
            "sizes": "{} shards of {} x {} neurons".format(*counts.shape[1:]),
            **{name: f"{name} {getattr(counts, name)!r}" for name in SOURCE},
        }
        for counts in (other, first)
    )
    if set(other.languages) == set(first.languages):
        found["languages"] = expected["languages"]
    return differences(where, found, expected)


def _shape_problems(counts: ActivationCounts) -> list[Problem]:
    g, shape, tensors = len(counts.languages), tuple(counts.firings.shape), counts.tensors()
    problems = []
    if len(shape) != 4 or shape[0] != g or 0 in shape or counts.firings.dtype not in INTEGER_DTYPES:
        expected = f"({g}, shards, layers, neurons) of an integer type, {g} being the number of languages"
        problems.append(Problem("firings", f"shape {shape} of {counts.firings.dtype}", expected))
    if len(shape) == 4:  # else nothing tells how large the others are to be
        experts = counts.routed.shape[-1] if counts.routed is not None and counts.routed.ndim else 0
        sizes: dict[Axis, int] = {
            "language": g, "shard": shape[1], "layer": shape[2], "neuron": shape[3], "expert": experts
        }  # fmt: skip
        if counts.routed is not None and (not experts or shape[3] % experts):
            expected = f"experts with equally many of the {shape[3]} neurons of a layer"
            problems.append(Problem("routed", f"{experts} experts", expected))
        problems += [problem for name in tensors for problem in _misfit(tensors, FIELDS[name], sizes)]
    denominators = ["all"] if counts.routed is None else ["all", "routed"]
    if counts.denominator not in denominators:
        fix = "Count at probe.site=experts.act." if counts.denominator == "routed" else ""
        problems.append(Problem("denominator", f"{counts.denominator!r}", " or ".join(denominators), fix))
    pairs = [(field.beside, field.name) for field in FIELDS.values() if field.beside]
    return problems + [
        Problem(name, "not given", f"both {' and '.join(pair)}, or neither")
        for pair in pairs
        for name in {*pair} - {*tensors}
        if {*pair} & {*tensors}
    ]


def _misfit(tensors: Mapping[str, Tensor], field: TensorField, sizes: dict[Axis, int]) -> list[Problem]:
    """That a tensor, of which the firings set the sizes, has another shape or type."""
    tensor, expected = tensors[field.name], field.shape(sizes)
    if field.name == "firings":
        return []
    # Those that come together are alike: by shard, or over all shards.
    leading = tensors.get(field.beside, tensor)
    if field.over_shards and tuple(leading.shape) == field.shape({**sizes, "shard": 1}):
        expected = tuple(leading.shape)
    if tuple(tensor.shape) == expected and tensor.dtype in field.types:
        return []
    found = f"shape {tuple(tensor.shape)} of {tensor.dtype}"
    return [Problem(field.name, found, f"{expected} of {field.type_name}")]


def _value_problems(counts: ActivationCounts) -> list[Problem]:
    problems = _beyond_problems([counts])
    for name, tensor in counts.tensors().items():
        field = FIELDS[name]
        # Written so that NaN is refused too.
        if not field.negative and tensor.dtype.is_signed and not float(tensor.min()) >= 0:
            problems.append(Problem(name, f"{tensor.min().item()}", "no negative count"))
        if field.finite and not bool((tensor.isfinite() | (tensor == NOTHING[field.merge])).all()):
            problems.append(Problem(name, "values that are not finite", f"numbers, {field.doc}"))
        if field.limit and not (name == "firings" and counts.subtracted):
            problems += _excess(counts, field, tensor)
    # A loss that is not a number is what a model that overflows has; one below 0 no model has.
    if counts.loss_sum is not None and counts.loss_tokens is not None:
        negative = counts.loss_sum < -ROUNDING * counts.loss_tokens
        problems += _first(counts, "loss_sum", negative, "{} nats", "no negative log-likelihood below 0")
    return problems or _routed_problems(counts) + _moment_problems(counts)


def _routed_problems(counts: ActivationCounts) -> list[Problem]:
    """That a neuron fires on tokens that are not sent to its expert."""
    if counts.routed is None:
        return []
    by_expert = as_array(counts.firings).reshape(*counts.shape[:3], counts.experts, -1).max(axis=4)
    wrong = by_expert > as_array(counts.routed)
    if not wrong.any():
        return []
    g, shard, layer, expert = map(int, np.argwhere(wrong)[0])
    numbers = by_expert[g, shard, layer, expert], as_array(counts.routed)[g, shard, layer, expert]
    where = f"firings of {counts.languages[g]!r}, shard {shard}, layer {layer}, expert {expert}"
    return [Problem(where, "a neuron fires on {} of {} routed tokens".format(*numbers), "at most every routed token")]


def _beyond_problems(counts: Sequence[ActivationCounts]) -> list[Problem]:
    """Numbers that no machine has counted, and whose sums over all records would overflow."""
    totals = {
        name: sum(float(tensor.double().sum()) for other in counts if (tensor := getattr(other, name)) is not None)
        for name, field in FIELDS.items()
        if field.numbers == "total"
    }
    # Other firings are bounded by the tokens.
    firings = [as_array(other.firings) for other in counts if other.subtracted]
    totals["firings"] = sum(float(each.max(axis=(2, 3)).astype(float).sum()) for each in firings)
    fix = "Restore the file from a copy, or count again: no text is that long."
    return [
        Problem(name, f"{total:,.0f} over all languages and shards", f"at most 2^53 = {MOST:,}", fix)
        for name, total in totals.items()
        if total > MOST
    ]


def _excess(counts: ActivationCounts, field: TensorField, tensor: Tensor) -> list[Problem]:
    """That a field is above the one that bounds it, in some shard, or over all shards where it is known so."""
    limits = getattr(counts, field.limit)
    if len(field.axes) == 4:
        highest = as_array(tensor).max(axis=(2, 3))
        words = "a neuron fires on" if "neuron" in field.axes else "an expert has"
    else:
        highest, words = as_array(tensor), ""
    most = torch.from_numpy(highest.astype(np.int64))
    limits = limits if most.shape == limits.shape else limits.sum(dim=1, keepdim=True)
    found = f"{words} {{}} of {{}} {field.limit}".strip()
    return _first(counts, field.name, most > limits, found, f"at most every counted {field.limit[:-1]}", most, limits)


def _moment_problems(counts: ActivationCounts) -> list[Problem]:
    """Sums, squares and maxima of activations that no tokens can have together."""
    tokens = counts.language_tokens().double()[:, None, None]
    total, squares, maximum = counts.activation_sum, counts.activation_squares, counts.maximum
    problems = []
    if total is not None and squares is not None:
        # Cauchy and Schwarz; with no token at all both are 0.
        wrong = (total.square() > tokens * squares * (1 + ROUNDING)) | ((tokens == 0) & (squares > 0))
        problems += _first(counts, "activation_squares", wrong, "{}", "sum^2 <= tokens x sum of squares")
    if maximum is None:
        return problems
    highest = torch.where(maximum.isneginf(), 0.0, maximum.double())
    wrong = maximum.isneginf() != (tokens == 0)
    problems += _first(counts, "maximum", wrong, "{}", "-inf where no token was counted, and only there")
    if squares is not None:
        wrong = highest.square() > squares * (1 + ROUNDING)
        problems += _first(counts, "maximum", wrong, "{}", "its square at most the sum of squares")
    if total is not None:
        wrong = total > tokens * highest + ROUNDING * (tokens * highest).abs()
        problems += _first(counts, "maximum", wrong, "{}", "at least the mean activation")
    return problems


def _first(
    counts: ActivationCounts, name: str, wrong: Tensor, found: str, expected: str, *numbers: Tensor
) -> list[Problem]:
    """Where a field is `wrong` first, by language and shard or neuron, and how many more places there are.

    found: what is there, with a place for each of the `numbers`; without any, for the field itself.
    """
    places = wrong.nonzero().tolist()
    if not places:
        return []
    language, *rest = places[0]
    where = f"{name} of {counts.languages[language]!r}"
    if len(rest) == 2:
        where += ", neuron {}.{}".format(*rest)
    elif wrong.shape == counts.tokens.shape:
        where += f", shard {rest[0]}"
    there = found.format(*(tensor[tuple(places[0])].item() for tensor in numbers or (getattr(counts, name),)))
    more = f", and {len(places) - 1} more like it" if len(places) > 1 else ""
    return [Problem(where, there + more, expected)]
