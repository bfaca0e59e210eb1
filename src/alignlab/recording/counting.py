"""The counting pass: every document of a probe once through the model, and how often each neuron was active.

One forward a document, without gradients, in evaluation mode, through the root module. A batch's firings are one matrix
product a layer: `onehot(shard, token) @ (activation > 0)`, exact in float32 below 2**24 tokens, added to integers. No
activation is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from alignlab.data.batching import pad
from alignlab.data.encoding import Document
from alignlab.models.distributed import rank, sum_over_ranks, world_size
from alignlab.models.modes import evaluating
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses
from alignlab.models.sites import Site, observe
from alignlab.neurons.counts import ActivationCounts, smallest_dtype
from alignlab.recording.probes import Probe


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
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda tokens: None,
) -> ActivationCounts:
    """Count the firings of all sites on a probe; a collective call where there are several ranks.

    Languages are counted one after another, so that only one language's integers are on the device. Each language's
    batches are dealt to the ranks; a rank may get none.

    context: entered around each forward, such as an autocast.  advance: told the tokens of each batch done.
    loss: also sum the negative log-likelihood of the counted tokens.
    """
    tokens = np.stack([probe.tokens(language) for language in probe.languages])
    shape = (len(probe.languages), probe.shards, len(sites), sites[0].width)
    firings = torch.zeros(shape, dtype=smallest_dtype(int(tokens.max())))
    losses = torch.zeros(len(probe.languages), dtype=torch.float64)
    predicted = torch.zeros(len(probe.languages), dtype=torch.int64)
    documents = torch.zeros(tokens.shape, dtype=torch.int64)
    with evaluating(model), torch.no_grad():
        for index, language in enumerate(probe.languages):
            counted = _count_language(model, sites, probe, language, loss=loss, context=context, advance=advance)
            firings[index] = counted.firings.to(firings.dtype)
            losses[index], predicted[index] = counted.loss, counted.predicted
            sizes = np.bincount(np.arange(len(probe.documents[language])) % probe.shards, minlength=probe.shards)
            documents[index] = torch.from_numpy(sizes)
    return ActivationCounts(
        languages=probe.languages,
        firings=firings,
        tokens=torch.from_numpy(tokens),
        documents=documents,
        site="mlp.act",
        scope=probe.scope,
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        trained_languages=origin.trained_languages,
        data_fingerprint=probe.fingerprint,
        loss_sum=losses if loss else None,
        loss_tokens=predicted if loss else None,
    )


@dataclass(frozen=True)
class _Language:
    firings: Tensor  # (S, L, N) int64, over all ranks
    loss: float
    predicted: int


def _count_language(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe,
    language: str,
    *,
    loss: bool,
    context: Callable[[], AbstractContextManager[object]],
    advance: Callable[[int], None],
) -> _Language:
    device = next(model.parameters()).device
    counts = torch.zeros((probe.shards, len(sites), sites[0].width), dtype=torch.int64, device=device)
    losses: list[Tensor] = []
    onehot = torch.empty(0)

    def see(layer: int, activations: Tensor) -> None:
        active = (activations.reshape(-1, activations.shape[-1]) > 0).float()
        # An autocast would round the sums to bfloat16, which stalls at 256.
        with torch.autocast(activations.device.type, enabled=False):
            counts[:, layer] += (onehot @ active).to(torch.int64)

    batches = probe.batches(language)
    with observe(list(sites), see):
        for numbers in batches[rank() :: world_size()]:
            documents = [probe.documents[language][number] for number in numbers]
            batch = pad(documents, pad_id=0)
            mask = _counted(probe, documents, batch.input_ids.shape[1])
            onehot = _onehot(mask, [number % probe.shards for number in numbers], probe.shards).to(device)
            input_ids = batch.input_ids.to(device)
            wanted = mask.to(device) if loss else torch.zeros_like(mask, device=device)
            rows = predicting_rows(wanted)
            with only_rows(model, rows), context():
                logits = model(
                    input_ids=input_ids, attention_mask=batch.attention_mask.to(device), use_cache=False
                ).logits
            if loss:
                losses.append(token_losses(logits, input_ids, rows))
            advance(sum(len(document) for document in documents))
    # Moved once a language: a transfer a batch would make the device wait.
    together = torch.cat(losses).cpu().double() if losses else torch.zeros(0, dtype=torch.float64)
    total = sum_over_ranks(
        torch.stack([together.sum(), torch.tensor(float(len(together)), dtype=torch.float64)]).to(device)
    )
    return _Language(sum_over_ranks(counts).cpu(), float(total[0]), int(total[1]))


def _counted(probe: Probe, documents: Sequence[Document], length: int) -> Tensor:
    """Which positions of a batch are counted: (B, T) bool."""
    mask = np.zeros((len(documents), length), dtype=bool)
    for row, document in enumerate(documents):
        mask[row, : len(document)] = probe.counted(document)
    return torch.from_numpy(mask)


def _onehot(mask: Tensor, shard: Sequence[int], shards: int) -> Tensor:
    """1 where a counted position belongs to a shard: (S, B * T) float32."""
    onehot = torch.zeros((shards, *mask.shape))
    onehot[torch.tensor(shard), torch.arange(len(mask))] = mask.float()
    return onehot.flatten(1)
