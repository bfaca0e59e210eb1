"""What forwards under arms have found, kept while the others go on: a part for each job of a plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab import console
from alignlab.errors import InputError
from alignlab.models.distributed import from_first, is_first
from alignlab.parts import Parts
from alignlab.recording.arms import ArmPlan, digest_of

# Told how much more is done; with `kept=True`, how much was done earlier, in no time.
Advance = Callable[..., None]


def nobody(done: int, kept: bool = False) -> None:
    """Who is told nothing."""


@dataclass(frozen=True)
class Kept:
    """Where what is found is kept, for a process that goes on; the folder is the caller's to lock and to clear.

    folder: of the parts; those of other models, texts or arms lie beside them undisturbed.
    model: a fingerprint of the model's weights.
    """

    folder: Path
    model: str


def kept_or_made(
    kept: Kept, what: Iterable[object], count: int, make: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The rows that `make` gives, plain containers: read where a process before has made them. A collective call.

    what: all that decides, beside the model, what they are.  count: how many rows there are.
    """
    parts = Parts(kept.folder, hashlib.sha256(repr([kept.model, *map(str, what)]).encode()).hexdigest()[:16])
    rows = from_first(lambda: _whole(parts, count))
    if rows is None:
        rows = make()
        if is_first():
            parts.write(0, rows)
    return rows


def _whole(parts: Parts, count: int) -> list[dict[str, Any]] | None:
    """The rows of the only part; None where it is not there, or not as it was written, which is said."""
    if not parts.part(0).is_file():
        return None
    try:
        rows = parts.read(0)
    except InputError:
        rows = []
    if len(rows) == count:
        return rows
    console.say(f"note: {parts.part(0)} is damaged; what it held is made again")
    return None


class KeptJobs:
    """The jobs of a plan of which everything is kept, and a place for the others; without `kept` there are none.

    what: all that decides, beside the model and the plan, what the jobs find, such as a fingerprint of the texts.
    """

    def __init__(self, kept: Kept | None, plan: ArmPlan, what: Iterable[object]) -> None:
        self._parts = Parts(kept.folder, _work(kept.model, plan, what)) if kept else None
        self._plan = plan

    def read(self) -> dict[int, list[Any]]:
        """By job what was found for each of its texts; on every rank what rank zero has read."""
        parts = self._parts
        return {} if parts is None else from_first(lambda: _read(parts, self._plan))

    def write(self, number: int, found: Iterable[Any]) -> None:
        """Keep what a job has found for each of its texts, plain containers; rank zero does."""
        if self._parts is not None and is_first():
            texts = self._plan.jobs[number].texts
            self._parts.write(number, [{"text": text, "found": one} for text, one in zip(texts, found, strict=True)])


def _read(parts: Parts, plan: ArmPlan) -> dict[int, list[Any]]:
    done = {}
    for number, job in enumerate(plan.jobs):
        if parts.part(number).is_file():
            try:
                rows = parts.read(number)
            except InputError:
                rows = []
            if [row["text"] for row in rows] == list(job.texts):
                done[number] = [row["found"] for row in rows]
            else:
                console.say(f"note: {parts.part(number)} is damaged; what it held is made again")
    return done


def _work(model: str, plan: ArmPlan, what: Iterable[object]) -> str:
    """What the parts of a work are told from others by."""
    digest = hashlib.sha256(repr([model, *map(str, what)]).encode())
    digest.update(" ".join(map(digest_of, plan.distinct)).encode())
    for job in plan.jobs:
        digest.update(f"{job.texts}\0{job.chunk.arms}\0".encode())
    return digest.hexdigest()[:16]
