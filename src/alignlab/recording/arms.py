"""Which arms go through a model together: each that differs once, in chunks that share the most lower layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from alignlab.data.batching import token_budget_batches
from alignlab.models.edits import Arm, NeuronEdit

# More arms in a chunk save little more of the lower layers, and change more neurons in every row.
_MOST_TOGETHER = 16


@dataclass(frozen=True)
class Chunk:
    """Arms that are applied together, each to the same texts.

    arms: their numbers among the distinct ones.
    first: the first layer that any of them changes; the number of layers where none changes any.
    """

    arms: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Job:
    """One forward: all arms of a chunk on some texts. texts: their numbers."""

    chunk: Chunk
    texts: tuple[int, ...]

    @property
    def rows(self) -> int:
        return len(self.texts) * len(self.chunk.arms)


@dataclass(frozen=True)
class ArmPlan:
    """How texts go through a model under arms.

    distinct: the arms that differ, without what changes nothing; those that are asked for first come first.
    places: (A,) for each arm that was asked for, its number among the distinct ones.
    jobs: chunk after chunk, in each of them the longest texts first.
    layers: of the model.
    """

    distinct: tuple[Arm, ...]
    places: tuple[int, ...]
    jobs: tuple[Job, ...]
    layers: int

    def forwards(self, jobs: Sequence[Job] | None = None, *, shared: bool = True) -> float:
        """What jobs (by default all) cost, in forwards of one text through all layers.

        shared: lower layers are run once for all arms of a chunk.
        """
        below = [job.chunk.first if shared else 0 for job in (self.jobs if jobs is None else jobs)]
        return sum(
            (len(job.texts) * first + job.rows * (self.layers - first)) / self.layers
            for job, first in zip(self.jobs if jobs is None else jobs, below, strict=True)
        )


def plan_arms(
    lengths: Sequence[int],
    arms: Sequence[Arm],
    *,
    layers: int,
    max_tokens: int,
    filled: int | None = None,
    batches: Callable[[Sequence[int], int], list[list[int]]] = token_budget_batches,
) -> ArmPlan:
    """Put arms and texts together.

    lengths: tokens of each text.
    layers: L of the model.
    max_tokens: tokens of a forward at most, all rows and their padding counted, so that memory does not grow with the
        arms; only a text that is longer by itself exceeds it.
    filled: up to how many tokens several texts are put into a forward, where it is not up to `max_tokens`. A text may
        still be there under as many arms as `max_tokens` lets it, so that long texts share their lower layers too.
    batches: how texts of these lengths are put into batches of so many tokens at most.
    """
    effective = [without_effectless(arm) for arm in arms]
    numbers: dict[str, int] = {}
    places = tuple(numbers.setdefault(digest_of(arm), len(numbers)) for arm in effective)
    distinct = tuple(effective[places.index(number)] for number in range(len(numbers)))
    firsts = [first_layer(arm, layers) for arm in distinct]
    order = sorted(range(len(distinct)), key=lambda number: (-firsts[number], number))
    together = max(1, min(_MOST_TOGETHER, max_tokens // max(lengths, default=1)))
    ends = [0, *_chunk_ends([firsts[number] for number in order], layers, together)]
    chunks = [Chunk(tuple(order[start:end]), firsts[order[end - 1]]) for start, end in pairwise(ends)]
    most = min(max_tokens, filled or max_tokens)
    jobs = [Job(chunk, tuple(batch)) for chunk in chunks for batch in batches(lengths, max(1, most // len(chunk.arms)))]
    return ArmPlan(distinct, places, tuple(jobs), layers)


def _chunk_ends(firsts: Sequence[int], layers: int, together: int) -> list[int]:
    """Where to cut arms into chunks of at most `together`, so that the fewest layers are run, in the fewest chunks.

    firsts: (A,) the first layer that each arm changes, the highest first.
    An arm that changes a low layer costs the others of its chunk what they could have shared. By dynamic programming:
    the best cuts of the first arms, one arm more at a time.
    """
    best: list[tuple[int, int, list[int]]] = [(0, 0, [])]  # layers run for a text, chunks, their ends
    for end in range(1, len(firsts) + 1):
        first = firsts[end - 1]
        found = [
            (best[start][0] + first + (end - start) * (layers - first), best[start][1] + 1, start)
            for start in range(max(0, end - together), end)
        ]
        run, chunks, start = min(found)
        best.append((run, chunks, [*best[start][2], end]))
    return best[-1][2]


def without_effectless(arm: Arm) -> Arm:
    """The same arm without edits of no neuron, and without neurons whose gain is 1 and whose offset is 0."""
    changing = []
    for one in arm:
        kept = (one.gain != 1) | (one.offset != 0)
        parts = {name: getattr(one, name)[kept] for name in ("layers", "neurons", "gain", "offset")}
        changing += [one if bool(kept.all()) else replace(one, **parts)] if bool(kept.any()) else []
    return tuple(changing)


def digest_of(arm: Arm) -> str:
    """Sixteen hexadecimal digits that are the same for arms that do the same, however their neurons are ordered.

    The order of edits counts; what changes nothing does not.
    """
    digest = hashlib.sha256()
    for one in without_effectless(arm):
        digest.update(f"{one.at}\0{one.scope}\0{len(one.layers)}\0".encode())
        digest.update(_in_order(one))
    return digest.hexdigest()[:16]


def first_layer(arm: Arm, layers: int) -> int:
    """The first layer that an arm changes; `layers`, their number, where it changes none."""
    return min((int(one.layers.min()) for one in arm if len(one.layers)), default=layers)


def _in_order(one: NeuronEdit) -> bytes:
    """Everything that an edit holds of its neurons, in their order."""
    width = int(one.neurons.max()) + 1
    order = (one.layers.long() * width + one.neurons.long()).argsort()
    integers = [getattr(one, name).long()[order] for name in ("layers", "neurons")]
    # 0 is added to make one of the two zeros.
    numbers = [getattr(one, name).float()[order] + 0.0 for name in ("gain", "offset")]
    return b"".join(part.cpu().numpy().tobytes() for part in (*integers, *numbers))
