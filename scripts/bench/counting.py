"""The counting pass against other ways to read the same texts with the same model.

The peers are given their batches ready and leave out the output head, as ours does; ours makes its batches within the
time, and counts each shard of documents apart, which no peer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from alignlab.data.batching import Batch, pad, token_budget_batches
from alignlab.data.encoding import Document
from alignlab.models.output_rows import only_rows
from alignlab.models.sites import Site, find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, ProbeConfig
from bench.measuring import Row, Scale, paired

VOCABULARY = 8000
SEVEN_BILLION: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}


IN_ORDER = 16  # texts that a plain loop hands over at a time


@dataclass(frozen=True)
class Workload:
    """A model and the texts of a language; `batches` are those in which our pass reads them, on the model's device."""

    model: transformers.PreTrainedModel
    sites: list[Site]
    probe: Probe
    batches: list[Batch]

    @property
    def documents(self) -> Sequence[Document]:
        return self.probe.documents["en"]

    def count(self) -> Tensor:
        """Our pass: firings of answer tokens, (L, N) int64."""
        counts = count_firings(self.model, self.sites, self.probe, origin=Origin(), loss=False)
        return counts.firings.long().sum(dim=(0, 1))


def against_headless(scale: Scale) -> list[Row]:
    """What counting costs on top of reading."""
    load = make_workload(scale)
    what = "(a) counting pass"
    return [paired(what, load.count, "plain forward without head, same batches", partial(headless, load), scale.rounds)]


def against_two_passes(scale: Scale) -> list[Row]:
    """What one masked pass saves over the whole text and then its prompt alone, subtracted."""
    load, device = make_workload(scale), scale.device
    prompts = [prompt_of(document) for document in load.documents]
    apart = singly(load.documents, device), singly(prompts, device)
    together = load.batches, batched(prompts, load.probe, device)
    ways = [
        ("(b) counting pass", "two passes, text by text", *apart),
        ("(b') counting pass", "two passes in batches", *together),
    ]
    rows = []
    for what, peer, whole, only_prompts in ways:
        two_passes = partial(count_two_passes, load, whole, only_prompts)
        # Other batches round in another way, in bfloat16 by much.
        check_equal(load.count(), two_passes(), 1e-3 if device == "cpu" else 2e-2)
        rows.append(paired(what, load.count, peer, two_passes, scale.rounds))
    return [replace(rows[0], goal="5"), rows[1]]


def against_nnsight(scale: Scale) -> list[Row]:
    """What a general library for looking into models costs, on the same padded batches and on those of a plain loop."""
    what, peer = "(c) counting pass", "nnsight, same batches"
    try:
        import nnsight
    except ImportError:
        note = "nnsight is not installed: pip install -c constraints.txt -e '.[bench]'"
        return [Row(what, peer=peer, note=note)]
    load = make_workload(scale)
    # A model of its own: what nnsight does to the modules it wraps must not slow ours.
    wrapped = nnsight.NNsight(make_model(scale).model)
    traced = partial(count_traced, wrapped, load.batches)
    check_equal(load.count(), traced(), 1e-6)
    # As its manual hands it texts: some at a time, in their order, padded to the longest.
    in_order = [
        moved(pad(load.documents[start : start + IN_ORDER], 0), scale.device)
        for start in range(0, len(load.documents), IN_ORDER)
    ]
    plain = partial(count_traced, wrapped, in_order)
    check_equal(load.count(), plain(), 1e-3 if scale.device == "cpu" else 2e-2)
    return [
        paired(what, load.count, f"{peer} ({nnsight.__version__})", traced, scale.rounds),
        paired("(c') counting pass", load.count, f"nnsight, {IN_ORDER} texts at a time, unsorted", plain, scale.rounds),
    ]


@torch.no_grad()
def headless(load: Workload) -> None:
    """Read all batches, for no result."""
    for batch in load.batches:
        with only_rows(load.model, torch.zeros(0, dtype=torch.int64, device=load.model.device)):
            load.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    if load.model.device.type == "cuda":
        torch.cuda.synchronize()


def count_two_passes(load: Workload, whole: list[Batch], prompts: list[Batch]) -> Tensor:
    """Firings of whole texts less those of their prompts, (L, N) int64."""
    return sum_firings(load, whole) - sum_firings(load, prompts)


@torch.no_grad()
def sum_firings(load: Workload, batches: list[Batch]) -> Tensor:
    """Firings of every token, added up by hooks in a plain loop: (L, N) int64."""
    counts = torch.zeros(len(load.sites), load.sites[0].width, dtype=torch.int64, device=load.model.device)
    mask: Tensor | None = None

    def hook(layer: int) -> Callable[..., None]:
        def see(_module: object, _inputs: object, output: Tensor) -> None:
            active = output > 0
            counts[layer] += (active.flatten(0, 1) if mask is None else active[mask]).sum(dim=0)

        return see

    handles = [site.module.register_forward_hook(hook(site.layer)) for site in load.sites]
    for batch in batches:
        mask = None if len(batch.input_ids) == 1 else batch.attention_mask.bool()
        load.model.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    for handle in handles:
        handle.remove()
    return counts.cpu()


@torch.no_grad()
def count_traced(wrapped: Any, batches: list[Batch]) -> Tensor:
    """Firings of answer tokens, by nnsight's tracing: (L, N) int64."""
    total: Any = 0
    for batch in batches:
        with wrapped.trace(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False):
            firings: list[Any] = []
            for layer in wrapped.layers:
                firings.append((layer.mlp.act_fn.output[batch.answer] > 0).sum(dim=0))  # noqa: PERF401 as its manual
            counts = torch.stack(firings).save()
        total = total + counts
    return total.cpu()


def make_workload(scale: Scale) -> Workload:
    """A model, and texts for it to read."""
    probe, model = make_probe(scale), make_model(scale)
    return Workload(model, find_sites(model), probe, batched(probe.documents["en"], probe, scale.device))


def make_probe(scale: Scale) -> Probe:
    """Texts as in MGSM: a prompt of about 120 tokens, template included, and an answer of about 100; random tokens."""
    rng = np.random.default_rng(0)

    def document(number: int) -> Document:
        prompt = 45 + int(rng.lognormal(np.log(75) - 0.06, 0.35))
        length = prompt + int(rng.lognormal(np.log(100) - 0.08, 0.4))
        tokens = rng.integers(0, VOCABULARY, size=length).astype(np.int32)
        return Document(str(number), "en", tokens, np.arange(length) >= prompt, np.zeros(length, dtype=bool))

    defaults = ProbeConfig()
    documents = {"en": [document(number) for number in range(scale.texts)]}
    return Probe(documents, "response", defaults.shards, defaults.max_tokens_per_batch)


def make_model(scale: Scale) -> transformers.PreTrainedModel:
    """A Llama with random weights, the same at every call: of 20 M parameters, or on a GPU of 7 B in bfloat16."""
    shape, dtype = SEVEN_BILLION, torch.bfloat16
    if scale.device == "cpu":
        wide = {"hidden_size": scale.hidden, "intermediate_size": 4 * scale.hidden}
        shape, dtype = {**wide, "num_hidden_layers": 6, "num_attention_heads": scale.hidden // 64}, torch.float32
    torch.manual_seed(0)
    with torch.device(scale.device):
        config = transformers.LlamaConfig(vocab_size=VOCABULARY, **shape)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def prompt_of(document: Document) -> Document:
    """The document without its answer."""
    keep = ~document.answer
    return replace(document, **{name: getattr(document, name)[keep] for name in ("tokens", "answer", "special")})


def singly(documents: Sequence[Document], device: str) -> list[Batch]:
    """Every document a batch."""
    return [moved(pad([document], 0), device) for document in documents]


def batched(documents: Sequence[Document], probe: Probe, device: str) -> list[Batch]:
    """The documents in batches as our pass makes them."""
    numbers = token_budget_batches([len(document) for document in documents], probe.max_tokens_per_batch)
    return [moved(pad([documents[n] for n in some], 0), device) for some in numbers]


def moved(batch: Batch, device: str) -> Batch:
    """The batch on a device."""
    return Batch(batch.input_ids.to(device), batch.attention_mask.to(device), batch.answer.to(device))


def check_equal(ours: Tensor, theirs: Tensor, share: float) -> None:
    """Stop where a peer does other work than ours: all counts may differ by this share of the firings together."""
    off = int((ours - theirs).abs().sum()) / int(ours.sum())
    if off > share:
        raise RuntimeError(f"the peer's counts are not ours: they differ by {off:.2%}")
