"""How values of this package show themselves at a prompt: in two lines, whatever their size."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMED = 8


def in_words(items: Sequence[str]) -> str:
    """The first few of some words, and how many more there are."""
    more = len(items) - MOST_NAMED
    return ", ".join(items) if more <= 0 else f"{', '.join(items[:MOST_NAMED])} and {more} more"
