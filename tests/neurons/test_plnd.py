"""The identifier plnd against set algebra over documents, written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons.identifiers import ImportanceIdentifier, PlndConfig, has_tau, reading_problems
from alignlab.neurons.importance import ranks
from alignlab.neurons.plnd_identifier import plnd

from .test_importance import write

LANGUAGES = ("en", "de", "zh")


def documents(languages: tuple[str, ...] = LANGUAGES) -> dict[str, torch.Tensor]:
    """By language, the importance of 2 layers of 40 neurons in 4 documents, (4, 2, 40): some matter for a language."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for number, language in enumerate(languages):
        values = torch.rand(4, 2, 40, generator=generator)
        values[:, :, :6] += 2  # everywhere
        values[:, :, 6 + 5 * number : 11 + 5 * number] += 1  # of the language
        found[language] = values
    return found


def worst(values: torch.Tensor) -> torch.Tensor:
    """Of two shards, (2, L, N)."""
    return torch.stack([ranks(values[shard::2]).amax(dim=0) for shard in range(2)]).int()


@pytest.mark.parametrize("k", [1, 6, 8, 11, 20, 40])
def test_sets_are_those_of_all_documents_but_for_what_all_languages_have(k: int, tmp_path: Path) -> None:
    texts = documents()
    result = plnd(write(tmp_path / "r", {name: worst(values) for name, values in texts.items()}), k)
    needed = {}
    for name, values in texts.items():
        of_each = []
        for document in values.tolist():
            some = set()
            for layer, row in enumerate(document):
                order = sorted(range(40), key=lambda n, row=row: (-row[n], n))
                some |= {(layer, n) for n in order[:k]}
            of_each.append(some)
        needed[name] = set.intersection(*of_each)
    common = set.intersection(*needed.values())
    for name in LANGUAGES:
        assert {(a, b) for a, b in result.sets[name].nonzero().tolist()} == needed[name] - common
    if k == 11:
        assert common
        assert all(result.sets[name].any() for name in LANGUAGES)
    assert not result.has_degree


def test_a_label_duplicated_under_another_name_changes_no_set(tmp_path: Path) -> None:
    of = {name: worst(values) for name, values in documents().items()}
    plain = plnd(write(tmp_path / "a", of), 11)
    twice = plnd(write(tmp_path / "b", {**of, "Deutsch": of["de"]}), 11)
    for name in LANGUAGES:
        assert torch.equal(twice.sets[name], plain.sets[name])
    assert torch.equal(twice.sets["Deutsch"], plain.sets["de"])
    other_way = plnd(write(tmp_path / "c", dict(reversed(of.items()))), 11)
    assert all(torch.equal(other_way.sets[name], plain.sets[name]) for name in LANGUAGES)


def test_some_languages_and_some_shards_are_asked_alone(tmp_path: Path) -> None:
    texts = documents()
    whole = write(tmp_path / "a", {name: worst(values) for name, values in texts.items()})
    part = plnd(replace(whole, languages=("zh", "en"), shards=1, only=(1,)), 9)
    again = {name: torch.stack([ranks(texts[name][1::2]).amax(dim=0)] * 2).int() for name in ("zh", "en")}
    expected = plnd(write(tmp_path / "b", again), 9)
    assert part.languages == ("zh", "en")
    assert all(torch.equal(part.sets[name], expected.sets[name]) for name in ("zh", "en"))
    mean = part.scores["mean importance en"]
    assert torch.allclose(mean, whole.total("mlp.act", "en")[1] / 2)


def test_a_language_without_documents_has_an_empty_set_and_is_named(tmp_path: Path) -> None:
    of = {name: worst(values) for name, values in documents().items()}
    silent = plnd(write(tmp_path / "a", {**of, "th": torch.zeros(2, 2, 40, dtype=torch.int32)}), 11)
    plain = plnd(write(tmp_path / "b", of), 11)
    assert not silent.sets["th"].any()
    assert silent.reason == "no counted token in th, and so no neurons"
    assert all(torch.equal(silent.sets[name], plain.sets[name]) for name in of)
    with pytest.raises(InputError, match="documents with counted tokens in 1"):
        plnd(write(tmp_path / "c", {"en": of["en"], "th": torch.zeros(2, 2, 40, dtype=torch.int32)}), 11)


def test_it_reads_importance_at_its_sites(tmp_path: Path) -> None:
    identifier = PlndConfig(ffn=11, attention=9)
    assert isinstance(identifier, ImportanceIdentifier)
    assert not has_tau(identifier)
    assert identifier.wanted.measure == "removal"
    (problem,) = reading_problems(identifier)
    assert problem.found == "it reads importance, but what is here are counts"
    of = {name: worst(values) for name, values in documents().items()}
    for at, k in (("mlp.act", 11), ("attention.k", 9)):
        record = write(tmp_path / at, of, site=at)
        found = identifier.identify(replace(record, site=at))
        assert all(torch.equal(found.sets[name], plnd(record, k).sets[name]) for name in of)
        assert list(identifier.at_sites(record)) == [at]
    problems = identifier.shape_problems({"mlp.act": (2, 11), "attention.k": (2, 8)})
    assert [(one.where, one.found) for one in problems] == [("identifier.attention", "9")]
    with pytest.raises(InputError, match="expected from 1 to 40"):
        plnd(record, 41)
    with pytest.raises(InputError, match=r"one of the record: attention\.k"):
        plnd(record, 4, "mlp.act")
