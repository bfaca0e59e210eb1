"""The sources that stand alone, by their `name`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from alignlab.data.sources.files import Files
from alignlab.data.sources.hub import Hub
from alignlab.data.sources.pairs import Pairs
from alignlab.data.sources.parallel_text import ParallelText
from alignlab.data.sources.translation import Translation
from alignlab.data.sources.word_problems import WordProblems

Source = Annotated[WordProblems | Files | ParallelText | Hub | Pairs | Translation, Field(discriminator="name")]
