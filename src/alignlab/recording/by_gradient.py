"""What neurons do for the likelihood of each document, to first order: activation times gradient.

With a the activation of a neuron on a token and L the log-likelihood of the document's counted tokens, a * dL/da is
what the neuron gives L there: what L loses without it, to first order. It is taken on every token on which L depends,
those of the prompt too: what a neuron does for a short answer it does before it, and on the last token it does nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, ClassVar, cast, get_args

import torch
from torch import Tensor, nn
from transformers.quantizers import AutoHfQuantizer

from alignlab.errors import InputError, Problem, UnsupportedModelError, refuse_any
from alignlab.models.access import observe
from alignlab.models.differentiable import differentiable
from alignlab.models.experts import refuse_gradients
from alignlab.models.flops import TextFlops, text_flops
from alignlab.models.options import SiteName
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses
from alignlab.models.sites import find_sites
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.importance import Wanted
from alignlab.neurons.options import AnswerProbability
from alignlab.recording.pieces import ProbeBatch


class GradientMeasure:
    """What the measures of this file share: a forward and a backward pass a batch, and a number of each document.

    A model keeps what the backward pass needs, and of each site (B, T, N) twice. Weights get no gradient, modes and
    random numbers stay as they are.

    options: the names of those that `Wanted.options` may have.
    """

    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module, wanted: Wanted) -> None:
        """Raises InputError for options, sites that the model does not have, and weights that pass no gradient on."""
        unknown = [name for name in wanted.options if name not in self.options]
        refuse_any(
            [Problem(f"options.{name}", "set", f"one of {', '.join(self.options) or 'none'}") for name in unknown]
        )
        if not wanted.sites:
            raise InputError.of("sites", "none", "one or more")
        _check_weights(model)
        self._model = model
        self._sites = {at: find_sites(model, cast("SiteName", at)) for at in wanted.sites}
        for at, sites in self._sites.items():
            refuse_gradients(at, sites[0].experts)

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return {at: (len(sites), sites[0].width) for at, sites in self._sites.items()}

    def of(self, batch: ProbeBatch, context: Callable[[], AbstractContextManager[object]]) -> dict[str, Tensor]:
        """See `recording.importance.Measure`."""
        held: dict[tuple[str, int], Tensor] = {}
        predicting = predicting_rows(batch.counted.to(batch.input_ids.device))
        with ExitStack() as stack:
            stack.enter_context(differentiable(self._model))
            for at, sites in self._sites.items():
                stack.enter_context(observe(sites, partial(_hold, held, at), for_gradients=True))
            with only_rows(self._model, predicting), context():
                logits = self._model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
                ).logits
            losses = token_losses(logits, batch.input_ids, predicting)
            _check_gradients(held)
            gradients = dict(zip(held, torch.autograd.grad(losses.sum(), [*held.values()]), strict=True))
        marked = before_last(batch.counted).to(losses.device)
        shape = (*marked.shape, -1)
        weights = self._weights(*_by_document(batch, losses.detach())).unsqueeze(1)
        found = {}
        for at, (layers, neurons) in self.shapes.items():
            found[at] = torch.empty((len(marked), layers, neurons), dtype=torch.float64, device=losses.device)
            for layer in range(layers):
                activations, slopes = held.pop((at, layer)).detach(), gradients.pop((at, layer))
                effects = effects_of(activations.reshape(shape), slopes.reshape(shape))
                found[at][:, layer] = self._finished(self._reduced(effects, marked).double() * weights)
        return found

    def flops(self, sizes: Sequence[tuple[int, int]]) -> int:
        """Operations for documents of so many tokens, of which so many are counted; the model is on the meta device.

        Backwards a linear map takes one product for what it read, and each of attention's two products takes two. That
        the first layer is not followed back to what it read is left out.
        """
        forward = text_flops(self._model, backward=False)
        both = TextFlops(2 * forward.token, 3 * forward.square, 2 * forward.answer)
        return sum(both.of((tokens, tokens**2, counted)) for tokens, counted in sizes)

    def memory(self, documents: int, tokens: int, counted: int) -> int:
        """Bytes of a batch beside the weights; the model is on the meta device, in its own type and eager attention.

        documents, tokens: B and T of the batch.  counted: tokens whose losses are taken.
        """
        kept: dict[int, Tensor] = {}  # by storage: what the backward pass needs

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        ids = torch.zeros(documents, tokens, dtype=torch.int64, device="meta")
        rows = ids.new_zeros(counted)
        saving = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with torch.device("meta"), differentiable(self._model), only_rows(self._model, rows), saving:
            logits = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            token_losses(logits, ids, rows)
        for weight in self._model.parameters():
            kept.pop(weight.untyped_storage()._cdata, None)
        # The gradients at the sites, all of which are there together.
        gradients = documents * tokens * logits.element_size() * sum(math.prod(shape) for shape in self.shapes.values())
        return int(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) + gradients)

    def _reduced(self, effects: Tensor, marked: Tensor) -> Tensor:
        """One number of each document and neuron, (B, N), from (B, T, N); those not `marked`, (B, T), do not count."""
        raise NotImplementedError

    def _weights(self, likelihood: Tensor, tokens: Tensor) -> Tensor:
        """What each document is multiplied by, (B,) float64, from its log-likelihood in nats, float64, and length."""
        return torch.ones_like(likelihood)

    def _finished(self, values: Tensor) -> Tensor:
        """What a document's importance is, (B, N), of the weighted numbers."""
        return values


class Relevance(GradientMeasure):
    """The sum over tokens of a * dL/da: the nats that go without the neuron, to first order."""

    def _reduced(self, effects: Tensor, marked: Tensor) -> Tensor:
        return effects.masked_fill_(~marked.unsqueeze(2), 0).sum(dim=1)


class Attribution(GradientMeasure):
    """p * max over tokens of a * dp/da, p being the probability of a document's answer (Yamamoto et al. 2025).

    As dp/da = p * dL/da with p = exp(L), this is p^2 * max(a * dL/da). With the geometric mean of its T tokens'
    probabilities, p = exp(L / T), it is p^2 / T * max(a * dL/da): of an answer of one token they are the same.

    Its options are `probability`, `answer` for the first and `token` for the second; and `control`, true for documents
    of a control set, whose negative numbers count as 0, as in the paper's code.
    """

    options = ("probability", "control")

    def __init__(self, model: nn.Module, wanted: Wanted) -> None:
        probability = wanted.options.get("probability", "token")
        require_one_of("options.probability", probability, get_args(AnswerProbability))
        super().__init__(model, wanted)
        self._by_token = probability == "token"
        self._control = bool(wanted.options.get("control", False))

    def _reduced(self, effects: Tensor, marked: Tensor) -> Tensor:
        most = effects.masked_fill_(~marked.unsqueeze(2), -torch.inf).amax(dim=1)
        return most.masked_fill_(~marked.any(dim=1, keepdim=True), 0)

    def _weights(self, likelihood: Tensor, tokens: Tensor) -> Tensor:
        parts = tokens.clamp(min=1) if self._by_token else torch.ones_like(tokens)
        return (2 * likelihood / parts).exp() / parts

    def _finished(self, values: Tensor) -> Tensor:
        return values.clamp_(min=0) if self._control else values


def effects_of(activations: Tensor, gradients: Tensor) -> Tensor:
    """a * dL/da in float32, or float64; the gradients are those of losses, which fall where the likelihood rises."""
    exact = torch.promote_types(activations.dtype, torch.float32)
    return activations.to(exact) * gradients.to(exact).neg()


def before_last(counted: Tensor) -> Tensor:
    """The tokens of each row before its last counted one: (B, T) bool.

    On these the losses of the counted tokens depend. What a model makes of the last, and of those behind it, predicts
    nothing that is counted.
    """
    behind = counted.long().flip(1).cumsum(dim=1).flip(1) > 0  # it or one behind it is counted
    return torch.cat([behind[:, 1:], torch.zeros_like(behind[:, :1])], dim=1)


def _check_weights(model: nn.Module) -> None:
    """Refuse weights of which transformers says that nothing can be differentiated through them."""
    config: Any = model.config
    given = getattr(config, "quantization_config", None)
    if given is not None and not AutoHfQuantizer.from_config(given, pre_quantized=True).is_trainable:
        method = given["quant_method"] if isinstance(given, dict) else given.quant_method
        raise _undifferentiable(f"weights quantised by {getattr(method, 'value', method)}")


def _check_gradients(held: Mapping[tuple[str, int], Tensor]) -> None:
    """Refuse a model that has computed some activations in a way that torch cannot follow back."""
    if cut := dict.fromkeys(at for (at, _), activations in held.items() if not activations.requires_grad):
        raise _undifferentiable(f"activations at {', '.join(cut)} without a gradient")


def _undifferentiable(found: str) -> UnsupportedModelError:
    expected, fix = (
        "a model that can be differentiated",
        "Load the weights unquantised, or in 4 or 8 bits by bitsandbytes.",
    )
    return UnsupportedModelError.of("model.source", found, expected, fix)


def _hold(held: dict[tuple[str, int], Tensor], at: str, layer: int, activations: Tensor) -> None:
    held[at, layer] = activations


def _by_document(batch: ProbeBatch, losses: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihood of the counted tokens of each document, (B,) float64, and how many have one, (B,) int64."""
    tokens = batch.counted[:, 1:].sum(dim=1).to(losses.device)
    rows = torch.arange(len(tokens), device=losses.device).repeat_interleave(tokens, output_size=len(losses))
    nats = torch.zeros(len(tokens), dtype=torch.float64, device=losses.device).index_add_(0, rows, losses.double())
    return -nats, tokens
