"""The demo's configs, as they are shipped: each is loaded and planned, and is what its first lines say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import alignlab.train
from alignlab.config import Options, load
from alignlab.config.files import configs_with
from alignlab.config.schema import schema_of
from alignlab.evaluating.options import EvaluateOptions
from alignlab.options import TrainConfig
from alignlab.sharing.options import ShareOptions
from alignlab.studying.options import StudyOptions

CONFIGS = Path(__file__).parents[1] / "configs"
DEMOS = sorted(path.stem for path in CONFIGS.glob("demo*.yaml"))
FEW = ["evaluation.source.count=3", "probe.source.count=3", "dry_run=true", "wandb.mode=disabled"]
# What is in the plan's line of the training text, of 5 problems a language.
TEXTS = {
    "demo": "10 examples (zh 5, de 5)",
    "demo_english": "5 examples (en 5)",
    "demo_mixture": "15 examples (en 5, zh 5, de 5)",
    "demo_preference": "2 examples (zh 1, de 1)",
    "demo_stages": "10 examples (zh 5, de 5)",
    "demo_translate_then_solve": "10 examples (zh 5, de 5)",
    "demo_translation": "10 examples (zh 5, de 5)",
}
COUNTS = {
    "demo_mixture": ["data.train.parts.translation.source.count=5", "data.train.parts.english.source.count=5"],
    "demo_preference": [],
}


@pytest.fixture
def planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    monkeypatch.chdir(tmp_path)
    pairs = Path("prepared/demo/preferences/train.jsonl")
    pairs.parent.mkdir(parents=True)
    pair = {"prompt": "1 + 1?", "chosen": "#### 2", "rejected": "#### 3", "question": "0"}
    lines = [json.dumps({**pair, "id": f"0-{code}", "language": code}) for code in ("zh", "de")]
    pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def plan(name: str) -> str:
        assert alignlab.train.main([f"config={name}", *FEW, *COUNTS.get(name, ["data.train.count=5"])]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return plan


def test_all_are_tried() -> None:
    assert set(TEXTS) == set(DEMOS)


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_is_planned(name: str, planned: Callable[[str], str]) -> None:
    said = planned(name)
    assert f"Plan of {name}\n" in said
    assert TEXTS[name] in said
    assert "problems in 10 languages" in said
    assert f"runs/{name}\n" in said


def config(name: str) -> Any:
    return load(TrainConfig, [f"config={name}"])[0]


@pytest.mark.parametrize("name", sorted(set(DEMOS) - {"demo"}))
def test_the_others_differ_from_the_demo_in_what_they_train_on_alone(name: str) -> None:
    demo, other = config("demo").model_dump(), config(name).model_dump()
    for section in ("model", "probe", "evaluation", "tracker", "identifier", "seed"):
        assert other[section] == demo[section]
    assert other["data"]["examples_per_step"] == demo["data"]["examples_per_step"]
    assert other["method"]["lora"] == demo["method"]["lora"]
    if name != "demo_preference":  # which has a rate and a number of steps of its own
        assert other["method"]["optimizer"] == demo["method"]["optimizer"]
        assert other["trainer"] == demo["trainer"]
    else:
        prepared = (CONFIGS / "prepare_demo.yaml").read_text(encoding="utf-8")
        assert f"[{', '.join(demo['data']['train']['without_templates'])}]" in prepared


def test_the_control_sees_as_many_problems_in_english_alone() -> None:
    demo, control = config("demo").data.train, config("demo_english").data.train
    assert (control.task, control.without_templates) == (demo.task, demo.without_templates)
    assert control.languages == ["en"]
    assert control.count == demo.count * len(demo.languages)


def test_problems_are_answered_that_no_recipe_trains_on() -> None:
    for name in DEMOS:
        options = config(name)
        assert options.evaluation.source.split == "test"
        assert options.probe.source.split == "probe"
        parts = getattr(options.data.train, "parts", None)
        sources = [part.source for part in parts.values()] if parts else [options.data.train]
        assert {getattr(source, "split", "train") for source in sources} == {"train"}


@pytest.mark.parametrize(
    ("root", "some", "others"),
    [
        (
            TrainConfig,
            {"demo", "demo_english", "experiments/mapo_dpo_zh"},
            {"paper", "evaluate_demo", "experiments/lape"},
        ),
        (StudyOptions, {"paper", "study_demo"}, {"demo", "demo_english"}),
        (EvaluateOptions, {"evaluate_demo"}, {"demo_english", "experiments/mapo_dpo_zh"}),
        (ShareOptions, set(), {"demo", "paper"}),
    ],
)
def test_help_lists_the_configs_that_the_command_takes(root: type[Options], some: set[str], others: set[str]) -> None:
    listed = set(configs_with(schema_of(root).members))
    assert some <= listed
    assert not listed & others
    assert not any(name.startswith("base/") for name in listed)
