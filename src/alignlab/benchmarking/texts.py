"""Texts of planted languages: chains of concepts, each in the words of every language."""

from __future__ import annotations

import numpy as np

from alignlab.benchmarking.building_models import Vocabulary
from alignlab.data.encoding import Document
from alignlab.recording.probes import Probe


def probe_of(vocabulary: Vocabulary, names: tuple[str, ...], documents: int, tokens: int, draw: list[int]) -> Probe:
    """Documents that say the same in every language, ids and all.

    draw: the seeds of what they say.
    """
    said = np.random.default_rng(draw).choice(len(vocabulary.shares), (documents, tokens), p=vocabulary.shares)
    every, none = np.ones(tokens, dtype=np.bool_), np.zeros(tokens, dtype=np.bool_)
    return Probe(
        {
            name: [
                Document(str(number), name, vocabulary.token[language][one].astype(np.int32), every, none)
                for number, one in enumerate(said)
            ]
            for language, name in enumerate(names)
        },
        scope="all",
        shards=min(documents, 20),
        max_tokens_per_batch=8192,
    )


def shuffled(probe: Probe, draw: list[int]) -> Probe:
    """The same documents with their languages dealt anew, document by document."""
    order = np.random.default_rng(draw)
    names = probe.languages
    columns = [order.permutation(len(names)) for _ in probe.documents[names[0]]]
    return Probe(
        {
            name: [_named(probe.documents[names[column[place]]][number], name) for number, column in enumerate(columns)]
            for place, name in enumerate(names)
        },
        scope=probe.scope,
        shards=probe.shards,
        max_tokens_per_batch=probe.max_tokens_per_batch,
    )


def _named(document: Document, language: str) -> Document:
    return Document(document.id, language, document.tokens, document.answer, document.special)
