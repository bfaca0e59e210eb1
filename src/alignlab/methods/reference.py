"""The reference's log-probabilities of all answers, taken once and kept in the run folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alignlab import console
from alignlab.atomic import whole_file
from alignlab.checksums import of_values
from alignlab.data.batching import token_budget_batches
from alignlab.data.encoding import fingerprint
from alignlab.errors import InputError
from alignlab.methods.base import Course
from alignlab.models.distributed import from_first, over_ranks
from alignlab.models.modes import evaluating
from alignlab.models.sharding import dealt, is_sharded

_TENSOR = "log_probabilities"
_BATCH_TOKENS = 8192


def stored_reference(
    model: nn.Module,
    course: Course,
    log_probabilities: Callable[[nn.Module, Mapping[str, Tensor]], Tensor],
    context: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """Log-probabilities of the answers of all examples, those held out behind the others: (examples, answers).

    The answers of an example are in the order of its `documents`, two of a pair: chosen and rejected.

    They are read from the run folder, or taken from `model`, in evaluation mode, and written there, whole or not at
    all; every rank has to call it. Batches are formed before they are dealt to ranks, so that each number is the same
    on any number of ranks, and the file is the same, byte for byte, however often its making was begun.

    log_probabilities: of a model and a collated batch; context: entered around each forward, such as an autocast.
    Raises `InputError` for a file that is damaged, or of other data or another model.
    """
    assert course.data is not None
    path, pairs = course.reference, [*course.data.examples, *course.data.validation]
    header = from_first(lambda: _header(course))
    if (kept := from_first(lambda: _read(path, header) if path.exists() else None)) is not None:
        return torch.tensor(kept, dtype=torch.float32)
    table = torch.zeros(len(pairs), len(pairs[0].documents), dtype=torch.float32)
    device = next(model.parameters()).device
    batches = token_budget_batches([len(pair) for pair in pairs], _BATCH_TOKENS)
    own = list(dealt(batches, collective=is_sharded(model)))
    with console.progress("Log-probabilities of the reference", len(own)) as advance:
        for numbers, counts in own:
            batch = course.data.kind.collate([pairs[number] for number in numbers], course.pad_id)
            with torch.no_grad(), evaluating(model), context():
                found = log_probabilities(model, {name: tensor.to(device) for name, tensor in batch.items()})
            if counts:
                table[numbers] = found.float().cpu().view(-1, len(numbers)).T
            advance(1)
    table = over_ranks(table.to(device)).cpu()  # each number is one rank's, and 0 on the others
    from_first(lambda: _write(path, header, table))
    return table


def _header(course: Course) -> dict[str, Any]:
    assert course.data is not None
    pairs = [*course.data.examples, *course.data.validation]
    made_from = course.made_from()
    return {
        "format": "alignlab-reference",
        "pairs": len(pairs),
        "data": fingerprint(document for pair in pairs for document in pair.documents),
        "model": of_values([made_from.get("model"), made_from.get("model_fingerprint")]),
    }


def _write(path: Path, header: dict[str, Any], table: Tensor) -> None:
    sealed = {**header, "checksum": _checksum(header, table)}
    with whole_file(path) as partial:
        # One entry: safetensors writes several in any order.
        save_file({_TENSOR: table}, partial, metadata={"header": json.dumps(sealed, sort_keys=True)})


def _read(path: Path, expected: dict[str, Any]) -> list[list[float]]:
    fix = "Restore it from a copy, or remove it: it is made again before the run goes on."
    try:
        with safe_open(path, framework="pt") as file:
            sealed, table = json.loads(file.metadata()["header"]), file.get_tensor(_TENSOR)
        checksum = sealed.pop("checksum")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError.of(str(path), "it is no whole file", "the reference's log-probabilities", fix) from None
    if sealed != expected:
        different = ", ".join(name for name in expected if sealed.get(name) != expected[name])
        raise InputError.of(
            str(path), f"it is of other pairs or another model (different: {different})", "this run's", fix
        )
    if checksum != _checksum(sealed, table):
        raise InputError.of(str(path), "its checksum does not fit: it was damaged", "what alignlab wrote", fix)
    return table.tolist()  # type: ignore[no-any-return]


def _checksum(header: dict[str, Any], table: Tensor) -> str:
    return of_values([header, table.contiguous().numpy().tobytes().hex()])
