"""The pass, shards and documents included, against the fifteen lines that anyone would write, in CPU seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from alignlab.data.batching import pad, token_budget_batches
from alignlab.data.encoding import Document
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, ProbeConfig
from bench.measuring import Row, Scale, cpu_paired

VOCABULARY, LAYERS, NEURONS = 8000, 8, 1536
LANGUAGES, TEXTS = 2, 100  # at most: some batches of each language
# Median tokens of a text, where none are given: sentences of news, and questions of school maths.
LENGTHS = {"sentences": 34, "questions": 80}


def against_fifteen_lines(scale: Scale) -> list[Row]:
    """What shards, documents and exactness cost on top of one sum a layer and batch."""
    torch.set_num_threads(1)
    groups = {Path(folder).name: real_texts(Path(folder), scale) for folder in scale.folders}
    groups = groups or {name: made_up(median, scale) for name, median in LENGTHS.items()}
    model, defaults, rows = make_model(), ProbeConfig(), []
    for mark, (name, documents) in zip(marks(), groups.items(), strict=False):
        probe = Probe(documents, "all", defaults.shards, defaults.max_tokens_per_batch)
        sites = find_sites(model)
        ours = partial(count_firings, model, sites, probe, origin=Origin(), loss=False)
        theirs = partial(fifteen_lines, model, documents, defaults.max_tokens_per_batch)
        if not torch.equal(ours().totals(), theirs()):
            raise RuntimeError("the peer's counts are not ours")
        what = f"({mark}) pass, {defaults.shards} shards and documents, {name}"
        row = cpu_paired(what, ours, "fifteen lines", theirs, max(scale.rounds, 5))
        rows.append(replace(row, goal="0.93"))
    return rows


@torch.no_grad()
def fifteen_lines(model: transformers.PreTrainedModel, documents: dict[str, list[Document]], budget: int) -> Tensor:
    """Firings of every token, (G, L, N) int64: headless, sorted batches, padding left out; no shards, no documents."""
    totals = torch.zeros(len(documents), LAYERS, NEURONS, dtype=torch.int64)
    now: dict[str, Tensor | slice] = {}

    def hook(_module: object, _inputs: object, output: Tensor, layer: int) -> None:
        now["total"][layer] += (output.flatten(0, 1)[now["mask"]] > 0).sum(0)

    handles = [
        layer.mlp.act_fn.register_forward_hook(partial(hook, layer=number))
        for number, layer in enumerate(model.model.layers)
    ]
    for total, texts in zip(totals, documents.values(), strict=True):
        for numbers in token_budget_batches([len(text) for text in texts], budget):
            batch = pad([texts[number] for number in numbers], 0)
            mask = batch.attention_mask.flatten().bool()
            now = {"total": total, "mask": slice(None) if bool(mask.all()) else mask}
            model.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    for handle in handles:
        handle.remove()
    return totals


def make_model() -> transformers.PreTrainedModel:
    """A Llama of 8 layers of 1,536 neurons, random weights."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=NEURONS // 4,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=NEURONS // 256,
    )
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def made_up(median: int, scale: Scale) -> dict[str, list[Document]]:
    """Random tokens in texts of log-normal length."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(3, rng.lognormal(np.log(median), 0.45, size=(LANGUAGES, min(scale.texts, TEXTS)))).astype(int)
    return {
        f"language {number}": [document(rng.integers(0, VOCABULARY, size=length)) for length in some]
        for number, some in enumerate(lengths.tolist())
    }


def real_texts(folder: Path, scale: Scale) -> dict[str, list[Document]]:
    """The first texts of the folder's first files, tokenised by a byte-level BPE that is trained on them.

    A file is a language: `.txt` with a text a line, or `.tsv` with the text in front of the first tab.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in (".txt", ".tsv"))[:LANGUAGES]
    texts = {path.stem: list(lines_of(path))[: min(scale.texts, TEXTS)] for path in files}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((text for some in texts.values() for text in some), trainer)
    return {name: [document(tokenizer.encode(text).ids) for text in some] for name, some in texts.items()}


def lines_of(path: Path) -> Iterator[str]:
    """The texts of a file."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        text = line.partition("\t")[0] if path.suffix == ".tsv" else line
        if text:
            yield text


def document(tokens: Sequence[int] | np.ndarray) -> Document:
    """A text all of whose tokens are counted."""
    nowhere = np.zeros(len(tokens), dtype=bool)
    return Document("", "", np.array(tokens, dtype=np.int32), nowhere, nowhere)


def marks() -> Iterator[str]:
    """Names of the rows: h, h', h''..."""
    mark = "h"
    while True:
        yield mark
        mark += "'"
