"""Where records come from: one small file a source; `SOURCES` maps the `name:` of a config to its dataclass.

A source has `load() -> list[Record]`: the records of all its languages, in the order of the source; parallel documents
share an id. It refuses what it cannot read with an `InputError`.
"""

from __future__ import annotations

from typing import Protocol

from alignlab.data.records import Record
from alignlab.data.sources.files import Files
from alignlab.data.sources.hub import Hub
from alignlab.data.sources.parallel_text import ParallelText
from alignlab.data.sources.word_problems import WordProblems


class Source(Protocol):
    """What every source can do."""

    def load(self) -> list[Record]: ...


SOURCES: dict[str, type] = {
    "builtin:wordproblems": WordProblems,
    "files": Files,
    "parallel_text": ParallelText,
    "hub": Hub,
}

__all__ = ["SOURCES", "Files", "Hub", "ParallelText", "Source", "WordProblems"]
