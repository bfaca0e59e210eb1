"""A small model of news in ten languages, trained by alignlab from random weights, whose neurons are then switched off.

    python scripts/studies/news_model.py --texts FOLDER --out runs/news
    python scripts/studies/news_effects.py sets --out runs/news

FOLDER has a file `<code>.txt` for each language, where line i says the same in all of them, such as NTREX-128 (1,997
lines). The model learns the first lines (`train`); its neurons are counted at every snapshot on the next ones
(`identify`), and what is left (`evaluate`) is for effects: the three share no line, and a block of lines that stand
together, as those of an article do, is a cluster. docs/studies/news.md has what was found, and all commands.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import alignlab.train
from alignlab.atomic import write_text
from alignlab.data.text_files import line_block

LANGUAGES = ("en", "de", "fr", "es", "ru", "zh", "ja", "sw", "th", "bn")
# Lines of each part, counted from 0. Some lie between, so that no article is in two of them.
PARTS = {"train": (0, 1390), "identify": (1400, 1690), "evaluate": (1700, 1997)}
LINES_OF_A_CLUSTER = 10
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY, WIDTH, LAYERS, NEURONS, HEADS = 6000, 192, 6, 768, 6


def main() -> None:
    options = arguments()
    write_parts(options.texts, options.out)
    tokenizer = build_tokenizer(options.out / "train")
    torch.manual_seed(options.seed)
    tokenizer.save_pretrained(options.out / "random")
    build_model(tokenizer).save_pretrained(options.out / "random")
    raise SystemExit(alignlab.train.main(arguments_of_train(options)))


def write_parts(texts: Path, out: Path) -> None:
    """Write the three parts, a file for each language. Those of `evaluate` have ids and clusters of their own.

    Lines of the other two are numbered from 1 by who reads them, as is usual; a line of `evaluate` numbered like one of
    `identify` would be taken for the same one.
    """
    for part, (first, end) in PARTS.items():
        for code in LANGUAGES:
            lines = (texts / f"{code}.txt").read_text(encoding="utf-8").split("\n")[first:end]
            if part == "evaluate":
                rows = [
                    {"id": str(number), "block": line_block(number, LINES_OF_A_CLUSTER), "text": line}
                    for number, line in enumerate(lines, first + 1)
                ]
                text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
                write_text(out / part / f"{code}.jsonl", text)
            else:
                write_text(out / part / f"{code}.txt", "".join(f"{line}\n" for line in lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="folder of <code>.txt")
    parser.add_argument("--out", type=Path, default=Path("runs/news"), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps of 32 lines (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: %(default)s)")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of alignlab.train")
    return parser.parse_args()


def arguments_of_train(options: argparse.Namespace) -> list[str]:
    """Language modelling with all weights, and counts on all tokens of the part `identify`."""
    return [
        f"run.folder={options.out / 'run'}", "run.name=news", f"seed={options.seed}",
        f"model.source={options.out / 'random'}",
        "data.train.name=files", f"data.train.path={options.out / 'train'}",
        f"data.train.languages=[{','.join(LANGUAGES)}]",
        "data.prompts.template={prompt}", "data.examples_per_step=32",
        "method.name=causal", "method.trainable=full", "method.optimizer.lr=2e-3", "method.optimizer.weight_decay=0.1",
        "method.optimizer.beta2=0.95", "trainer.gradient_clip_val=1.0", "trainer.precision=bf16-mixed",
        f"trainer.max_steps={options.steps}",
        "probe.source.name=files", f"probe.source.path={options.out / 'identify'}", "probe.max_texts=290",
        f"probe.source.cluster_lines={LINES_OF_A_CLUSTER}", "probe.scope=all", "probe.shards=20",
        f"tracker.every_n_steps={max(options.steps // 4, 1)}", "tracker.statistics=[moments]",
        "identifier.top_rate=0.05", "wandb.mode=disabled", *options.set,
    ]  # fmt: skip


def build_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the training lines, which are as many in every language."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,  # bytes: scripts without spaces get words, not whole sentences
        show_progress=False,
    )
    tokenizer.train([str(folder / f"{code}.txt") for code in LANGUAGES], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=1024
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small Llama with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


if __name__ == "__main__":
    main()
