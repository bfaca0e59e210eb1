"""Where records come from: one small file a source, whose options have a `name`; `Source` is any of them.

A source has `load() -> list[Record]`: the records of all its languages, in the order of the source; parallel documents
share an id and a cluster. It refuses what it cannot read with an `InputError`. `clusters` says what its clusters are,
such as `templates` or the name of a column; empty where every document is on its own. A `Mixture` has several of them
as its parts; only training takes it (`TrainingSource`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from alignlab.data.sources.files import Files
from alignlab.data.sources.hub import Hub
from alignlab.data.sources.mixture import Mixture, Part
from alignlab.data.sources.pairs import Pairs
from alignlab.data.sources.parallel_text import ParallelText
from alignlab.data.sources.single import Source
from alignlab.data.sources.translation import Translation
from alignlab.data.sources.word_problems import WordProblems

TrainingSource = Annotated[
    WordProblems | Files | ParallelText | Hub | Pairs | Translation | Mixture, Field(discriminator="name")
]

__all__ = ["Files", "Hub", "Mixture", "Pairs", "ParallelText", "Part", "Source", "TrainingSource", "Translation"]
__all__ += ["WordProblems"]
