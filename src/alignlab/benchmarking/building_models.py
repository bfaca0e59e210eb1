"""A decoder of Hugging Face's Llama class whose neurons do what was planted: weights written down, none trained.

Its residual stream has named directions, turned together by a random rotation so that none is an axis: a constant one,
which is what gates need as a threshold; one for each language and family, in the embeddings of a language's words (and,
by the attention of the first layer, in what follows them, so that shared tokens have a language too); one for each
language whose logits of words it raises; one that raises frequent tokens above rare ones; one that nothing reads; and
the rest for what a word means. A word means the same in every language.

A gate fires where ``b * language + meaning > t``: meanings are spread as a normal distribution, so t and b follow from
the rates. All that is read is a linear function of the stream, whose sign its norm leaves alone: firing is what was
planted, whatever other neurons write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor
from torch.nn.functional import silu
from transformers import LlamaConfig, LlamaForCausalLM

from alignlab.benchmarking.options import PlantedOptions
from alignlab.benchmarking.planting import Neuron, family_of

_CONSTANT = 10.0  # its length in the stream: most of the norm, so that nothing else changes that much
_LANGUAGE = 2.0  # length of a language's direction in its words
_STEEPNESS = 4.0  # of gates, for each standard deviation of meanings
_DIRECT = 0.5  # nats by which a word says its language, without any neuron
_FREQUENCY = 0.2  # share of words' frequencies, in logarithms, that is known without any neuron
_GENERAL = 0.4  # what general neurons know of them together: less than all, so that none is one too many
ZIPF = 0.8


@dataclass(frozen=True)
class Vocabulary:
    """Tokens: of every language its words, one a concept, then those that are shared.

    token: (G, C) of each language and concept; the last concepts have the same token in all.
    shares: (C,) of all text, by concept.
    """

    token: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, options: PlantedOptions, seed: int) -> Vocabulary:
        """That of a seed: shared tokens are as frequent as others."""
        g, own, shared = options.families * options.languages, options.concepts, options.shared
        words = np.arange(g * own).reshape(g, own)
        common = np.broadcast_to(g * own + np.arange(shared), (g, shared))
        shares = 1 / np.arange(1, own + shared + 1) ** ZIPF
        order = np.random.default_rng([seed, 1]).permutation(own + shared)
        return cls(np.concatenate([words, common], axis=1), (shares / shares.sum())[order])

    @property
    def size(self) -> int:
        return int(self.token.max()) + 1


class _Directions:
    """Where in the stream what is, before it is turned."""

    def __init__(self, options: PlantedOptions) -> None:
        self.g = options.families * options.languages
        self.constant, self.frequency, self.shared, self.nowhere = range(4)
        self.language = slice(4, 4 + self.g + options.families)
        self.output = slice(self.language.stop, self.language.stop + self.g)
        self.meaning = slice(self.output.stop, options.width)
        kinship = options.kinship
        self.spoken = torch.zeros(self.g, self.g + options.families)  # unit vectors of languages
        for one in range(self.g):
            self.spoken[one, one] = math.sqrt(1 - kinship)
            self.spoken[one, self.g + family_of(options, one)] = math.sqrt(kinship)
        self.kinship = self.spoken @ self.spoken.T

    def reads(self, languages: Sequence[int]) -> Tensor:
        """What is 1 in the words of these languages: less, not none, in those of their families."""
        chosen = list(languages)
        together = self.kinship[chosen][:, chosen].sum(dim=0).mean()
        return self.spoken[chosen].sum(dim=0) / together / _LANGUAGE


def build_model(options: PlantedOptions, neurons: Sequence[Neuron], seed: int) -> LlamaForCausalLM:
    """The model of a seed with these neurons, in evaluation mode and single precision."""
    at, vocabulary = _Directions(options), Vocabulary.of(options, seed)
    draw = torch.Generator().manual_seed(seed * 2 + 1)
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=options.width,
        intermediate_size=options.neurons,
        num_hidden_layers=options.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        rms_norm_eps=1e-9,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config).eval()
    turn = torch.linalg.qr(torch.randn(options.width, options.width, generator=draw))[0]
    embedded = _embeddings(options, at, vocabulary, draw)
    norm = float(embedded.square().mean(dim=1).sqrt().mean())  # what norms divide by
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(embedded @ turn)
        model.lm_head.weight.copy_(_output(options, at, vocabulary) @ turn * norm)
        for number, layer in enumerate(model.model.layers):
            attention = layer.self_attn
            for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
                part.weight.zero_()
            if number == 0:  # without queries and keys every token looks at all before it alike
                _carry_language(attention, options, at, vocabulary, turn, norm)
            own = [one for one in neurons if one.layer == number]
            gate, up, down = _mlp(options, at, own, draw)
            layer.mlp.gate_proj.weight.copy_(gate @ turn * norm)
            layer.mlp.up_proj.weight.copy_(up @ turn * norm)
            layer.mlp.down_proj.weight.copy_((down @ turn).T)
    return model


def _embeddings(options: PlantedOptions, at: _Directions, vocabulary: Vocabulary, draw: torch.Generator) -> Tensor:
    """(V, D)."""
    concepts, room = len(vocabulary.shares), at.meaning.stop - at.meaning.start
    meaning = torch.randn(concepts, room, generator=draw)
    shares = torch.from_numpy(vocabulary.shares).float()[:, None]
    meaning -= (meaning * shares).sum(dim=0)  # around nothing, over all text
    meaning *= math.sqrt(room) / meaning.norm(dim=1, keepdim=True)
    embedded = torch.zeros(vocabulary.size, options.width)
    embedded[:, at.constant] = _CONSTANT
    for language in range(at.g):
        tokens = torch.from_numpy(vocabulary.token[language])
        embedded[tokens, at.meaning] = meaning
        embedded[tokens[: options.concepts], at.language] = at.spoken[language] * _LANGUAGE / 2
    return embedded


def _carry_language(
    attention: torch.nn.Module,
    options: PlantedOptions,
    at: _Directions,
    vocabulary: Vocabulary,
    turn: Tensor,
    norm: float,
) -> None:
    """Add the mean language of what was read so far: as much again as a word has."""
    own = float(vocabulary.shares[: options.concepts].sum())  # share of the text that has a language
    carried = at.language.stop - at.language.start
    values = torch.zeros(options.width, options.width)
    values[torch.arange(carried), torch.arange(at.language.start, at.language.stop)] = norm / own
    attention.v_proj.weight.copy_(values @ turn)  # type: ignore[union-attr, operator]
    back = torch.zeros(options.width, options.width)
    back[torch.arange(at.language.start, at.language.stop), torch.arange(carried)] = 1.0
    attention.o_proj.weight.copy_(turn.T @ back)  # type: ignore[union-attr, operator]


def _output(options: PlantedOptions, at: _Directions, vocabulary: Vocabulary) -> Tensor:
    """(V, D): what of the stream makes each token likely."""
    rows = torch.zeros(vocabulary.size, options.width)
    logarithm = torch.from_numpy(np.log(vocabulary.shares)).float()
    centred = logarithm - (logarithm * torch.from_numpy(vocabulary.shares).float()).sum()
    for language in range(at.g):
        tokens = torch.from_numpy(vocabulary.token[language])
        rows[tokens, at.frequency] = centred
        rows[tokens, at.constant] = centred * _FREQUENCY / _CONSTANT
        own = tokens[: options.concepts]
        rows[own, at.output.start + language] = 1.0
        rows[own, at.language] = at.spoken[language] * _DIRECT / _LANGUAGE
    # A language's neurons set all of its tokens against others' words; what languages share is raised once.
    common = slice(at.g * options.concepts, None)
    rows[common, at.shared] = 1.0
    rows[common, at.language] = at.reads(range(at.g)) * _DIRECT
    return rows


def _mlp(
    options: PlantedOptions, at: _Directions, neurons: Sequence[Neuron], draw: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Gate, up and down of a layer, (N, D) each: what its neurons read, and what they write."""
    gate, up, down = (torch.zeros(len(neurons), options.width) for _ in range(3))
    room = at.meaning.stop - at.meaning.start
    for one in neurons:
        row = one.place
        towards = torch.randn(room, generator=draw)
        gate[row, at.meaning] = towards / towards.norm()
        gate[row, at.constant] = float(ndtri(one.other)) / _CONSTANT
        up[row, at.constant] = 1 / _CONSTANT
        if one.kind == "hidden":  # the gate is the same in all languages: what it lets through is not
            up[row] = 0
            up[row, at.language] = at.reads(one.languages)
        elif one.languages:
            gate[row, at.language] = at.reads(one.languages) * float(ndtri(one.rate) - ndtri(one.other))
        if one.kind == "background":
            spread = torch.randn(at.spoken.shape[1], generator=draw)
            gate[row, at.language] = spread * options.leak / _LANGUAGE
            down[row, at.output] = torch.randn(at.g, generator=draw)
        elif one.kind == "general":
            down[row, at.frequency] = _GENERAL / options.general / _mean_effect(options)
        elif one.kind == "idle":
            down[row, at.nowhere] = 1.0
        else:
            down[row, [at.shared, *(at.output.start + language for language in one.languages)]] = 1.0
        # What an unplanted neuron adds is that of when it fires.
        share = one.rate if one.kind == "background" else 1.0
        down[row] *= (one.effect or _mean_effect(options)) * share / _mean_activation(one.rate)
    return gate * _STEEPNESS, up, down


def _mean_effect(options: PlantedOptions) -> float:
    low, high = options.effect
    return (high - low) / math.log(high / low) if high > low else low


def _mean_activation(rate: float) -> float:
    """Of a neuron that fires so often, where it fires; 0 elsewhere."""
    quantiles = torch.from_numpy(ndtri((np.arange(1000) + 0.5) / 1000))
    return float(silu(_STEEPNESS * (quantiles + float(ndtri(rate)))).clamp(min=0).mean())
