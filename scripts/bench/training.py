"""Training against TRL: the same model, adapter, examples, precision, optimiser and examples a step.

What is timed is an epoch, from the moment at which the first batch is asked for to the end of the last step; what comes
before, such as tokenising and packing, is no part of it. Neither side recomputes activations (TRL does by default).
Ours is the loop of a run, which logs every step in `metrics.csv`.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import torch
import transformers

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Document
from alignlab.data.examples import Pair
from alignlab.data.training import MicroBatches, size_of, training_loader
from alignlab.methods.base import Course, Method
from alignlab.methods.options import Lora, OptimizerOptions
from alignlab.methods.preference import Preference
from alignlab.methods.supervised import Supervised
from alignlab.models.flops import TextFlops, matrix_peak
from alignlab.models.load import DEMO_FOLDER
from alignlab.reporting.metrics_csv import MetricsCsv
from bench.measuring import Row, Scale

VOCABULARY = 8000
STEPS = 16  # of an epoch: a window of `StepPlan`, within which texts are sorted by length
PAD = 0
ADAPTER = Lora(rank=16, targets=["all-linear"])
OPTIMIZER = OptimizerOptions(lr=1e-4, schedule="constant", warmup=0.0)
# The shape of Llama 3.2 1B.
ONE_BILLION: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class Work:
    """A model without an adapter, the method, and the examples of an epoch, `per_step` of them a step."""

    model: transformers.PreTrainedModel
    method: Method
    examples: Sequence[Any]
    per_step: int

    @property
    def flops(self) -> TextFlops:
        """What a text costs."""
        config = copy.deepcopy(self.model.config)
        config._attn_implementation = "eager"  # others look at the values of the mask
        with torch.device("meta"):
            return self.method.flops(self.method.prepare(transformers.AutoModelForCausalLM.from_config(config)))

    @property
    def device(self) -> str:
        return self.model.device.type


@dataclass(frozen=True)
class Epoch:
    """What was timed. read: positions that went through the model, padding included.  learnt: tokens in the loss."""

    seconds: float
    read: int
    learnt: int


def against_trl(scale: Scale) -> list[Row]:
    """Supervised fine-tuning on answers, against TRL with padding and with packing."""
    work = make_work(scale, Supervised(lora=ADAPTER, optimizer=OPTIMIZER))
    peers = {
        "TRL SFTTrainer, padded": partial(train_sft, work, False),
        "TRL SFTTrainer, packed": partial(train_sft, work, True),
    }
    return in_turn({"(i) supervised, LoRA": "2.2", "(i') supervised, LoRA": "1.7"}, work, peers, scale)


def against_trl_on_pairs(scale: Scale) -> list[Row]:
    """DPO on pairs, the reference being the model without its adapter."""
    work = make_work(scale, Preference(lora=ADAPTER, optimizer=OPTIMIZER))
    return in_turn({"(j) DPO, LoRA": "1.5"}, work, {"TRL DPOTrainer": partial(train_dpo, work)}, scale)


def in_turn(goals: dict[str, str], work: Work, peers: dict[str, Callable[..., Epoch]], scale: Scale) -> list[Row]:
    """A row a peer: an epoch of ours and of each in turn, after a step of each that is not counted."""
    ours = partial(train, work)
    for trainer in (ours, *peers.values()):
        trainer(steps=1)
    size = np.sum([size_of(example) for example in work.examples], axis=0).tolist()
    tokens, flops, peak = size[0], work.flops.of(size), peak_of(work.device)
    clock, share_goal = ("CPU seconds of one thread", "") if work.device == "cpu" else ("seconds", " (goal: 45 %)")
    rounds = [(ours(), [peer() for peer in peers.values()]) for _ in range(scale.rounds)]
    rows = []
    for place, ((what, goal), peer) in enumerate(zip(goals.items(), peers, strict=True)):
        pairs = [(own, theirs[place]) for own, theirs in rounds]
        own, theirs = pairs[0]
        if own.learnt != theirs.learnt:
            raise RuntimeError(f"{peer} learns {theirs.learnt} tokens, and ours {own.learnt}")
        seconds = statistics.median(a.seconds for a, _ in pairs)
        rows.append(
            Row(
                what,
                seconds,
                peer,
                statistics.median(b.seconds for _, b in pairs),
                statistics.median(b.seconds / a.seconds for a, b in pairs),
                goal,
                f"{clock}; positions read a token: {own.read / tokens:.2f}, peer {theirs.read / tokens:.2f}; ours does "
                f"{flops / seconds / peak:.0%} of the {peak / 1e9:,.0f} GFLOP/s of a large matrix product{share_goal}",
            )
        )
    return rows


def peak_of(device: str) -> float:
    """FLOPs a second of a product of two large matrices, on a processor by the CPU time of one thread."""
    dtype, size = (torch.float32, 2048) if device == "cpu" else (torch.bfloat16, 8192)
    return matrix_peak(torch.device(device), dtype, size=size, clock=partial(now, device))


def make_work(scale: Scale, method: Method) -> Work:
    """Texts as in (a), a prompt of about 120 tokens and an answer of about 100; of pairs two answers to a prompt."""
    on_cpu, pairs = scale.device == "cpu", isinstance(method, Preference)
    if on_cpu:
        torch.set_num_threads(1)
    rng, per_step = np.random.default_rng(0), (4 if pairs else 8) * (1 if on_cpu else 8)

    def tokens(shortest: int, median: int, spread: float) -> np.ndarray:
        length = shortest + int(rng.lognormal(np.log(median), spread))
        return rng.integers(PAD + 1, VOCABULARY, size=length).astype(np.int32)

    def document(prompt: np.ndarray) -> Document:
        answer = tokens(1, 93, 0.4)
        both = np.concatenate([prompt, answer])
        return Document("", "en", both, np.arange(len(both)) >= len(prompt), np.zeros(len(both), dtype=bool))

    examples: list[Any] = []
    for _ in range(STEPS * per_step):
        prompt = tokens(45, 70, 0.35)
        examples.append(Pair(document(prompt), document(prompt)) if pairs else document(prompt))
    return Work(make_model(scale), method, examples, per_step)


def make_model(scale: Scale) -> transformers.PreTrainedModel:
    """A Llama with random weights: of 20 M parameters, or on a GPU of 1.2 B in bfloat16."""
    shape = ONE_BILLION
    if scale.device == "cpu":
        wide = {"hidden_size": scale.hidden, "intermediate_size": 4 * scale.hidden, "vocab_size": VOCABULARY}
        shape = {**wide, "num_hidden_layers": 6, "num_attention_heads": scale.hidden // 64}
    torch.manual_seed(0)
    with torch.device(scale.device):
        dtype = torch.float32 if scale.device == "cpu" else torch.bfloat16
        return transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**shape), dtype=dtype)


def train(work: Work, steps: int = STEPS) -> Epoch:
    """Our training: what `alignlab.train` runs, without snapshots and checkpoints."""
    method = work.method
    plan = StepPlan(tuple(len(example) for example in work.examples), work.per_step, STEPS, seed=0)
    batches = MicroBatches(work.examples, method.examples, plan, accumulation=1, rank=0, ranks=1, pad_id=PAD)
    module = method.build(method.prepare(copy.deepcopy(work.model)), Course(STEPS, seed=0))
    clock = Stopwatch(work.device)
    with TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="cpu" if work.device == "cpu" else "gpu",
            devices=1,
            precision="32-true" if work.device == "cpu" else "bf16-true",
            max_steps=steps,
            max_epochs=-1,
            logger=MetricsCsv(Path(folder) / "metrics.csv", 0),
            log_every_n_steps=1,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, training_loader(batches, first=0, workers=0, pin_memory=work.device != "cpu"))
    read = [batches[number] for number in range(steps)]
    learnt = sum(int(batch["answer"][:, 1:].sum()) for batch in read)
    return Epoch(clock.seconds, sum(batch["input_ids"].numel() for batch in read), learnt)


class Stopwatch(L.Callback):
    """Seconds from the start of the training to its end, on a processor those of its CPU time."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = -now(self.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += now(self.device)


def now(device: str) -> float:
    """The clock, once the device has done all that it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def train_sft(work: Work, packed: bool, steps: int = STEPS) -> Epoch:
    """TRL's SFTTrainer on the same documents; packed into sequences of which two are as long as a step of ours."""
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"input_ids": text.tokens.tolist(), "labels": np.where(text.answer, text.tokens, -100).tolist()}
        for text in work.examples
    ]
    longest = max(map(len, work.examples))
    per_step = sum(map(len, work.examples)) // STEPS
    length, size = (max(longest, per_step // 2), 2) if packed else (longest, work.per_step)

    def make(model: Any, arguments: dict[str, Any], datasets: Any, tokenizer: Any) -> Any:
        own = {"max_length": length, "packing": packed, "per_device_train_batch_size": size}
        config = SFTConfig(**arguments, **own)
        return SFTTrainer(model, config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer)

    return timed(work, make, steps)


def train_dpo(work: Work, steps: int = STEPS) -> Epoch:
    """TRL's DPOTrainer on the same pairs."""
    from trl import DPOConfig, DPOTrainer

    def row(pair: Pair) -> dict[str, list[int]]:
        prompt, chosen, rejected = pair.chosen.tokens[~pair.chosen.answer], *map(answer_of, pair.documents)
        return {"prompt_ids": prompt.tolist(), "chosen_ids": chosen.tolist(), "rejected_ids": rejected.tolist()}

    def make(model: Any, arguments: dict[str, Any], datasets: Any, tokenizer: Any) -> Any:
        config = DPOConfig(**arguments, per_device_train_batch_size=work.per_step, max_length=None)
        texts = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
        trainer = DPOTrainer(model, args=config, train_dataset=texts, processing_class=tokenizer)
        trainer.train_dataset = datasets.Dataset.from_list([row(pair) for pair in work.examples])  # tokens as they are
        return trainer

    return timed(work, make, steps)


def answer_of(document: Document) -> np.ndarray:
    """The tokens of the answer."""
    return document.tokens[document.answer]


def timed(work: Work, make: Callable[..., Any], steps: int) -> Epoch:
    """An epoch of a trainer of TRL's, at its defaults but for what has to be the same."""
    import datasets

    datasets.disable_progress_bars()
    on_cpu = work.device == "cpu"

    class Watch(transformers.TrainerCallback):
        seconds = 0.0

        def on_train_begin(self, *_args: Any, **_options: Any) -> None:
            self.seconds = -now(work.device)

        def on_train_end(self, *_args: Any, **_options: Any) -> None:
            self.seconds += now(work.device)

    with TemporaryDirectory() as folder:
        arguments = {
            "output_dir": folder,
            "num_train_epochs": 1,
            "max_steps": -1 if steps == STEPS else steps,
            "learning_rate": OPTIMIZER.lr,
            "lr_scheduler_type": OPTIMIZER.schedule,
            "max_grad_norm": 0.0,  # ours is not clipped
            "bf16": not on_cpu,
            "use_cpu": on_cpu,
            "gradient_checkpointing": False,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": 0,
        }
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(DEMO_FOLDER))
        tokenizer.pad_token_id = PAD
        trainer = make(work.method.prepare(copy.deepcopy(work.model)), arguments, datasets, tokenizer)
        watch = Watch()
        trainer.add_callback(watch)
        trainer.remove_callback(transformers.PrinterCallback)  # it would print between the rows
        trainer.train()
        read = list(trainer.get_train_dataloader())
    learnt = sum(learnt_of(batch) for batch in read)
    return Epoch(watch.seconds, sum(batch["input_ids"].numel() for batch in read), learnt)


def learnt_of(batch: dict[str, Any]) -> int:
    """Tokens of a batch of TRL's that are in the loss: the first of a row is predicted from nothing."""
    if "labels" in batch:
        return int((batch["labels"][:, 1:] != -100).sum())
    return int(batch["completion_mask"][:, 1:].sum())
