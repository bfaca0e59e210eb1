"""What is fuzzed: each target takes a valid example, makes it wrong, and gives it to alignlab as a user would.

A target is called in the folder of a case, with its `Random`; it returns a command's exit status, or nothing.
"""

from __future__ import annotations

import gc
import importlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_args

import pandas as pd
import torch
import transformers
import yaml
from mutations import damaged, deep, mutated, odd_value, spoil

import alignlab.analyze
import alignlab.benchmark
import alignlab.report
import alignlab.train
from alignlab import load_run, ternary
from alignlab.analysis.options import AnalysisName
from alignlab.data.encoding import encode
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Files, ParallelText
from alignlab.interventions.expressions import select_neurons
from alignlab.models.load import DEMO_FOLDER, ModelConfig
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.formats import COUNT_FORMATS, save_arithmetic_counts, save_lape_counts, save_ternary_counts
from alignlab.neurons.formats.sets import save_sets
from alignlab.trainer_options import TrainerOptions

Target = Callable[[Random], int | None]

_CONFIG: dict[str, Any] = {
    "seed": 1,
    "run": {"name": "user", "folder": "runs/${run.name}"},
    "model": {"source": "builtin:demo", "dtype": "float32"},
    "data": {
        "examples_per_step": 4,
        "max_length": 64,
        "train": {"name": "builtin:wordproblems", "count": 8, "languages": ["de", "sw"], "task": "translate"},
        "prompts": {"template": "{prompt}\n"},
    },
    "method": {"lora": {"rank": 2, "targets": ["q_proj"]}, "optimizer": {"lr": 0.001, "warmup": 0.1}},
    "probe": {"scope": "all", "shards": 2, "source": {"count": 3, "split": "probe", "languages": ["en", "de"]}},
    "tracker": {"every_n_steps": 2, "loss": True, "statistics": ["moments"]},
    "identifier": {"name": "ternary", "top_rate": 0.1},
    "checkpoints": {"keep_last": 1},
    "wandb": {"mode": "disabled"},
    "trainer": {"max_steps": 2, "accelerator": "cpu"},
}


_AGREEMENT: dict[str, Any] = {
    "models": ["builtin:demo"],
    "probe": {"scope": "response", "shards": 2, "source": {"count": 3, "split": "probe", "languages": ["en", "de"]}},
    "labels": {"axis": "script", "table": {"latin": {"family": "letters", "resource": 2}}},
    "identifier": {"name": "ternary", "top_rate": 0.1},
    "identifiers": {"mine": {"name": "average_precision", "k": 9}, "plnd": {"name": "plnd", "ffn": 9, "attention": 9}},
    "only": ["ternary", "lape", "mine"],
    "size": 9,
}


def config(rng: Random) -> int:
    """A config file, whole."""
    text = yaml.safe_dump(mutated(rng, _CONFIG), sort_keys=False, allow_unicode=rng.random() < 0.5).encode(
        errors="replace"
    )
    if rng.random() < 0.3:
        text = damaged(rng, text)
    Path("user.yaml").write_bytes(text)
    return alignlab.train.main(["config=user.yaml", "dry_run=true"])


def arguments(rng: Random) -> int:
    """Overrides on the command line, of any key."""
    Path("user.yaml").write_text(yaml.safe_dump(_CONFIG))
    keys = [f"{a}.{b}" for a, section in _CONFIG.items() if isinstance(section, dict) for b in section] + [
        "seed",
        "x.y",
    ]
    argv = [f"{rng.choice(keys)}={_written(odd_value(rng))}" for _ in range(rng.choice((1, 2)))]
    return alignlab.train.main(["config=user.yaml", "dry_run=true", *argv])


def agreement(rng: Random) -> int:
    """A comparison of identifiers, in a file, and overrides."""
    Path("user.yaml").write_text(yaml.safe_dump(mutated(rng, _AGREEMENT), allow_unicode=True), errors="replace")
    keys = [*_AGREEMENT, "identifiers.mine.name", "against.source.count", "labels.axis", "reference", "run"]
    argv = [f"{rng.choice(keys)}={_written(odd_value(rng))}"] if rng.random() < 0.5 else []
    return alignlab.benchmark.main(["agreement", "config=user.yaml", "dry_run=true", *argv])


def trainer(rng: Random) -> int:
    """Arguments of lightning.Trainer."""
    Path("user.yaml").write_text(yaml.safe_dump(_CONFIG))
    names = list(TrainerOptions.__annotations__)
    argv = [f"trainer.{rng.choice(names)}={_written(odd_value(rng))}" for _ in range(rng.choice((1, 1, 2)))]
    return alignlab.train.main(["config=user.yaml", "dry_run=true", *argv])


def text(rng: Random) -> None:
    """Files of text of every kind, through the tokenizer."""
    suffix = rng.choice((".txt", ".tsv", ".csv", ".jsonl", ".parquet"))
    rows = [{"q": f"a question {n}", "a": str(n), "i": n, "l": "de"} for n in range(4)]
    lines = [json.dumps(mutated(rng, row) if rng.random() < 0.3 else row) for row in rows]
    if suffix in {".txt", ".tsv"}:
        lines = ["\t".join(map(str, row.values())) for row in rows]
    if rng.random() < 0.1:
        lines[1] = json.dumps({"q": "x"})[:-1] + f', "z": {rng.choice((deep(3000), "9" * 5000))}}}'
    Path("texts").mkdir()
    for code in ("en", "de"):
        path = Path(f"texts/{code}{suffix}")
        if suffix == ".csv":
            pd.DataFrame(rows).to_csv(path, index=False)
        elif suffix == ".parquet":
            pd.DataFrame(rows).to_parquet(path)
        else:
            path.write_text("\n".join(lines) + "\n")
    spoil(rng, Path(f"texts/de{suffix}"))
    if rng.random() < 0.3:
        place = f"texts/{{language}}{suffix}"
        records = ParallelText(source=place, target=f"texts/en{suffix}", languages=["de"]).load()
    else:
        columns: dict[str, Any] = {"prompt": 0} if suffix in {".txt", ".tsv"} else {"prompt": "q", "answer": "a"}
        columns |= {"id": rng.choice(("i", "q"))} if suffix not in {".txt", ".tsv"} and rng.random() < 0.5 else {}
        records = Files(path="texts", parallel=rng.random() < 0.5, **columns).load()
    encode(records, _tokenizer(), Prompts(), max_length=64, append_eos=True, needs_answer=False)


def importers(rng: Random) -> None:
    """Published counts and sets."""
    if rng.random() < 0.5:
        kind = rng.choice(list(COUNT_FORMATS))
        writers = {"lape": save_lape_counts, "ternary": save_ternary_counts, "arithmetic": save_arithmetic_counts}
        writers[kind](_counts(0), Path(), "t")
        files = sorted(Path().glob("*activation.*"))
        _spoil_torch(rng, rng.choice(files))
        COUNT_FORMATS[kind](".", ["en", "de"], None)
        return
    kind, suffix = rng.choice((("lape", "pt"), ("culture", "pt"), ("plnd", "txt"), ("attribution", "json")))
    path = Path(f"sets.{suffix}")
    save_sets(path, {"en": torch.eye(2, 5, dtype=torch.bool)}, kind, "mlp.act")
    if suffix == "json" and rng.random() < 0.5:
        path.write_text(json.dumps(mutated(rng, json.loads(path.read_text()))))
    elif suffix == "pt":
        _spoil_torch(rng, path)
    else:
        spoil(rng, path)
    sizes = [5 if rng.random() < 0.8 else odd_value(rng), 2 if rng.random() < 0.8 else odd_value(rng)]
    NeuronSets.load(path, ["en"], *sizes, format=kind if rng.random() < 0.7 else None)


def snapshots(rng: Random) -> int | None:
    """The folder of a run, of which something was changed."""
    run = Path("runs/user")
    for step in (0, 2, 4):
        _counts(step).save(run / f"neurons/step-{step:06d}.safetensors")
    (run / "metrics.csv").write_text("step,key,value\n1,train/loss,2.5\n2,train/loss,2.25\n")
    (run / "config.yaml").write_text(yaml.safe_dump(_CONFIG))
    (run / "environment.json").write_text(json.dumps({"data_fingerprint": "x", "packages": {"torch": "2"}}))
    (run / "manifest.json").write_text(json.dumps({"kind": "run", "files": {}, "state": "begun"}))
    files = sorted(path for path in run.rglob("*") if path.is_file())
    chosen = rng.choice(files)
    if chosen.suffix == ".json" and rng.random() < 0.5:
        chosen.write_text(json.dumps(mutated(rng, json.loads(chosen.read_text()))))
    elif rng.random() < 0.15:
        name = rng.choice(("step-best", "step-000004 (copy)", f"step-{'9' * rng.randrange(1, 100)}", "step-\u0664"))
        chosen.rename(chosen.with_name(name + chosen.suffix))
    else:
        spoil(rng, chosen)
    asked = rng.randrange(4)
    if asked == 0:
        return alignlab.report.main(["run=runs/user", "intervals=none"])
    if asked == 1:
        found = load_run(run)
        repr(found), found.metrics, found.config, found.sets()
        return None
    analysis = rng.choice(get_args(AnalysisName))
    odd = [f"{rng.choice(('seed', 'shards', 'trained', 'neurons'))}={_written(odd_value(rng))}"]
    return alignlab.analyze.main(
        ["run=runs/user", f"analyses=[{analysis}]", "identifier.top_rate=0.2", *(odd if rng.random() < 0.3 else [])]
    )


def models(rng: Random) -> None:
    """The folder of a model."""
    shutil.copytree(DEMO_FOLDER, "m", ignore=shutil.ignore_patterns("*.safetensors"))
    weights = Path("m/model.safetensors")
    if rng.random() < 0.3:
        shutil.copy(DEMO_FOLDER / "model.safetensors", weights)
    chosen = Path("m") / rng.choice(("config.json", "config.json", "tokenizer_config.json", "generation_config.json"))
    if rng.random() < 0.15:
        content = {"metadata": {}, "weight_map": {"model.norm.weight": "a.safetensors"}}
        Path("m/model.safetensors.index.json").write_text(json.dumps(mutated(rng, content)))
        weights.unlink(missing_ok=True)
    elif not chosen.is_file():
        chosen.write_text(json.dumps(mutated(rng, {"max_length": 20, "pad_token_id": 0})))
    elif rng.random() < 0.8:
        chosen.write_text(json.dumps(mutated(rng, json.loads(chosen.read_text()))))
    else:
        spoil(rng, rng.choice([path for path in Path("m").iterdir() if path.is_file()]))
    model = ModelConfig(source="./m")
    model.build_tokenizer()
    with torch.device("meta"):
        find_sites(model.build_meta(), "mlp.act")
    model.check()
    if weights.is_file():
        model.build()


def expressions(rng: Random) -> None:
    """Expressions over sets and over a classification; what valid ones name is compared with sets of Python."""
    if rng.random() < 0.4:
        text, expected = _expression(rng, rng.randrange(6))
        found = {(int(layer), int(neuron)) for layer, neuron in select_neurons(text, _sets()).nonzero()}
        assert found == expected, text
        return
    text, _ = _expression(rng, rng.randrange(4))
    text = text.replace("x y", rng.choice(("en", "general", "specific(de)", "above(en)", "x y")))
    wrong: list[Callable[[], str]] = [
        lambda: damaged(rng, text.encode()).decode(errors="replace"),
        lambda: str(odd_value(rng)),
        lambda: "(" * rng.choice((2, 99, 101, 9_000)) + text,
        lambda: "~" * rng.choice((1, 2, 9_999)) + text,
        lambda: f"{rng.choice(('specific', 'en', 'all', 'related'))}({odd_value(rng)})",
        lambda: rng.choice(" -&|~()\"'").join(text.split(" ")),
        lambda: " | ".join([text] * rng.choice((2, 50, 5_000))),
    ]
    select_neurons(rng.choice(wrong)(), rng.choice((_sets(), ternary(_counts(0), top_rate=0.2))))


TARGETS: dict[str, Target] = {
    "config": config,
    "arguments": arguments,
    "trainer": trainer,
    "agreement": agreement,
    "text": text,
    "importers": importers,
    "snapshots": snapshots,
    "models": models,
    "expressions": expressions,
}


def prepare() -> None:
    """Import what cases need, and make models of the families once, so that no worker has to."""
    for module in (
        "training_run",
        "question",
        "results",
        "reporting.page_run",
        "reporting.png",
        "analysis.inquiry",
        "benchmarking.agreement_command",
    ):
        importlib.import_module(f"alignlab.{module}")
    importlib.import_module("datasets")
    transformers.logging.set_verbosity_error()
    _tokenizer()
    with torch.device("meta"):
        find_sites(ModelConfig().build_meta(), "mlp.act")
    gc.freeze()  # forked workers then share these pages


def _written(value: Any) -> str:
    """A value as somebody would type it."""
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _tokenizer() -> Any:
    return ModelConfig().build_tokenizer()


def _counts(step: int) -> ActivationCounts:
    """Two languages, two shards, 2 x 5 neurons."""
    firings = torch.arange(40).view(2, 2, 2, 5) % (7 + step)
    tokens = torch.full((2, 2), 20)
    return ActivationCounts(
        ("en", "de"), firings, tokens, torch.full((2, 2), 3), "mlp.act", "all", step=step,
        activation_sum=firings.sum(dim=1).double(),
    )  # fmt: skip


def _sets() -> NeuronSets:
    random = torch.Generator().manual_seed(1)
    names = ("en", "de", "x y", "specific")
    return NeuronSets({name: torch.rand((3, 7), generator=random) < 0.5 for name in names})


def _expression(rng: Random, depth: int) -> tuple[str, set[tuple[int, int]]]:
    """An expression over `_sets`, every part of it in parentheses but names, and what it names."""
    if depth == 0 or rng.random() < 0.1:
        sets = _sets()
        name = rng.choice(sets.names)
        written = f'"{name}"' if " " in name or rng.random() < 0.2 else name
        return written, {(int(layer), int(neuron)) for layer, neuron in sets[name].nonzero()}
    left, a = _expression(rng, depth - 1)
    if rng.random() < 0.2:
        return f"~({left})", {(layer, neuron) for layer in range(3) for neuron in range(7)} - a
    right, b = _expression(rng, depth - 1)
    sign, value = rng.choice((("-", a - b), ("&", a & b), ("|", a | b)))
    space = rng.choice(("", " "))
    return f"({left}){space}{sign}{space}({right})", value


def _spoil_torch(rng: Random, path: Path) -> None:
    """A torch file of which a tensor, its type, its layout or a number is another."""
    if rng.random() < 0.3:
        return spoil(rng, path)
    content = torch.load(path, weights_only=True)
    torch.save(_with_other(rng, content), path)
    return None


def _with_other(rng: Random, content: Any) -> Any:
    if isinstance(content, torch.Tensor):
        return _other(rng, content)
    if isinstance(content, dict):
        key = rng.choice(list(content))
        return {name: _with_other(rng, value) if name == key else value for name, value in content.items()}
    if isinstance(content, list) and content and rng.random() < 0.9:
        place = rng.randrange(len(content))
        return [_with_other(rng, item) if number == place else item for number, item in enumerate(content)]
    return odd_value(rng)


def _other(rng: Random, tensor: torch.Tensor) -> Any:
    """A tensor of another type, layout, size or device."""
    floats = tensor.float()
    types = (
        torch.bool, torch.uint8, torch.int8, torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16,
        torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64,
    )  # fmt: skip
    forms: list[Callable[[], Any]] = [
        lambda: floats.to(rng.choice(types)),
        lambda: floats.to(rng.choice(types)),
        floats.to_sparse,
        lambda: floats.to_sparse_csr() if floats.ndim == 2 else floats.to_sparse(),
        lambda: torch.quantize_per_tensor(floats, 1.0, 0, torch.quint8),
        lambda: tensor.to("meta"),
        lambda: torch.nested.nested_tensor(list(floats)) if floats.ndim == 2 else torch.nested.nested_tensor([floats]),
        lambda: torch.zeros(1).expand(10**6, 10**7),
        lambda: tensor[None],
        lambda: tensor[:0],
        lambda: -floats,
        lambda: floats + 0.5,
        lambda: floats * float("nan"),
        lambda: floats * 1e30,
        lambda: odd_value(rng),
    ]
    return rng.choice(forms)()
