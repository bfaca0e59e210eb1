"""Neurons that raise the probability of a label's right answers: CULNIG (Yamamoto et al. 2025, arXiv 2510.08284).

On a document whose answer has the probability p, a neuron of activation a scores p * max over tokens of a * dp/da; so
answers that the model knows count for more. Its score for a label is the mean over the label's documents, minus the
mean over those of a control set, if there is one. `recording.by_gradient` takes the scores of documents.

In the paper labels are cultures, documents questions with options, of which one letter is the answer. Its code takes
the top 0.3 % of each culture with a z-score of 0.5 or more among the cultures, and subtracts a control set of questions
that need no culture; scores are of what the gate projection gives, here of the site that is asked. Two things of it are
left out: neurons that stand out on the mere names of countries (subtract their sets), and that padding scores 0, which
makes the score of a document depend on those beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.by_score import highest_positive, named_scores, too_few
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.selection import selection_size

NAME = "attribution"


def attribution(
    scores: Tensor, top_rate: float = 0.003, least_z: float | None = 0.5, *, languages: Sequence[str]
) -> Classification:
    """Of each language the neurons of highest score that stand out from the other languages.

    scores: (G, L, N) float64, the mean over a language's documents, less that of its control set.
    top_rate: share of all neurons, K = round(top_rate * L * N) of each language; one of score 0 or less is not taken.
    least_z: then left out is a neuron whose score for the language is less than so many standard deviations (of G, not
        of G - 1) over the mean of its scores for all languages, or that scores the same for all. None leaves out none.
    languages: G names.

    The scores of the result are `attribution en` and so on, (L, N) each. There is no threshold: sets have their size,
    at most K. The reason says which languages have fewer than K scores over 0. Equal scores go by position; the order
    of the languages changes nothing else than the order of the result. Raises InputError for parameters out of range,
    fewer than two languages, and scores that are not finite.

        >>> import torch
        >>> from alignlab.neurons.attribution_identifier import attribution
        >>> scores = torch.tensor([[[0.9, 0.5, -0.1, 0.2]], [[0.9, 0.1, 0.3, -0.2]]], dtype=torch.float64)
        >>> result = attribution(scores, top_rate=0.5, languages=["en", "de"])
        >>> {name: neurons.nonzero().tolist() for name, neurons in result.sets.items()}  # layer, neuron
        {'en': [[0, 1]], 'de': [[0, 2]]}
    """
    names, own = named_scores(scores, languages)
    shape = scores.shape[1:]
    k = selection_size(top_rate, own.shape[1])
    if least_z is not None and not least_z >= 0:
        refuse_any([Problem("least_z", f"{least_z}", "a number of standard deviations, 0 or more, or none")])
    sets = highest_positive(own, k)
    reason = too_few(names, sets, k)
    if least_z is not None:
        sets &= z_scores(own) >= least_z
    return by_sets(
        NAME,
        names,
        torch.from_numpy(sets).view(-1, *shape),
        scores={f"{NAME} {name}": torch.from_numpy(one).view(shape) for name, one in zip(names, own, strict=True)},
        reason=reason,
    )


def z_scores(scores: Floats) -> Floats:
    """How far each score lies over the mean of all languages, in their standard deviations: (G, n) from (G, n).

    NaN where all are the same. Scores are sorted before they are summed, so that their order changes nothing.
    """
    g = len(scores)
    rising = np.sort(scores, axis=0)
    mean = rising.sum(axis=0) / g
    deviation = np.sqrt(((rising - mean) ** 2).sum(axis=0) / g)
    deviation[rising[0] == rising[-1]] = np.nan  # rounding may have made it anything
    z: Floats = (scores - mean) / deviation
    return z
