"""Neurons that tell a language from all others by how strongly they are active (Kojima et al. 2024, arXiv 2404.02431).

The mean activation of a neuron in a document is taken as the score of a classifier, of one language against the rest;
its average precision says how well it sorts the documents. The top neurons are high in the language, the bottom ones
low in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.options import Ends
from alignlab.neurons.probabilities import Bools, Floats
from alignlab.neurons.selection import lowest, number_problems

NAME = "average_precision"
# Neurons whose documents are sorted together: with 1,000 documents in float32 these are 4 MB.
_TOGETHER = 1024


class LayerMeans(Protocol):
    """What is read of a record of means, such as `alignlab.recording.means.ActivationMeans`.

    languages: G names.  shape: L, N.  tokens: by language, (D,) int64, counted tokens of each document.
    """

    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def tokens(self) -> Mapping[str, Tensor]: ...

    def layer(self, layer: int, language: str) -> Tensor:
        """(D, N), the mean activation of the neurons of a layer in each document."""


def average_precision(means: LayerMeans, k: int = 1000, ends: Ends = "both") -> Classification:
    """Of each language the `k` neurons of highest average precision, and the `k` of lowest.

    means: the record, of L layers of N neurons; documents without a counted token are left out.
    k: neurons at either end, of all layers together.
    ends: `top` or `bottom` takes one end alone.

    The scores of the result are the average precisions, `average precision en` and so on, (L, N) each. A language
    without a document has an empty set and no score, and the reason says so. There is no threshold: sets have their
    size. Equal scores go by position, and the reason says of which languages more are as good as the last: with few
    documents, or a script of its own, many neurons tell a language perfectly. The order of the languages changes
    nothing else than the order of the result.

    A layer is read at a time: with 10 languages of 100 documents, 57 MB of one of 14,336 neurons; the scores are 37 MB
    of 32 such layers. All that is done with a neuron's D documents is to sort them once, and to look up each of them.

    Raises InputError for more neurons than there are, and for fewer than two languages with documents.

        >>> import torch
        >>> from types import SimpleNamespace
        >>> from alignlab.neurons.average_precision_identifier import average_precision
        >>> of = {"en": torch.tensor([[3.0, 0.0, 1.0], [2.0, 0.5, 1.0]]), "de": torch.tensor([[0.0, 1.0, 1.0]])}
        >>> tokens = {"en": torch.tensor([5, 5]), "de": torch.tensor([5])}
        >>> means = SimpleNamespace(
        ...     languages=("en", "de"), shape=(1, 3), tokens=tokens, layer=lambda layer, language: of[language]
        ... )
        >>> result = average_precision(means, k=1, ends="top")
        >>> {name: neurons.tolist() for name, neurons in result.sets.items()}
        {'en': [[True, False, False]], 'de': [[False, True, False]]}
        >>> result.scores["average precision en"][0].tolist()  # the third has no order: the share of its documents
        [1.0, 0.5833333333333333, 0.6666666666666666]
    """
    require_one_of("ends", ends, ("both", "top", "bottom"))
    layers, neurons = means.shape
    refuse_any(number_problems("identifier.k", k, layers * neurons))
    said = {name: means.tokens[name] > 0 for name in means.languages}
    present = [name for name, of in said.items() if of.any()]
    if len(present) < 2:
        found = f"documents with counted tokens in {len(present)}"
        raise InputError(Problem("languages", found, "two or more: one is told from the others"))

    scores = np.empty((len(present), layers, neurons))
    for layer in range(layers):
        of_layer = [means.layer(layer, name)[said[name]] for name in present]
        scores[:, layer] = average_precisions(of_layer)
    empty = np.zeros(layers * neurons, dtype=np.bool_)
    of = dict(zip(present, scores.reshape(len(present), -1), strict=True))
    taken = {name: _ends(score, k, ends) for name, score in of.items()}
    sets = np.stack([taken[name][0] if name in of else empty for name in means.languages])
    silent = [name for name in means.languages if name not in of]
    tied = [name for name in of if taken[name][1]]
    reasons = [f"no counted token in {' '.join(silent)}, and so no neurons"] if silent else []
    if tied:
        reasons.append(f"more neurons are as good as the last of {' '.join(tied)}: the first by position are taken")
    return by_sets(
        NAME,
        means.languages,
        torch.from_numpy(sets).view(-1, layers, neurons),
        scores={f"average precision {name}": torch.from_numpy(of[name]).view(layers, neurons) for name in present},
        reason="; ".join(reasons),
    )


def average_precisions(values: Sequence[Tensor]) -> Floats:
    """Of each group of documents the average precision of each neuron in telling it from the others, (G, N) float64.

    values: of each group, (D, N), one or more documents, without NaN.

    It is the sum over thresholds of the precision times the recall gained, documents of equal value being one step, as
    in scikit-learn. So it is the mean, over the documents of the group, of the share of the group among all documents
    that are as high or higher.
    """
    found = np.empty((len(values), values[0].shape[1]))
    for start in range(0, found.shape[1], _TOGETHER):
        some = slice(start, start + _TOGETHER)
        ordered = [documents[:, some].T.contiguous().sort(dim=1).values for documents in values]
        everyone = torch.cat(ordered, dim=1).sort(dim=1).values
        for group, own in enumerate(ordered):
            precision = _as_high(own, own).double() / _as_high(everyone, own)
            found[group, some] = precision.mean(dim=1).numpy()
    return found


def _as_high(ordered: Tensor, values: Tensor) -> Tensor:
    """How many of the rising values of a neuron's row are at or over each of `values`, (N, D) of its row."""
    return ordered.shape[1] - torch.searchsorted(ordered, values, out_int32=True)


def _ends(score: Floats, k: int, ends: Ends) -> tuple[Bools, bool]:
    """The highest and the lowest of (n,) scores, and whether position alone decided where they end."""
    found, tied = np.zeros(len(score), dtype=np.bool_), False
    rising = {"top": [-score], "bottom": [score], "both": [-score, score]}[ends]
    for values in rising:
        chosen, cut = lowest(values, k)
        found |= chosen
        tied |= bool((values[~chosen] == cut.score).any())
    return found, tied
