"""Train the demo model from nothing, measure it, and write its folder with a model card.

    python scripts/build_demo_model.py --steps 4500 --threads 1

English text is mostly worked answers. The nine other languages have questions alone, questions with the bare result,
translations into English under the instruction of question translation, and some worked answers, the last languages
few. Lines of sums teach arithmetic. So what the model can do in English lies ready in the other languages but is seldom
shown, and alignment has something to bring out. No problem is seen in two languages, but for questions in translation.

The same seed, steps and threads give the same model on the same kind of machine, unless `--minutes` cuts it short. On a
busy machine, GOMP_SPINCOUNT=0 keeps waiting threads from taking the time of working ones. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alignlab.data.wordproblems import LANGUAGES, generate, texts
from alignlab.data.wordproblems.problems import WordProblem, problem_at
from alignlab.data.wordproblems.shapes import SHAPES
from alignlab.languages import get

CARD = Path(__file__).with_name("demo_model_card.md")
FOLDER = Path(__file__).resolve().parents[1] / "src" / "alignlab" / "assets" / "demo_model"
# Shares of the documents: lines of sums, English, and what is left in equal parts for the other languages.
SUMS, ENGLISH = 0.15, 0.33
PROBLEMS_PER_SUMS = 6
# The problems are drawn with seeds from here on, so that those of a fine-tuning (seed 0 by default) are others.
FIRST_SEED = 1000
KINDS = ("worked", "bare", "translation", "question")
# Without sums a model of this size learns little that another language could take over. Given worked answers in a fifth
# of its text a language has .6 of the problems right; given them in two fifths, about as many as English.
# Per language: share of its documents that are of each of KINDS; what is missing to 1 are questions alone.
MIXTURE = {
    "en": (0.95, 0.00, 0.00),
    "de": (0.20, 0.11, 0.40),
    "fr": (0.20, 0.11, 0.40),
    "es": (0.20, 0.11, 0.40),
    "ru": (0.14, 0.12, 0.40),
    "zh": (0.14, 0.12, 0.40),
    "ja": (0.14, 0.12, 0.40),
    "sw": (0.06, 0.13, 0.40),
    "th": (0.06, 0.13, 0.40),
    "bn": (0.06, 0.13, 0.40),
}
# The instruction under which the demo's configurations let questions be translated.
INSTRUCTION = yaml.safe_load(
    (Path(__file__).resolve().parents[1] / "configs/base/question_translation.yaml").read_text(encoding="utf-8")
)["data"]["prompts"]["template"]
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY = 1536
WIDTH, LAYERS, NEURONS, HEADS = 160, 4, 640, 5
TOKENS_PER_BATCH, DOCUMENTS_PER_POOL = 3072, 2048
PEAK_RATE, WARM_UP_STEPS = 3e-3, 100


@dataclass(frozen=True)
class Measured:
    """Of one language: loss in nats per answer token, and share of problems whose greedy answer ends rightly."""

    loss: float
    accuracy: float


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = build_tokenizer(options.seed)
    model = build_model(tokenizer)
    made = {"parameters": model.num_parameters(), **train(model, tokenizer, options)}
    measured = {code: measure(model, tokenizer, code, options.problems) for code in MIXTURE}
    for code, one in measured.items():
        print(f"{code}  loss {one.loss:.3f}  accuracy {one.accuracy:.3f}")
    write(options.out, model, tokenizer, card(options, made, measured))
    print(f"wrote {options.out}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER,
        help="folder to write, replaced if it is there (default: the one in the package)",
    )
    parser.add_argument("--steps", type=int, default=4500, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end training by then, with fewer steps")
    parser.add_argument("--seed", type=int, default=0, help="of weights, text and order (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--problems", type=int, default=200, help="test problems measured per language (default: %(default)s)"
    )
    return parser.parse_args()


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: digits and line breaks are single tokens, `<bos>` is put first."""
    tokenizer = Tokenizer(models.BPE())
    # Vowel signs of Thai and Bengali are marks, not letters: words keep them, or these scripts fall into pieces.
    words = Regex(r"\n|\p{N}| ?[\p{L}\p{M}]+| ?[^\s\p{L}\p{M}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,  # bytes, eight Thai characters: scripts without spaces get words, not whole sentences
        show_progress=False,
    )
    # As much text of each language, so that no language is cut into longer runs of tokens than need be.
    sample = generate(LANGUAGES, 2000, seed=FIRST_SEED + seed)
    tokenizer.train_from_iterator((f"{one.prompt}\n{one.answer}" for one in sample), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=2048
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
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # on a CPU half as fast again as the fused kernel, at this size
    return model


def documents(seed: int) -> Iterator[str]:
    """The training text without end: document `index` is problem `index` of the split, or lines of sums."""
    languages = list(MIXTURE)
    other = (1 - SUMS - ENGLISH) / (len(languages) - 1)
    shares = [ENGLISH if code == "en" else other for code in languages]
    drawn = FIRST_SEED + seed
    for index in range(10**12):
        rng = random.Random(f"demo/{seed}/{index}")
        if rng.random() < SUMS:
            yield sums(drawn, index) + EOS
            continue
        code = rng.choices(languages, shares)[0]
        kind = rng.choices(KINDS, [*MIXTURE[code], 1 - sum(MIXTURE[code])])[0]
        yield document(problem_at("train", drawn, index), code, kind) + EOS


def document(problem: WordProblem, code: str, kind: str) -> str:
    """A problem in a language, as one of KINDS."""
    question, answer = texts(problem, code, "translate" if kind == "translation" else "solve")
    if kind == "question":
        return question
    if kind == "bare":
        answer = last_line(answer)
    prompt = INSTRUCTION.replace("{language}", get(code).name) if kind == "translation" else "{prompt}\n"
    return prompt.replace("{prompt}", question) + answer


def sums(seed: int, index: int) -> str:
    """The steps of some problems of the split, a line each, without their words."""
    problems = [problem_at("train", seed, index * PROBLEMS_PER_SUMS + number) for number in range(PROBLEMS_PER_SUMS)]
    return "\n".join(f"{step.work} = {step.result}" for problem in problems for step in problem.steps)


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Token ids (row, position), padded on the right; texts of like length together, about as many tokens in each."""
    stream, rng = documents(seed), random.Random(f"demo/{seed}/order")
    while True:
        pool = tokenizer([next(stream) for _ in range(DOCUMENTS_PER_POOL)])["input_ids"]
        groups: list[list[list[int]]] = [[]]
        for ids in sorted(pool, key=len):
            if len(ids) * (len(groups[-1]) + 1) > TOKENS_PER_BATCH:
                groups.append([])
            groups[-1].append(ids)
        rng.shuffle(groups)
        yield from (padded(group, tokenizer.pad_token_id) for group in groups)


def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    """Rows of unequal length as one tensor, filled on the right to a multiple of 8."""
    length = -(-max(map(len, rows)) // 8) * 8
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> dict[str, float]:
    """Train the model in place; what it took."""
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))
    model.train()
    tokens, done, started = 0, 0.0, time.monotonic()
    for step, ids in enumerate(batches(tokenizer, options.seed), start=1):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * min(step / WARM_UP_STEPS, 0.5 * (1 + math.cos(math.pi * done)))
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        # Padding lies to the right of every token that is learned from, so causal attention needs no mask.
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += int((labels != -100).sum())
        minutes = (time.monotonic() - started) / 60
        # The rate has fallen to nought when the steps or the minutes are over, whichever comes first.
        done = min(1.0, max(step / options.steps, minutes / options.minutes))
        if step % 100 == 0 or done == 1:
            print(f"step {step}  {done:.0%}  loss {loss.item():.3f}  {tokens / minutes / 60:,.0f} tokens/s", flush=True)
        if done == 1:
            break
    return {"tokens": tokens, "steps_done": step, "minutes": minutes, "cpu_minutes": time.process_time() / 60}


@torch.no_grad()
def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, code: str, problems: int) -> Measured:
    """Loss and accuracy on the first `problems` of the test split, in float32."""
    model.eval()
    records = generate([code], problems, split="test")
    nats, counted, right = 0.0, 0, 0
    for start in range(0, problems, 50):
        some = records[start : start + 50]
        prompts = tokenizer([f"{one.prompt}\n" for one in some])["input_ids"]
        answers = tokenizer([f"{one.answer}{EOS}" for one in some], add_special_tokens=False)["input_ids"]
        ids = padded([one + other for one, other in zip(prompts, answers, strict=True)], tokenizer.pad_token_id)
        hidden = [[-100] * len(one) + other for one, other in zip(prompts, answers, strict=True)]
        labels = padded(hidden, -100)
        logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        nats += torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum").item()
        counted += int((labels != -100).sum())
        given = tokenizer([f"{one.prompt}\n" for one in some], padding=True, padding_side="left", return_tensors="pt")
        written = model.generate(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], max_new_tokens=128, do_sample=False
        )
        said = tokenizer.batch_decode(written[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(last_line(text) == last_line(one.answer) for text, one in zip(said, some, strict=True))
    return Measured(nats / counted, right / problems)


def last_line(text: str) -> str:
    return text.strip().rsplit("\n", 1)[-1]


def card(options: argparse.Namespace, made: dict[str, float], measured: dict[str, Measured]) -> str:
    """The model card, all of it from this run."""
    rows = [
        f"| {code} | {' | '.join(f'{share:.0%}' for share in shares)} "
        f"| {measured[code].loss:.3f} | {measured[code].accuracy:.3f} |"
        for code, shares in MIXTURE.items()
    ]
    return CARD.read_text(encoding="utf-8").format(
        **vars(options) | made,
        command=" ".join(f"--{name} {getattr(options, name)}" for name in ("steps", "minutes", "seed", "threads")),
        languages=", ".join(MIXTURE),
        layers=LAYERS,
        width=WIDTH,
        neurons=NEURONS,
        templates=len(SHAPES),
        problem_seed=FIRST_SEED + options.seed,
        sums=SUMS,
        english=ENGLISH,
        per_step=TOKENS_PER_BATCH,
        peak=PEAK_RATE,
        torch=torch.__version__,
        vocabulary=VOCABULARY,
        eos=EOS,
        rows="\n".join(rows),
    )


def write(out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    """Write the model folder; it appears whole or not at all."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


if __name__ == "__main__":
    main()
