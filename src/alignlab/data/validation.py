"""Which examples are held out: whole groups of those that are not independent of one another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from alignlab.data.examples import Example


def held_out(examples: Sequence[Example], wanted: int, seed: int) -> list[bool]:
    """Whether each example is held out: at most `wanted` of them, where any group is as small as that.

    Examples that share an id or a cluster, also by way of others, are a group and stay together: parallel documents,
    answers to the same question, problems of one template. Groups are gone through in the order of a seeded hash, and
    those that still fit are taken; where none does, the smallest is.
    """
    groups = groups_of(examples)
    members: dict[str, int] = {}
    for group in groups:
        members[group] = members.get(group, 0) + 1
    in_order = sorted(members, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    taken: set[str] = set()
    room = wanted
    for group in in_order:
        if members[group] <= room:
            taken.add(group)
            room -= members[group]
    if not taken:
        taken = {min(in_order, key=members.__getitem__)}
    return [group in taken for group in groups]


def groups_of(examples: Sequence[Example]) -> list[str]:
    """The group of each example, by the least name of an id or cluster in it."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for example in examples:
        one, other = sorted((root(f"id {example.id}"), root(f"cluster {example.cluster}")))
        parents[other] = one
    return [root(f"id {example.id}") for example in examples]
