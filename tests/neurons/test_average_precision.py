"""Average precision of single neurons, against scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from alignlab.errors import InputError
from alignlab.neurons.average_precision_identifier import average_precision, average_precisions
from alignlab.neurons.identifiers import AveragePrecisionConfig, has_tau, reading_problems

LAYERS, NEURONS = 2, 40


@dataclass(frozen=True)
class Means:
    """A record in memory: by language, (D, L, N)."""

    values: dict[str, Tensor]
    tokens: dict[str, Tensor]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def shape(self) -> tuple[int, int]:
        return LAYERS, NEURONS

    def layer(self, layer: int, language: str) -> Tensor:
        return self.values[language][:, layer]


def random_means(seed: int, g: int = 4) -> Means:
    """Other numbers of documents; neurons with ties, constant ones, copies of one; documents without a token."""
    random = torch.Generator().manual_seed(seed)
    values, tokens = {}, {}
    for language in range(g):
        documents = 3 + 4 * language
        means = torch.randn(documents, LAYERS, NEURONS, generator=random) + 0.3 * language
        means[..., 10:25] = (2 * means[..., 10:25]).round() / 2  # a handful of values, -0.0 among them
        means[..., 25:30] = 0.5
        means[..., 30:35] = means[..., :1]
        said = torch.randint(1, 9, (documents,), generator=random)
        said[documents // 2] = 0
        means[said == 0] = torch.nan
        values[f"language-{language}"], tokens[f"language-{language}"] = means, said
    return Means(values, tokens)


def expected(means: Means) -> dict[str, np.ndarray]:
    """(L, N) by language, a call of scikit-learn for each neuron."""
    kept = {name: values[means.tokens[name] > 0] for name, values in means.values.items()}
    scores = torch.cat([*kept.values()]).double().numpy()
    labels = np.repeat([*kept], [len(values) for values in kept.values()])
    return {
        name: np.array(
            [
                [average_precision_score(labels == name, scores[:, layer, n]) for n in range(NEURONS)]
                for layer in range(LAYERS)
            ]
        )
        for name in kept
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_every_number_is_that_of_scikit_learn(seed: int) -> None:
    means = random_means(seed)
    result = average_precision(means, 5)
    assert list(result.scores) == [f"average precision {name}" for name in means.languages]
    for name, values in expected(means).items():
        found = result.scores[f"average precision {name}"]
        assert (found.dtype, found.shape) == (torch.float64, (LAYERS, NEURONS))
        np.testing.assert_allclose(found.numpy(), values, rtol=0, atol=1e-14)
        constant = int((means.tokens[name] > 0).sum()) / sum(int((of > 0).sum()) for of in means.tokens.values())
        np.testing.assert_allclose(found[:, 25:30].numpy(), constant, rtol=0, atol=1e-15)


def test_in_double_precision_and_over_more_neurons_than_are_sorted_together() -> None:
    random = torch.Generator().manual_seed(5)
    values = [torch.randn(documents, 2500, generator=random, dtype=torch.float64) for documents in (4, 6)]
    values[1][:, 1000:] = values[1][:, 1000:].round()
    values[0][:, 2000:] = values[0][:, 2000:].round()
    found = average_precisions(values)
    for neuron in (0, 1023, 1024, 1500, 2047, 2048, 2499):
        scores = torch.cat([one[:, neuron] for one in values]).numpy()
        for group, labels in enumerate(([True] * 4 + [False] * 6, [False] * 4 + [True] * 6)):
            assert found[group, neuron] == pytest.approx(average_precision_score(labels, scores), abs=1e-14)


@pytest.mark.parametrize("k", [1, 7, 45, LAYERS * NEURONS])
def test_the_highest_and_the_lowest_are_taken(k: int) -> None:
    means = random_means(3)
    cases = set()
    both, top, bottom = (average_precision(means, k, ends) for ends in ("both", "top", "bottom"))
    for name in means.languages:
        scores = top.scores[f"average precision {name}"].flatten().tolist()
        falling = sorted(range(len(scores)), key=lambda n: (-scores[n], n))
        rising = sorted(range(len(scores)), key=lambda n: (scores[n], n))
        highest, lowest = {*falling[:k]}, {*rising[:k]}
        for result, order in ((top, falling), (bottom, rising)):
            tied = k < len(order) and scores[order[k - 1]] == scores[order[k]]
            assert (f" {name}" in result.reason) == tied
            cases.add(tied)
        for result, chosen in ((top, highest), (bottom, lowest), (both, highest | lowest)):
            assert {*result.sets[name].flatten().nonzero().flatten().tolist()} == chosen
    assert cases == ({False} if k == LAYERS * NEURONS else {False, True})
    assert torch.equal(both.selected, torch.stack([*both.sets.values()]).any(dim=0))
    assert (both.thresholds, both.has_degree) == ({}, False)


def test_a_language_without_a_document_keeps_its_place() -> None:
    means = random_means(4)
    silent = "language-1"
    means.tokens[silent][:] = 0
    result = average_precision(means, 3)
    assert list(result.sets) == list(means.languages)
    assert not result.sets[silent].any()
    assert f"average precision {silent}" not in result.scores
    assert result.reason.split("; ")[0] == f"no counted token in {silent}, and so no neurons"
    others = Means({name: of for name, of in means.values.items() if name != silent}, means.tokens)
    without = average_precision(others, 3)
    assert all(torch.equal(without.sets[name], result.sets[name]) for name in others.languages)
    assert silent not in without.reason


def test_permuting_languages_and_documents_changes_nothing() -> None:
    means = random_means(6)
    order = {
        name: torch.randperm(len(of), generator=torch.Generator().manual_seed(1)) for name, of in means.tokens.items()
    }
    moved = Means(
        {name: means.values[name][order[name]] for name in reversed(means.languages)},
        {name: means.tokens[name][order[name]] for name in means.languages},
    )
    result, other = average_precision(means, 4), average_precision(moved, 4)
    assert other.languages == result.languages[::-1]
    for name in means.languages:
        assert torch.equal(result.sets[name], other.sets[name])
        assert torch.equal(*(one.scores[f"average precision {name}"] for one in (result, other)))


def test_as_an_identifier_it_reads_means_and_takes_no_anchor() -> None:
    identifier = AveragePrecisionConfig(k=4, ends="top")
    first, second = random_means(7), random_means(8)
    anchored, own = identifier.identify(second, identifier.identify(first)), average_precision(second, 4, "top")
    assert all(torch.equal(anchored.sets[name], own.sets[name]) for name in own.sets)
    assert not has_tau(identifier)
    (problem,) = reading_problems(identifier)
    assert problem.found == "it reads means, but what is here are counts"
    assert reading_problems(identifier, "means") == []


@pytest.mark.parametrize("k", [0, LAYERS * NEURONS + 1])
def test_more_neurons_than_there_are_are_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"identifier.k: {k}; expected from 1 to 80, the neurons of the model"):
        average_precision(random_means(1), k)


def test_one_language_has_no_others() -> None:
    means = random_means(1)
    alone = replace(means, tokens={name: of * (name == "language-2") for name, of in means.tokens.items()})
    with pytest.raises(InputError, match="documents with counted tokens in 1; expected two or more"):
        average_precision(alone, 3)
