"""Tasks of `alignlab.evaluate` under interventions: beside models whose weights are changed by hand, and loops here."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from scipy.stats import t as student

from alignlab.config import load
from alignlab.data.prompts import Prompts
from alignlab.data.sources.word_problems import WordProblems
from alignlab.evaluate import main
from alignlab.evaluating.folder import EvaluationFolder
from alignlab.evaluating.likelihoods import PerplexityTask
from alignlab.evaluating.options import EvaluateOptions
from alignlab.evaluating.plan import EvaluationPlan
from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons.sets import NeuronSets
from alignlab.parts import Parts
from alignlab.recording.effects import Effects

TEXT = ["tasks.text.name=perplexity", "tasks.text.source.count=4", "tasks.text.source.languages=[en,zh]"]
SUMS = ["tasks.sums.name=problems", "tasks.sums.source.count=2", "tasks.sums.source.languages=[en,zh]",
        "tasks.sums.max_new_tokens=6"]  # fmt: skip
CHOICES = ["tasks.copa.name=multiple_choice", "tasks.copa.questions.name=choices",
           "tasks.copa.questions.languages=[en]", "tasks.copa.questions.path=copa.jsonl",
           "tasks.copa.questions.options=[one,two]", "tasks.copa.questions.template={text}"]  # fmt: skip
QUESTIONS = [
    {"text": "Anna has 12 apples and buys 7 more. Now she has", "one": "19 apples", "two": "five", "label": 0},
    {"text": "The house is green, and the street is", "one": "asleep", "two": "as long as it was", "label": 1},
    {"text": "Ein Bus hat 30 Sitze, 4 sind frei. Es sitzen", "one": "34 Männer", "two": "26 Kinder", "label": 1},
]
OFF = ["interventions.off.neurons=half - kept", "interventions.off.sets=sets.safetensors"]
# Neurons that a run has counted.
RUN = ["run=run", "steps=[0,last]", "tasks.text.name=perplexity", "tasks.text.source.languages=[en,zh]",
       "tasks.text.source.count=16", "interventions.zh.neurons=specific(zh) | related(zh)", "seeds=2"]  # fmt: skip
DEMO = ["models=[builtin:demo]", "folder=out"]


@pytest.fixture(scope="module")
def half() -> torch.Tensor:
    """(4, 640): every fourth neuron of the two upper layers, but for the first twenty."""
    mask = torch.zeros(4, 640, dtype=torch.bool)
    mask[2:, 20::4] = True
    return mask


@pytest.fixture(scope="module")
def zeroed(half: torch.Tensor) -> Any:
    """The demo model, as transformers loads it, without the weights that read these neurons."""
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
    with torch.no_grad():
        for layer, mask in zip(model.model.layers, half, strict=True):
            layer.mlp.down_proj.weight[:, mask] = 0.0
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, half: torch.Tensor) -> Path:
    """A folder in which all tasks were done under `off`, with two random controls, after they were done without."""
    made = tmp_path_factory.mktemp("under")
    whole, kept = torch.zeros_like(half), torch.zeros_like(half)
    whole[2:, ::4] = True
    kept[:, :20] = True
    NeuronSets({"half": whole, "kept": kept}).save(made / "sets.safetensors")
    lines = "".join(f"{json.dumps(one)}\n" for one in QUESTIONS)
    (made / "copa.jsonl").write_text(lines, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(made)
        assert main([*DEMO, *TEXT, *SUMS, *CHOICES]) == 0
        shutil.copytree("out", "plain")
        assert main([*DEMO, *TEXT, *SUMS, *CHOICES, *OFF, "controls=[random]", "seeds=2"]) == 0
    return made


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def rows(path: str | Path, **columns: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def record(task: str, under: str = "", folder: str = "out") -> Effects:
    held = json.loads((Path(folder) / "records.json").read_text())
    one = next(
        one for one in held if one["task"] == task and one.get("intervention", "") == under
    )  # of the first model
    return Effects.load(Path(folder) / one["file"])


def summed_loss(model: Any, ids: list[int], first: int) -> float:
    """transformers' own loss of a text from a token on, times how many tokens these are."""
    labels = torch.tensor([[-100] * first + ids[first:]])
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids]), labels=labels).loss) * (len(ids) - first)


def test_likelihoods_are_those_of_the_model_without_these_weights(inside: Path, zeroed: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    under, base = record("text", "off"), record("text")
    assert under.arms == ("off", "off, random 0", "off, random 1")
    assert under.nats is not None
    assert base.nats is not None
    by_item = {
        (one.language, one.id): one for one in WordProblems(split="test", count=4, languages=["en", "zh"]).load()
    }
    for place, item in enumerate(under.items):
        ids = tokenizer(Prompts().render(by_item[item.language, item.id], tokenizer).text).input_ids
        ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
        assert float(under.nats[place, 0]) == pytest.approx(summed_loss(zeroed, ids, 1), rel=1e-4)
    assert (under.nats[:, 0] - base.nats[:, 0]).abs().min() > 0.01  # it is another model
    choices = record("copa", "off")
    assert choices.option_nats is not None
    for place, question in enumerate(QUESTIONS):
        for number, option in enumerate((question["one"], question["two"])):
            ids = tokenizer(f"{question['text']} {option}").input_ids
            ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
            context = tokenizer(question["text"]).input_ids
            first = next(i for i, (a, b) in enumerate(zip([*context, None], ids, strict=False)) if a != b)
            assert float(choices.option_nats[place, 0, number]) == pytest.approx(
                summed_loss(zeroed, ids, first), rel=1e-4
            )


def test_answers_are_those_of_the_model_without_these_weights(inside: Path, zeroed: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    under, held = record("sums", "off"), json.loads(Path("out/records.json").read_text())
    (file,) = [one["file"] for one in held if one["task"] == "sums" and "intervention" in one]
    lines = [json.loads(line) for line in Path("out", file).with_suffix(".jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 3 * 4
    of_arm = [line for line in lines if line["arm"] == under.labels[0].digest]
    assert len(of_arm) == 4
    for line in of_arm:
        ids = torch.tensor([tokenizer(line["prompt"], add_special_tokens=False).input_ids])
        out = zeroed.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
        assert line["tokens"] == out[0, ids.shape[1] :].tolist()


def test_every_other_task_is_that_of_the_model_without_these_weights(inside: Path, zeroed: Any) -> None:
    zeroed.save_pretrained("zeroed")
    transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER).save_pretrained("zeroed")
    source = ("source.count=3", "source.languages=[en,de,zh]")
    tasks = [f"tasks.{name}.{what}" for name in ("tr", "mx") for what in source]
    tasks += ["tasks.tr.name=translation", "tasks.tr.max_new_tokens=8", "tasks.mx.name=mexa"]
    assert main(["models=[zeroed]", "folder=plainly", *tasks]) == 0
    assert main(["models=[builtin:demo]", "folder=others", *tasks, *OFF, "controls=[random]", "seeds=2"]) == 0
    for task in ("tr", "mx"):
        plainly, under = record(task, folder="plainly").values, record(task, "off", "others").values
        assert plainly is not None
        assert under is not None
        assert torch.equal(under[:, 0], plainly[:, 0])
        assert not torch.equal(under[:, 1], plainly[:, 0])  # a control is something else
        shown = {"set": "off", "since": "", "group": "language"}
        for row in rows("others/table.csv", task=task, **shown):
            same = {name: row[name] for name in ("measure", "language", "layer", "other")}
            (other,) = rows("plainly/table.csv", task=task, since="", group="language", **same)
            assert [row[name] for name in ("value", "low", "high")] == [
                other[name] for name in ("value", "low", "high")
            ]
    (over,) = rows("others/table.csv", task="mx", measure="MEXA over control", language="zh")
    draws = record("mx", "off", "others").values
    assert draws is not None
    of_zh = [place for place, item in enumerate(record("mx", folder="others").items) if item.language == "zh"]
    by_arm = draws[of_zh].mean(dim=(0, 2))
    assert float(over["value"]) == pytest.approx(float(by_arm[0] - by_arm[1:].mean()))


def test_changes_are_since_the_same_model_and_over_the_mean_of_its_controls(inside: Path) -> None:
    base, under = record("text"), record("text", "off")
    assert base.nats is not None
    assert base.counted is not None
    assert under.nats is not None
    changes = under.nats - base.nats
    of = {code: [place for place, item in enumerate(base.items) if item.language == code] for code in ("en", "zh")}
    by_arm = {code: changes[places].sum(0) / base.counted[places].sum() for code, places in of.items()}
    by_arm["all languages"] = (by_arm["en"] + by_arm["zh"]) / 2
    asked = load(EvaluateOptions, [*DEMO, *TEXT, *OFF, "controls=[random]", "seeds=2"])[0]
    plan = EvaluationPlan(asked)
    (off,) = plan.under(plan.models[0])
    first, second = (off.choose().neurons(label) for label in off.labels if label.control)
    share = int((first & second).sum()) / int(first.sum())
    assert share > 0
    for name, expected in by_arm.items():
        where = {"group": name} if name == "all languages" else {"group": "language", "language": name}
        (now,) = rows("out/table.csv", measure="nats", set="off", since="", **where)
        (then,) = rows("out/table.csv", measure="nats", set="", since="", **where)
        (change,) = rows("out/table.csv", measure="nats", set="off", since="builtin:demo", control="", **where)
        (mean,) = rows("out/table.csv", measure="nats", set="off", control="random", **where)
        (over,) = rows("out/table.csv", measure="nats over control", set="off", **where)
        assert float(change["value"]) == pytest.approx(float(expected[0]))
        assert float(now["value"]) - float(then["value"]) == pytest.approx(float(expected[0]))
        assert float(mean["value"]) == pytest.approx(float(expected[1:].mean()))
        assert float(mean["sd"]) == pytest.approx(float(expected[1:].std()))
        assert float(over["value"]) == pytest.approx(float(expected[0] - expected[1:].mean()))
        assert (change["p"] != "", over["p"] != "", over["beyond_control"]) == (True, True, "")  # no matched control
        assert over["over"] == "clusters and controls"
        assert float(over["control_shared"]) == pytest.approx(share)
    (tokens,) = rows("out/table.csv", measure="right by byte", set="off", since="", group="all languages")
    nats, right = record("copa", "off").option_nats, 0
    assert nats is not None
    for place, question in enumerate(QUESTIONS):
        scores = [float(nats[place, 0, o]) / len(str(question[name]).encode()) for o, name in enumerate(("one", "two"))]
        right += scores.index(min(scores)) == question["label"]
    assert float(tokens["value"]) == pytest.approx(right / 3)


def test_the_interval_of_a_change_is_of_t_over_clusters(inside: Path) -> None:
    base, under = record("text"), record("text", "off")
    assert base.nats is not None
    assert base.counted is not None
    assert under.nats is not None
    places = [place for place, item in enumerate(base.items) if item.language == "zh"]
    change, tokens = (under.nats[:, 0] - base.nats[:, 0])[places], base.counted[places].double()
    value, residuals = float(change.sum() / tokens.sum()), dict[str, float]()
    for place, one, size in zip(places, change.tolist(), tokens.tolist(), strict=True):
        cluster = base.items[place].cluster
        residuals[cluster] = residuals.get(cluster, 0.0) + one - value * size
    m = len(residuals)
    error = (m / (m - 1) * sum(one**2 for one in residuals.values())) ** 0.5 / float(tokens.sum())
    (row,) = rows("out/table.csv", measure="nats", set="off", language="zh", since="builtin:demo", control="")
    assert float(row["low"]) == pytest.approx(value - student.ppf(0.975, m - 1) * error)
    assert float(row["high"]) == pytest.approx(value + student.ppf(0.975, m - 1) * error)


def test_a_record_without_interventions_is_not_made_again(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, now = Path("plain/records"), Path("out/records")
    assert len(list(plain.iterdir())) == 4  # of three tasks, and a file of answers
    for path in plain.iterdir():
        assert (now / path.name).read_bytes() == path.read_bytes()
    before = rows("plain/table.csv")
    assert [row for row in rows("out/table.csv") if not row["set"]] == before
    saved: list[str] = []
    monkeypatch.setattr(EvaluationFolder, "save", lambda self, digest, measured: saved.append(digest))
    again = ["interventions.other.neurons=half - kept", OFF[1].replace("off", "other"), "controls=[random]", "seeds=2"]
    assert main([*DEMO, *TEXT, *SUMS, *CHOICES, *again]) == 0  # the same under another name
    assert saved == []
    assert {row["set"] for row in rows("out/table.csv")} == {"", "other"}
    assert main([*DEMO, *TEXT, *SUMS, *CHOICES, *OFF, "controls=[random]", "seeds=2"]) == 0


def test_baseline_and_each_arm_are_scored_once(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    measure = PerplexityTask.measure

    def counted(self: PerplexityTask, on: Any) -> Any:
        asked.append(tuple(label.name for label in on.labels))
        return measure(self, on)

    monkeypatch.setattr(PerplexityTask, "measure", counted)
    two = [*OFF, "interventions.less.neurons=kept", "interventions.less.sets=sets.safetensors",
           "interventions.less.operation={name: scale, strength: 0.5}"]  # fmt: skip
    assert main(["models=[builtin:demo]", "folder=counted", *TEXT, *two, "controls=[random]", "seeds=1"]) == 0
    assert asked == [("none",), ("off", "off, random 0"), ("less", "less, random 0")]
    assert main(["models=[builtin:demo]", "folder=counted", *TEXT, *two, "controls=[random]", "seeds=1"]) == 0
    assert len(asked) == 3
    operations = {(row["set"], row["operation"], row["strength"]) for row in rows("counted/table.csv") if row["set"]}
    assert operations == {("off", "zero", ""), ("less", "scale", "0.5")}


@pytest.mark.parametrize("written", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_stopped_and_continued_it_ends_with_the_same(
    inside: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    few = ["models=[builtin:demo]", *TEXT, *OFF, "controls=[random]", "seeds=1", "max_tokens_per_batch=400"]
    assert main([*few, f"folder=whole{written}"]) == 0
    done: list[int] = []
    write = Parts.write

    def stop(self: Parts, number: int, part: Any) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(number)
        write(self, number, part)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        assert main([*few, f"folder=killed{written}"]) == 130
    assert main([*few, f"folder=killed{written}"]) == 0
    whole, killed = Path(f"whole{written}"), Path(f"killed{written}")
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(killed)) for path in killed.rglob("*") if path.is_file())
    assert (killed / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
    for path in whole.glob("records/*.safetensors"):
        one, other = Effects.load(path), Effects.load(killed / "records" / path.name)
        assert one.nats is not None
        assert other.nats is not None
        assert torch.equal(one.nats, other.nats)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[Path]:
    above = tmp_path_factory.mktemp("of_a_run")
    shutil.copytree(made, above / "run")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(above)
        assert main([*RUN]) == 0
        yield above


def test_what_shares_a_template_with_where_neurons_were_found_is_left_out(run: Path) -> None:
    out = "run/evaluations/evaluation/table.csv"
    plan = EvaluationPlan(run_options(run))
    (under,) = plan.under(plan.models[0])
    assert under.found_on is not None
    # Templates by what is read in the probe's own records, of every other shard.
    found = {one.cluster for texts in under.found_on.documents.values() for one in texts}
    problems = WordProblems(split="test", count=16, languages=["en", "zh"]).load()
    left = [one for one in problems if one.cluster not in found]
    assert 0 < len(left) < len(problems)
    base = record("text", folder="run/evaluations/evaluation")
    assert base.counted is not None
    tokens = sum(
        int(count)
        for item, count in zip(base.items, base.counted, strict=True)
        if item.language == "zh" and item.cluster not in found
    )
    for row in rows(out, set="zh", language="zh"):
        assert (row["denominator"], row["label"]) == (str(tokens), "apart from what the neurons were found on")
    (whole,) = rows(out, set="", language="zh", measure="nats", since="", step="0")
    assert int(whole["denominator"]) > tokens
    (over,) = rows(out, set="zh", language="zh", measure="nats over control", control="matched", step="2")
    assert over["beyond_control"] in ("True", "False")
    assert float(over["control_gap"]) >= 0


def test_with_the_same_documents_all_are_compared_and_that_is_said(run: Path) -> None:
    assert main([*RUN[:5], "interventions.zh.neurons=zh", "same_documents=true", "controls=[]",
                 "steps=[0]", "name=same"]) == 0  # fmt: skip
    out = "run/evaluations/same/table.csv"
    (plain,) = rows(out, set="", language="zh", measure="nats")
    for row in rows(out, set="zh", language="zh", measure="nats"):
        assert row["denominator"] == plain["denominator"]
        assert row["label"] == "text on which the neurons were found"
    assert not rows(out, measure="nats over control")


def test_means_are_of_the_documents_on_which_neurons_were_found(run: Path) -> None:
    ask = [*RUN[:4], "tasks.text.source.count=12", "interventions.zh.neurons=zh", "controls=[]", "steps=[0]",
           "interventions.zh.operation={name: add, strength: 2}", "name=added"]  # fmt: skip
    assert main(ask) == 0
    assert not Path("run/evaluations/added/parts").exists()
    plan = EvaluationPlan(run_options(run, operation={"name": "add", "strength": 2}, neurons="zh"))
    (under,) = plan.under(plan.models[0])
    mask, probe = under.choose().sets["zh"], under.found_on
    assert probe is not None
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
    seen: dict[int, torch.Tensor] = {}
    change: dict[int, torch.Tensor] = {}

    def hook(layer: int) -> Callable[..., Any]:
        def look(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            seen[layer] = output[0]
            return output + change[layer] if change else output

        return look

    for number, layer in enumerate(model.model.layers):
        layer.mlp.act_fn.register_forward_hook(hook(number))
    sums, tokens = torch.zeros(4, 640), 0
    for document in probe.documents["zh"]:
        with torch.no_grad():
            model(input_ids=torch.tensor([document.tokens.tolist()]))
        counted = torch.from_numpy(probe.counted(document))
        sums += torch.stack([seen[layer][counted].sum(0) for layer in range(4)])
        tokens += int(counted.sum())
    change.update({layer: 2 * (sums / tokens)[layer] * mask[layer] for layer in range(4)})
    effects = record("text", "zh", "run/evaluations/added")
    assert effects.nats is not None
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    of = {(one.language, one.id): one for one in WordProblems(split="test", count=12, languages=["en", "zh"]).load()}
    for place in (0, len(effects.items) - 1):
        item = effects.items[place]
        ids = tokenizer(Prompts().render(of[item.language, item.id], tokenizer).text).input_ids
        ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
        assert float(effects.nats[place, 0]) == pytest.approx(summed_loss(model, ids, 1), rel=1e-4)


def run_options(above: Path, **changed: Any) -> EvaluateOptions:
    """The options of RUN, as the run's config lays them below."""
    config = yaml.safe_load((above / "run/config.yaml").read_text())
    inherited = {name: config[name] for name in ("identifier", "model", "probe")}
    one = {"neurons": "specific(zh) | related(zh)"} | changed
    return EvaluateOptions.model_validate(
        {**inherited, "run": str(above / "run"), "steps": [0], "controls": [], "interventions": {"zh": one},
         "tasks": {"text": {"name": "perplexity"}}}
    )  # fmt: skip
