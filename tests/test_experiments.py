"""The documents of published experiments: each dry-runs where there is a configuration and a tokenizer but no weights,
and holds the hyper-parameters that were published.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors import safe_open
from tests.data.test_by_name import publish

import alignlab.analyze
import alignlab.prepare
import alignlab.study
import alignlab.train
from alignlab.config import Options, load, shipped_configs
from alignlab.evaluating.options import EvaluateOptions
from alignlab.intervening.options import InterveneOptions
from alignlab.models.load import DEMO_FOLDER
from alignlab.options import AnalyzeOptions, TrainConfig
from alignlab.preparation.answers import Answer, Question
from alignlab.preparation.options import PreferencesOptions, ResponsesOptions
from alignlab.reporting.estimates import checkpoint_bytes, memory
from alignlab.run_plan import RunPlan
from alignlab.studying.configs import study_of
from alignlab.studying.options import StudyOptions

sys.path.insert(0, str(Path(__file__).parent))
from made_responses import make_responses
from tiny_translators import make_nllb

# The aligned sets of the papers; all nine are without English.
SETS = (["zh"], ["zh", "de"], ["sw", "th"], ["zh", "es", "ru"], ["bn", "de", "es", "fr", "ja", "ru", "sw", "th", "zh"])
NINE = SETS[-1]
# Weights by shape: 32 layers of q (4096 x 4096), k and v (4096 x 1024), o (4096 x 4096), for Mistral.
Q, V, O = 4096 + 4096, 4096 + 1024, 4096 + 4096  # noqa: E741 - what the maps are called
LLAMA = 2 * 32000 * 4096 + 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096
TRAINED = {
    "experiments/mistral7b_question_translation_zh-de": 32 * 64 * (Q + V + O),
    "experiments/label_free_lora": 32 * 8 * (Q + V),
    "experiments/mapo_dpo": 32 * 64 * (Q + V + O),
    "experiments/qalign": LLAMA,
}
TRAININGS = [*TRAINED]


def qwen(hidden: int, layers: int, width: int) -> tuple[Any, int, str]:
    """Of a model of Qwen1.5: its configuration, the weights of LoRA of rank 8 on q and v, and its sites."""
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": width}
    heads = {"num_attention_heads": hidden // 128, "num_key_value_heads": hidden // 128}
    config = transformers.Qwen2Config(**shape, **heads, vocab_size=151_936)
    return config, layers * 8 * 4 * hidden, f"{layers} x {width:,} sites"


SMALL_VALUES = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
# The others, on one set of languages: configuration, weights that are trained, sites.
OTHERS: dict[str, tuple[Any, int, str]] = {
    **{
        f"mapo_dpo_{name}": (transformers.MistralConfig(), 32 * 64 * (Q + V + O), "32 x 14,336 sites")
        for name in ("zh", "zh-de", "sw-th", "zh-es-ru")
    },
    "qalign_13b": (
        transformers.LlamaConfig(
            hidden_size=5120, num_hidden_layers=40, intermediate_size=13_824, num_attention_heads=40
        ),
        2 * 32_000 * 5120 + 40 * (4 * 5120**2 + 3 * 5120 * 13_824 + 2 * 5120) + 5120,
        "40 x 13,824 sites",
    ),
    "label_free_lora_qwen1.5-1.8b": qwen(2048, 24, 5504),
    "label_free_lora_qwen1.5-4b": qwen(2560, 40, 6912),
    "label_free_lora_qwen1.5-7b": qwen(4096, 32, 11_008),
    "label_free_lora_qwen1.5-14b": qwen(5120, 40, 13_696),
    "llama3.1-8b_question_translation": (
        transformers.LlamaConfig(hidden_size=4096, intermediate_size=14_336, vocab_size=128_256, **SMALL_VALUES),
        32 * 16 * (Q + 2 * V + O),
        "32 x 14,336 sites",
    ),
    "qwen3-8b_question_translation": (
        transformers.Qwen3Config(
            hidden_size=4096, num_hidden_layers=36, intermediate_size=12_288, vocab_size=151_936, **SMALL_VALUES
        ),
        36 * 16 * (Q + 2 * V + O),
        "36 x 12,288 sites",
    ),
    "olmoe_question_translation": (
        transformers.OlmoeConfig(hidden_size=2048, num_hidden_layers=16, intermediate_size=1024),
        16 * 16 * 4 * 4096,
        "16 x 65,536 sites",
    ),
}
# Those of other verbs: the options that each is of, and what else it takes.
ASKED: dict[str, tuple[type[Options], list[str]]] = {
    "amplification": (InterveneOptions, ["run=x"]),
    "label_free_tasks": (EvaluateOptions, ["run=x"]),
    "language_arithmetic": (InterveneOptions, ["run=x"]),
    "lape": (AnalyzeOptions, []),
    "mapo_preferences": (PreferencesOptions, []),
    "mapo_responses": (ResponsesOptions, ["source.path=numglue"]),
    "mapo_study": (StudyOptions, []),
    "plnd": (AnalyzeOptions, []),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configurations of the models without weights, and a few lines of text, laid out as the documents expect."""
    root = tmp_path_factory.mktemp("experiments")
    for name, config in (("mistral", transformers.MistralConfig), ("llama", transformers.LlamaConfig)):
        # A tokenizer smaller than its embedding.
        config(architectures=["A"], dtype="bfloat16").save_pretrained(root / name)
        transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER).save_pretrained(root / name)
    for name in ("gsm8k_questions", "mgsm", "numglue", "prepared/mapo/preferences"):
        (root / name).mkdir(parents=True)
    for code in [*NINE, "en"]:
        write(root / f"gsm8k_questions/{code}-en.{code}", *(f"{code} {number}" for number in range(40)))
        write(root / f"gsm8k_questions/{code}-en.en", *map(str, range(40)))
        write(root / f"mgsm/{code}.tsv", f"Frage in {code}?\t3", "Und noch eine?\t4")
        write(root / f"numglue/{code}.jsonl", *(json.dumps({"question": f"{n}?", "answer": "3"}) for n in range(3)))
    rows = [{"query": f"{n}?", "response": "3"} for n in range(150)]
    publish(root / "meta-math/MetaMathQA", {"": rows}, "train")
    mgsm = [{"question": f"{n} and 2?", "answer_number": n + 2} for n in range(4)]
    publish(root / "juletxara/mgsm", dict.fromkeys([*NINE, "en", "te"], mgsm), "test")
    articles = [{"id": str(n), "text": f"Article {n}."} for n in range(8)]
    subsets = {f"20231101.{code}": articles for code in ("en", "zh", "fr", "es", "vi", "id", "ja", "ru")}
    publish(root / "wikimedia/wikipedia", subsets, "train")
    pair = {"prompt": "3?", "chosen": "3", "rejected": "4", "cluster": "1"}
    for part in ("train", "dev"):
        rows = [pair | {"id": f"{part}{n}", "language": code} for n in range(3) for code in NINE]
        write(root / f"prepared/mapo/preferences/{part}.jsonl", *map(json.dumps, rows))
    return root


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def model_of(name: str, root: Path) -> str:
    return f"model.source={root / ('llama' if 'qalign' in name else 'mistral')}"


def copies(name: str, root: Path) -> list[str]:
    """Where a document's data sets of the Hub are, in the folder."""
    if "qalign" in name:
        return [f"stages.solve.data.train.root={root}"]
    if name.endswith("_question_translation"):
        return [f"probe.source.root={root}", f"evaluation.source.root={root}"]
    return []


@pytest.mark.parametrize("languages", SETS, ids=" ".join)
@pytest.mark.parametrize("name", TRAININGS)
def test_every_experiment_dry_runs_without_weights(
    name: str, languages: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    arguments = [f"config={name}", "dry_run=true", f"data.root={folder}", model_of(name, folder)]
    arguments += [f"data.train.languages=[{','.join(languages)}]", *copies(name, folder)]
    status, captured = alignlab.train.main(arguments), capsys.readouterr()
    assert (status, captured.err) == (0, "")
    neurons = "32 x 11,008 sites" if "qalign" in name else "32 x 14,336 sites"
    for text in (f"{TRAINED[name]:,} (", neurons, "unknown (there is no model.safetensors in the folder)"):
        assert text in captured.out
    assert all(f"{code} " in captured.out for code in languages)
    assert sorted(folder.rglob("*")) == before


def without_weights(config: Any, folder: Path) -> Path:
    """A folder of a model's configuration and a tokenizer."""
    config.architectures, config.dtype = ["A"], "bfloat16"
    config.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER).save_pretrained(folder)
    return folder


QUICK = ("mapo_dpo_zh-de", "qwen3-8b_question_translation", "olmoe_question_translation")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]
)
def test_every_other_training_dry_runs_without_weights(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, trained, sites = OTHERS[name]
    monkeypatch.chdir(folder)
    model = without_weights(config, tmp_path / "model")
    arguments = [f"config=experiments/{name}", "dry_run=true", f"data.root={folder}", f"model.source={model}"]
    assert alignlab.train.main([*arguments, *copies(name, folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for text in (f"{trained:,} (", sites, "unknown (there is no model.safetensors in the folder)"):
        assert text in said
    if "evaluation" in said:
        assert "in training whole problems 0 of " in said
    if name.startswith("mapo_dpo_"):
        languages = name.removeprefix("mapo_dpo_").split("-")
        assert options(name, "data.root=text")["data.train.languages"] == languages
        assert options(name, "data.root=text")["data.validation.source.languages"] == languages


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "accumulate"), [("two", 4), ("eight", 1), ("eight_sharded", 1)])
def test_a_base_of_gpus_lies_under_the_trainer(
    devices: str, accumulate: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    name = "experiments/label_free_lora"
    arguments = [f"config={name}", "dry_run=true", f"data.root={folder}", model_of(name, folder)]
    arguments += [f"trainer.base=base/gpus/{devices}", f"trainer.accumulate_grad_batches={accumulate}"]
    status, captured = alignlab.train.main(arguments), capsys.readouterr()
    assert status == 0
    assert captured.err in {
        "",
        "note: there is no GPU here; the plan is for a machine that has what trainer asks for\n",
    }
    assert ("sharded " in captured.out) == devices.endswith("sharded")


@pytest.mark.parametrize("name", [name for name, (kind, _) in ASKED.items() if kind is AnalyzeOptions])
def test_an_analysis_is_planned(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weights: what is counted is named by them."""
    monkeypatch.chdir(tmp_path)
    arguments = [f"config=experiments/{name}", "dry_run=true", f"probe.source.root={folder}", "models=[builtin:demo]"]
    arguments += ["identifier.ffn=200", "identifier.attention=50"] if name == "plnd" else []
    assert alignlab.analyze.main(arguments) == 0
    assert "This was a dry run" in capsys.readouterr().out


SHAPE = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = {
    "mapo_dpo_zh": transformers.MistralConfig(**SHAPE, vocab_size=2000, intermediate_size=512),
    "qalign": transformers.LlamaConfig(**SHAPE, vocab_size=2000, intermediate_size=512),
    "label_free_lora_qwen1.5-1.8b": transformers.Qwen2Config(
        **{**SHAPE, "hidden_size": 1024}, vocab_size=2000, intermediate_size=512
    ),
    "qwen3-8b_question_translation": transformers.Qwen3Config(**SHAPE, vocab_size=2000, intermediate_size=512),
    "olmoe_question_translation": transformers.OlmoeConfig(
        **SHAPE, vocab_size=2000, intermediate_size=64, num_experts=8, num_experts_per_tok=2
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_bytes_of_tensors_are_those_of_a_small_model_of_the_same_structure(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained for one step: its checkpoint on the disk and its weights, beside what the plan says of them."""
    monkeypatch.chdir(folder)
    config = SMALL[name]
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 2
    model = without_weights(config, tmp_path / "model")
    built = transformers.AutoModelForCausalLM.from_config(config)
    built.save_pretrained(model)
    arguments = [f"config=experiments/{name}", f"data.root={folder}", f"model.source={model}", *copies(name, folder)]
    arguments += [f"run.folder={tmp_path / 'run'}", "trainer.max_steps=1", "trainer.accumulate_grad_batches=1"]
    arguments += ["data.examples_per_step=2", "evaluation=null", "wandb.mode=disabled", "probe.max_texts=1"]
    arguments += [
        "probe.max_new_tokens=2",
        "tracker.every_n_steps=null",
        "data.validation=null",
        "checkpoints.best=null",
    ]
    arguments += ["trainer.accelerator=cpu", "trainer.precision=32-true"]
    planned = RunPlan(load(TrainConfig, arguments)[0]).planned()
    assert alignlab.train.main(arguments) == 0
    (last,) = [one for one in (tmp_path / "run/checkpoints").iterdir() if one.is_dir()][-1:]
    on_disk = sum(file.stat().st_size for file in last.rglob("*") if file.suffix in {".safetensors", ".ckpt", ".pt"})
    assert on_disk == pytest.approx(checkpoint_bytes(planned), rel=0.05)
    need, width = memory(planned), 4 if name == "qalign" else 2  # bytes of a weight, as the documents load them
    frozen = sum(one.numel() for one in built.parameters()) * width
    trained = sum(one.numel() for one in planned.model.parameters() if one.requires_grad)
    assert need.weights == pytest.approx(frozen + (0 if name == "qalign" else need.gradients), rel=0.05)
    assert need.optimiser == 8 * trained
    with safe_open(next(last.glob("*.safetensors")), "pt") as file:
        assert sum(file.get_tensor(key).numel() for key in file.keys()) == trained  # noqa: SIM118 - no mapping


def test_every_document_is_tried_and_says_what_it_is() -> None:
    """Those of intervene and evaluate take a run, so that they are only loaded."""
    names = {name.removeprefix("experiments/") for name in shipped_configs() if name.startswith("experiments/")}
    tried = {*ASKED, *OTHERS, *(name.removeprefix("experiments/") for name in TRAINED)}
    assert names == tried, f"not in configs/experiments, or not in TRAINED, OTHERS or ASKED: {sorted(names ^ tried)}"
    for name, (kind, given) in ASKED.items():
        assert load(kind, [f"config=experiments/{name}", *given])
    for name, path in shipped_configs().items():
        if name.startswith("experiments/"):
            text = path.read_text(encoding="utf-8")
            header = text[: text.index("\n\n")]
            wanted = ["Expected:", "dry_run=true", "docs/experiments.md", f"config=experiments/{path.stem}"]
            if "as in `mapo_dpo`" not in header:
                wanted += ["Hardware:", "Look for:", "Not "]
            assert [one for one in wanted if one not in header] == [], name


def test_every_document_has_its_place_in_the_table() -> None:
    """A row gives names whole, and behind one of them endings, such as _zh-de, that stand in the place of its own."""
    text = (Path(__file__).parents[1] / "docs/experiments.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in text.splitlines() if line.startswith("| `")]
    listed = {one for row in rows for one in row if one[0] not in "_-"}
    names = {name.removeprefix("experiments/") for name in shipped_configs() if name.startswith("experiments/")}
    short = {
        name
        for name in names - listed
        for row in rows
        for one in row
        if one[0] in "_-" and name.endswith(one) and any(full.startswith(name.removesuffix(one)) for full in row)
    }
    assert names == listed | short, (
        f"docs/experiments.md has no row of, or too many: {sorted(names ^ (listed | short))}"
    )


def test_mapos_answers_and_pairs_dry_run_without_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    arguments = ["config=experiments/mapo_responses", "dry_run=true", "source.path=numglue", model_of("mapo", folder)]
    arguments.append("folder=prepared/new")  # there are pairs in the document's own
    status, captured = alignlab.prepare.main(["responses", *arguments]), capsys.readouterr()
    assert (status, captured.err) == (0, "")
    assert "30 in bn de en es fr ja ru sw th zh" in captured.out
    assert "600: 20 to each, drawn at temperature 0.8; at most 307,200 tokens" in captured.out


def test_mapos_preferences_dry_run_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_nllb(tmp_path / "nllb")
    (tmp_path / "nllb/model.safetensors").unlink()
    answers = [Answer("12 and 7", 3, ended=True), Answer("so 8", 3, ended=True)]
    questions = [Question(f"q{n}", code, "t", "?", "7", answers) for code in [*NINE, "en"] for n in range(3)]
    make_responses(tmp_path / "prepared/mapo", questions)
    arguments = ["config=experiments/mapo_preferences", "rule.model.source=nllb", "rule.max_tokens=128", "dry_run=true"]
    status, captured = alignlab.prepare.main(["preferences", *arguments]), capsys.readouterr()
    assert (status, captured.err) == (0, "")
    assert "108 pairs (12 in bn, 12 in de, 12 in es" in captured.out  # 9 languages x 3 questions x 2 answers x 2
    assert "ja jpn_Jpan" in captured.out
    assert sorted(path.name for path in (tmp_path / "prepared/mapo").iterdir()) == [
        "config.yaml", "environment.json", "manifest.json", "responses.jsonl", "table.csv"
    ]  # fmt: skip


def test_the_main_papers_study_dry_runs_without_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_nllb(tmp_path / "nllb")
    (tmp_path / "nllb/model.safetensors").unlink()
    arguments = ["config=experiments/mapo_study", "dry_run=true", "before.pairs.set.rule.model.source=nllb"]
    assert alignlab.study.main(arguments) == 2
    told = capsys.readouterr().err
    for key in ("before.answers.set.source.path", "cell.set.data.root"):
        assert f"Set it with {key}=VALUE." in told
    mistral = folder / "mistral"
    arguments += [f"before.answers.set.source.path={folder}/numglue", f"before.answers.set.model.source={mistral}"]
    arguments += [f"cell.set.data.root={folder}", f"cell.set.model.source={mistral}"]
    status, captured = alignlab.study.main(arguments), capsys.readouterr()
    assert (status, captured.err) == (0, "")
    said = " ".join(captured.out.split())
    assert "30: 6 aligned (placebo, zh, zh-de, sw-th, zh-es-ru, nine) x 5 seeds" in said
    assert [path.name for path in tmp_path.iterdir()] == ["nllb"]
    options, origins = load(StudyOptions, arguments)
    configs = study_of(options, origins).configs
    sets = [configs[f"{name}+seed4"].data for name in ("zh", "zh-de", "sw-th", "zh-es-ru", "nine")]
    assert [[*data.train.languages] for data in sets] == [*SETS]  # type: ignore[union-attr]
    assert [data.validation.source.languages or NINE for data in sets] == [*SETS]  # type: ignore[union-attr]
    # Of what the claims are, the study in small has numbers.
    small, _ = load(StudyOptions, ["config=paper"])
    asked = [
        {(one.measure, one.what, one.control, one.set) for one in study.claims.values()} for study in (options, small)
    ]
    assert asked[0] <= asked[1]
    assert {data.train.path for data in sets} == {"studies/mapo/before/pairs/train.jsonl"}  # type: ignore[union-attr]


def options(name: str, *overrides: str) -> dict[str, Any]:
    """All options of a document, by dotted key."""
    kinds = {"responses": ResponsesOptions, "preferences": PreferencesOptions}
    kind = kinds.get(name.rpartition("_")[2], TrainConfig)
    found, _ = load(kind, [f"config=experiments/{name}", *overrides])
    return dict(_flat(found.model_dump(), ""))


def _flat(values: dict[str, Any], under: str) -> Any:
    for key, value in values.items():
        yield under + key, value
        if isinstance(value, dict):
            yield from _flat(value, f"{under}{key}.")


ADAMW = {"method.optimizer.beta1": 0.9, "method.optimizer.beta2": 0.999, "method.optimizer.eps": 1e-8}
PUBLISHED: dict[str, dict[str, Any]] = {
    # 2401.07817 and the authors' scripts: 8 GPUs x 2 examples x 8 micro-batches, both stages alike.
    "qalign": {
        **ADAMW, "method.trainable": "full", "method.optimizer.lr": 2e-5, "method.optimizer.schedule": "cosine",
        "method.optimizer.warmup": 0.03, "method.optimizer.weight_decay": 0.0, "data.examples_per_step": 128,
        "data.max_length": 512, "trainer.max_epochs": 3, "trainer.gradient_clip_val": 1.0,
        "trainer.precision": "bf16-mixed", "data.train.languages": NINE,
    },
    # 2401.06838 and the authors' code.
    "mapo_dpo": {
        **ADAMW, "method.loss": "dpo", "method.beta": 0.1, "method.optimizer.lr": 1e-6,
        "method.optimizer.schedule": "cosine", "method.optimizer.warmup": 100 / 1000,
        "method.optimizer.weight_decay": 0.05, "method.lora.rank": 64, "method.lora.alpha": 128,
        "method.lora.dropout": 0.05, "method.lora.targets": ["q_proj", "v_proj", "o_proj"],
        "data.examples_per_step": 16, "data.max_length": 1024, "trainer.max_steps": 1000,
        "trainer.gradient_clip_val": 1.0, "data.train.languages": NINE,
    },
    "mapo_responses": {
        "samples": 20, "temperature": 0.8, "max_prompt_tokens": 512, "max_new_tokens": 512, "top_p": 1.0,
        "languages": sorted([*NINE, "en"]),
    },
    "mapo_preferences": {
        "rule.name": "translation_reward", "rule.model.source": "facebook/nllb-200-distilled-600M", "rule.pivot": "en",
        "rule.scored": "pivot", "rule.max_tokens": 512, "pairs_per_language": 10_000, "dev_every": 10,
        "cleaned": ["en"], "languages": NINE,
    },
    # 2405.13816 and the authors' command: 4 examples x 4 micro-batches.
    "label_free_lora": {
        **ADAMW, "method.trainable": "lora", "method.lora.targets": ["q_proj", "v_proj"], "method.optimizer.lr": 5e-5,
        "method.optimizer.schedule": "cosine", "method.optimizer.warmup": 0.1, "method.optimizer.weight_decay": 0.0,
        "data.examples_per_step": 16, "data.max_length": 2048, "trainer.max_epochs": 3, "data.validation.share": 0.05,
        "trainer.gradient_clip_val": 1.0, "data.train.languages": ["zh", "de"],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_documents_have_the_published_hyperparameters(name: str) -> None:
    given = {"responses": ["source.path=numglue"], "preferences": []}.get(name.rpartition("_")[2], ["data.root=text"])
    found = options(name, *given)
    assert {key: found[key] for key in PUBLISHED[name]} == PUBLISHED[name]


def test_mapos_pairs_are_made_and_learnt_as_published() -> None:
    pairs = PreferencesOptions(responses="prepared/mapo")
    assert (pairs.pairs_per_language, pairs.dev_every, pairs.cleaned) == (10_000, 10, ["en"])
    learnt, asked = options("mapo_dpo", "data.root=text"), options("mapo_responses", "source.path=numglue")
    prompts = [learnt["data.prompts.template"], learnt["probe.prompts.template"], learnt["evaluation.prompts.template"]]
    assert prompts == [asked["prompts.template"]] * 3
    assert prompts[0].format(language="Thai", prompt="3?") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request in "
        "Thai. Please answer in Thai.\n\n### Instruction:\n3?\n\n### Response:"
    )
