"""The groups of languages that means are taken over: in training, the reference, all others, and every one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

Group = Literal["trained", "reference", "unseen", "all languages"]

# The language that all others are aligned to, unless a config says otherwise.
REFERENCE = "en"


def group_languages(
    languages: Sequence[str], trained: Collection[str], reference: str | None = REFERENCE
) -> dict[Group, tuple[str, ...]]:
    """By group its languages, in the order of `languages`; a group without any is left out.

    trained: names of the languages in training; those that are not among `languages` are left out.
    reference: the language that others are aligned to, which is neither trained nor unseen: it is what training aims
        at, whether it has prompts of its own or not. None, or a name that is not among `languages`, for none.
    """
    others = [name for name in languages if name != reference]
    groups: dict[Group, tuple[str, ...]] = {
        "trained": tuple(name for name in others if name in trained),
        "reference": tuple(name for name in languages if name == reference),
        "unseen": tuple(name for name in others if name not in trained),
        "all languages": tuple(languages),
    }
    return {group: members for group, members in groups.items() if members}
