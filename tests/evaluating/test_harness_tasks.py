"""Tasks of lm-evaluation-harness by the command, offline, on task files of one's own; numbers against transformers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from alignlab.config import load
from alignlab.errors import InputError
from alignlab.evaluate import main
from alignlab.evaluating import harness_tasks
from alignlab.evaluating.options import EvaluateOptions
from alignlab.evaluating.task import Measuring
from alignlab.evaluating.tasks import build
from alignlab.models.edits import NeuronEdit
from alignlab.models.load import DEMO_FOLDER
from alignlab.recording.counting import Origin
from alignlab.recording.effects import BASELINE, ArmLabel, Effects
from alignlab.recording.kept import Kept
from alignlab.reporting.page.evaluations import show_tasks
from alignlab.reporting.page_evaluations import read_evaluations

pytest.importorskip("lm_eval", reason="the extra lmeval is not installed")
pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str, str]]
QUESTIONS = {
    "en": [
        ("The street was wet, because", "it had rained.", "the house is green.", 0),
        ("Anna bought 7 apples, so", "the street is long.", "now she has 19.", 1),
        ("The children are asleep, so", "it is quiet.", "it is noon.", 0),
    ],
    "zh": [
        ("街道湿了。因为", "昨天下雨了。", "今天很热。", 0),
        ("小明忘了带伞。所以", "他买了苹果。", "他淋湿了。", 1),
    ],
}
CHOICE = """
output_type: multiple_choice
doc_to_choice: "{{[one, two]}}"
doc_to_target: label
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
WRITTEN = """
output_type: generate_until
doc_to_target: "{{one}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
metric_list: [{metric: exact_match}, {metric: bleu}]
"""
ASK = [
    "tasks.choose.name=harness", "tasks.choose.task=street_{language}", "tasks.choose.languages=[en,zh]",
    "tasks.choose.spelled={zh: zho}", "tasks.choose.folder=files",
    "tasks.write.name=harness", "tasks.write.task=write_en", "tasks.write.languages=[en]", "tasks.write.folder=files",
]  # fmt: skip
DEMO = ["models=[builtin:demo]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for code, questions in QUESTIONS.items():
        rows = [dict(zip(("text", "one", "two", "label"), row, strict=True)) for row in questions]
        data = tmp_path / f"files/{code}.jsonl"
        data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        name = {"zh": "zho"}.get(code, code)
        for task, of in (("street", CHOICE), ("write", WRITTEN)):
            head = f"task: {task}_{name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}"
            whole = f'{head}\ntest_split: test\ndoc_to_text: "{{{{text}}}}"{of}metadata: {{version: 2.0}}\n'
            (tmp_path / f"files/{task}_{name}.yaml").write_text(whole, encoding="utf-8")
    return tmp_path


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(argv)
        return (status, *capsys.readouterr())

    return call


def rows(path: str, **columns: str) -> list[dict[str, str]]:
    with (Path(path) / "table.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def nats(model: Any, tokenizer: Any, context: str, option: str) -> float:
    """transformers' own loss of an option behind a context and a space."""
    both, ids = (tokenizer(text).input_ids for text in (f"{context} {option}", context))
    both = both[:-1] if both[-1] == tokenizer.eos_token_id else both
    ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    labels = torch.tensor([[-100] * len(ids) + both[len(ids) :]])
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([both]), labels=labels).loss) * (len(both) - len(ids))


def test_values_are_those_of_transformers_own_loss(command: Command) -> None:
    status, plan, _ = command(*DEMO, *ASK, "folder=out", "dry_run=true")
    assert status == 0
    told = {line.partition("  ")[0]: line for line in plan.splitlines()}
    assert "5 items (en 3, zh 2)" in told["task choose"]
    assert told["task choose"].endswith(", 10 forwards a model")
    assert told["task write"].endswith("up to 18 new tokens a model")
    assert not Path("out").exists()
    status, said, _ = command(*DEMO, *ASK, "folder=out")
    assert status == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    right = {
        code: [
            int(nats(model, tokenizer, text, two) < nats(model, tokenizer, text, one)) == gold
            for text, one, two, gold in of
        ]
        for code, of in QUESTIONS.items()
    }
    for code, hits in right.items():
        (row,) = rows("out", task="choose", language=code, measure="acc")
        assert float(row["value"]) == pytest.approx(sum(hits) / len(hits))
        assert (row["reference"], row["unit"], int(row["denominator"])) == ("0.5", "share", len(hits))
    (row,) = rows("out", task="choose", group="all languages", measure="acc")
    assert float(row["value"]) == pytest.approx(sum(map(sum, right.values())) / 5)
    assert rows("out", task="choose", language="zh", measure="acc_norm")
    assert "Choose: acc, 2 to 3 items a language" in said
    assert "street_{language} of version 2.0" in said
    # What the model wrote, and what the harness has of the whole corpus alone.
    lines = [json.loads(line) for path in Path("out/records").glob("*.jsonl") for line in path.open(encoding="utf-8")]
    written = [line for line in lines if line["task"] == "write_en"]
    for (text, *_), line in zip(QUESTIONS["en"], written, strict=False):
        ids = tokenizer(text, return_tensors="pt").input_ids
        ids = ids[:, :-1] if ids[0, -1] == tokenizer.eos_token_id else ids
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
        assert line["answers"] == [
            tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).partition("\n")[0]
        ]
    (row,) = rows("out", task="write", measure="bleu")
    assert float(row["value"]) == written[-1]["totals"]["bleu"]
    assert row["low"] == ""


def test_it_goes_on_after_a_language_and_new_data_are_asked_anew(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = [*DEMO, *ASK[:5]]
    assert command(*ask, "folder=whole")[0] == 0
    ran: list[str] = []
    run_tasks = harness_tasks.run_tasks

    def counted(*args: Any, **options: Any) -> Any:
        if len(ran) == 1 and args[2] == ["street_zho"] and "stopped" not in ran:
            ran.append("stopped")
            raise KeyboardInterrupt
        ran.append(args[2][0])
        return run_tasks(*args, **options)

    monkeypatch.setattr(harness_tasks, "run_tasks", counted)
    assert command(*ask, "folder=killed")[0] == 130
    assert command(*ask, "folder=killed")[0] == 0
    assert ran == ["street_en", "stopped", "street_zho"]
    for pattern in ("records/*.jsonl", "table.csv"):
        (one,), (other,) = (list(Path(name).glob(pattern)) for name in ("whole", "killed"))
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())
    (one,), (other,) = (list(Path(name).glob("records/*.safetensors")) for name in ("whole", "killed"))
    assert torch.equal(Effects.load(one).measured("values"), Effects.load(other).measured("values"))
    assert "0 of 1 records" in command(*ask, "folder=whole", "dry_run=true")[1]
    path = folder / "files/en.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("rained", "snowed"), encoding="utf-8")
    assert "1 of 1 records" in command(*ask, "folder=whole", "dry_run=true")[1]


def test_arms_and_what_is_wrong(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, _ = load(EvaluateOptions, [*DEMO, *ASK])
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    task = build("choose", options.tasks["choose"], tokenizer, "en")
    layers, neurons = torch.arange(4).repeat_interleave(630), torch.arange(630).repeat(4)
    off = NeuronEdit(layers, neurons, torch.zeros(2520), torch.zeros(2520))

    def likelihoods(number: int, labels: tuple[ArmLabel, ...], arms: tuple[Any, ...]) -> list[tuple[str, list[float]]]:
        kept = Kept(tmp_path / f"kept-{number}", "demo")
        on = Measuring(model, Origin("demo"), nullcontext, 400, kept, lambda *_done, **_kept: None, labels, arms)
        found = task.measure(on)
        assert found.effects.arms == tuple(label.name for label in labels)
        lines = [json.loads(line) for line in found.answers.split("\n")[:-1]]
        return [(line.get("arm", ""), line["nats"]) for line in lines if "nats" in line]

    both = likelihoods(0, (BASELINE, ArmLabel("off")), ((), (off,)))
    plain = likelihoods(1, (BASELINE,), ((),))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, :630] = 0
    changed = likelihoods(2, (BASELINE,), ((),))
    assert [nats for _, nats in both] == [nats for _, nats in plain + changed]
    assert plain != changed
    assert [bool(arm) for arm, _ in both] == [False] * 5 + [True] * 5
    monkeypatch.setattr("alignlab.evaluation.harness.world_size", lambda: 2)
    with pytest.raises(InputError, match=r"2 ranks; expected one\. Run it on one process"):
        task.check(model)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (folder / "files/en.jsonl").unlink()
    with pytest.raises(InputError, match=r"tasks.choose.task: street_en cannot be put together \(FileNotFoundError"):
        build("choose", options.tasks["choose"], tokenizer, "en")


def test_metrics_of_the_whole_corpus_alone(command: Command, folder: Path) -> None:
    for code in ("en", "zho"):
        path = folder / f"files/write_{code}.yaml"
        path.write_text(path.read_text().replace("{metric: exact_match}, ", ""))
    (folder / "files/both.yaml").write_text("group: both\ntask: [write_en, write_zho]\n")
    both = ["tasks.both.name=harness", "tasks.both.task=both", "tasks.both.languages=[en]", "tasks.both.folder=files"]
    status, said, error = command(*DEMO, *ASK[5:], *both, "folder=out")
    assert status == 0, error
    assert "Write: bleu, 3 items a language" in said
    assert "Both: no number of the whole task; those of its parts are in table.csv" in said
    (row,) = rows("out", task="write")
    assert (row["measure"], row["low"], row["denominator"]) == ("bleu", "", "3")
    assert [row["label"] for row in rows("out", task="both")] == ["write_en", "write_zho"]
    shutil.copytree("out", "run/evaluations/out")
    ((page,), (note,)) = read_evaluations(Path("run"))
    assert [(task.name, task.measure) for task in page.tasks] == [("write", "bleu")]
    assert note.startswith("Task both of evaluation out is not shown")
    (shown,) = show_tasks([[page]])
    assert shown.title == "Write (out): bleu"


BROKEN = {
    "no data": ("", "", "StopIteration"),
    "data that are no JSON": (
        '{"text": \n',
        "",
        "DatasetGenerationError: .*; (ArrowInvalid|JSONDecodeError|ValueError): ",
    ),
    "no Python": (None, "def prepare(:", "SyntaxError"),
    "an end of the process": (None, "def prepare(docs):\n    raise SystemExit(0)", "SystemExit: 0"),
    "an error of its own": (None, "class Odd(Exception): ...\ndef prepare(docs):\n    raise Odd('so')", "Odd: so"),
    "no document": (
        None,
        "def prepare(docs):\n    return docs.select([])",
        "IndexError: .*; expected a task that runs, with data",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_task_file_that_is_broken_is_refused(name: str, command: Command, folder: Path) -> None:
    data, code, said = BROKEN[name]
    if data is not None:
        (folder / "files/en.jsonl").write_text(data)
    if code:
        task = folder / "files/street_en.yaml"
        task.write_text(f"{task.read_text()}process_docs: !function {name.split()[-1]}_of.prepare\n")
        (folder / f"files/{name.split()[-1]}_of.py").write_text(code)
    status, _, error = command(*DEMO, *ASK[:5], "folder=out")
    assert status == 2
    assert re.search(rf"tasks.choose.task: .*street_en.*{said}", error)
    assert not Path("out").exists()
