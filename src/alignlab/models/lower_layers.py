"""Lower decoder layers are run once for the rows of a batch that differ only in higher ones.

Rows of a batch that hold the same text, and whose neurons are changed from some layer on, are the same below it. The
model is given all rows, so that whatever runs around the decoder layers needs to know of nothing; in front of the lower
layers their arguments are narrowed to one row of each group, and in front of the first layer in which the rows differ
the hidden states are repeated. Which arguments grow with the rows, and how, is seen in two forwards; nothing here knows
a family. A third forward is compared with the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from alignlab.errors import UnsupportedModelError
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.modes import evaluating

_LENGTH = 5
# Where a tensor is among the arguments of a layer: the number of the layer, then positions and names.
Path = tuple[Any, ...]


@dataclass(frozen=True)
class LowerLayers:
    """How the arguments of a model's decoder layers grow with the rows of a batch.

    entries: how many entries along the first axis belong to one row, by place; an argument that does not grow with the
        rows is not there. 1 for most, the number of heads where an argument has one entry for each head of each row.
    """

    entries: Mapping[Path, int]

    @contextmanager
    def once(self, model: nn.Module, until: int, copies: int) -> Iterator[None]:
        """Within the block, a forward of `model` runs the decoder layers before `until` on every `copies`-th row only.

        The batch holds groups of `copies` rows, one group after another, the same in every row of a group up to layer
        `until`. Hooks on the lower layers see the narrow batch. Nothing is done where nothing can be shared.
        """
        if until == 0 or copies == 1:
            yield
            return
        _, layers = decoder_layers(model)
        run = _Run(self.entries, copies)
        with ExitStack() as hooks:
            for number, layer in enumerate(layers[: until + 1]):
                change = run.narrow if number < until else run.repeat
                hooks.enter_context(layer.register_forward_pre_hook(_with_number(number, change), with_kwargs=True))
                if number < until:
                    hooks.enter_context(layer.register_forward_hook(run.hold))
            yield


@dataclass
class _Run:
    """A forward under way. held: the hidden states that the last of the narrow layers gave."""

    entries: Mapping[Path, int]
    copies: int
    held: Tensor | None = None
    # The same masks and positions are given to every layer: narrowed once. By identity, the original kept alive.
    narrowed: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def narrow(self, path: Path, tensor: Tensor) -> Tensor:
        if tensor is self.held or path not in self.entries or tensor.shape[0] == 1:
            return tensor
        if id(tensor) not in self.narrowed:
            groups = tensor.unflatten(0, (-1, self.copies, self.entries[path]))
            self.narrowed[id(tensor)] = tensor, groups[:, 0].flatten(0, 1).contiguous()
        return self.narrowed[id(tensor)][1]

    def repeat(self, _path: Path, tensor: Tensor) -> Tensor:
        if tensor is not self.held:
            return tensor
        self.held, self.narrowed = None, {}
        return tensor.repeat_interleave(self.copies, dim=0)

    def hold(self, _module: nn.Module, _args: object, output: Any) -> None:
        self.held = _hidden(output)


def find_lower_layers(model: nn.Module) -> LowerLayers:
    """See how the arguments of decoder layers grow with the rows, by three small forwards and one to compare.

    Raises `UnsupportedModelError` that says what was found where lower layers cannot be run once. Collective for a
    sharded model.
    """
    with evaluating(model), torch.no_grad():
        two, three = (_shapes(model, rows) for rows in (2, 3))
        entries: dict[Path, int] = {}
        for path, shape in two.items():
            other = three.get(path)
            if shape == other:
                continue
            if other is None or not shape or shape[0] % 2 or other != (shape[0] // 2 * 3, *shape[1:]):
                found = f"what layer {path[0]} is given at {path[1:]} has the shape {shape} for 2 texts, {other} for 3"
                raise UnsupportedModelError.of("model.source", found, "shapes that grow along the first axis")
            entries[path] = shape[0] // 2
        layers = LowerLayers(entries)
        _compare(model, layers)
    return layers


def _shapes(model: nn.Module, rows: int) -> dict[Path, tuple[int, ...]]:
    """The shape of each tensor that a decoder layer is given, but for the hidden states of the layer before."""
    _, layers = decoder_layers(model)
    held: list[Tensor] = []
    shapes: dict[Path, tuple[int, ...]] = {}

    def note(path: Path, tensor: Tensor) -> Tensor:
        if not any(tensor is one for one in held):
            shapes[path] = tuple(tensor.shape)
        return tensor

    def hold(_module: nn.Module, _args: object, output: Any) -> None:
        held[:] = [_hidden(output)]

    with ExitStack() as hooks:
        for number, layer in enumerate(layers):
            hooks.enter_context(layer.register_forward_pre_hook(_with_number(number, note), with_kwargs=True))
            hooks.enter_context(layer.register_forward_hook(hold))
        _logits(model, torch.arange(rows))
    return shapes


def _compare(model: nn.Module, lower: LowerLayers) -> None:
    """Refuse a model whose logits are others where all layers but the last are run once."""
    until = len(decoder_layers(model)[1]) - 1
    texts = torch.arange(3).repeat_interleave(2)
    plain = _logits(model, texts)
    try:
        with lower.once(model, until, copies=2):
            shared = _logits(model, texts)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        found = f"lower layers cannot be run on fewer rows ({str(error).strip().partition(chr(10))[0]})"
        raise UnsupportedModelError.of("model.source", found, "layers that run on any number of rows") from error
    # Batches of another shape round otherwise; a wrong row differs by as much as the logits themselves.
    limit = torch.finfo(plain.dtype).eps ** 0.5 * plain.abs().max()
    if not (difference := (plain - shared).abs().max()) <= limit:
        found = f"logits differ by {difference:.2g} where lower layers are run once"
        raise UnsupportedModelError.of("model.source", found, f"{limit:.2g} at most, by rounding")


def _logits(model: nn.Module, texts: Tensor) -> Tensor:
    """Logits of short texts by number, every second one padded; those of padding are 0."""
    device = next(model.parameters()).device
    vocabulary = min(1000, model.get_input_embeddings().num_embeddings)  # type: ignore[operator]
    columns = torch.arange(_LENGTH)
    ids = (texts.unsqueeze(1) * 7 + columns * (texts.unsqueeze(1) + 1)) % vocabulary
    mask = (columns < _LENGTH - texts.unsqueeze(1) % 2).long()
    given = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    logits: Tensor = model(**given, use_cache=False).logits
    return logits.masked_fill(given["attention_mask"].unsqueeze(-1) == 0, 0)


def _hidden(output: Any) -> Tensor:
    """Of what a decoder layer gives, the hidden states."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


Mapped = Callable[[Path, Tensor], Tensor]


def _with_number(number: int, change: Mapped) -> Callable[[nn.Module, Any, Any], tuple[Any, Any]]:
    """A pre-hook that changes every tensor that a layer is given."""
    return lambda _module, args, kwargs: (_mapped((number,), args, change), _mapped((number,), kwargs, change))


def _mapped(path: Path, value: Any, change: Mapped) -> Any:
    """The same containers, with what `change` makes of the tensors in them."""
    if isinstance(value, Tensor):
        return change(path, value)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(_mapped((*path, number), one, change) for number, one in enumerate(value))
    if isinstance(value, dict):
        return {name: _mapped((*path, name), one, change) for name, one in value.items()}
    return value
