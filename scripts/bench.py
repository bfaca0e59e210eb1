"""Measure the speed that a user feels, side by side in one run, as ratios with the peer named: `make bench`.

Each pair is timed in turn, A B A B, so that a machine whose speed drifts slows both; medians are printed, and the
lines are what BENCHMARKS.md holds. Nothing here is a test: no number fails.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers
from torch import Tensor

from alignlab.data.batching import pad
from alignlab.data.encoding import Document
from alignlab.models.output_rows import only_rows
from alignlab.models.sites import find_sites
from alignlab.neurons import ternary
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe


def main() -> None:
    """Run all benchmarks and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed rounds of each pair, after one that is not counted"
    )
    parser.add_argument("--texts", type=int, default=60, help="documents of each of four languages")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    model, probe = make_model(), make_probe(options.texts)
    sites = find_sites(model)
    batches = [
        pad([probe.documents[language][n] for n in numbers], 0)
        for language in probe.languages
        for numbers in probe.batches(language)
    ]

    def count() -> None:
        count_firings(model, sites, probe, origin=Origin(), loss=False)

    @torch.no_grad()
    def headless() -> None:
        for batch in batches:
            with only_rows(model, torch.zeros(0, dtype=torch.int64)):
                model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)

    def two_passes() -> None:
        count_two_passes(model, probe)

    row("counting pass / plain headless forward, same batches", *paired(count, headless, options.rounds))
    row("batch-1 two-pass counting / counting pass", *paired(two_passes, count, max(1, options.rounds // 2)))
    counts = torch.from_numpy(np.random.default_rng(0).beta(0.6, 2.0, size=(10, 32, 14336)))
    names = [f"l{i}" for i in range(10)]
    seconds = median(lambda: ternary(counts, languages=names), options.rounds)
    print(f"ternary with lambda*, 10 languages x 32 x 14,336: {seconds:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of the whole benchmark: {peak:.2f} GB")


def make_model() -> transformers.PreTrainedModel:
    """A Llama of 20 M parameters with random weights: large enough for the matrix products to dominate."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6, vocab_size=8000
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def make_probe(texts: int) -> Probe:
    """Random tokens in documents of 40 to 200 tokens, the second half of each the answer."""
    rng = np.random.default_rng(0)

    def document(number: int, language: str) -> Document:
        length = int(rng.integers(40, 200))
        tokens = rng.integers(0, 8000, size=length).astype(np.int32)
        return Document(str(number), language, tokens, np.arange(length) >= length // 2, np.zeros(length, dtype=bool))

    documents = {language: [document(n, language) for n in range(texts)] for language in ("en", "de", "sw", "zh")}
    return Probe(documents, "response", shards=20, max_tokens_per_batch=4096)


@torch.no_grad()
def count_two_passes(model: transformers.PreTrainedModel, probe: Probe) -> Tensor:
    """How the public code counts: text by text, the whole text and then its prompt alone, subtracted."""
    layers = model.model.layers
    counts = torch.zeros(2, len(layers), model.config.intermediate_size, dtype=torch.int64)
    passing = 0

    def hook(layer: int) -> Callable[..., None]:
        def see(_module: object, _inputs: object, output: Tensor) -> None:
            counts[passing, layer] += (output > 0).flatten(0, 1).sum(dim=0)

        return see

    handles = [layer.mlp.act_fn.register_forward_hook(hook(index)) for index, layer in enumerate(layers)]
    for documents in probe.documents.values():
        for document in documents:
            for passing, tokens in enumerate((document.tokens, document.tokens[~document.answer])):  # noqa: B007
                model.model(input_ids=torch.from_numpy(tokens).long().unsqueeze(0), use_cache=False)
    for handle in handles:
        handle.remove()
    return counts[0] - counts[1]


def paired(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of each, and the median of their ratios round by round."""
    pairs = [(timed(one), timed(other)) for _ in range(rounds + 1)][1:]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def median(work: Callable[[], object], rounds: int) -> float:
    """Median seconds after one round that is not counted."""
    return statistics.median([timed(work) for _ in range(rounds + 1)][1:])


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(name: str, one: float, other: float, ratio: float) -> None:
    """Print a pair."""
    print(f"{name}: {ratio:.3f}x ({one:.2f} s / {other:.2f} s)")


if __name__ == "__main__":
    main()
