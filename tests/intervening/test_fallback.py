"""`measures=[fallback]`: the path walked again with the model, its controls, and a killed path that goes on."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor

from alignlab.analysis.effect_fallback import OVER_CONTROL
from alignlab.evaluation.output_language import language_of
from alignlab.evaluation.tasks import TaskConfig
from alignlab.intervene import main
from alignlab.interventions import Intervention, intervene
from alignlab.models.load import ModelConfig
from alignlab.neurons import NeuronSets
from alignlab.parts import Parts
from alignlab.recording.effects import Effects
from alignlab.reporting.page_interventions import read_interventions
from alignlab.runs import RunFolder

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run

ASKED = ["run=run", "config=interventions/fallback", "seeds=2", "max_tokens_per_batch=800"]
PROBLEMS = ["evaluation.source.languages=[en,zh,de]", "evaluation.source.count=4"]
RESULT = "fallback-step-000002.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("fallback") / "run", *PROBLEMS)


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.mark.slow
def test_the_path_is_that_of_the_model_with_more_and_more_off(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASKED) == 0
    said = capsys.readouterr().out
    folder = run / "interventions/fallback"
    effects = Effects.load(folder / RESULT)
    sets = NeuronSets.load(folder / "sets-step-000002.safetensors")
    demo = ModelConfig()
    tokenizer = demo.build_tokenizer()
    model: Any = peft.PeftModel.from_pretrained(demo.build(), "run/checkpoints/step-000002").eval()
    stored = RunFolder(run).stored_config()["evaluation"]
    task = TaskConfig.model_validate({name: stored[name] for name in TaskConfig.model_fields}).build(tokenizer)
    prompts = {(prompt.language, prompt.id): prompt for prompt in task.prompts}

    def told(off: list[str]) -> list[str | None]:
        mask = torch.stack([sets[code] for code in off]).any(dim=0) if off else None
        texts = []
        for item in effects.items:
            asked = torch.from_numpy(prompts[item.language, item.id].tokens).long().unsqueeze(0)
            with intervene(model, *([] if mask is None else [Intervention(mask)])):
                given = model.generate(
                    input_ids=asked, max_new_tokens=8, do_sample=False, eos_token_id=tokenizer.eos_token_id
                )
            texts.append(tokenizer.decode(given[0, asked.shape[1] :], skip_special_tokens=True))
        return language_of(texts, effects.languages)

    off: list[str] = []
    while True:
        answers = told(off)
        arm = effects.arms.index(f"zero {' + '.join(off)}" if off else "none")
        places = effects.measured("output_language")[:, arm].tolist()
        assert [None if place < 0 else effects.languages[place] for place in places] == answers
        counts = Counter(code for code in answers if code is not None and code not in off)
        on = [code for code in sets.names if code not in off and sets[code].any()]
        most = max((counts[code] for code in on), default=0)
        if not most:
            break
        off.append(next(code for code in on if counts[code] == most))
    assert off, "no step was taken"
    steps = [label.set for label in effects.labels if not label.control]
    assert steps == ["", *(" + ".join(off[: count + 1]) for count in range(len(off)))]
    assert f"Switched off one after another: {' '.join(off)};" in said
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["analysis"] == "fallback"]
    assert {row["set"] for row in rows} == set(steps)
    # What the sets are is still known of that which is switched off first, and the page of the run is made of it.
    about = json.loads((folder / "about-step-000002.json").read_text(encoding="utf-8"))
    assert {name: about[name]["language"] for name in sets.names} == {name: name for name in sets.names}
    assert all(about[step]["shared"] for step in steps if step)
    (shown,), notes = read_interventions(run)
    assert (shown.neurons, notes) == ("specific(g) | related(g)", [])


def test_a_control_grows_with_the_path(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alignlab.intervening import falling

    masks: dict[str, Tensor] = {}
    kept = falling.neurons_at

    def keep(grid: Any, off: Any, label: Any) -> Tensor:
        masks[label.name] = kept(grid, off, label)
        masks["taken"] = grid.chosen.taken
        return masks[label.name]

    monkeypatch.setattr("alignlab.intervening.measuring.neurons_at", keep)
    assert main([*ASKED, "fallback.order=[zh,en]", "max_documents=2"]) == 0
    effects = Effects.load(run / "interventions/fallback" / RESULT)
    assert {code: [item.id for item in effects.items if item.language == code] for code in ("en", "de")} == {
        code: [item.id for item in effects.items if item.language == "zh"] for code in ("en", "de")
    }
    assert len(effects.items) == 3 * 2
    for seed in range(2):
        first, second = (masks[f"zero {off}, matched {seed}"] for off in ("zh", "zh + en"))
        assert bool((first & ~second).sum() == 0)
        assert second.sum(dim=1).tolist() == masks["zero zh + en"].sum(dim=1).tolist()
        assert first.sum(dim=1).tolist() == masks["zero zh"].sum(dim=1).tolist()
        assert not (second & masks["taken"]).any()
    assert not torch.equal(masks["zero zh, matched 0"], masks["zero zh, matched 1"])
    # Verdicts allow for what the two draws of a step have in common.
    with (run / "interventions/fallback/table.csv").open(newline="", encoding="utf-8") as file:
        told = [row for row in csv.DictReader(file) if row["measure"] == OVER_CONTROL]
    for off in ("zh", "zh + en"):
        first, second = (masks[f"zero {off}, matched {seed}"] for seed in range(2))
        share = int((first & second).sum()) / int(first.sum())
        assert share > 0
        assert {float(row["control_shared"]) for row in told if row["set"] == off} == {share}


@pytest.mark.slow
def test_a_killed_path_goes_on_to_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*ASKED, "name=whole"]) == 0
    done: list[int] = []
    write = Parts.write

    def stop(self: Parts, number: int, part: Any) -> None:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(number)
        write(self, number, part)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        assert main(ASKED) == 130
    folder, whole = run / "interventions/fallback", run / "interventions/whole"
    assert len(list(folder.glob("parts/*.jsonl"))) == 4

    def count(self: Parts, number: int, part: Any) -> None:
        done.append(number)
        write(self, number, part)

    monkeypatch.setattr(Parts, "write", count)
    assert main(ASKED) == 0
    found, expected = Effects.load(folder / RESULT), Effects.load(whole / RESULT)
    assert found.labels == expected.labels
    assert torch.equal(found.measured("output_language"), expected.measured("output_language"))
    assert (folder / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
    assert not (folder / "parts").exists()
    answered = len(done)
    assert main(ASKED) == 0  # what is there is shown: nothing is answered again
    assert len(done) == answered


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["operations=[scale]", "strengths=[2,3]"], "operations: 2 ways to change neurons, and fallback is one path"),
        (["operations=[replace]"], "replace takes means of one language, and fallback changes neurons of several"),
        (["fallback.order=[zh,fr]"], "fallback.order: 'fr'; expected some of: en, zh, de"),
        (["fallback.prompts=[sw]"], "fallback.prompts: 'sw'; expected some of: en, zh, de"),
        (
            ["neurons=sets.safetensors", "languages=[en,zh]"],
            "controls: layer 1 has 240 neurons of no language, and all sets 400; expected as many",
        ),
    ],
)
def test_what_is_no_path_is_refused(run: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    mask = torch.zeros(4, 640, dtype=torch.bool)
    mask[1, :200] = True
    NeuronSets({"en": mask, "zh": mask.roll(200, 1)}).save("sets.safetensors")
    assert main([*ASKED, *more]) == 2
    assert says in capsys.readouterr().err
    assert not (run / "interventions").exists()
