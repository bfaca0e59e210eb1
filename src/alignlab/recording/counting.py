"""Counting: how often each neuron is active on a probe, as the record that everything else is derived from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.models.sites import Site
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE
from alignlab.recording.by_document import DocumentLosses
from alignlab.recording.finite import LastLayerFinite, refuse_diverged
from alignlab.recording.passing import Progress, pass_through
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import Answers
from alignlab.recording.tallies import build_tallies


@dataclass(frozen=True)
class Origin:
    """Where counts come from, for the header of their file."""

    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()
    reference: str = REFERENCE


def count_firings(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe | PromptProbe,
    *,
    origin: Origin,
    loss: bool = True,
    statistics: Sequence[str] = ("documents",),
    answers: Answers | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> ActivationCounts:
    """Count the firings of all sites on a probe; a collective call where there are several ranks.

    loss: also sum the negative log-likelihood of the counted tokens.
    statistics: what is counted beside the firings, of `tallies.STATISTICS`.
    answers, context, progress: as for `pass_through`, which also says what is raised; and InputError for a model that
        has diverged, all of whose neurons would pass for silent.
    """
    routed = sites[0].experts is not None
    tallies, losses, finite = build_tallies(statistics, routed), DocumentLosses(), LastLayerFinite()
    read = pass_through(
        model,
        probe,
        [*tallies, losses if loss else finite],
        sites=sites,
        answers=answers,
        context=context,
        progress=progress,
    )
    nats, predicted = losses.by_shard() if loss else (None, None)
    # Losses tell it too, and are there anyway.
    diverged = (
        finite.languages if nats is None else [name for name, of in losses.nats.items() if not of.isfinite().all()]
    )
    refuse_diverged(diverged, origin.model, origin.step)
    fields: dict[str, Any] = {name: tensor for tally in tallies for name, tensor in tally.fields.items()}
    return ActivationCounts(
        languages=read.languages,
        tokens=torch.from_numpy(np.stack([read.tokens(language) for language in read.languages])),
        documents=torch.from_numpy(np.stack([read.shard_documents(language) for language in read.languages])),
        site=sites[0].at,
        scope=read.scope,
        denominator=read.denominator if routed else "all",
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        trained_languages=origin.trained_languages,
        reference=origin.reference,
        data_fingerprint=read.fingerprint,
        clusters=read.clusters,
        loss_sum=nats,
        loss_tokens=predicted,
        **fields,
    )
