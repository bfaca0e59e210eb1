"""What neurons are found on and what is measured share nothing, by loops that know nothing of how it was divided."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.intervening.documents import divide, elsewhere, some_languages
from alignlab.recording.probes import Probe


def document(name: str, language: str, cluster: str = "", token: int = 1) -> Document:
    tokens = np.array([token, 2, 3], dtype=np.int32)
    return Document(name, language, tokens, np.ones(3, dtype=bool), np.zeros(3, dtype=bool), cluster)


def probe_of(documents: Mapping[str, Sequence[Document]], shards: int) -> Probe:
    return Probe(documents, "all", shards, 100)


def scattered(seed: int) -> Probe:
    """Languages that do not all have the same documents, so that parallel ones are in different shards."""
    draw = random.Random(seed)
    names = [(str(number), f"c{number % 9}") for number in range(40)]
    documents = {}
    for language in ("en", "de", "zh"):
        chosen = sorted(draw.sample(names, 28), key=lambda one: (one[1], one[0]))
        documents[language] = [document(name, language, cluster) for name, cluster in chosen]
    return probe_of(documents, 6)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shards", [None, [1], [0, 3]])
def test_nothing_is_shared(seed: int, shards: list[int] | None) -> None:
    probe = scattered(seed)
    try:
        division = divide(probe, shards)
    except InputError:  # few clusters, and other languages have them all
        return
    for found_language, found in division.found_on.items():
        for a in found:
            for measured_language, measured in division.measured.items():
                for b in measured:
                    assert a.id != b.id, (found_language, measured_language)
                    assert a.cluster != b.cluster, (found_language, measured_language)
    chosen = [0, 2, 4] if shards is None else shards
    left = 0
    for language, documents in probe.documents.items():
        order: list[str] = []
        for one in documents:
            if one.cluster not in order:
                order.append(one.cluster)
            inside = order.index(one.cluster) % 6 in chosen
            assert any(one is found for found in division.found_on[language]) == inside
            left += not inside and not any(one is other for other in division.measured[language])
    assert left == division.left_out
    assert division.shards == tuple(chosen)


def test_some_seeds_can_be_divided_and_lose_documents_by_it() -> None:
    lost = []
    for seed in range(20):
        try:
            lost.append(divide(scattered(seed), [1]).left_out)
        except InputError:
            continue
    assert len(lost) > 5
    assert any(lost)


def test_parallel_documents_lose_none() -> None:
    documents = {language: [document(str(number), language) for number in range(12)] for language in ("en", "de")}
    division = divide(probe_of(documents, 4))
    assert [one.id for one in division.measured["de"]] == ["1", "3", "5", "7", "9", "11"]
    assert division.left_out == 0
    assert not division.same


def test_the_same_documents_only_when_asked_for() -> None:
    probe = probe_of({"en": [document(str(number), "en") for number in range(4)]}, 2)
    division = divide(probe, same=True)
    assert division.same
    assert division.shards is None
    assert division.measured is division.found_on is probe.documents


@pytest.mark.parametrize(
    ("shards", "says"),
    [
        ([0, 4], "identify_shards: there is no shard 4; expected numbers from 0 to 3"),
        ([], "one or more, each once"),
        ([1, 1], "one or more, each once"),
        ([0, 1, 2, 3], "all 4 shards: no document is left to be measured"),
    ],
)
def test_shards_that_cannot_be(shards: list[int], says: str) -> None:
    probe = probe_of({"en": [document(str(number), "en") for number in range(8)]}, 4)
    with pytest.raises(InputError, match=says):
        divide(probe, shards)


def test_counts_of_one_shard_cannot_be_divided() -> None:
    probe = probe_of({"en": [document(str(number), "en") for number in range(8)]}, 1)
    with pytest.raises(InputError, match=r"the counts have one shard.*same_documents=true"):
        divide(probe)


def test_other_text_is_refused_with_the_number_of_what_it_shares() -> None:
    found_on = {"en": [document("1", "en", "a"), document("2", "en", "b")]}
    text = {
        "en": [document("1", "en", "x", 5), document("7", "en", "b", 6), document("8", "en", "y", 1)],
        "de": [document("2", "de", "z", 7), document("9", "de", "w", 1)],
    }
    # An id, a cluster, all words, and an id in another language; the fifth has its words from another language.
    with pytest.raises(InputError, match=r"4 of 5 documents .* such as '1', '7', '8' and 1 more"):
        elsewhere(found_on, [0], text)
    assert elsewhere(found_on, [0], text, same=True).same
    other = {"de": [document("9", "de", "w", 1)]}
    division = elsewhere(found_on, None, other)
    assert not division.same
    assert division.shards is None
    assert division.measured == other


def test_languages_and_numbers_of_documents() -> None:
    documents = {
        "en": [document(str(number), "en") for number in range(30)],
        "de": [document(str(number), "de") for number in range(0, 30, 2)],
    }
    few = some_languages(documents, None, 6, seed=1)
    assert len(few["en"]) == len(few["de"]) == 6
    order = [one.id for one in few["en"]]
    assert order == sorted(order, key=int)  # as in the probe
    assert {one.id for one in some_languages(documents, ["de"], None, seed=1)["de"]} == {
        str(n) for n in range(0, 30, 2)
    }
    full = {code: [document(str(number), code) for number in range(30)] for code in ("en", "de")}
    both = some_languages(full, None, 6, seed=1)
    assert [one.id for one in both["en"]] == [one.id for one in both["de"]]
    with pytest.raises(InputError, match="there is no text in sw; expected some of: en, de"):
        some_languages(documents, ["sw"], None, seed=1)
    with pytest.raises(InputError, match="of one cluster"):
        some_languages({"en": [document("1", "en", "a"), document("2", "en", "a")]}, None, None, seed=1)
