"""Parallel sentences for tasks that compare languages: the same ones in every language, in the same order."""

from __future__ import annotations

from dataclasses import replace

from alignlab.data.records import Record
from alignlab.data.sources import Source
from alignlab.errors import InputError, Problem, refuse_any, some_of
from alignlab.recording.dealing import cluster_problems, in_order


def parallel_records(source: Source, reference: str, most: int, seed: int, where: str) -> dict[str, list[Record]]:
    """By language at most so many of the sentences that every language has, the reference's among them.

    A sentence is the prompt of a record; those of one id say the same. The answers are left out.
    where: the config key of the source. Raises InputError where there is no such text.
    """
    records = [replace(record, answer="") for record in source.load()]
    by_language: dict[str, dict[str, Record]] = {}
    for record in records:
        by_language.setdefault(record.language, {})[record.id] = record
    refuse_any(_problems(records, by_language, reference, where))
    shared = set.intersection(*(set(of) for of in by_language.values()))
    if len(shared) < 2:
        sizes = ", ".join(f"{code} {len(of):,}" for code, of in by_language.items())
        found = f"{len(shared)} of the sentences are in every language ({sizes})"
        fix = "Parallel sentences share an id. Name fewer languages where one has others."
        raise InputError.of(where, found, "two or more", fix)
    return {
        code: in_order(seed, [record for name, record in of.items() if name in shared], most)
        for code, of in by_language.items()
    }


def cluster_name(source: Source, records: dict[str, list[Record]]) -> str:
    """What the clusters of the sentences are; empty where each is on its own."""
    apart = any(record.cluster != record.id for of in records.values() for record in of)
    return (source.clusters or "clusters") if apart else ""


def _problems(
    records: list[Record], by_language: dict[str, dict[str, Record]], reference: str, where: str
) -> list[Problem]:
    if not records:
        return [Problem(where, "no record", "one or more")]
    codes = ", ".join(by_language)
    problems = cluster_problems(records, where)
    if reference not in by_language:
        fix = "Name it among the source's languages, or set reference=CODE."
        problems.append(Problem(where, f"text in {codes}", f"some in {reference!r} too, the reference", fix))
    elif len(by_language) < 2:
        problems.append(Problem(where, f"text in {codes} alone", "another language too"))
    if talks := [record.id for record in records if record.messages]:
        problems.append(Problem(where, f"conversations: {some_of(talks)}", "sentences"))
    elif empty := [record.id for record in records if not record.prompt.strip()]:
        problems.append(Problem(where, f"empty sentences: {some_of(empty)}", "text"))
    return problems
