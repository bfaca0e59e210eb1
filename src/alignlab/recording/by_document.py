"""What is kept of each document: its losses, and the means of some neurons' activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.pieces import Piece, ProbeBatch


class DocumentLosses(Observer):
    """Negative log-likelihood of the counted tokens of each document.

    nats: language -> (D,) float64, summed over the counted tokens that have a predecessor.
    tokens: language -> (D,) int64, how many those are.
    """

    losses = True

    def start(self, extent: Extent) -> None:
        self.probe = extent.probe
        self.nats: dict[str, Tensor] = {}
        self.tokens: dict[str, Tensor] = {}

    def begin(self, language: str) -> None:
        self._documents = len(self.probe.documents[language])
        self._seen: list[tuple[Tensor, Tensor]] = []  # losses, and the document of each

    def finish(self, batch: ProbeBatch, losses: Tensor) -> None:
        # The first token of a document has no predecessor. Moved to the CPU once a language: a transfer a batch would
        # make the device wait.
        counts = batch.counted[:, 1:].sum(dim=1).to(batch.numbers.device)
        self._seen.append((losses, batch.numbers.repeat_interleave(counts, output_size=len(losses))))

    def parts(self) -> Mapping[str, Part]:
        nats = torch.zeros(self._documents, dtype=torch.float64)
        tokens = torch.zeros(self._documents, dtype=torch.int64)
        if self._seen:
            documents = torch.cat([numbers for _, numbers in self._seen]).cpu()
            nats.index_add_(0, documents, torch.cat([losses for losses, _ in self._seen]).cpu().double())
            tokens = torch.bincount(documents, minlength=self._documents)
        return {"nats": Part(nats), "tokens": Part(tokens)}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        self.nats[language], self.tokens[language] = merged["nats"].cpu(), merged["tokens"].cpu()

    def by_shard(self) -> tuple[Tensor, Tensor]:
        """Nats and tokens of each language's shards: (G, S) float64 and (G, S) int64."""

        def added(documents: Mapping[str, Tensor]) -> Tensor:
            return torch.stack(
                [
                    values.new_zeros(self.probe.shards).index_add_(
                        0, torch.from_numpy(self.probe.shards_of(language)), values
                    )
                    for language, values in documents.items()
                ]
            )

        return added(self.nats), added(self.tokens)


class DocumentMeans(Observer):
    """Mean activation of chosen neurons over the counted tokens of each document; NaN where it has none.

    What median, percentile or a classifier needs, which do not stream. It holds one language at a time, of D documents
    4 (or, for a model in double precision, 8) bytes a document and chosen neuron: 14,336 neurons of one layer and 250
    documents are 14 MB. So whole models are gathered some layers at a time, or for the neurons that need it.

    neurons: layer -> (n,) int64, the chosen ones of that layer.
    keep: called on every rank after each language with (language, {layer: (D, n) means}); n in the order chosen, D in
        the order of the probe.
    """

    def __init__(self, neurons: Mapping[int, Tensor], keep: Callable[[str, dict[int, Tensor]], None]) -> None:
        self.neurons = {layer: chosen.to(torch.int64) for layer, chosen in neurons.items()}
        self.keep = keep

    def start(self, extent: Extent) -> None:
        self.extent = extent
        outside = [
            layer
            for layer, chosen in self.neurons.items()
            if not 0 <= layer < extent.layers
            or (len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < extent.neurons)
        ]
        if outside:
            raise ValueError(f"neurons of layers {outside}, of {extent.layers} x {extent.neurons} neurons")
        self._on_device = {layer: chosen.to(extent.device) for layer, chosen in self.neurons.items()}

    def begin(self, language: str) -> None:
        documents = self.extent.probe.documents[language]
        self._means = {
            layer: torch.zeros((len(documents), len(chosen)), dtype=self.extent.floats, device=self.extent.device)
            for layer, chosen in self.neurons.items()
        }
        silent = [not self.extent.probe.counted(document).any() for document in documents]
        self._silent = torch.tensor(silent, dtype=torch.bool)

    def see(self, piece: Piece) -> None:
        if piece.layer not in self.neurons:
            return
        chosen, span = self._on_device[piece.layer], piece.span
        whole = torch.equal(self.neurons[piece.layer], torch.arange(self.extent.neurons))
        sums = piece.document_sums(None if whole else chosen)
        means = sums / span.counted.sum(dim=1).clamp(min=1).unsqueeze(1)
        # Of each document there is one piece a layer.
        self._means[piece.layer].index_copy_(0, span.numbers, means.to(self.extent.floats))

    def parts(self) -> Mapping[str, Part]:
        return {str(layer): Part(means) for layer, means in self._means.items()}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        means = {layer: merged[str(layer)].cpu() for layer in self.neurons}
        for values in means.values():
            values[self._silent] = torch.nan
        self._means = {}
        self.keep(language, means)
