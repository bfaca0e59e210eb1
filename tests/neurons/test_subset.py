"""Parts of a record: what they hold is what a record of those texts alone would hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts
from alignlab.neurons.subset import subset

G, S, L, N = 4, 5, 2, 7
NAMES = ("en", "de", "sw", "th")


def record() -> ActivationCounts:
    random = torch.Generator().manual_seed(0)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=random)

    tokens = draw(300, 400, G, S)
    return ActivationCounts(
        NAMES, draw(0, 300, G, S, L, N).to(torch.uint16), tokens, draw(5, 9, G, S), "mlp.act", "all",
        data_fingerprint="0123456789abcdef",
        loss_sum=torch.rand(G, S, generator=random).double(), loss_tokens=draw(1, 50, G, S),
        document_firings=draw(0, 5, G, S, L, N).to(torch.uint8),
        activation_sum=torch.rand(G, L, N, generator=random).double(),
        activation_squares=1 + torch.rand(G, L, N, generator=random).double(),
        maximum=torch.rand(G, L, N, generator=random),
    )  # fmt: skip


def test_all_of_it_is_the_record_itself() -> None:
    whole = record()
    assert subset(whole) is whole


def test_languages_come_in_the_order_asked_for() -> None:
    whole = record()
    part = subset(whole, ["th", "en"])
    assert part.languages == ("th", "en")
    assert part.data_fingerprint == whole.data_fingerprint
    for name, tensor in vars(whole).items():
        if isinstance(tensor, torch.Tensor):
            mine = getattr(part, name).to(torch.float64)
            for row, language in ((0, 3), (1, 0)):
                assert mine[row].tolist() == tensor.to(torch.float64)[language].tolist(), name


def test_shards_are_those_documents_alone() -> None:
    whole = record()
    part = subset(whole, shards=[4, 1])
    assert part.shape == (G, 2, L, N)
    firings, tokens = whole.firings.to(torch.int64), whole.tokens
    expected = [
        [[int(firings[g, 1, i, n] + firings[g, 4, i, n]) for n in range(N)] for i in range(L)] for g in range(G)
    ]
    assert part.totals().tolist() == expected
    assert part.language_tokens().tolist() == [int(tokens[g, 1] + tokens[g, 4]) for g in range(G)]
    assert part.document_firings is not None
    assert whole.document_firings is not None
    assert torch.equal(part.document_firings[:, 0], whole.document_firings[:, 4])
    # Over all shards together: of a part nobody knows them.
    assert (part.activation_sum, part.activation_squares, part.maximum) == (None,) * 3
    assert part.loss_sum is not None
    assert whole.loss_sum is not None
    assert part.loss_sum.tolist() == whole.loss_sum[:, [4, 1]].tolist()
    old = replace(whole, loss_sum=whole.loss_sum[:, :1], loss_tokens=whole.loss_tokens[:, :1])
    assert subset(old, shards=[4, 1]).loss_sum is None
    assert subset(old, ["th"]).loss_sum.tolist() == whole.loss_sum[3:, :1].tolist()
    assert part.data_fingerprint not in (whole.data_fingerprint, subset(whole, shards=[1]).data_fingerprint)


def test_what_a_record_lacks_is_refused_all_at_once() -> None:
    with pytest.raises(InputError) as refused:
        subset(record(), ["en", "dee", "en"], [0, 5, -1])
    text = str(refused.value)
    assert "'dee' is not among the languages counted" in text
    assert "Did you mean 'de'?" in text
    assert "there is no shard 5; expected numbers from 0 to 4" in text
    assert "there is no shard -1" in text
    assert "languages: ['en', 'dee', 'en']; expected each once" in text
    with pytest.raises(InputError, match="an empty list"):
        subset(record(), shards=[])
