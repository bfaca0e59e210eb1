"""On which documents neurons are found, and on which effects are measured: never the same ones, unless asked for.

Neurons that were found on a text fit that text better than others of the language, and would seem to matter more. So
the shards by which they are found, and the documents that are measured, share no document, no translation of one (by
its id) and no cluster, such as a template.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignlab.data.encoding import Document
from alignlab.errors import InputError, Problem, refuse_any, some_of
from alignlab.recording.dealing import cluster_count, order_key
from alignlab.recording.probes import Probe

Documents = Mapping[str, Sequence[Document]]


@dataclass(frozen=True)
class Division:
    """What a probe is divided into.

    shards: by whose counts neurons are found; None for all of them.
    found_on: by language, the documents of these shards.
    measured: by language, the documents that are measured, in the order of the probe.
    left_out: documents of other shards that are not measured, since what they say, or their cluster, is in `found_on`.
    same: whether the documents are deliberately the same.
    """

    shards: tuple[int, ...] | None
    found_on: Documents
    measured: Documents
    left_out: int = 0
    same: bool = False


def every_other(shards: int) -> list[int]:
    """The shards by which neurons are found, where none are named: 0, 2, 4 and so on."""
    return list(range(0, shards, 2))


def divide(probe: Probe, shards: Sequence[int] | None = None, *, same: bool = False) -> Division:
    """Divide the documents of a probe.

    shards: by whose counts neurons are found; None for every other one.
    same: find neurons on all documents, and measure the same ones.

    Documents of other shards whose id or cluster is in one of `shards`, in whatever language, are left out. Raises
    InputError for shards that there are not, and where nothing is left to be measured, or nothing to be found by.
    """
    if same:
        _refuse_empty(probe.documents, "same_documents")
        return Division(None, probe.documents, probe.documents, same=True)
    chosen = every_other(probe.shards) if shards is None else list(shards)
    _check_shards(chosen, probe.shards)
    found_on: dict[str, list[Document]] = {}
    others: dict[str, list[Document]] = {}
    for language, documents in probe.documents.items():
        inside = np.isin(probe.shards_of(language), chosen)
        found_on[language] = [one for one, there in zip(documents, inside, strict=True) if there]
        others[language] = [one for one, there in zip(documents, inside, strict=True) if not there]
    ids, clusters = _named(found_on)
    measured = {
        language: [one for one in documents if one.id not in ids and one.cluster not in clusters]
        for language, documents in others.items()
    }
    left_out = sum(len(others[language]) - len(measured[language]) for language in others)
    _refuse_empty(measured, "identify_shards")
    _refuse_empty(found_on, "identify_shards")
    return Division(tuple(chosen), found_on, measured, left_out)


def elsewhere(found_on: Documents, shards: Sequence[int] | None, text: Documents, *, same: bool = False) -> Division:
    """Measure other text than that on which neurons were found.

    Raises InputError, with their number, for documents of `text` whose id or cluster is in `found_on`, or that are
    literally there, unless `same`.
    """
    ids, clusters = _named(found_on)
    texts = {(language, one.tokens.tobytes()) for language, documents in found_on.items() for one in documents}
    every = [one for documents in text.values() for one in documents]
    shared = [
        one
        for one in every
        if one.id in ids or one.cluster in clusters or (one.language, one.tokens.tobytes()) in texts
    ]
    if shared and not same:
        names = some_of([repr(name) for name in dict.fromkeys(one.id for one in shared)])
        found = f"{len(shared):,} of {len(every):,} documents share an id, a cluster or all their words with those on "
        found += f"which the neurons were found, such as {names}"
        fix = (
            "Leave them out, give others their own ids and clusters, or set same_documents=true, which tables then say."
        )
        raise InputError.of("text", found, "other documents", fix)
    _refuse_empty(text, "text")
    return Division(None if shards is None else tuple(shards), found_on, text, same=bool(shared))


def some_languages(documents: Documents, languages: Collection[str] | None, most: int | None, seed: int) -> Documents:
    """The documents of these languages, at most so many of each, parallel ones together; None takes all.

    Raises InputError for a language without documents, and where one has a single cluster, which tells no interval.
    """
    missing = [code for code in languages or () if code not in documents]
    have = ", ".join(documents)
    refuse_any([Problem("languages", f"there is no text in {code}", f"some of: {have}") for code in missing])
    chosen = {code: texts for code, texts in documents.items() if languages is None or code in languages}
    if most is not None:
        kept = {code: first_ids(texts, most, seed) for code, texts in chosen.items()}
        chosen = {code: [one for one in texts if one.id in kept[code]] for code, texts in chosen.items()}
    refuse_any(
        [
            Problem(
                "max_documents" if most is not None else "probe",
                f"what is measured in {code} is of one cluster ({texts[0].cluster!r}, {len(texts):,} documents)",
                "two or more: intervals and verdicts are over clusters",
                "Take more documents, or other text with text.source.",
            )
            for code, texts in chosen.items()
            if cluster_count(texts) < 2
        ]
    )
    return chosen


def first_ids(documents: Sequence[Document], most: int, seed: int) -> set[str]:
    """The ids that are taken, by their seeded order: the same in every language that has them."""
    return set(sorted((one.id for one in documents), key=lambda name: order_key(seed, name))[:most])


def _named(documents: Documents) -> tuple[set[str], set[str]]:
    every = [one for texts in documents.values() for one in texts]
    return {one.id for one in every}, {one.cluster for one in every}


def _check_shards(shards: Sequence[int], there: int) -> None:
    where = "identify_shards"
    problems = [
        Problem(where, f"there is no shard {shard}", f"numbers from 0 to {there - 1}")
        for shard in shards
        if not 0 <= shard < there
    ]
    if not shards or len(set(shards)) < len(shards):
        problems.append(Problem(where, f"{list(shards)}", "one or more, each once, or null for every other one"))
    if set(range(there)) <= set(shards):
        fix = "Count with more probe.shards, measure other text with text.source, or set same_documents=true."
        found = f"all {there} shards: no document is left to be measured" if there > 1 else "the counts have one shard"
        problems.append(Problem(where, found, "some of them", fix))
    refuse_any(problems)


def _refuse_empty(documents: Documents, where: str) -> None:
    refuse_any(
        [
            Problem(
                where,
                f"no document of {code} is left, that shares no id and no cluster with those of the other part",
                "one or more",
                "Take other shards, or more documents of more clusters.",
            )
            for code, texts in documents.items()
            if not texts
        ]
    )
