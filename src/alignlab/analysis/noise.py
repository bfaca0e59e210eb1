"""How sure the counts of records are: resamples of their shards, kept by content so that none is drawn twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import alignlab.analysis
import alignlab.neurons
from alignlab import console
from alignlab.analysis.snapshots import Snapshot, place_of
from alignlab.checksums import read_checked, save_checked
from alignlab.errors import InputError
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import as_array
from alignlab.neurons.identifiers import Identifier
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.reassigned import DRAWS, movement, rank_p
from alignlab.neurons.summary import members_of
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import bootstrap, chance_level, resampled_losses, resamples_digest


@cache
def _code() -> str:
    """A digest of the code that resamples go through: what other code has kept is not taken for what this one gives."""
    digest = hashlib.sha256()
    for package in (alignlab.neurons, alignlab.analysis):
        for file in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


# By `place_of` a count, the change that reassigned movement brings: its mean, the ends between which 95 % of the draws
# lie, and the p of the change that was found among them.
Movement = Mapping[tuple[object, ...], tuple[float, float, float, float]]


@dataclass(frozen=True)
class Noise:
    """Resamples of one record, and how often chance alone would give each kind.

    content: a digest of all that they are drawn from.
    values: (R, rows) float64, the `rows` of its snapshot in each resample; NaN where they are not known by shard.
    kept: (L, N) float64, share of the resamples in which a neuron is of the same kind, at anchored thresholds.
    """

    content: str
    values: Floats
    kept: Tensor
    chance: Mapping[Kind, float]


@cache
def _say_once(note: str) -> None:
    console.complain(note)


@dataclass(frozen=True)
class Kept:
    """Tensors in a file whose name, which it holds too, tells what they were made from."""

    path: Path

    def read(self) -> dict[str, Tensor] | None:
        """What was stored; None where nothing was. What is damaged is derived: that is said, and it is made again."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors, own = read_checked(self.path, file), (file.metadata() or {}).get("key") == self.path.stem
        except (SafetensorError, InputError):
            own = False
        if own:
            return tensors
        console.complain(f"note: {self.path} is damaged, or another file; what it held is drawn again.")
        return None

    def write(self, tensors: dict[str, Tensor]) -> None:
        """Keep them; where nothing can be written, as in somebody else's run, that is said, and nothing is kept."""
        try:
            save_checked(self.path, tensors, {"format": "alignlab-resamples", "key": self.path.stem})
        except OSError as error:
            _say_once(f"note: {self.path.parent} cannot be written ({error.strerror}): what is drawn is not kept")


@dataclass(frozen=True)
class Resampling:
    """How records are resampled, and where what was drawn is kept.

    options: of the identifier, plain; they belong to the key.
    """

    identifier: Identifier
    options: Mapping[str, Any]
    convention: Convention
    resamples: int
    seed: int
    cache: Path

    def kept(self, key: Mapping[str, Any]) -> Kept:
        """Where what these resamples say is kept; the key has all that it depends on beside the resampling itself."""
        own = [_code(), self.options, self.convention, self.resamples, self.seed]
        digest = hashlib.sha256(json.dumps([own, key], sort_keys=True).encode()).hexdigest()
        return Kept(self.cache / f"{digest[:24]}.safetensors")

    def digest_of(self, counts: ActivationCounts) -> str:
        """What records share whose resamples are of the same documents."""
        return resamples_digest(counts, self.resamples, self.seed)

    def noise_of(self, counts: ActivationCounts, now: Snapshot, anchor: Classification) -> Noise:
        """Resample a record: anchored with tau, lambda and cut held, re-estimated with tau and cut taken anew."""
        content = _content(counts)
        anchored = self._resamples(counts, content, now, anchor)
        own = self._resamples(counts, content, now, None)
        known = [anchored["values"].numpy(), own["values"].numpy()]
        losses = resampled_losses(counts, self.resamples, self.seed)
        if losses is not None:
            members = members_of(now.groups.values(), counts.languages)
            known += [losses, *(losses[:, chosen].mean(axis=1, keepdims=True) for chosen in members)]
        values = np.full((self.resamples, len(now.rows)), np.nan)
        found = np.hstack(known)
        values[:, : found.shape[1]] = found
        return Noise(content, values, anchored["kept"], self._chance(counts, content, anchor))

    def _resamples(
        self, counts: ActivationCounts, content: str, now: Snapshot, anchor: Classification | None
    ) -> dict[str, Tensor]:
        held = _held(anchor) if anchor else None
        groups = {group: sorted(members) for group, members in now.groups.items()}
        kept = self.kept({"counts of": content, "groups": groups, "thresholds": held})
        stored = kept.read()
        if stored is None:
            drawn = bootstrap(
                counts,
                self.identifier,
                now.trained,
                self.convention,
                reference=next(iter(now.reference), None),
                anchor=anchor,
                resamples=self.resamples,
                seed=self.seed,
            )
            stored = {"values": torch.from_numpy(drawn.values), "kept": drawn.kept}
            kept.write(stored)
        return stored

    def movement_of(
        self,
        counts: ActivationCounts,
        noise: Noise,
        now: Snapshot,
        first: ActivationCounts,
        first_noise: Noise,
        before: Sequence[Row],
    ) -> Movement:
        """What reassigned movement since the first record brings to each anchored count of a record.

        before: those counts of the first record.
        """
        groups = {group: sorted(members) for group, members in now.groups.items()}
        contents = [first_noise.content, noise.content]
        kept = self.kept({"movement of": contents, "groups": groups, "thresholds": _held(now.result), "draws": DRAWS})
        stored = kept.read()
        if stored is None:
            reference = next(iter(now.reference), None)
            changes = movement(
                first, counts, self.identifier, now.result, now.trained, self.convention, reference=reference,
                seed=self.seed,
            )  # fmt: skip
            ends = np.quantile(changes, (0.025, 0.975), axis=0)
            found = np.array([row.value - old.value for row, old in zip(now.anchored, before, strict=True)])
            numbers = np.vstack([changes.mean(axis=0), ends, rank_p(changes, found)])
            stored = {"movement": torch.from_numpy(numbers)}
            kept.write(stored)
        mean, low, high, p = stored["movement"].tolist()
        return dict(zip(map(place_of, now.anchored), zip(mean, low, high, p, strict=True), strict=True))

    def _chance(self, counts: ActivationCounts, content: str, anchor: Classification) -> dict[Kind, float]:
        kept = self.kept({"chance of": content, "thresholds": _held(anchor)})
        stored = kept.read()
        if stored is None:
            found = chance_level(counts, self.identifier, self.convention, anchor=anchor, seed=self.seed)
            stored = {kind.label: torch.tensor(number, dtype=torch.float64) for kind, number in found.items()}
            kept.write(stored)
        return {kind: float(stored[kind.label]) for kind in Kind if kind.label in stored}


def _held(anchor: Classification) -> dict[str, Any]:
    """All that classifying at its thresholds depends on."""
    return {**anchor.thresholds, "cut": anchor.cut}


def _content(counts: ActivationCounts) -> str:
    """A digest of all that resamples are drawn from."""
    digest = hashlib.sha256(json.dumps([counts.languages, counts.shape, counts.site, counts.scope]).encode())
    routed = [counts.routed] if counts.routed is not None and counts.denominator == "routed" else []
    for tensor in (counts.firings, counts.tokens, *routed):
        array = as_array(tensor)
        digest.update(f"{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
