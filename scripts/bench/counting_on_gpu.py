"""What counting costs a 1 B model on a GPU: profiled, in memory, and beside ways of counting that could fuse.

Goal: 1.02 times the plain forward. Without a GPU a row says what would be measured; `--quick --device cpu` runs every
line of it on a tiny model, whose figures mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from alignlab.models.sites import find_sites
from bench.counting import VOCABULARY, Workload, batched, headless, make_probe
from bench.measuring import Row, Scale, paired

# As Llama 3.2 1B, but for its vocabulary: no logits are made here.
ONE_BILLION: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
WHAT = "(m) counting pass, 1 B in bfloat16"
_KERNELS = 12  # of the profile that are named
# Given the mask of counted tokens by document and the activations: (D, 1, W) and (D, W, N) to (D, N).
Way = Callable[[Tensor, Tensor], Tensor]


def on_gpu(scale: Scale) -> list[Row]:
    """The pass against the plain forward, its kernels, and the inner step written in several ways."""
    if scale.device == "cpu" and scale.hidden >= Scale(rounds=1).hidden:
        note = "needs a GPU, --device cuda: pass and forward in pairs, kernels, peak memory, and ways that could fuse"
        return [Row(WHAT, peer="plain forward without head, same batches", goal="0.98", note=note)]
    if scale.device != "cpu" and not torch.cuda.is_available():
        return [Row(WHAT, goal="0.98", note=f"--device {scale.device}, and torch finds no GPU here")]
    load = make_workload(scale)
    work = partial(finished, load.count, scale.device)
    row = paired(WHAT, work, "plain forward without head, same batches", partial(headless, load), scale.rounds)
    return [replace(row, goal="0.98", note=memory(load, scale)), *kernels(load, scale), *ways(load, scale)]


def make_workload(scale: Scale) -> Workload:
    """The texts of section a, for a model of 1 B parameters in bfloat16; tiny and in float32 on a processor."""
    shape, dtype = (ONE_BILLION, torch.bfloat16) if scale.device != "cpu" else (TINY, torch.float32)
    probe = make_probe(scale)
    torch.manual_seed(0)
    with torch.device(scale.device):
        config = transformers.LlamaConfig(vocab_size=VOCABULARY, **shape)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    return Workload(model, find_sites(model), probe, batched(probe.documents["en"], probe, scale.device))


def memory(load: Workload, scale: Scale) -> str:
    """The peak of the device in both, in words; empty on a processor."""
    if scale.device == "cpu":
        return ""
    peaks = []
    for work in (load.count, partial(headless, load)):
        torch.cuda.reset_peak_memory_stats()
        finished(work, scale.device)
        peaks.append(torch.cuda.max_memory_allocated() / 1e9)
    return "peak on the device {:.2f} GB, of the forward {:.2f} GB".format(*peaks)


def kernels(load: Workload, scale: Scale) -> list[Row]:
    """By torch's profiler the kernels that take longest in a pass, a row each, and what takes them."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if scale.device != "cpu" else [])
    with profile(activities=activities) as profiled:
        finished(load.count, scale.device)
    device = "self_cpu_time_total" if scale.device == "cpu" else "self_device_time_total"
    of = {event.key: (getattr(event, device) / 1e6, event.count) for event in profiled.key_averages()}
    whole = sum(taken for taken, _ in of.values())
    longest = sorted(of, key=lambda name: -of[name][0])[:_KERNELS]
    return [
        Row(f"(m) profile: {name[:60]}", of[name][0], note=f"{of[name][0] / whole:.1%}, {of[name][1]:,} calls")
        for name in longest
    ]


def ways(load: Workload, scale: Scale) -> list[Row]:
    """Counting the firings of a batch's documents in a layer, in several ways: the same counts, in pairs with ours."""
    batch = max(load.batches, key=lambda one: one.input_ids.numel())
    shape = (*batch.input_ids.shape, load.sites[0].width)
    torch.manual_seed(1)
    activations = torch.randn(shape, device=scale.device, dtype=load.model.dtype)
    weights = batch.answer.unsqueeze(1).float()
    expected = by_product(weights, activations)
    rows = []
    for name, way in WAYS.items():
        try:
            found = way(weights, activations)
        except RuntimeError as error:  # a compiler that this machine lacks ends no other section
            rows.append(Row(f"(m) {name}", note=f"it cannot run here: {str(error).splitlines()[0][:80]}"))
            continue
        if not torch.equal(found, expected):
            raise RuntimeError(f"{name} counts otherwise than the product")
        theirs, ours = (partial(repeated, one, weights, activations, scale) for one in (by_product, way))
        rows.append(paired(f"(m) {name}", ours, "as our pass counts a layer, as often", theirs, scale.rounds))
    return rows


def by_product(weights: Tensor, activations: Tensor) -> Tensor:
    """As `Piece.fired` does it: the comparison as float32, multiplied with the mask."""
    active = torch.empty(activations.shape, dtype=torch.float32, device=activations.device)
    torch.gt(activations, 0, out=active)
    return torch.bmm(weights, active).squeeze(1).to(torch.int64)


def by_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """The plain one: what is above 0 and counted, added up."""
    return ((activations > 0) & weights.transpose(1, 2).bool()).sum(dim=1)


def in_half(weights: Tensor, activations: Tensor) -> Tensor:
    """The product in bfloat16, of which a chunk of 128 tokens is exact: it holds whole numbers to 256."""
    chunks = zip(weights.split(128, dim=2), activations.split(128, dim=1), strict=True)
    found = [torch.bmm(mask.bfloat16(), (part > 0).bfloat16()).to(torch.int64) for mask, part in chunks]
    return torch.stack(found).sum(dim=0).squeeze(1)


def by_bits(weights: Tensor, activations: Tensor) -> Tensor:
    """Eight tokens a byte, whose ones are looked up in a table: an eighth of the bytes is read again."""
    table = torch.tensor([byte.bit_count() for byte in range(256)], device=activations.device)
    fired = (activations > 0) & weights.transpose(1, 2).bool()
    tokens = 8 * math.ceil(fired.shape[1] / 8)
    fired = torch.nn.functional.pad(fired, (0, 0, 0, tokens - fired.shape[1]))
    bits = torch.arange(8, device=activations.device, dtype=torch.uint8).reshape(8, 1)
    packed = (fired.reshape(len(fired), -1, 8, fired.shape[2]).to(torch.uint8) << bits).sum(dim=2, dtype=torch.uint8)
    return table[packed.int()].sum(dim=1)


def compiled(weights: Tensor, activations: Tensor) -> Tensor:
    """The plain one, fused by torch.compile into one kernel that reads the activations once."""
    found: Tensor = _fused(weights, activations)
    return found


_fused = torch.compile(by_sum)  # when it is first called


WAYS: dict[str, Way] = {
    "eager > 0, masked, and a sum": by_sum,
    "product in bfloat16": in_half,
    "bits, eight tokens a byte": by_bits,
    "torch.compile of the sum": compiled,
}


def repeated(way: Way, weights: Tensor, activations: Tensor, scale: Scale) -> None:
    """A hundred times; twice on a processor."""
    for _ in range(2 if scale.device == "cpu" else 100):
        way(weights, activations)
    finished(lambda: None, scale.device)


def finished(work: Callable[[], object], device: str) -> None:
    """Do the work, and wait for the device."""
    work()
    if device != "cpu":
        torch.cuda.synchronize()
