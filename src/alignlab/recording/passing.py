"""The one pass: every document of a probe once through a model, with observers looking on.

One forward a document, in evaluation mode, through the root module. Languages come one after another, so that only one
language's numbers are on the device; the batches of each are dealt to the ranks, and every rank runs the same number of
forwards: those of a sharded model are collective, so a rank that is short of batches runs one that nobody sees. Ranks
speak once a language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from alignlab.errors import InputError
from alignlab.models.access import observe
from alignlab.models.differentiable import differentiable
from alignlab.models.distributed import rank, world_size
from alignlab.models.experts import Experts, Routed, refuse_gradients
from alignlab.models.modes import evaluating
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses
from alignlab.models.sites import Site
from alignlab.recording.observers import Extent, Observer, merged
from alignlab.recording.pieces import Piece, ProbeBatch, Span, cut, make_batch
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import Answers, respond
from alignlab.recording.routed_pieces import RoutedPiece

# Given how many tokens there are, a block that is told of each batch how many are done.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def pass_through(
    model: nn.Module,
    probe: Probe | PromptProbe,
    observers: Sequence[Observer],
    *,
    sites: Sequence[Site] = (),
    answers: Answers | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> Probe:
    """Pass a probe through a model; a collective call where there are several ranks.

    sites: whose neurons the observers see, one of every layer; none are needed for what is not of neurons.
    answers: where responses are kept, for a probe of prompts, which the model then answers first.
    context: entered around each forward, such as an autocast.
    Modes, gradients and random numbers of the model are left as they were. Edits (`models.access.edit`) that are made
    around the call are made in every forward, and are seen.

    Returns the probe as it was read, with all responses. Raises `InputError` for prompts without `answers`.
    """
    if isinstance(probe, PromptProbe):
        if answers is None:
            found = f"{probe.responses}, and the prompts have not been answered"
            raise InputError.of("probe.responses", found, "responses to count, or reference ones")
        probe = respond(probe, model, folder=answers.folder, step=answers.step, context=context, main=answers.main)
    parameter = next(model.parameters())
    extent = Extent(
        probe,
        len(sites),
        sites[0].width if sites else 0,
        torch.promote_types(parameter.dtype, torch.float32),
        parameter.device,
        sites[0].experts.count if sites and sites[0].experts else 0,
    )
    if sites and any(observer.gradients for observer in observers):
        refuse_gradients(sites[0].at, sites[0].experts)
    for observer in observers:
        observer.start(extent)
    experts = {site.layer: site.experts for site in sites if site.experts is not None}
    passing = _Pass(model, extent, observers, context, experts)
    with (
        evaluating(model),
        differentiable(model) if passing.gradients else torch.no_grad(),
        observe(sites, passing.see, for_gradients=passing.gradients),
        progress(sum(len(document) for documents in probe.documents.values() for document in documents)) as advance,
    ):
        for language in probe.languages:
            _read_language(passing, language, advance)
    return probe


def _read_language(passing: _Pass, language: str, advance: Callable[[int], None]) -> None:
    """This rank's batches of a language, and what all ranks have of it for the observers."""
    for observer in passing.observers:
        observer.begin(language)
    probe, device = passing.extent.probe, passing.extent.device
    for numbers in dealt(probe.batches(language)):
        passing.read(make_batch(probe, language, numbers, device))
        advance(sum(len(probe.documents[language][number]) for number in numbers))
    parts = [observer.parts() for observer in passing.observers]
    for observer, totals in zip(passing.observers, merged(parts, device), strict=True):
        observer.take(language, totals)


def dealt(batches: Sequence[list[int]]) -> Iterator[list[int]]:
    """This rank's batches, in order; an empty one where others have one more."""
    mine = batches[rank() :: world_size()]
    yield from mine
    if len(mine) < -(-len(batches) // world_size()):
        yield []


@dataclass
class _Pass:
    """The batch that is under way, for the hooks."""

    model: nn.Module
    extent: Extent
    observers: Sequence[Observer]
    context: Callable[[], AbstractContextManager[object]]
    experts: Mapping[int, Experts] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    held: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gradients = any(observer.gradients for observer in self.observers)
        self.losses = self.gradients or any(observer.losses for observer in self.observers)

    def read(self, batch: ProbeBatch) -> None:
        """One forward, and with gradients one backward."""
        self.shape = batch.input_ids.shape
        # As many activations as a token has: of experts, those of the ones that it is sent to.
        widths = [one.chosen * one.columns for one in self.experts.values()]
        width = max(widths, default=self.extent.neurons)
        self.spans = cut(batch, width) if width else []
        wanted = batch.counted if self.losses else torch.zeros_like(batch.counted)
        predicting = predicting_rows(wanted.to(batch.input_ids.device))
        with only_rows(self.model, predicting), self.context():
            logits = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
        losses = token_losses(logits, batch.input_ids, predicting)
        if self.gradients:
            self._differentiate(losses)
        if len(batch.numbers):
            for observer in self.observers:
                observer.finish(batch, losses.detach())

    def see(self, layer: int, activations: Tensor | Routed) -> None:
        """A layer of the forward under way: (B, T, N), or (B * T, N) as some families have them; or its experts."""
        if isinstance(activations, Routed):
            self._show_routed(layer, activations)
            return
        if self.gradients:
            self.held[layer] = activations
        self._show(layer, activations.detach())

    def _differentiate(self, losses: Tensor) -> None:
        layers = sorted(self.held)
        gradients = torch.autograd.grad(losses.sum(), [self.held[layer] for layer in layers])
        for layer, gradient in zip(layers, gradients, strict=True):
            self._show(layer, self.held.pop(layer).detach(), gradient)

    def _show(self, layer: int, activations: Tensor, grad: Tensor | None = None) -> None:
        """Show a layer to the observers that ask for gradients, or without any to all others."""
        whole = activations.reshape(*self.shape, -1)
        slopes = grad.reshape(whole.shape) if grad is not None else None
        # An autocast would round what is counted to bfloat16, which stalls at 256.
        with torch.autocast(whole.device.type, enabled=False), torch.no_grad():
            for span in self.spans:
                at = (span.rows, span.columns)
                piece = Piece(layer, span, whole[at], slopes[at] if slopes is not None else None)
                for observer in self.observers:
                    if observer.gradients == (grad is not None):
                        observer.see(piece)

    def _show_routed(self, layer: int, shown: Routed) -> None:
        """Show the experts of a layer to all observers."""
        layout = self.experts[layer]
        shown = replace(shown, activations=shown.activations.detach())
        with torch.autocast(shown.activations.device.type, enabled=False), torch.no_grad():
            for span in self.spans:
                piece = RoutedPiece.of(layer, span, shown, layout, self.shape[1])
                for observer in self.observers:
                    observer.see(piece)
