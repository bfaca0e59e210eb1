"""How many tokens a tokenizer makes of a language's text: what stands beside every count that is taken a token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.data.encoding import Document

# By language its documents, each with the tokens that are counted, (T,) bool.
Counted = Mapping[str, Sequence[tuple[Document, npt.NDArray[np.bool_]]]]


@dataclass(frozen=True)
class Fertility:
    """Of a language's counted tokens.

    documents, tokens: how many.
    per_character: tokens a character of the text that they spell, white space left out; NaN without one.
    premium: tokens beside those of the reference language in the documents that both have (those of one id say the
        same), the ratio of the sums; NaN where they have none in common. 2 means twice as many tokens for the same.
    shared: documents that both have.
    """

    documents: int
    tokens: int
    per_character: float
    premium: float
    shared: int


def fertility(counted: Counted, tokenizer: Any, reference: str) -> dict[str, Fertility]:
    """The fertility of every language, as Petrov et al. 2023 (arXiv 2305.15425) compare them: on parallel text.

    Characters, as words are none in Japanese, Thai and Chinese. A reference that is not among the languages leaves
    every premium NaN.
    """
    sizes = {
        language: {document.id: int(taken.sum()) for document, taken in documents}
        for language, documents in counted.items()
    }
    of_reference = sizes.get(reference, {})
    found = {}
    for language, documents in counted.items():
        texts = tokenizer.batch_decode([document.tokens[taken] for document, taken in documents])
        characters = sum(len("".join(text.split())) for text in texts)
        tokens = sum(int(taken.sum()) for _, taken in documents)
        both = sizes[language].keys() & of_reference.keys()
        premium = _ratio(sum(sizes[language][one] for one in both), sum(of_reference[one] for one in both))
        found[language] = Fertility(len(documents), tokens, _ratio(tokens, characters), premium, len(both))
    return found


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
