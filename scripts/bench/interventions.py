"""A matrix of languages whose neurons are off by languages that are read, and answers meanwhile, in CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from alignlab.data.batching import pad, token_budget_batches
from alignlab.data.encoding import Document
from alignlab.models.edits import Arm, NeuronEdit
from alignlab.models.flops import matrix_peak
from alignlab.models.lower_layers import LowerLayers, find_lower_layers
from alignlab.models.sites import Site, find_sites
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.arms import ArmPlan
from alignlab.recording.generation import generate
from alignlab.recording.scoring import ON_A_PROCESSOR, plan_of, score
from bench.measuring import Row, Scale, cpu_paired

# The model of scripts/studies/news_model.py, and its texts: 2,970 lines of NTREX-128 in ten languages have 5 to 237 of
# its tokens, on average 51. Lengths are five quantiles of the log-normal that has the mean and the spread of their
# logarithms: so few texts as are read here would be padded as thousands are not.
VOCABULARY, WIDTH, LAYERS, HEADS, NEURONS = 6000, 192, 6, 6, 768
LENGTHS = (18, 29, 41, 59, 98)
LANGUAGES, CONTROLS = 10, 5
SHARE = 0.01  # of the neurons in a set
BUDGET = 8192
NEW, PROMPTS, ARMS = 32, 16, 8


@dataclass(frozen=True)
class Workload:
    """The texts of all languages, every token of which counts; the arms, a baseline, sets and their controls."""

    model: transformers.PreTrainedModel
    sites: list[Site]
    lower: LowerLayers
    documents: list[Document]
    arms: list[Arm]

    def score(self) -> Tensor:
        """Our pass: nats of every text under every arm, (D, A)."""
        sites = {"mlp.act": self.sites}
        return score(
            self.model, self.documents, self.arms, max_tokens_per_batch=BUDGET, lower=self.lower, sites=sites
        ).nats


def matrix(scale: Scale) -> list[Row]:
    """The matrix with all layers changed, and with the upper half, beside the published pattern and nnsight."""
    torch.set_num_threads(1)
    rows = []
    for mark, first in (("k", 0), ("k'", LAYERS // 2)):
        load = make_workload(scale, first)
        plan = plan_of(load.model, load.documents, load.arms, BUDGET, torch.device("cpu"))
        cells = LANGUAGES * len(load.arms)
        layers = plan.forwards() / len(load.documents) / len(load.arms)
        note = f"{len(plan.jobs) / cells:.2f} forwards a cell, {layers:.2f} of the layers of a text; "
        note += f"floor of the matrix products {floor(load.model, plan, load.documents):.2f} s"
        what = f"({mark}) matrix of {cells} cells, neurons of layers {first} to {LAYERS - 1}"
        for peer, theirs, goal in [("text by text, a pass a cell", partial(text_by_text, load), "5"), *traced(load)]:
            check_equal(load.score(), theirs())
            row = cpu_paired(what, load.score, peer, theirs, scale.rounds)
            rows.append(replace(row, goal=goal, note=f"{row.note}; {note}"))
    return rows


def answers(scale: Scale) -> list[Row]:
    """What an intervention costs on top of the same answers without one."""
    torch.set_num_threads(1)
    load = make_workload(scale, 0)
    prompts = [document.tokens for document in load.documents[:PROMPTS]]
    load.model.generation_config.eos_token_id = None
    given: dict[str, Any] = {"max_new_tokens": NEW, "max_tokens_per_batch": BUDGET}
    ours = partial(generate_under, load.model, prompts, load.arms[1 : ARMS + 1], sites={"mlp.act": load.sites}, **given)
    plain = partial(generate, load.model, [prompt for prompt in prompts for _ in range(ARMS)], **given)
    row = cpu_paired(f"(l) answers under {ARMS} arms", ours, "as many without an intervention", plain, scale.rounds)
    return [replace(row, goal="0.91")]


def traced(load: Workload) -> list[tuple[str, Callable[[], Tensor], str]]:
    """nnsight, where it is installed."""
    try:
        import nnsight
    except ImportError:
        return []
    # A model of its own: what nnsight does to the modules it wraps must not slow ours.
    wrapped = nnsight.NNsight(make_model())
    return [(f"nnsight {nnsight.__version__}, batches without padding", partial(by_tracing, load, wrapped), "2")]


@torch.no_grad()
def text_by_text(load: Workload) -> Tensor:
    """As published: hooks set for each arm, then transformers' loss of every text on its own, (D, A) float64."""
    nats = torch.zeros(len(load.documents), len(load.arms), dtype=torch.float64)
    for place, arm in enumerate(load.arms):
        handles = [
            site.module.register_forward_hook(partial(zeroed, neurons=neurons))
            for site, neurons in zip(load.sites, neurons_of(arm), strict=True)
            if len(neurons)
        ]
        for number, document in enumerate(load.documents):
            ids = torch.from_numpy(document.tokens).long().unsqueeze(0)
            loss = load.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
            nats[number, place] = loss.double() * (len(document) - 1)
        for handle in handles:
            handle.remove()
    return nats


def zeroed(_module: object, _inputs: object, output: Tensor, neurons: Tensor) -> Tensor:
    """The activations with some neurons off."""
    output[..., neurons] = 0
    return output


@torch.no_grad()
def by_tracing(load: Workload, wrapped: Any) -> Tensor:
    """A trace for each arm and batch of texts of one length, up to as many tokens as ours, (D, A) float64."""
    nats = torch.zeros(len(load.documents), len(load.arms), dtype=torch.float64)
    lengths = [len(document) for document in load.documents]
    batches = [
        [alike[number] for number in numbers]
        for length in LENGTHS
        for alike in [[number for number, one in enumerate(lengths) if one == length]]
        for numbers in token_budget_batches([length] * len(alike), ON_A_PROCESSOR)
    ]
    padded = [pad([load.documents[number] for number in numbers], 0) for numbers in batches]
    for place, arm in enumerate(load.arms):
        off = neurons_of(arm)
        for numbers, batch in zip(batches, padded, strict=True):
            with wrapped.trace(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False):
                for layer, neurons in zip(wrapped.model.layers, off, strict=True):
                    layer.mlp.act_fn.output[:, :, neurons] = 0
                logits = wrapped.lm_head.output.save()
            following = batch.input_ids[:, 1:]
            losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), following.flatten(), reduction="none")
            nats[numbers, place] = (losses.view_as(following).double() * batch.attention_mask[:, 1:]).sum(1)
    return nats


def neurons_of(arm: Arm) -> list[Tensor]:
    """Of every layer those that the arm changes."""
    none = torch.zeros(0, dtype=torch.int64)
    return [torch.cat([none, *(one.in_layer(layer)[0] for one in arm)]) for layer in range(LAYERS)]


def make_workload(scale: Scale, first: int) -> Workload:
    """Sets of neurons of layer `first` and those above it. On real text and a trained model times are the same."""
    rng = np.random.default_rng(0)
    texts = max(2, scale.texts // 50)
    documents = []
    for number in range(LANGUAGES * texts):
        length = LENGTHS[number % len(LENGTHS)]
        every = np.ones(length, dtype=bool)
        tokens = rng.integers(0, VOCABULARY, size=length).astype(np.int32)
        documents.append(Document(f"{number % texts}", f"language {number // texts}", tokens, every, ~every))
    arms: list[Arm] = [(), *(off(seed, first) for seed in range(LANGUAGES * (1 + CONTROLS)))]
    model = make_model()
    return Workload(model, find_sites(model), find_lower_layers(model), documents, arms)


def off(seed: int, first: int) -> Arm:
    """A set of neurons that are zero."""
    count = round(SHARE * LAYERS * NEURONS)
    places = torch.randperm((LAYERS - first) * NEURONS, generator=torch.Generator().manual_seed(seed))[:count]
    return (NeuronEdit(first + places // NEURONS, places % NEURONS, torch.zeros(count), torch.zeros(count)),)


def make_model() -> transformers.PreTrainedModel:
    """A Llama of 6 layers of 768 neurons, 5 M parameters, with random weights."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def floor(model: transformers.PreTrainedModel, plan: ArmPlan, documents: list[Document]) -> float:
    """CPU seconds that the linear maps of our forwards take at the rate of a large matrix product, without padding.

    The model has no biases, so each of its weights is multiplied once a token; the norms among them are few.
    """
    head = VOCABULARY * WIDTH
    layers = sum(weight.numel() for weight in model.parameters()) - head
    tokens = sum(len(document) for document in documents)
    of_layers = sum(
        sum(len(documents[text]) for text in job.texts)
        * (job.chunk.first + len(job.chunk.arms) * (LAYERS - job.chunk.first))
        for job in plan.jobs
    )
    operations = 2 * (layers / LAYERS * of_layers + head * tokens * len(plan.distinct))
    peak = matrix_peak(torch.device("cpu"), torch.float32, size=1024, rounds=5, clock=time.process_time)
    return operations / peak


def check_equal(ours: Tensor, theirs: Tensor) -> None:
    """Stop where a peer measures something else than ours."""
    if not torch.allclose(ours, theirs, rtol=1e-4):
        off = float(((ours - theirs) / ours).abs().max())
        raise RuntimeError(f"the peer's likelihoods are not ours: they differ by up to {off:.2%}")
