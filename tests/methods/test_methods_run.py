"""Every method from its config on: the plan, a short run, one that was stopped, and the loss of what is held out."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml

import alignlab.train
from alignlab.callbacks.validation import ValidationLoss
from alignlab.data.examples import Answers
from alignlab.data.options import DataConfig, ValidationOptions
from alignlab.data.prompts import Prompts
from alignlab.data.sources import WordProblems
from alignlab.data.training import load_training
from alignlab.methods.registry import METHODS
from alignlab.models.load import DEMO_FOLDER

SMALL = (
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "data.examples_per_step=8", "wandb.mode=disabled", "probe.source.languages=[en,de,zh]", "evaluation=null",
)  # fmt: skip
PROBLEMS = {"source": {"name": "builtin:wordproblems", "languages": ["zh", "de"], "count": 20}, "weight": 3}
MIXTURE = {
    "base": "demo",
    "data": {
        "train": {
            "name": "mixture",
            "parts": {
                "translate": {**PROBLEMS, "prompts": {"template": "To English.\n{prompt}\n"}},
                "english": {"source": {"name": "builtin:wordproblems", "languages": ["en"], "count": 5}},
            },
        }
    },
    "method": {"name": "supervised"},
}
Command = Callable[..., str]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`alignlab.train` in an empty folder with files of pairs, texts and a mixture: what it prints."""
    monkeypatch.chdir(tmp_path)
    problems = WordProblems(languages=["zh", "de"], count=12).load()
    rows = [
        {
            "id": one.id, "language": one.language, "prompt": one.prompt, "chosen": one.answer,
            "rejected": one.answer[: 5 + number] + "?",
        }
        for number, one in enumerate(problems)
    ]  # fmt: skip
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("texts").mkdir()
    Path("texts/de.txt").write_text("".join(f"{one.prompt}\n" for one in problems[12:]))
    demo = {**MIXTURE, "base": str(Path(alignlab.train.__file__).parents[2] / "configs/demo.yaml")}
    Path("mixture.yaml").write_text(yaml.safe_dump(demo))

    def call(*argv: str) -> str:
        status = alignlab.train.main(argv)
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return call


PAIRS = (*SMALL, "method.name=preference", "data.train.name=pairs", "data.train.path=pairs.jsonl")
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "question_translation": (
        (*SMALL, "method.name=question_translation", "data.train.count=20", "data.train.task=translate"),
        "40 examples (zh 20, de 20)",
    ),
    "supervised": (
        (*SMALL, "method.name=supervised", "data.train.count=20", "data.train.task=solve"),
        "40 examples (zh 20, de 20)",
    ),
    "causal": (
        (
            *SMALL,
            "method.name=causal",
            "data.train.name=files",
            "data.train.path=texts",
            "data.train.languages=[de]",
            "data.prompts.template={prompt}",
        ),
        "12 examples (de 12)",
    ),
    "preference": (PAIRS, "24 examples (zh 12, de 12)"),
    "ipo": ((*PAIRS, "method.loss=ipo", "method.trainable=full"), "24 examples (zh 12, de 12)"),
    "consistency": ((*PAIRS, "method.name=consistency"), "12 examples (zh+de 12)"),
    "mixture": (("config=mixture.yaml", *SMALL[1:]), "45 examples (en 5, zh 20, de 20)"),
}


LIKE_CAUSAL = {"question_translation", "supervised"}  # in all but what is learnt


def test_every_method_has_a_case() -> None:
    names = {argument for arguments, _ in CASES.values() for argument in arguments}
    assert {name for name in METHODS if f"method.name={name}" not in names} == set()


def numbers(folder: Path) -> dict[tuple[int, str], float]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return {(int(row["step"]), row["key"]): float(row["value"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("case", CASES)
def test_the_plan_of_every_method(train: Command, case: str, tmp_path: Path) -> None:
    arguments, said = CASES[case]
    printed = train(*arguments, "dry_run=true", "data.validation.examples=5")
    assert "validation          " in printed
    held = int(printed.partition("validation          ")[2].split(" ")[0])
    assert 1 <= held <= 20
    whole = train(*arguments, "dry_run=true")
    assert said in whole, whole
    weights = "full" if case == "ipo" else "lora"
    name = {"ipo": "preference", "mixture": "supervised"}.get(case, case)
    assert f"method              {name}, {weights}\n" in whole
    assert "validation   " not in whole
    if case == "mixture":
        assert "part translate      6 of 8 examples a step, 24 in all = 0.60 epochs of its 40" in whole
        assert "part english        2 of 8 examples a step, 8 in all = 1.60 epochs of its 5" in whole
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case in ("consistency", "ipo") else [])
        for case in CASES
        if case not in LIKE_CAUSAL
    ],
)
def test_every_method_trains_and_goes_on_as_if_it_had_not_been_stopped(
    train: Command, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*CASES[case][0], "data.validation.examples=4", "data.validation.every_n_steps=1")
    train(*arguments, "run.folder=whole")
    reference = Path("whole/reference.safetensors")
    assert reference.is_file() == (case == "ipo")
    own = ValidationLoss.on_train_batch_end

    def stopped(self: Any, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("power cut")
        own(self, trainer, *rest)

    monkeypatch.setattr(ValidationLoss, "on_train_batch_end", stopped)
    with pytest.raises(RuntimeError, match="power cut"):
        alignlab.train.main((*arguments, "run.folder=broken"))
    monkeypatch.setattr(ValidationLoss, "on_train_batch_end", own)
    capsys.readouterr()
    assert "Continuing after step 2." in train(*arguments, "run.folder=broken")
    whole, again = numbers(tmp_path / "whole"), numbers(tmp_path / "broken")
    assert whole == again
    assert [step for step, key in whole if key == "validation/loss"] == [0, 1, 2, 3, 4]
    assert [step for step, key in whole if key == "train/loss"] == [1, 2, 3, 4]
    if case == "ipo":
        assert reference.read_bytes() == Path("broken/reference.safetensors").read_bytes()
    assert ((1, "train/reward_margin") in whole) == (case in {"preference", "ipo"})
    assert ((1, "train/consistency") in whole) == (case == "consistency")
    assert whole[0, "validation/loss"] != whole[4, "validation/loss"]
    # The model is its own reference then, and each pair is looked up in its own place.
    known = {"preference": math.log(2), "ipo": 1 / (4 * 0.1**2)}
    if case in known:
        assert whole[0, "validation/loss"] == pytest.approx(known[case], rel=1e-4)


def test_the_validation_loss_is_transformers_own_on_what_is_held_out(train: Command, tmp_path: Path) -> None:
    train(
        *SMALL, "method.name=supervised", "data.train.count=20", "data.train.task=solve", "data.validation.share=0.3",
        "data.validation.max_tokens_per_batch=300", "method.lora.dropout=0.5", "data.train.without_templates=[]",
    )  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    template = yaml.safe_load((tmp_path / "runs/demo/config.yaml").read_text())["data"]["prompts"]["template"]
    config = DataConfig(
        train=WordProblems(languages=["zh", "de"], count=20),
        prompts=Prompts(template=template),
        validation=ValidationOptions(share=0.3),
    )
    data = load_training(config, tokenizer, Answers(), seed=0)
    assert 3 < len(data.validation) <= 12
    logged = numbers(tmp_path / "runs/demo")
    assert [step for step, key in logged if key == "validation/loss"] == [0, 2, 4]
    for step in (0, 4):
        model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
        if step:
            model = peft.PeftModel.from_pretrained(model, tmp_path / f"runs/demo/checkpoints/step-{step:06d}").eval()
        total, count = 0.0, 0
        for text in data.validation_documents:
            tokens, answer = torch.tensor(text.tokens).long(), torch.tensor(text.answer)
            with torch.no_grad():
                loss = model(input_ids=tokens[None], labels=tokens.masked_fill(~answer, -100)[None]).loss
            total, count = total + float(loss) * int(answer[1:].sum()), count + int(answer[1:].sum())
        assert logged[step, "validation/loss"] == pytest.approx(total / count, rel=1e-5)
