"""Dealing documents to shards: clusters of documents that are not independent of each other stay whole.

Intervals resample shards. Documents that come from one template or article say much the same: were they dealt one by
one, every shard would hold some of each, resamples would hardly differ, and intervals would be too narrow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from alignlab.data.encoding import Document
from alignlab.data.records import Record
from alignlab.errors import Problem

_NAMED = 3  # documents that a refusal names


def order_key(seed: int, name: str) -> bytes:
    """By which documents are taken and clusters are dealt: an order that the seed decides and the data do not."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


class HasId(Protocol):
    """Anything with an id and a cluster, such as a record or a question."""

    @property
    def id(self) -> str: ...
    @property
    def cluster(self) -> str: ...


Named = TypeVar("Named", bound=HasId)


def in_order(seed: int, records: Sequence[Named], most: int) -> list[Named]:
    """At most so many of the records, chosen by their ids, in a seeded order of clusters and, within these, of ids."""
    chosen = sorted(records, key=lambda record: order_key(seed, record.id))[:most]
    # Where each record is its own cluster the two orders are one.
    return sorted(chosen, key=lambda record: order_key(seed, record.cluster))


def deal(documents: Sequence[Document], shards: int) -> npt.NDArray[np.int64]:
    """The shard of each document, (D,) int64: the i-th cluster, in the order of the documents, is in shard i mod S."""
    return shard_numbers([document.cluster for document in documents], shards)


def shard_numbers(clusters: Sequence[str], shards: int) -> npt.NDArray[np.int64]:
    """The same of documents of which the clusters are known alone."""
    places: dict[str, int] = {}
    numbers = [places.setdefault(cluster, len(places)) for cluster in clusters]
    return np.array(numbers, dtype=np.int64) % shards


def cluster_count(documents: Sequence[Document]) -> int:
    """How many clusters the documents come from."""
    return len({document.cluster for document in documents})


def cluster_problems(records: Collection[Record], where: str = "probe.source") -> list[Problem]:
    """That documents which say the same thing, and so share an id, are in different clusters; one problem for all.

    where: the config key that names their source.
    """
    found: dict[str, dict[str, str]] = {}  # id -> cluster -> the first language in which it has this one
    for record in records:
        found.setdefault(record.id, {}).setdefault(record.cluster, record.language)
    apart = {name: clusters for name, clusters in found.items() if len(clusters) > 1}
    if not apart:
        return []
    named = [
        f"{name!r} ({', '.join(f'{language} {cluster!r}' for cluster, language in clusters.items())})"
        for name, clusters in list(apart.items())[:_NAMED]
    ]
    more = f" and {len(apart) - _NAMED:,} more" if len(apart) > _NAMED else ""
    fix = "Correct them, or set parallel=false in the source if documents of one id do not say the same thing."
    return [
        Problem(
            where,
            f"{len(apart):,} of {len(found):,} documents are in different clusters: {', '.join(named)}{more}",
            "the same cluster wherever the id is the same, as parallel documents are resampled together",
            fix,
        )
    ]


def dealing_text(documents: Mapping[str, Sequence[Document]], shards: int, clusters: str, asked: int | None) -> str:
    """How documents were dealt, in words; empty where each was dealt on its own to as many shards as asked for.

    clusters: what the clusters are; empty where each document is one.
    asked: shards asked for, where there are fewer clusters; else None.
    """
    if not clusters and asked is None:
        return ""
    counts = {language: cluster_count(texts) for language, texts in documents.items()}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    number = f"{counts[most]:,}"
    if counts[fewest] < counts[most]:
        number = f"{counts[fewest]:,} ({fewest}) to {counts[most]:,} ({most})"
    what = f"clusters ({clusters})" if clusters else "documents"
    text = f"{number} {what}: {shards} shards a language"
    if asked is not None:
        text += f", not {asked}, of which some would be empty"
    return text + ("; intervals need two or more" if shards < 2 else "")
