"""The command `alignlab.intervene` on a small run, from its plan to its table; what it says is counted again here."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import peft
import pytest
import torch
import transformers

from alignlab.begun_folder import BegunFolder
from alignlab.config import load, shipped_configs
from alignlab.evaluation.tasks import TaskConfig
from alignlab.intervene import base_of, main
from alignlab.intervening.options import InterveneOptions
from alignlab.intervening.plan import GridPlan
from alignlab.interventions import Intervention, intervene
from alignlab.models.load import ModelConfig
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.identifiers import identifier_of
from alignlab.neurons.kinds import Kind
from alignlab.neurons.subset import subset
from alignlab.neurons.table import COLUMNS
from alignlab.parts import Parts
from alignlab.recording.effects import Effects
from alignlab.recording.probes import Probe, ProbeConfig
from alignlab.runs import RunFolder

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run

Command = Callable[..., tuple[int, str, str]]
FEW = ["run=run", "languages=[en,zh]", "max_documents=3", "seeds=2", "max_tokens_per_batch=500"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("intervene") / "run")


@pytest.fixture
def command(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in a folder with the run."""
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(argv)
        return (status, *capsys.readouterr())

    return call


def rows(path: str | Path, **columns: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def contents(folder: str | Path) -> dict[str, bytes]:
    """What is in a folder, byte for byte, but for what has its name or the machine's."""
    others = ("manifest.json", "environment.json", ".lock", "config.yaml")
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.name not in others}


def test_help_and_nothing(command: Command) -> None:
    status, said, _ = command()
    assert status == 0
    assert "run=runs/demo" in said
    status, said, _ = command("--help")
    assert all(name in said for name in InterveneOptions.model_fields)


def test_the_plan_is_told_and_nothing_is_written(command: Command, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, said, complaint = command(*FEW, "dry_run=true")
    assert (status, complaint) == (0, "")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not Path("run/interventions").exists()
    plan = {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in said.splitlines()}
    assert plan["models"] == "step 2 of run; 32-true on cpu, ranks 1"
    assert plan["neurons"] == "for every language g: specific(g) | related(g); by ternary (paper), at mlp.act"
    assert plan["found on"].endswith(" documents of shards 0 2 4")
    assert plan["arms"] == "11: none, and zero of 2 sets, each beside 2 random and 2 matched"
    assert re.fullmatch(
        r"general, above tau in every language and so in no set: \d+ of (\d+) random ones( \(.*\))?; "
        r"\d+ of \1 matched ones( \(.*\))?", plan["controls"]
    )  # fmt: skip
    assert plan["measured on"].startswith("6 documents (en 3, zh 3) of 3 templates, ")
    assert "for 66 cells (documents x arms)" in plan["forwards"]
    for name in ("time", "memory", "disk"):
        assert plan[name].startswith("about ")
    assert "This was a dry run" in said


@pytest.mark.slow
def test_the_time_is_of_all_that_is_measured(command: Command) -> None:
    """What is scored and what is answered add up; as many arms on the same problems take as long, on a path or not."""

    def operations(measures: str, *more: str) -> float:
        status, said, complaint = command(*FEW, "controls=[]", "dry_run=true", f"measures=[{measures}]", *more)
        assert (status, complaint) == (0, "")
        (time,) = re.findall(r"^time +about .*: (\S+) operations", said, re.MULTILINE)
        return float(time)

    text, answers = operations("perplexity"), operations("accuracy")
    assert operations("perplexity,accuracy") == pytest.approx(text + answers, rel=0.02)
    assert operations("fallback", "fallback.order=[zh,en]") == answers  # none and two sets; none, zh, and both
    assert operations("fallback", "fallback.order=[zh,en]", "fallback.prompts=[zh]") < 0.9 * answers


def test_a_constant_that_no_activation_has_is_in_the_plan(command: Command) -> None:
    status, said, complaint = command(*FEW, "dry_run=true", "operations=[constant]", "strengths=[-5,0]")
    assert (status, complaint) == (0, "")
    warned = [line for line in said.splitlines() if line.startswith("warning")]
    assert len(warned) == 1
    assert "-5 is no activation that SiLU" in warned[0]


def test_it_is_said_where_the_last_step_cannot_be_taken(command: Command) -> None:
    shutil.rmtree("run/checkpoints/step-000002")
    status, said, complaint = command(*FEW, "dry_run=true")
    assert (status, complaint) == (0, "note: there is no checkpoint of step 2, the last of run: step 1 is taken\n")
    assert "step 1 of run" in said
    Path("run/neurons/step-000001.safetensors").unlink()
    assert "there is no checkpoint of step 2, the last of run: step 0 is taken\n" in command(*FEW, "dry_run=true")[2]
    assert "the last of run" not in command(*FEW, "dry_run=true", "step=0")[2]


def test_neurons_and_documents_are_disjoint_and_numbers_are_those_of_the_record(command: Command) -> None:
    status, said, complaint = command(*FEW)
    assert (status, complaint) == (0, "")
    folder = Path("run/interventions/deactivation")
    effects = Effects.load(folder / "effects-step-000002.safetensors")
    assert effects.nats is not None
    assert effects.counted is not None

    # The documents: dealt again here.
    options = load(InterveneOptions, ["run=run"], base_of)[0]
    probe = ProbeConfig.of(options.probe).build(ModelConfig().build_tokenizer())
    assert isinstance(probe, Probe)
    found_on: set[str] = set()
    for documents in probe.documents.values():
        clusters: list[str] = []
        for document in documents:
            if document.cluster not in clusters:
                clusters.append(document.cluster)
            if clusters.index(document.cluster) % probe.shards in (0, 2, 4):
                found_on |= {f"id {document.id}", f"cluster {document.cluster}"}
    for item in effects.items:
        assert not {f"id {item.id}", f"cluster {item.cluster}"} & found_on
    assert len(effects.items) == 6

    # The neurons: those that the run's identifier finds by the counts of these shards, at the first step's thresholds.
    first, last = (
        subset(ActivationCounts.load(f"run/neurons/step-00000{step}.safetensors"), shards=[0, 2, 4]) for step in (0, 2)
    )
    identifier = identifier_of(options.identifier)
    result = identifier.identify(last, identifier.identify(first))
    codes = result.kinds("paper")
    sets = NeuronSets.load(folder / "sets-step-000002.safetensors")
    for language in ("en", "zh"):
        mask = result.above[language] & ((codes == Kind.SPECIFIC) | (codes == Kind.RELATED))
        assert torch.equal(sets[language], mask)
        assert mask.any()

    # The numbers of the table, by loops over the record.
    table = rows(folder / "table.csv", measure="change of nats", control="")
    assert len(table) == 4
    names = effects.arms
    for row in table:
        change, tokens = 0.0, 0
        for number, item in enumerate(effects.items):
            if item.language == row["other"]:
                nats = effects.nats[number]
                change += float(nats[names.index(f"zero {row['set']}")] - nats[names.index("none")])
                tokens += int(effects.counted[number])
        assert float(row["value"]) == pytest.approx(change / tokens, rel=1e-9)
        assert f"{change / tokens:+z.3f}".replace("-", "−") in said
    gaps = {row["control_gap"] for row in rows(folder / "table.csv", control="matched", measure="nats over control")}
    assert all(0 <= float(gap) < 0.2 for gap in gaps)
    assert {row["task"] for row in rows(folder / "table.csv")} == {"text"}
    for path in ("table.csv", "effects-step-000002.safetensors", "sets-step-000002.safetensors"):
        assert str(folder / path) in said
    assert "Next: its page: python -m alignlab.report run=run\nor ask otherwise" in said
    assert "e.g. python -m alignlab.intervene run=run operations=[scale]" in said


def test_what_is_there_is_shown_without_a_model(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    status, first, _ = command(*FEW)
    assert status == 0
    before = contents("run/interventions/deactivation")

    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("a model was loaded")

    for kind in (transformers.AutoModelForCausalLM, transformers.AutoConfig, transformers.AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", refuse)
    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    status, again, complaint = command(*FEW)
    assert (status, complaint) == (0, "")
    assert "run/interventions/deactivation holds this grid, all of it" in again
    assert again.partition("Change of nats")[2] == first.partition("Change of nats")[2]
    status, fewer, _ = command(*FEW, "show_languages=[zh]")
    assert re.search(r"^changed +zh  matched  over matched$", fewer, re.MULTILINE)
    assert contents("run/interventions/deactivation") == before
    Path("run").rename("moved")
    for written in ("moved", "./moved/", str(Path("moved").resolve())):
        status, moved, complaint = command(f"run={written}", *FEW[1:])
        assert (status, complaint) == (0, "")
        assert moved.partition("Change of nats")[2].partition("Written")[0] in first
    shutil.copytree("moved/interventions/deactivation", "elsewhere")
    status, _, complaint = command("run=moved", *FEW[1:], "folder=elsewhere")
    assert status == 2
    assert "different are run ('run' there, 'moved' here)" in complaint


@pytest.mark.parametrize(
    "written", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(4, marks=pytest.mark.slow)]
)
def test_stopped_and_continued_it_ends_with_the_same(
    command: Command, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    steps = [*FEW, "step=[0,2]"]
    assert command(*steps, "name=whole")[0] == 0
    done: list[int] = []
    write = Parts.write

    def stop(self: Parts, number: int, part: Any) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(number)
        write(self, number, part)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        status, _, complaint = command(*steps)
    assert (status, complaint) == (130, "\nStopped by SIGINT. The same command goes on from what is done.\n")
    folder = Path("run/interventions/deactivation")
    assert len(list(folder.glob("parts/*.jsonl"))) == written

    def count(self: Parts, number: int, part: Any) -> None:
        done.append(number)
        write(self, number, part)

    monkeypatch.setattr(Parts, "write", count)
    status, said, complaint = command(*steps)
    assert (status, complaint) == (0, "")
    assert (f", in which {written} forwards are kept" in said) == (written > 0)
    assert sorted(done) == sorted([*range(len(done) // 2)] * 2)  # of either step each once, none twice
    assert contents(folder) == contents("run/interventions/whole")
    assert not (folder / "parts").exists()


@pytest.mark.slow
def test_damaged_parts_and_torn_results_are_made_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(*FEW, "name=whole")[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr(Effects, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command(*FEW)[0] == 130
    folder = Path("run/interventions/deactivation")
    first, second, *_ = sorted(folder.glob("parts/*.jsonl"))
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(second.read_bytes().replace(b"[", b"[1", 1))
    (folder / "effects-step-000002.safetensors").write_bytes(b"torn")
    (folder / "effects-step-000002.safetensors.0a1b2c-999999-0.partial").write_text("half")
    assert command(*FEW)[0] == 0
    assert contents(folder) == contents("run/interventions/whole")


def test_another_question_in_the_same_folder_is_refused(command: Command) -> None:
    assert command(*FEW)[0] == 0
    status, _, complaint = command(*FEW[:-2], "seeds=3", "max_tokens_per_batch=500")
    assert status == 2
    assert "it holds the effects of another config; different are seeds" in complaint
    path = Path("run/interventions/deactivation/table.csv")
    path.write_text(path.read_text().replace("0", "1", 1))
    status, _, complaint = command(*FEW)
    assert status == 2
    assert "table.csv is not as it was written" in complaint


def test_goes_on_only_with_the_weights_it_began_with(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Effects, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command(*FEW)[0] == 130
    checkpoint = Path("run/checkpoints/step-000002")
    shutil.rmtree(checkpoint)
    shutil.copytree("run/checkpoints/step-000001", checkpoint)
    status, _, complaint = command(*FEW)
    assert status == 2
    assert "model.source: the weights of the model changed since run/interventions/deactivation began" in complaint


def test_the_same_documents_are_marked_in_every_row(command: Command) -> None:
    status, said, _ = command(*FEW, "same_documents=true", "controls=[]", "max_documents=2")
    assert status == 0
    table = rows("run/interventions/deactivation/table.csv")
    assert {row["task"] for row in table} == {"text on which the neurons were found"}
    assert "on text on which the neurons were found" in said
    assert "(same_documents=true)" in said
    assert "there is no verdict" in said


def test_operations_strengths_layers_and_expressions(command: Command) -> None:
    status, said, complaint = command(
        *FEW[:2], "max_documents=2", "controls=[]", "operations=[constant,scale,add,replace,diff_mean]",
        "strengths=[0.5,2]", "layers=0, 3", "name=many",
    )  # fmt: skip
    assert (status, complaint) == (0, "")
    effects = Effects.load("run/interventions/many/effects-step-000002.safetensors")
    assert len(effects.arms) == 1 + 2 * (4 * 2 + 1)
    assert len({label.digest for label in effects.labels}) == len(effects.arms)
    sets = NeuronSets.load("run/interventions/many/sets-step-000002.safetensors")
    assert not sets["zh"][[1, 2]].any()
    assert {row["label"] for row in rows("run/interventions/many/table.csv", set="zh")} == {"layers 0, 3"}
    assert not Path("run/interventions/many/means-step-000002").exists()
    assert "more: run/interventions/many/table.csv" in said
    status, _, complaint = command(*FEW, "sets.both=zh - en", 'each=""', "name=named")
    assert (status, complaint) == (0, "")
    both = NeuronSets.load("run/interventions/named/sets-step-000002.safetensors")
    assert both.names == ("both",)


def test_a_file_of_sets_needs_no_run(command: Command) -> None:
    mask = torch.zeros(4, 640, dtype=torch.bool)
    mask[1, :9] = True
    NeuronSets({"en": mask, "zh": mask.roll(9, 1)}).save("sets.safetensors")
    status, said, complaint = command(
        "model.source=builtin:demo", "neurons=sets.safetensors", "controls=[random]", "seeds=2",
        "text.source.name=builtin:wordproblems", "text.source.languages=[en,zh]", "text.source.count=3", "folder=out",
    )  # fmt: skip
    assert (status, complaint) == (0, "")
    assert "unknown (a file of sets does not say its documents)" in said
    effects = Effects.load("out/effects.safetensors")
    assert len(effects.items) == 6
    assert effects.step is None
    assert list(rows("out/table.csv")[0]) == list(COLUMNS)
    assert json.loads(Path("out/about.json").read_text())["zh"]["language"] == "zh"


CONFIGS = [name for name in shipped_configs() if name.startswith("interventions/")]


def test_thresholds_may_be_those_of_the_model_itself(command: Command) -> None:
    found = {}
    for anchored in (True, False):
        asked, _ = load(InterveneOptions, ["run=run", f"anchored={anchored}".lower()], base_of)
        [grid] = GridPlan(asked).grids
        found[anchored] = grid.classification
        own = identifier_of(asked.identifier).identify(grid.found_by)
        first = subset(ActivationCounts.load("run/neurons/step-000000.safetensors"), shards=[0, 2, 4])
        of_first = identifier_of(asked.identifier).identify(first)
    assert found[True].thresholds == of_first.thresholds
    assert found[False].thresholds == own.thresholds != of_first.thresholds
    status, _, complaint = command("model.source=builtin:demo", "neurons=run/sets.safetensors", "anchored=false")
    assert (status, "anchored: false, but the sets are those of a file" in complaint) == (2, True)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_named_analysis_is_planned(command: Command, name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    # The problems of this run are too few for LSS, and none is in an unseen language.
    more = ["evaluation.source.languages=[en,sw]"] if "spontaneous" in name or "shift" in name else []
    status, said, complaint = command("run=run", f"config={name}", "dry_run=true", *more)
    assert (status, complaint) == (0, "")
    assert "Plan of the interventions" in said
    assert f"run/interventions/{name.removeprefix('interventions/')}" in said
    assert sorted(tmp_path.rglob("*")) == before
    text = shipped_configs()[name].read_text()
    assert f"#     python -m alignlab.intervene run=runs/demo config={name}\n" in text


def test_named_analyses_are_there() -> None:
    assert {name.removeprefix("interventions/") for name in CONFIGS} == {
        "amplification_sweep", "deactivation_accuracy", "deactivation_ppl", "language_forcing", "lape_deactivation",
        "layer_band_deactivation", "steering_shift", "fallback", "spontaneous_accuracy",
    }  # fmt: skip


def test_the_best_strength_is_told_on_other_documents(command: Command) -> None:
    status, said, complaint = command(
        "run=run", "config=interventions/amplification_sweep", "languages=[en,zh]", "controls=[]", "strengths=[0,2]"
    )
    assert (status, complaint) == (0, "")
    table = rows("run/interventions/amplification_sweep/table.csv", analysis="strengths")
    best = [row for row in table if row["measure"] == "best strength for nats"]
    assert [(row["set"], row["strength"] in ("0.0", "2.0", "")) for row in best] == [("en", True), ("zh", True)]
    assert any(row["operation"] == "scale at its best strength" for row in table)
    last = said.partition("(scale at its best strength)")[2].splitlines()
    assert [re.match(r"(en|zh)( \((0|2)\))? ", line) is not None for line in last[2:4]] == [True, True]


def test_parts_of_the_layers_are_sets_of_their_own(command: Command) -> None:
    status, _, complaint = command(*FEW, "config=interventions/layer_band_deactivation", "controls=[]")
    assert (status, complaint) == (0, "")
    folder = Path("run/interventions/layer_band_deactivation")
    sets = NeuronSets.load(folder / "sets-step-000002.safetensors")
    for language in ("en", "zh"):
        lower, upper = (sets[f"{language}, layers {band}"] for band in ("0-1", "2-3"))
        assert torch.equal(lower | upper, sets[language])
        assert not lower[2:].any()
        assert not upper[:2].any()
    found = rows(folder / "table.csv", measure="change of nats", label="layers 0-1", other="zh")
    assert {row["language"] for row in found} <= {"en", "zh"}
    assert found


def test_answers_are_those_of_the_model_with_the_neurons_off(command: Command) -> None:
    status, said, complaint = command(
        "run=run", "config=interventions/deactivation_accuracy", "languages=[en,zh]", "controls=[]"
    )
    assert (status, complaint) == (0, "")
    folder = Path("run/interventions/deactivation_accuracy")
    effects = Effects.load(folder / "answers-step-000002.safetensors")
    assert effects.right is not None
    assert effects.tokens is not None
    sets = NeuronSets.load(folder / "sets-step-000002.safetensors")
    demo = ModelConfig()
    model = peft.PeftModel.from_pretrained(demo.build(), "run/checkpoints/step-000002").eval()
    stored = RunFolder(Path("run")).stored_config()["evaluation"]
    task = TaskConfig.model_validate({name: stored[name] for name in TaskConfig.model_fields}).build(
        demo.build_tokenizer()
    )
    there = {(prompt.language, prompt.id): prompt for prompt in task.prompts}
    for row, item in enumerate(effects.items):
        asked = torch.from_numpy(there[item.language, item.id].tokens).long().unsqueeze(0)
        for name in ("none", "zero en", "zero zh"):
            off = [] if name == "none" else [Intervention(sets[name[5:]])]
            with intervene(model, *off):
                given = model.generate(
                    input_ids=asked, max_new_tokens=8, do_sample=False, eos_token_id=demo.build_tokenizer().eos_token_id
                )
            assert given.shape[1] - asked.shape[1] == int(effects.tokens[row, effects.arms.index(name)])
    assert {row["measure"] for row in rows(folder / "table.csv")} >= {"change of right", "change of right in language"}
    forced = rows(folder / "table.csv", measure="answers in the set's language")
    assert len(forced) == 4
    assert effects.output_language is not None
    for row in forced:
        arm, target = effects.arms.index(f"zero {row['set']}"), effects.languages.index(row["set"])
        turned = [
            int(effects.output_language[place, arm]) == target
            for place, item in enumerate(effects.items)
            if item.language == row["other"]
        ]
        assert float(row["value"]) == pytest.approx(sum(turned) / len(turned))
    assert "answers under all arms, at most" in said

    # The texts, as pandas reads them: those of a generation of its own.
    table = pandas.read_json(folder / "answers-step-000002.jsonl", lines=True, dtype=False)
    assert list(table["arm"].unique()) == list(effects.arms)
    assert len(table) == len(effects.items) * len(effects.arms)
    tokenizer = demo.build_tokenizer()
    for place, line in enumerate(table.itertuples()):
        column, row = divmod(place, len(effects.items))
        item, label = effects.items[row], effects.labels[column]
        assert (line.language, line.id, line.expected) == (item.language, item.id, item.expected)
        assert (line.arm, line.set, line.operation) == (label.name, label.set, label.operation)
        assert line.right == bool(effects.right[row, column])
        told = int(effects.output_language[row, column])
        assert line.output_language == effects.languages[told] if told >= 0 else pandas.isna(line.output_language)
        with intervene(model, *([Intervention(sets[label.set])] if label.set else [])):
            given = model.generate(
                input_ids=torch.from_numpy(there[item.language, item.id].tokens).long().unsqueeze(0),
                max_new_tokens=8, do_sample=False, eos_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
        prompt = len(there[item.language, item.id].tokens)
        assert line.text == tokenizer.decode(given[0, prompt:], skip_special_tokens=True)


def test_answers_of_a_stopped_grid_are_the_same_and_damaged_ones_are_written_again(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["run=run", "measures=[accuracy]", "languages=[en,zh]", "controls=[]"]
    assert command(*ask, "name=whole")[0] == 0
    folder = Path("run/interventions/deactivation")
    texts = folder / "answers-step-000002.jsonl"
    for at in ((Effects, "save"), (BegunFolder, "end")):  # with the texts but no record, and with both
        with monkeypatch.context() as patched:
            patched.setattr(*at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            assert command(*ask)[0] == 130
        assert texts.read_bytes() == Path("run/interventions/whole", texts.name).read_bytes()
    texts.write_bytes(texts.read_bytes().replace(b'"right": ', b'"right":  ', 1))
    status, said, complaint = command(*ask)
    assert (status, complaint) == (0, "")
    assert (
        f"note: {texts}: it is not as it was written; expected the texts of the answers. It is measured again." in said
    )
    assert contents(folder) == contents("run/interventions/whole")
    texts.write_bytes(texts.read_bytes()[:-1])
    status, _, complaint = command(*ask)
    assert status == 2
    assert "answers-step-000002.jsonl is not as it was written" in complaint


def test_a_grid_from_before_texts_were_kept_is_shown(command: Command) -> None:
    ask = ["run=run", "measures=[accuracy]", "languages=[en,zh]", "controls=[]"]
    assert command(*ask)[0] == 0
    folder = Path("run/interventions/deactivation")
    (folder / "answers-step-000002.jsonl").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["answers-step-000002.jsonl"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status, said, complaint = command(*ask)
    assert (status, complaint) == (0, "")
    assert "holds this grid, all of it" in said
    assert "answers-step-000002.jsonl" not in said


def test_other_text_and_other_sets_with_a_run(command: Command) -> None:
    Path("texts").mkdir()
    for code in ("en", "zh"):
        Path(f"texts/{code}.txt").write_text("".join(f"A line {number} of {code}.\n" for number in range(5)))
    text = ["text.source.name=files", "text.source.path=texts", "text.scope=all"]
    status, said, complaint = command("run=run", *text, "controls=[]", "name=text")
    assert (status, complaint) == (0, "")
    assert "48 documents of all shards" in said  # of which four languages have 12 each
    effects = Effects.load("run/interventions/text/effects-step-000002.safetensors")
    assert len(effects.items) == 10
    mask = torch.zeros(4, 640, dtype=torch.bool)
    mask[2, :5] = True
    NeuronSets({"en": mask, "zh": mask.roll(5, 1)}).save("sets.safetensors")
    status, _, complaint = command(*FEW, "neurons=sets.safetensors", "name=file")
    assert (status, complaint) == (0, "")
    found = NeuronSets.load("run/interventions/file/sets-step-000002.safetensors")
    assert torch.equal(found["en"], mask)
    table = rows("run/interventions/file/table.csv", control="matched", measure="nats over control")
    assert all(row["control_gap"] for row in table)


def test_responses_of_the_model_s_own_are_those_that_were_counted(command: Command) -> None:
    small_run.make(Path("own"), "probe.responses=generated_once", "probe.max_new_tokens=6", "probe.source.task=solve")
    status, _, complaint = command("run=own", "controls=[]", "languages=[en,zh]", "max_documents=3")
    assert (status, complaint) == (0, "")
    effects = Effects.load("own/interventions/deactivation/effects-step-000002.safetensors")
    assert effects.counted is not None
    lines = [json.loads(line) for line in Path("own/neurons/responses.jsonl").read_text().splitlines()]
    # A special token, such as the EOS, is not counted.
    lengths = {(line["language"], line["id"]): len(line["tokens"]) - line["ended"] for line in lines}
    assert [lengths[item.language, item.id] for item in effects.items] == effects.counted.tolist()
