"""The counting pass: every document of a probe once through the model, and how often each neuron was active.

One forward a document, without gradients, in evaluation mode, through the root module. What is counted of the
activations, and how exactly, is in `tallies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignlab.data.batching import Batch, pad
from alignlab.data.encoding import Document
from alignlab.errors import InputError, Problem
from alignlab.models.access import observe
from alignlab.models.distributed import rank, sum_over_ranks, world_size
from alignlab.models.modes import evaluating
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses
from alignlab.models.sites import Site
from alignlab.neurons.counts import ActivationCounts, smallest_dtype
from alignlab.recording.probes import Probe
from alignlab.recording.tallies import Extent, Piece, build_tallies, cut, tally


@dataclass(frozen=True)
class Origin:
    """Where counts come from, for the header of their file."""

    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()


def count_firings(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe,
    *,
    origin: Origin,
    loss: bool = True,
    statistics: Sequence[str] = ("documents",),
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda tokens: None,
) -> ActivationCounts:
    """Count the firings of all sites on a probe; a collective call where there are several ranks.

    Languages are counted one after another, so that only one language's integers are on the device. Each language's
    batches are dealt to the ranks; a rank may get none.

    loss: also sum the negative log-likelihood of the counted tokens.
    statistics: what is counted beside the firings, of `tallies.STATISTICS`.
    context: entered around each forward, such as an autocast.  advance: told the tokens of each batch done.
    Raises `InputError` for a probe of prompts that the model has yet to answer (`responses.respond`).
    """
    if probe.answering is not None:
        found = f"{probe.answering.responses}, and the prompts have not been answered"
        raise InputError(Problem("probe.responses", found, "responses to count, or reference ones"))
    tokens = np.stack([probe.tokens(language) for language in probe.languages])
    documents = np.stack([probe.shard_documents(language) for language in probe.languages])
    extent = Extent(
        shape=(probe.shards, len(sites), sites[0].width),
        tokens=smallest_dtype(int(tokens.max())),
        documents=smallest_dtype(int(documents.max())),
        floats=torch.promote_types(next(model.parameters()).dtype, torch.float32),
        device=next(model.parameters()).device,
    )
    tallied: dict[str, Any] = {}
    losses = torch.zeros((len(probe.languages), probe.shards), dtype=torch.float64)
    predicted = torch.zeros((len(probe.languages), probe.shards), dtype=torch.int64)
    with evaluating(model), torch.no_grad():
        for index, language in enumerate(probe.languages):
            counted = _count_language(
                model, sites, probe, language, extent, statistics, loss=loss, context=context, advance=advance
            )
            for name, tensor in counted.tallied.items():
                if name not in tallied:
                    tallied[name] = torch.empty((len(probe.languages), *tensor.shape), dtype=tensor.dtype)
                tallied[name][index] = tensor
            losses[index], predicted[index] = counted.losses, counted.predicted
    return ActivationCounts(
        languages=probe.languages,
        tokens=torch.from_numpy(tokens),
        documents=torch.from_numpy(documents),
        site=sites[0].at,
        scope=probe.scope,
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        trained_languages=origin.trained_languages,
        data_fingerprint=probe.fingerprint,
        loss_sum=losses if loss else None,
        loss_tokens=predicted if loss else None,
        **tallied,
    )


@dataclass(frozen=True)
class _Language:
    tallied: dict[str, Tensor]  # by their names in ActivationCounts, over all ranks
    losses: Tensor  # (S,) float64
    predicted: Tensor  # (S,) int64, how many tokens those losses are of


def _count_language(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe,
    language: str,
    extent: Extent,
    statistics: Sequence[str],
    *,
    loss: bool,
    context: Callable[[], AbstractContextManager[object]],
    advance: Callable[[int], None],
) -> _Language:
    device = extent.device
    tallies = build_tallies(statistics, extent)
    losses: list[Tensor] = []
    shards: list[Tensor] = []  # of the token that each loss is of
    pieces: list[Piece] = []
    with observe(list(sites), lambda layer, activations: tally(tallies, pieces, layer, activations)):
        for numbers in probe.batches(language)[rank() :: world_size()]:
            documents = [probe.documents[language][number] for number in numbers]
            batch = pad(documents, pad_id=0)
            mask = _counted(probe, documents, batch.input_ids.shape[1])
            of_documents = [number % probe.shards for number in numbers]
            pieces = cut(mask, of_documents, extent.shape[-1], device)
            wanted = mask if loss else torch.zeros_like(mask)
            losses.append(_forward(model, batch, wanted, device, context))
            # The first token of a document has no predecessor.
            shards.append(torch.tensor(of_documents).repeat_interleave(wanted[:, 1:].sum(dim=1)))
            advance(sum(len(document) for document in documents))
    # Only where ranks meet on the device: not every one (MPS) has float64.
    ranks = device if world_size() > 1 else torch.device("cpu")
    # Moved once a language: a transfer a batch would make the device wait.
    sums, predicted = torch.zeros((2, probe.shards), dtype=torch.float64)
    if losses:
        of_shards = torch.cat(shards)
        sums = torch.bincount(of_shards, torch.cat(losses).cpu().double(), minlength=probe.shards)
        predicted = torch.bincount(of_shards, minlength=probe.shards).double()
    total = sum_over_ranks(torch.stack([sums, predicted]).to(ranks)).cpu()
    collected = {name: tensor for each in tallies for name, tensor in each.collect().items()}
    return _Language(collected, total[0], total[1].long())


def _forward(
    model: nn.Module,
    batch: Batch,
    wanted: Tensor,
    device: torch.device,
    context: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """Forward a batch; the losses of the wanted tokens (B, T) that have a predecessor: (M,) float32."""
    input_ids, rows = batch.input_ids.to(device), predicting_rows(wanted.to(device))
    with only_rows(model, rows), context():
        logits = model(input_ids=input_ids, attention_mask=batch.attention_mask.to(device), use_cache=False).logits
    return token_losses(logits, input_ids, rows)


def _counted(probe: Probe, documents: Sequence[Document], length: int) -> Tensor:
    """Which positions of a batch are counted: (B, T) bool."""
    mask = np.zeros((len(documents), length), dtype=bool)
    for row, document in enumerate(documents):
        mask[row, : len(document)] = probe.counted(document)
    return torch.from_numpy(mask)
