"""How likely documents are to a model, one document a forward: what measures are given in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alignlab.data.encoding import Document


def scored(model: Any, documents: Sequence[Document]) -> Tensor:
    """Nats of the answer tokens of each document: (D, 1) float64."""
    nats = []
    for document in documents:
        ids = torch.from_numpy(document.tokens).long()
        with torch.no_grad():
            losses = -model(input_ids=ids[None]).logits[0].double().log_softmax(dim=-1)[:-1]
        nats.append(losses[range(len(ids) - 1), ids[1:]][torch.from_numpy(document.answer[1:])].sum())
    return torch.stack(nats).unsqueeze(1)
