"""Half of a record: what an identifier finds on the even and on the odd shards tells how stable it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.importance import Importance
from alignlab.neurons.subset import subset
from alignlab.recording.dealing import shard_numbers
from alignlab.recording.means import ActivationMeans


@dataclass(frozen=True)
class SomeMeans:
    """The means of some documents: those whose cluster is in one of these shards, of so many."""

    whole: ActivationMeans
    shards: int
    taken: Sequence[int]

    @property
    def languages(self) -> tuple[str, ...]:
        return self.whole.languages

    @property
    def shape(self) -> tuple[int, int]:
        return self.whole.shape

    @cached_property
    def tokens(self) -> Mapping[str, Tensor]:
        return {name: self.whole.tokens[name][self._rows(name)] for name in self.languages}

    def layer(self, layer: int, language: str) -> Tensor:
        """See `LayerMeans.layer`."""
        return self.whole.layer(layer, language)[self._rows(language)]

    def _rows(self, language: str) -> Tensor:
        clusters = [cluster for _, cluster in self.whole.documents[language]]
        return torch.isin(torch.from_numpy(shard_numbers(clusters, self.shards)), torch.tensor(list(self.taken)))


def part_of(record: Any, shards: int, taken: Sequence[int]) -> Any:
    """A record of the documents in some of its shards alone."""
    if isinstance(record, ActivationMeans):
        return SomeMeans(record, shards, taken)
    if isinstance(record, Importance):
        return replace(record, shards=len(taken), only=tuple(taken))
    assert isinstance(record, ActivationCounts)
    return subset(record, shards=taken)
