"""FLOPs of a step by its texts: against a closed form of a Llama, and against what torch counts in real steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from alignlab.data.batching import StepPlan
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.data.training import MicroBatches
from alignlab.errors import UnsupportedModelError
from alignlab.methods.base import Course, Method
from alignlab.methods.neuron_weights import train_neurons
from alignlab.methods.options import Lora
from alignlab.methods.preference import Preference
from alignlab.methods.supervised import Supervised
from alignlab.models.flops import TextFlops, matrix_peak, text_flops
from alignlab.models.sites import find_maps

LAYERS, HIDDEN, WIDE, KEYS, VOCABULARY, RANK = 3, 32, 48, 16, 120, 4
# Maps of a decoder layer: what they read and what they give.
MAPS = {
    "q_proj": (HIDDEN, HIDDEN),
    "k_proj": (HIDDEN, KEYS),
    "v_proj": (HIDDEN, KEYS),
    "o_proj": (HIDDEN, HIDDEN),
    "gate_proj": (HIDDEN, WIDE),
    "up_proj": (HIDDEN, WIDE),
    "down_proj": (WIDE, HIDDEN),
}
EMBEDDED = ("q_proj", "k_proj", "v_proj")  # in the first layer they read what no adapter has changed
LINEAR = sum(2 * read * given for read, given in MAPS.values())
ATTENTION = 2 * HIDDEN  # of each of its two products, by T^2
HEAD = 2 * HIDDEN * VOCABULARY


def llama(device: str = "meta", **options: Any) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=WIDE, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, attn_implementation="eager", **options,
    )  # fmt: skip
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config)


def test_a_forward_is_two_flops_a_weight_and_token() -> None:
    assert text_flops(llama(), backward=False) == TextFlops(LAYERS * LINEAR, LAYERS * 2 * ATTENTION, HEAD)


def test_full_fine_tuning_is_three_forwards() -> None:
    forward = text_flops(llama(), backward=False)
    model = Supervised(trainable="full").prepare(llama())
    expected = TextFlops(3 * forward.token, 3 * forward.square, 3 * forward.answer)
    assert Supervised(trainable="full").flops(model) == expected


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "v_proj"], ["down_proj"]])
def test_of_frozen_maps_no_weight_gradient_is_counted(targets: list[str]) -> None:
    """Layer by layer, with what is not computed since nothing below it is trained."""
    adapted = list(MAPS) if targets == ["all-linear"] else targets
    token = square = 0
    below = False  # whether what the layer reads depends on an adapter
    for _ in range(LAYERS):
        for name, (read, given) in MAPS.items():
            reads = below
            if name == "o_proj":
                reads = below or bool({*EMBEDDED} & {*adapted})
            elif name in ("gate_proj", "up_proj"):
                reads = below or bool({*EMBEDDED, "o_proj"} & {*adapted})
            elif name == "down_proj":
                reads = below or len({*adapted} - {"down_proj"}) > 0
            token += 2 * read * given * (2 if reads else 1)
            if name in adapted:
                forward_and_weights = 2 * (2 * read * RANK) + 2 * (2 * RANK * given)
                token += forward_and_weights + 2 * RANK * given + (2 * read * RANK if reads else 0)
        queries, keys, values = (below or name in adapted for name in EMBEDDED)
        # Scores and what they are applied to; then the gradients of scores, values, queries and keys.
        square += ATTENTION * (2 + (queries or keys) + values + queries + keys)
        below = True
    method = Supervised(lora=Lora(rank=RANK, targets=targets))
    assert method.flops(method.prepare(llama())) == TextFlops(token, square, 2 * HEAD)


def test_of_chosen_neurons_their_rows_alone_are_counted() -> None:
    model = llama()
    mask = torch.zeros(LAYERS, WIDE, dtype=torch.bool)
    mask[1, :5] = True
    mask[2, :7] = True
    train_neurons(model, find_maps(model, "mlp.act"), mask)
    down = 2 * HIDDEN * WIDE
    # Back through all of the last layer; of the second through what the neurons give to, the down projection, only.
    backward = LINEAR + down + 3 * (5 + 7) * 2 * HIDDEN
    expected = TextFlops(LAYERS * LINEAR + backward, ATTENTION * (2 * LAYERS + 4), 2 * HEAD)
    assert text_flops(model, backward=True) == expected


def records() -> list[Record]:
    """Of three lengths; the two answers of a pair have one, or the shorter would be padded."""
    return [Record(str(n), "de", "eins zwei " * (n + 1), "one " * (5 - n), rejected="two " * (5 - n)) for n in range(3)]


@pytest.mark.parametrize(
    "method",
    [
        Supervised(lora=Lora(rank=3, targets=["all-linear"])),
        Supervised(trainable="full"),
        Preference(lora=Lora(rank=3, targets=["mlp"])),
    ],
    ids=["lora", "full", "preference"],
)
def test_a_step_has_the_flops_that_torch_counts_in_it(tokenizer: Any, tiny_llama: Any, method: Method) -> None:
    """Text by text, so that there is no padding, on the processor and with weights."""
    config = copy.deepcopy(tiny_llama.config)
    config._attn_implementation = "eager"  # torch counts what a fused one computes twice
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.load_state_dict(tiny_llama.state_dict())
    with torch.device("meta"):
        outline = method.prepare(transformers.AutoModelForCausalLM.from_config(config))
    kind: Any = method.examples
    examples = kind.of(records(), tokenizer, Prompts(), max_length=256).examples
    assert len({len(example) for example in examples}) == 3
    plan = StepPlan(tuple(len(example) for example in examples), len(examples), 1, seed=0)
    size = MicroBatches(examples, kind, plan, accumulation=1, rank=0, ranks=1, pad_id=0)[0]["step_size"].tolist()
    module = method.build(method.prepare(model), Course(1, 0))
    counted = 0
    for example in examples:
        with FlopCounterMode(display=False) as counter:
            module.loss_sum(kind.collate([example], 0) | {"index": torch.zeros(1, dtype=torch.int64)}).backward()
        counted += counter.get_total_flops()
    assert method.flops(outline).of(size) == counted


def test_the_reference_of_an_adapter_is_a_forward_more() -> None:
    lora = Lora(rank=RANK, targets=["all-linear"])
    training = Supervised(lora=lora).flops(Supervised(lora=lora).prepare(llama()))
    forward = text_flops(llama(), backward=False)
    assert Preference(lora=lora).flops(Preference(lora=lora).prepare(llama())) == training + forward
    full = Preference(trainable="full")
    assert full.flops(full.prepare(llama())) == Supervised(trainable="full").flops(full.prepare(llama()))


def test_what_cannot_be_counted_is_refused() -> None:
    dora = Supervised(lora=Lora(rank=RANK, targets=["q_proj"], dora=True))
    with pytest.raises(UnsupportedModelError, match="do not grow with a text"):
        dora.flops(dora.prepare(llama()))
    with torch.device("meta"):
        experts = transformers.AutoModelForCausalLM.from_config(
            transformers.MixtralConfig(vocab_size=50, hidden_size=16, intermediate_size=8, num_hidden_layers=1,
                                       num_attention_heads=2, num_key_value_heads=2, num_local_experts=2)
        )  # fmt: skip
        looks = transformers.AutoModelForCausalLM.from_config(
            transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50, attn_implementation="sdpa")
        )
    with pytest.raises(UnsupportedModelError, match="more than two dimensions"):
        text_flops(experts, backward=False)
    with pytest.raises(UnsupportedModelError, match="cannot be followed without weights"):
        text_flops(looks, backward=True)


def test_the_peak_is_that_of_the_fastest_product() -> None:
    """By a clock that is read before and after each product; the first one, which starts kernels, does not count."""
    readings = iter([0.0, 0.1, 10.0, 14.0, 20.0, 22.0, 30.0, 33.0])
    peak = matrix_peak(torch.device("cpu"), torch.float32, size=64, rounds=3, clock=lambda: next(readings))
    assert peak == 2 * 64**3 / 2.0
