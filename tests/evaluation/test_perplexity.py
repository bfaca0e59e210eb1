"""Nats per token against transformers' own loss, and the change against pairs and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from alignlab.data.records import Record
from alignlab.evaluation.perplexity import change_of_nats, log_change_of_perplexity, nats_per_token, perplexity
from alignlab.recording.by_document import DocumentLosses
from alignlab.recording.passing import pass_through
from alignlab.recording.probes import Probe, build_probe

from ..conftest import SENTENCES


def test_nats_per_token_are_transformers_loss_of_the_corpus(tiny_llama: Any, tokenizer: Any) -> None:
    records = [Record(str(i), language, text) for language in ("en", "de") for i, text in enumerate(SENTENCES)]
    probe = build_probe(records, tokenizer, scope="all", count_special_tokens=True)
    assert isinstance(probe, Probe)
    losses = DocumentLosses()
    pass_through(tiny_llama, probe, [losses])
    documents = probe.documents["en"]
    found = nats_per_token(losses.nats["en"], losses.tokens["en"], [one.cluster for one in documents])
    longest = max(map(len, documents))
    ids, labels = torch.zeros(len(documents), longest, dtype=torch.long), torch.full((len(documents), longest), -100)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = labels[row, : len(document)] = torch.from_numpy(document.tokens).long()
    with torch.no_grad():
        expected = tiny_llama(input_ids=ids, attention_mask=(labels != -100).long(), labels=labels).loss
    assert found.value == pytest.approx(expected.item(), rel=1e-5)
    assert perplexity(found).value == pytest.approx(math.exp(expected), rel=1e-4)
    assert found.low < found.value < found.high


def test_a_change_is_paired() -> None:
    random = np.random.default_rng(0)
    before = random.normal(100, 30, 25)
    after = before + random.normal(5, 1, 25)
    found = change_of_nats(before, after, np.full(25, 10), [str(i) for i in range(25)])
    test = ttest_rel(after, before)
    expected = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low / 10, expected.high / 10))
    assert found.p == pytest.approx(test.pvalue)


def test_nats_are_no_less_than_0_and_perplexity_no_less_than_1() -> None:
    found = nats_per_token([9.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], list("abcd"))
    assert (found.low, perplexity(found).low) == (0.0, 1.0)
    assert math.isnan(nats_per_token([9.0], [1], ["a"]).low)


def test_perplexity_and_the_papers_scale() -> None:
    found = perplexity(nats_per_token([math.log(4) * 2, math.log(16)], [2, 1], ["a", "b"]))
    assert found.value == pytest.approx(4 ** (2 / 3) * 16 ** (1 / 3))
    assert log_change_of_perplexity(math.log(10), math.log(10 + math.e - 1)) == pytest.approx(1)
    assert log_change_of_perplexity(1.3, 1.3) == 0
    assert math.isnan(log_change_of_perplexity(math.log(10), math.log(9)))
    assert log_change_of_perplexity(1, 1000) == math.inf
