"""Sets of the neurons with the highest scores of a language: what identifiers by importance share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.checks import name_problems
from alignlab.neurons.importance import Importance
from alignlab.neurons.probabilities import Bools, Floats
from alignlab.neurons.selection import lowest


def mean_importance(record: Importance) -> Tensor:
    """The mean importance of each neuron in a language's documents, (G, L, N) float64, at the site that is looked at.

    NaN where there are none. A language is read at a time. Raises InputError for a damaged file.
    """
    site = record.site or record.sites[0]
    return torch.stack(
        [record.total(site, name).sum(dim=0) / record.documents(name).sum() for name in record.languages]
    )


def named_scores(scores: Tensor, languages: Sequence[str]) -> tuple[tuple[str, ...], Floats]:
    """The names, and the scores as (G, L * N).

    scores: (G, L, N) float64. Raises InputError for anything else, for scores that are not finite, and for fewer than
    two languages.
    """
    names, shape = tuple(languages), tuple(scores.shape)
    problems = name_problems("languages", names)
    if len(shape) != 3 or 0 in shape:
        problems.append(Problem("scores", f"shape {shape}", "(languages, layers, neurons)"))
    elif len(names) != shape[0]:
        problems.append(Problem("languages", f"{len(names)} names", f"{shape[0]}, one for each row"))
    elif len(names) < 2:
        problems.append(Problem("languages", f"{len(names)}", "two or more: each is compared with the others"))
    elif scores.dtype != torch.float64:
        problems.append(Problem("scores", f"{scores.dtype}", "torch.float64: others round"))
    else:
        problems += [
            Problem("scores", f"some of {name!r} are not finite", "finite numbers", "Has each language documents?")
            for name, own in zip(names, scores, strict=True)
            if not own.isfinite().all()
        ]
    refuse_any(problems)
    return names, scores.detach().cpu().numpy().reshape(len(names), -1)


def highest_positive(scores: Floats, k: int) -> Bools:
    """Of each language the `k` neurons of highest score over 0, or all that are, (G, n); equal ones by position."""
    sets = scores > 0
    for own, found in zip(scores, sets, strict=True):
        if found.sum() > k:
            found[:] = lowest(-own, k)[0]
    return sets


def too_few(names: Sequence[str], sets: Bools, k: int) -> str:
    """That some languages have fewer than `k` neurons of a score over 0; "" where none has."""
    short = [f"{name} {size}" for name, size in zip(names, np.count_nonzero(sets, axis=1), strict=True) if size < k]
    return f"fewer than {k} neurons have a score over 0 in: {', '.join(short)}" if short else ""
