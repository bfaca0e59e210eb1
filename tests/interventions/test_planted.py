"""A decoder made by hand, in which one neuron of each language writes its tokens: what is found is what was put there.

A layer without attention: a token's state x holds a constant, its language and four random signs, scaled so that its
root mean square is 1 and the norm before the MLP changes nothing. Planted neurons are active on the tokens of their
language alone, and write into a column that the output layer reads as that language. All other neurons have output
weights too; some are active on every token, as the planted ones are on those of their language.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alignlab.config import to_yaml
from alignlab.intervene import main
from alignlab.models.sites import find_sites
from alignlab.neurons import NeuronSets
from alignlab.neurons.options import TernaryOptions
from alignlab.neurons.table import read_csv
from alignlab.options import TrainConfig
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.effects import Effects
from alignlab.recording.probes import Probe, ProbeConfig

LANGUAGES = ("en", "de", "zh")
TOKENS, NEURONS, SIGNS = 12, 200, 4
WIDTH = 1 + len(LANGUAGES) + SIGNS + len(LANGUAGES)
OUT = 1 + len(LANGUAGES) + SIGNS  # the first column that neurons write


class Parts:
    """What the decoder is made of, in float64; it is computed with here without transformers."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        vocabulary = TOKENS * len(LANGUAGES) + 2  # and two for special tokens
        scale = math.sqrt(WIDTH / (2 + SIGNS))
        self.embedding = np.zeros((vocabulary, WIDTH))
        self.head = np.zeros((vocabulary, WIDTH))
        self.embedding[:, 0] = scale
        self.embedding[:, 4:OUT] = scale * draw.choice([-1, 1], (vocabulary, SIGNS))
        for token in range(vocabulary):
            language = token // TOKENS
            self.embedding[token, 1 + language % 3] = scale
            if language < len(LANGUAGES):
                self.head[token, OUT + language] = 3.0
        self.head += draw.normal(0, 0.2, self.head.shape) * (np.arange(WIDTH) >= 4)
        self.gate, self.up = np.zeros((NEURONS, WIDTH)), np.zeros((NEURONS, WIDTH))
        self.down = np.zeros((WIDTH, NEURONS))
        self.up[:, 0] = 1.0
        for place in range(len(LANGUAGES)):
            self.gate[place, 1 + place] = 2.0
            self.down[OUT + place, place] = 0.8
        rest = slice(len(LANGUAGES), None)
        count = NEURONS - len(LANGUAGES)
        self.gate[rest, 4:OUT] = draw.normal(0, 1, (count, SIGNS))
        self.gate[rest, 0] = np.where(
            np.arange(count) < 60, 6.0, draw.normal(-2, 1, count)
        )  # the first: on every token
        self.down[OUT:, rest] = draw.normal(0, 0.02, (len(LANGUAGES), count))

    def nats(self, tokens: np.ndarray, off: set[int]) -> float:
        """Of a text's tokens but the first, by the formula, one after another."""
        total = 0.0
        for before, after in itertools.pairwise(tokens):
            x = self.embedding[before]
            state = x.copy()
            for neuron in set(range(NEURONS)) - off:
                value = self.gate[neuron] @ x
                state += self.down[:, neuron] * (value / (1 + math.exp(-value))) * (self.up[neuron] @ x)
            logits = self.head @ (state / math.sqrt((state**2).mean()))
            total += math.log(np.exp(logits).sum()) - logits[after]
        return total

    def save(self, folder: Path) -> LlamaForCausalLM:
        config = LlamaConfig(
            vocab_size=len(self.embedding), hidden_size=WIDTH, intermediate_size=NEURONS, num_hidden_layers=1,
            num_attention_heads=1, num_key_value_heads=1, head_dim=4, max_position_embeddings=64, rms_norm_eps=1e-12,
            tie_word_embeddings=False,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        layer = model.model.layers[0]
        placed = {
            model.model.embed_tokens: self.embedding, model.lm_head: self.head, layer.mlp.gate_proj: self.gate,
            layer.mlp.up_proj: self.up, layer.mlp.down_proj: self.down,
            layer.self_attn.o_proj: np.zeros((WIDTH, 4)),
        }  # fmt: skip
        with torch.no_grad():
            for module, weight in placed.items():
                module.weight.copy_(torch.from_numpy(weight))
        model.save_pretrained(folder)
        words = {f"{language}{number}": place * TOKENS + number
                 for place, language in enumerate(LANGUAGES) for number in range(TOKENS)}  # fmt: skip
        backend = Tokenizer(models.WordLevel(words | {"<pad>": len(words), "<eos>": len(words) + 1}, unk_token="<pad>"))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
        return model.eval()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parts]:
    """A run of that decoder, with the counts of step 0, and what it is made of."""
    folder = tmp_path_factory.mktemp("planted")
    parts = Parts()
    model = parts.save(folder / "model")
    draw = np.random.default_rng(1)
    (folder / "texts").mkdir()
    for language in LANGUAGES:
        lines = [" ".join(f"{language}{number}" for number in draw.integers(0, TOKENS, 9)) for _ in range(60)]
        (folder / "texts" / f"{language}.txt").write_text("\n".join(lines) + "\n")
    probe = {"source": {"name": "files", "path": str(folder / "texts")}, "scope": "all", "shards": 6}
    config = TrainConfig.model_validate(
        {"model": {"source": str(folder / "model")}, "probe": probe, "evaluation": None}
    )
    built = ProbeConfig.of(config.probe).build(AutoTokenizer.from_pretrained(folder / "model"))
    assert isinstance(built, Probe)
    counts = count_firings(model, find_sites(model), built, origin=Origin(step=0, reference=""))
    counts.save(folder / "run/neurons/step-000000.safetensors")
    identifier = TernaryOptions(top_rate=3 / NEURONS, bar=0.6)
    config = config.model_copy(update={"identifier": identifier})
    (folder / "run/config.yaml").write_text(to_yaml(config))
    assert main([f"run={folder}/run", "seeds=4", f"folder={folder}/out"]) == 0
    return folder, parts


def test_the_neurons_are_found_and_controls_are_as_active(planted: tuple[Path, Parts]) -> None:
    sets = NeuronSets.load(planted[0] / "out/sets-step-000000.safetensors")
    assert {name: mask.nonzero().tolist() for name, mask in sets.items()} == {
        name: [[0, place]] for place, name in enumerate(LANGUAGES)
    }


def test_the_effect_is_that_of_the_formula(planted: tuple[Path, Parts]) -> None:
    folder, parts = planted
    effects = Effects.load(folder / "out/effects-step-000000.safetensors")
    assert effects.nats is not None
    words = {}
    for place, language in enumerate(LANGUAGES):
        for number, line in enumerate((folder / "texts" / f"{language}.txt").read_text().splitlines(), start=1):
            words[language, str(number)] = [place * TOKENS + int(word[2:]) for word in line.split()]
    arms = {label.name: {LANGUAGES.index(label.set)} if label.set else set() for label in effects.labels
            if not label.control}  # fmt: skip
    assert len(arms) == 4
    for row, item in enumerate(effects.items):
        tokens = np.array(words[item.language, item.id])
        for name, off in arms.items():
            found = float(effects.nats[row, effects.arms.index(name)])
            assert found == pytest.approx(parts.nats(tokens, off), rel=1e-5), (item, name)


def test_the_verdict_fires_for_every_language_and_for_no_other_cell(planted: tuple[Path, Parts]) -> None:
    rows = read_csv(planted[0] / "out/table.csv")
    over = {(row.set, row.other): row for row in rows
            if row.measure == "nats over control" and row.control == "matched"}  # fmt: skip
    assert set(over) == {(name, language) for name in LANGUAGES for language in LANGUAGES}
    assert {place for place, row in over.items() if row.beyond_control} == {(name, name) for name in LANGUAGES}
    assert all(row.value > 0.1 for (name, language), row in over.items() if name == language)
    own = [row for row in rows if row.measure == "change of nats, own language over others"]
    assert [row.language for row in own if row.beyond_noise and row.value > 0] == sorted(LANGUAGES)
    # Controls are as active as the planted neurons, on every token of the language, and do something too.
    controls = [row for row in rows if row.measure == "change of nats" and row.control == "matched"]
    assert all(row.control_gap is not None and row.control_gap < 0.01 for row in controls if row.set == row.other)
    assert all(row.value != 0 for row in controls)


def test_lss_is_that_of_the_formula(planted: tuple[Path, Parts]) -> None:
    """Without its neuron objects of a language are less likely behind its own prompts, and as likely behind others."""
    folder, parts = planted
    draw = np.random.default_rng(2)
    (folder / "objects").mkdir()
    words: dict[str, list[int]] = {}
    for name in range(8):
        words[f"o{name}"] = draw.integers(0, TOKENS, 3).tolist()
    for language in LANGUAGES:
        lines = [
            {"id": name, "prompt": f"{language}{one} {language}{two}", "answer": f"{language}{three}"}
            for name, (one, two, three) in words.items()
        ]
        (folder / "objects" / f"{language}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = f"objects.source={{name: files, path: {folder}/objects, prompt: prompt, answer: answer, id: id}}"
    assert main([f"run={folder}/run", "measures=[lss]", source, "seeds=2", f"folder={folder}/lss"]) == 0
    effects = Effects.load(folder / "lss/objects-step-000000.safetensors")
    assert effects.option_nats is not None
    assert set(effects.languages) == set(LANGUAGES)
    shifts: dict[tuple[str, str, str], list[float]] = {}
    for row, item in enumerate(effects.items):
        own = LANGUAGES.index(item.language)
        one, two, three = words[item.id]
        prompt = [own * TOKENS + one, own * TOKENS + two]
        for name, off in {
            "none": set[int](),
            **{f"zero {code}": {place} for place, code in enumerate(LANGUAGES)},
        }.items():
            found = effects.option_nats[row, effects.arms.index(name)].tolist()
            expected = [
                parts.nats(np.array([*prompt, place * TOKENS + three]), off) - parts.nats(np.array(prompt), off)
                for place in range(len(LANGUAGES))
            ]
            assert found == pytest.approx([expected[LANGUAGES.index(code)] for code in effects.languages], rel=1e-5)
            for target, code in enumerate(LANGUAGES):
                shifts.setdefault((name, item.language, code), []).append(expected[own] - expected[target])
    rows = read_csv(folder / "lss/table.csv")
    for name, prompt, target in itertools.product(LANGUAGES, repeat=3):
        if prompt == target or name not in (prompt, target):
            continue
        way, other = ("towards", prompt) if name == target else ("from", target)
        [lss] = [row for row in rows if row.measure == f"LSS {way} the set's language" and row.set == name
                 and row.other == other]  # fmt: skip
        after, before = shifts[f"zero {name}", prompt, target], shifts["none", prompt, target]
        assert lss.value == np.mean([a - b > 1e-9 for a, b in zip(after, before, strict=True)])
        assert lss.value == (0.0 if way == "towards" else 1.0)
        assert lss.denominator == len(words)
