"""The documents of published experiments: each dry-runs where there is a configuration and a tokenizer but no weights,
and holds the hyper-parameters that were published.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

import alignlab.prepare
import alignlab.train
from alignlab.config import load, shipped_configs
from alignlab.models.load import DEMO_FOLDER
from alignlab.options import TrainConfig
from alignlab.preparation.answers import Answer, Question
from alignlab.preparation.options import PreferencesOptions, ResponsesOptions

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
PREPARED = ("responses", "preferences")
TRAININGS = [name for name in shipped_configs() if name.startswith("experiments/") and not name.endswith(PREPARED)]


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
    write(root / "metamath.jsonl", *(json.dumps({"query": f"{n}?", "response": "3"}) for n in range(150)))
    pair = {"prompt": "3?", "chosen": "3", "rejected": "4", "cluster": "1"}
    for part in ("train", "dev"):
        rows = [pair | {"id": f"{part}{n}", "language": code} for n in range(3) for code in NINE]
        write(root / f"prepared/mapo/preferences/{part}.jsonl", *map(json.dumps, rows))
    return root


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def model_of(name: str, root: Path) -> str:
    return f"model.source={root / ('llama' if 'qalign' in name else 'mistral')}"


@pytest.mark.parametrize("languages", SETS, ids=" ".join)
@pytest.mark.parametrize("name", TRAININGS)
def test_every_experiment_dry_runs_without_weights(
    name: str, languages: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    arguments = [f"config={name}", "dry_run=true", f"data.root={folder}", model_of(name, folder)]
    arguments.append(f"data.train.languages=[{','.join(languages)}]")
    status, captured = alignlab.train.main(arguments), capsys.readouterr()
    assert (status, captured.err) == (0, "")
    neurons = "32 x 11,008 sites" if "qalign" in name else "32 x 14,336 sites"
    for text in (f"{TRAINED[name]:,} (", neurons, "unknown (there is no model.safetensors in the folder)"):
        assert text in captured.out
    assert all(f"{code} " in captured.out for code in languages)
    assert sorted(folder.rglob("*")) == before


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
