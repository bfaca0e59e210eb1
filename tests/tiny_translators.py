"""A tiny translation model with a tokenizer of its own, as NLLB has them, made from sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import NllbTokenizer

SENTENCES = (
    "Anna has 12 apples and buys 7 more. So she has 19.",
    "りんごが12個あります。7個買いました。全部で19個です。",
    "Anna hat 12 Äpfel und kauft 7 dazu. Sie hat also 19.",
    "小明有12个苹果，又买了7个。一共19个。",
)
SIZES: dict[str, int] = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128,
}  # fmt: skip


def make_nllb(folder: Path, seed: int = 0) -> Path:
    """A model of M2M100's kind, as NLLB is, with NLLB's tokenizer and its language tokens; float32, safetensors."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    backend.train_from_iterator([*SENTENCES, *map(str, range(100))], trainer)
    learnt = json.loads(backend.to_str())["model"]
    tokenizer = NllbTokenizer(vocab=learnt["vocab"], merges=[tuple(merge) for merge in learnt["merges"]])
    return save(folder, transformers.M2M100Config, tokenizer, seed, decoder_start_token_id=2)


def save(folder: Path, kind: Any, tokenizer: Any, seed: int = 0, **settings: Any) -> Path:
    """A model of random weights, large enough that it minds what it reads, with its tokenizer."""
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id}
    config = kind(vocab_size=len(tokenizer), **{**SIZES, **ids, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
