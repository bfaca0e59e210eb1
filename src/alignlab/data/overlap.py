"""How much of the evaluated text is in the training text: whole documents, and runs of words or characters (n-grams).

Texts are compared as `normalised`: letters and digits alone, in lower case. An evaluated document is *whole* in the
training text where a text of it is the same; it *shares a run* where `WORDS` words one after another, or `CHARACTERS`
characters where words are not spaced, are in a text of it too. Brown et al. (2020) looked for runs of 13 words.

Only the runs of the evaluated text are held, the training text is passed through once: the time grows with its length,
and the memory does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from alignlab.data.records import Record

WORDS = 13
CHARACTERS = 26  # about as much text as 13 words in Chinese, Japanese and Thai
# Han, kana, Thai, Lao, Burmese, Khmer, Tibetan: written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_BATCH = 500_000  # characters that are looked at at once
_NO_UNIT = 0  # of which no run is made
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Numbers = NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Of the evaluated documents of a language, what is in the training text.

    documents: all; `whole` of them are a text of it.  long: those with one run or more; `sharing` of them share one.
    runs: their different runs; `shared` of them are in it.  unit: what runs are of, words or characters.
    """

    documents: int
    whole: int
    long: int
    sharing: int
    runs: int
    shared: int
    unit: str


def normalised(text: str) -> str:
    """Letters with their marks and digits in lower case (NFKC), a space in place of all between; nothing around it."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_KEPT).split())


class Evaluated:
    """The evaluated documents by language, and what has been found of them in training texts.

    Runs are of characters (spaces left out) in a language most of whose documents have some of a script without spaces;
    they are looked for in those training texts that have some, too.
    """

    def __init__(self, documents: Mapping[str, Sequence[str]]) -> None:
        self._texts = {code: [normalised(text) for text in of] for code, of in documents.items()}
        self._words, self._characters = words, characters = _Runs(WORDS), _Runs(CHARACTERS)
        self._kinds = {
            code: characters if 2 * sum(map(_is_unspaced, of)) > len(of) else words for code, of in self._texts.items()
        }
        for kind in (words, characters):
            of_kind = (of for code, of in self._texts.items() if self._kinds[code] is kind)
            kind.note(_units(text, kind) for of in of_kind for text in of)
        self._all = {text for of in self._texts.values() for text in of}
        self._whole: set[str] = set()

    def look_in(self, trained: Iterable[str]) -> None:
        """Note what is in these training texts, in whatever language they are."""
        for batch in _batches(map(normalised, trained if self._all else ())):
            self._whole.update(self._all.intersection(batch))
            self._words.look_for(text.split() for text in batch)
            self._characters.look_for(text.replace(" ", "") for text in batch if _is_unspaced(text))

    def found(self) -> dict[str, Overlap]:
        """By language what of its documents was in the texts so far."""
        return {code: _counted(of, self._whole, self._kinds[code]) for code, of in self._texts.items()}


def overlap(evaluated: Mapping[str, Sequence[str]], trained: Iterable[str]) -> dict[str, Overlap]:
    """By language what of its documents is in the training texts, in whatever language these are."""
    documents = Evaluated(evaluated)
    documents.look_in(trained)
    return documents.found()


def texts_of(records: Iterable[Record]) -> Iterator[str]:
    """All texts of records: prompts, answers, the turns of conversations."""
    for record in records:
        yield from filter(None, (record.prompt, record.answer, record.rejected))
        yield from (turn.content for turn in record.messages)


class _Kept(dict[int, int]):
    """What a character is made to, by code point, each looked up once: itself or a space."""

    def __missing__(self, point: int) -> int:
        self[point] = point if unicodedata.category(chr(point))[0] in "LMN" else ord(" ")
        return self[point]


_KEPT = _Kept()


class _Runs:
    """The runs of `n` units in the evaluated text, each as a number of 64 bits, and which of them were seen."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._numbers: dict[str, int] = {}
        self._known: Numbers = np.zeros(0, np.uint64)
        self._seen = np.zeros(0, bool)

    def note(self, documents: Iterable[Sequence[str]]) -> None:
        """Take the runs of documents, each a sequence of units."""
        found = [self._known]
        for units in documents:
            for unit in units:
                self._numbers.setdefault(unit, len(self._numbers) + 1)
            found.append(self.of(units))
        self._known = np.unique(np.concatenate(found))
        self._seen = np.zeros(len(self._known), bool)

    def of(self, units: Sequence[str]) -> Numbers:
        """The runs of units, (max(0, len - n + 1),); one with a unit that no evaluated text has is none of theirs."""
        numbers = _mixed([*map(self._numbers.get, units, repeat(_NO_UNIT))])
        runs = np.zeros(max(0, len(numbers) - self.n + 1), np.uint64)
        for place in range(self.n if len(runs) else 0):
            runs = runs * _FACTOR + numbers[place : place + len(runs)]  # modulo 2^64
        return runs

    def look_for(self, documents: Iterable[Sequence[str]]) -> None:
        """Mark the runs that are in these documents."""
        if not len(self._known):
            return
        units: list[str] = []
        for document in documents:
            units += [*document, ""]  # which is no unit
        found = self.of(units)
        places = np.searchsorted(self._known, found) % len(self._known)
        self._seen[places[self._known[places] == found]] = True

    def seen(self, units: Sequence[str]) -> tuple[Numbers, NDArray[np.bool_]]:
        """The runs of an evaluated document, and whether each was seen."""
        runs = self.of(units)
        return runs, self._seen[np.searchsorted(self._known, runs)]


def _mixed(numbers: list[int]) -> Numbers:
    """Each number as 64 bits without a pattern (splitmix64), so that two runs are hardly ever one number by chance."""
    z = np.array(numbers, np.uint64) * _FACTOR
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _counted(documents: Sequence[str], seen: set[str], kind: _Runs) -> Overlap:
    found = [kind.seen(_units(document, kind)) for document in documents]
    runs = np.concatenate([np.zeros(0, np.uint64), *(runs for runs, _ in found)])
    hits = np.concatenate([np.zeros(0, bool), *(hits for _, hits in found)])
    return Overlap(
        documents=len(documents),
        whole=sum(document in seen for document in documents),
        long=sum(len(runs) > 0 for runs, _ in found),
        sharing=sum(bool(hits.any()) for _, hits in found),
        runs=len(np.unique(runs)),
        shared=len(np.unique(runs[hits])),
        unit="words" if kind.n == WORDS else "characters",
    )


def _units(text: str, kind: _Runs) -> Sequence[str]:
    return text.split() if kind.n == WORDS else text.replace(" ", "")


def _is_unspaced(text: str) -> bool:
    return _UNSPACED.search(text) is not None


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    yield batch
