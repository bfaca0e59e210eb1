"""The command: a run's snapshots and published counts, asked again without a model."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.draws import Draws
from alignlab.analysis.options import MEANINGS
from alignlab.analyze import main
from alignlab.neurons import ActivationCounts, NeuronSets, lape, ternary
from alignlab.neurons.formats import save_ternary_counts
from alignlab.neurons.identifiers import IDENTIFIERS
from alignlab.train import main as train

Command = Callable[..., tuple[int, str, str]]
SMALL = [
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.source.count=6", "probe.max_texts=6",
    "probe.source.languages=[en,zh,de,sw]", "data.train.count=24", "data.examples_per_step=6", "wandb.mode=disabled",
    "probe.shards=3", "evaluation=null",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with three snapshots."""
    folder = tmp_path_factory.mktemp("analyze") / "run"
    assert train([*SMALL, f"run.folder={folder}"]) == 0
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, where nothing may be loaded but counts."""
    monkeypatch.chdir(tmp_path)

    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("a model was loaded")

    for kind in (transformers.AutoModelForCausalLM, transformers.AutoConfig, transformers.AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", refuse)
    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(argv)
        return (status, *capsys.readouterr())

    return call


def rows(path: Path, **columns: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def test_with_its_own_settings_a_run_gives_the_trackers_numbers(command: Command, run: Path, tmp_path: Path) -> None:
    status, printed, _ = command(f"run={run}", "folder=out")
    assert status == 0
    again = rows(tmp_path / "out/table.csv", since_before="")
    tracked = rows(run / "neurons.csv")
    shared = ("analysis", "thresholds", "step", "since", "group", "language", "layer", "degree", "convention")
    key = [*shared, "denominator", "kind", "measure"]
    counts = {tuple(row[name] for name in key): float(row["value"]) for row in tracked}
    assert len(counts) == len(tracked) > 400
    analyses = {row["analysis"] for row in tracked}
    assert analyses == {"kinds", "losses", "thresholds"}
    assert {
        tuple(row[name] for name in key): float(row["value"]) for row in again if row["analysis"] in analyses
    } == counts
    of_languages = rows(tmp_path / "out/table.csv", analysis="losses", since="", since_before="", group="language")
    assert len(of_languages) == 12
    for text in ("3, ", "ternary (top_rate 0.1, bar 0.95", "step 4: 4 x 640", "out/table.csv", "Next: ask otherwise"):
        assert text in printed, text


def test_what_is_asked_by_name_is_answered_first(command: Command, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "asked"
    status, out, _ = command(f"run={run}", "analyses=[sharing_histogram]", f"folder={folder}")
    assert status == 0
    first, second = out.index("Sharing histogram: neurons by the number of languages"), out.index("Neurons at ")
    said = [line.split() for line in out[first:second].splitlines()]
    last = rows(folder / "table.csv", record="step 4", since="", since_before="")
    assert len(last) == 10  # degrees 0 to 4, in the selection and over all neurons
    for row in last:
        (line,) = [cells for cells in said if cells[:3] == [row["convention"], "degree", row["degree"]]]
        assert float(line[4].replace(",", "")) == float(row["value"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.index("What was asked") < page.index("Sharing histogram: neurons") < page.index("What changed</h2>")
    status, out, _ = command(f"run={run}", f"folder={tmp_path / 'usual'}")
    assert "What was asked" not in (tmp_path / "usual" / "report.html").read_text(encoding="utf-8")


def test_the_overlap_of_languages_is_answered_in_a_sentence(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignlab.results._MOST_TELLING", 2)
    status, out, _ = command(f"run={run}", "analyses=[language_overlap]", "folder=out")
    assert status == 0
    said = re.search(r"step 4: given the margins, (\d) of (\d) pairs share more than others and (\d) less", out)
    assert said
    table = rows(tmp_path / "out/table.csv", record="step 4", since="", since_before="", measure="z beyond the margins")
    tested = [row for row in table if row["p_adjusted"]]
    found = [float(row["value"]) > 0 for row in tested if float(row["p_adjusted"]) < 0.05]
    assert [int(number) for number in said.groups()] == [sum(found), len(tested), len(found) - sum(found)]
    surest = min(tested, key=lambda row: (float(row["p_adjusted"]), -abs(float(row["value"]))))
    lines = out[said.end() :].splitlines()
    assert lines[1].startswith("pair ")
    assert lines[2].startswith(f"{surest['language']} and {surest['other']} ")
    assert lines[4] == f"and {len(table) - 2} more: out/table.csv"
    assert said[0] in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_another_identifier_and_the_same_folder_for_the_same_question(command: Command, run: Path) -> None:
    for _ in range(2):
        assert command(f"run={run}", "identifier.name=lape", "classify_languages=[sw,en,de]", "shards=[0,2]")[0] == 0
    assert command(f"run={run}", "identifier.name=lape", "identifier.bar=0.9")[0] == 0
    folders = sorted((run / "analysis").iterdir())
    assert len(folders) == 2
    (folder,) = [path for path in folders if "shards: [0, 2]" in (path / "config.yaml").read_text()]
    first, last = (
        ActivationCounts.load(run / f"neurons/step-{step:06d}.safetensors") for step in (0, 4)
    )  # fmt: skip
    p = []
    for counts in (first, last):
        some = [counts.languages.index(name) for name in ("sw", "en", "de")]
        firings = counts.firings.long()[some][:, [0, 2]].sum(1).double()
        p.append(firings / counts.tokens[some][:, [0, 2]].sum(1).double()[:, None, None])
    names = ("sw", "en", "de")
    anchor = lape(p[0], 0.1, languages=names)
    result = lape(p[1], 0.1, languages=names, threshold=anchor.threshold, cut=anchor.cut)
    sets = NeuronSets.load(folder / "sets.safetensors")
    assert sets.names == names
    assert all(torch.equal(sets[name], result.sets[name]) for name in names)
    (row,) = rows(
        folder / "table.csv",
        analysis="kinds",
        step="4",
        since="",
        since_before="",
        thresholds="anchored",
        language="sw",
        kind="related",
    )
    owned = result.sets["sw"] & (result.degree == 2)
    assert float(row["value"]) == int(owned.sum())


def test_languages_that_are_shown_keep_the_numbers_of_all(command: Command, run: Path, tmp_path: Path) -> None:
    """The overlap of two languages depends on which others there are: to show two is not to classify on two."""
    for folder, argument in (
        ("all", []),
        ("shown", ["show_languages=[de,en]"]),
        ("two", ["classify_languages=[de,en]"]),
    ):
        status, printed, _ = command(f"run={run}", f"folder={folder}", *argument)
        assert status == 0
    whole, shown, two = (rows(tmp_path / folder / "table.csv") for folder in ("all", "shown", "two"))
    hidden = {"zh", "sw"}
    assert shown == [row for row in whole if not {row["language"], row["other"]} & hidden]
    assert {row["language"] for row in shown} == {"", "de", "en"}
    assert {row["classified_on"] for row in shown} == {""}
    assert "Of the 4 languages classified, de en are shown." in (tmp_path / "shown/report.html").read_text(
        encoding="utf-8"
    )
    assert {row["classified_on"] for row in two} == {"de en"}
    assert "note: classified on de en alone" in printed
    counted = [row["value"] for row in shown if row["language"] == "de" and row["kind"] == "related"]
    assert counted != [row["value"] for row in two if row["language"] == "de" and row["kind"] == "related"]


def test_with_intervals_the_terminal_says_what_changed(command: Command, run: Path, tmp_path: Path) -> None:
    status, printed, _ = command(f"run={run}", "folder=out", "intervals=ends", "resamples=20")
    assert status == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    (said,) = re.findall(r'<p class="lead">(.*?)</p>', page, re.DOTALL)
    assert " ".join(said.split()) in " ".join(printed.split())
    assert re.search(r"specific \([+−]?\d+\)", said)
    # Of every line that was resampled, what it is in each resample; of the first and the last record.
    draws, table = Draws.load(tmp_path / "out/draws.safetensors"), rows(tmp_path / "out/table.csv")
    of_line = dict(zip(draws.lines.tolist(), draws.values.tolist(), strict=True))
    sure = {line: row for line, row in enumerate(table) if row["sd"] and not row["since_before"]}
    assert len({row["analysis"] for row in sure.values()}) > 5
    assert sure.keys() <= of_line.keys()
    for line, row in sure.items():
        assert np.std(of_line[line], ddof=1) == pytest.approx(float(row["sd"]), rel=1e-4, abs=1e-4)
        expected = float(row["value"]) + float(row["noise_bias"])
        assert np.mean(of_line[line]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_another_reference_is_another_group(command: Command, run: Path, tmp_path: Path) -> None:
    assert command(f"run={run}", "folder=out", "reference=sw")[0] == 0
    table = rows(tmp_path / "out/table.csv", analysis="losses", since="", since_before="", step="4")
    loss = {row["language"] or row["group"]: float(row["value"]) for row in table}
    assert loss["reference"] == loss["sw"]
    assert loss["unseen"] == loss["en"]  # zh and de are in training


def test_published_counts_need_no_model_and_no_run(command: Command, run: Path, tmp_path: Path) -> None:
    counts = ActivationCounts.load(run / "neurons/step-000004.safetensors")
    save_ternary_counts(counts, tmp_path / "published", "train.mistral-7b")
    status, printed, _ = command(
        "counts=published", "counts_format=ternary", "classify_languages=[en,zh,de,sw]", "trained=[zh,de]",
        "identifier.top_rate=0.05", "folder=out",
    )  # fmt: skip
    assert status == 0
    result = ternary(counts, top_rate=0.05)
    table = rows(tmp_path / "out/table.csv", analysis="kinds", thresholds="anchored", group="all", layer="")
    found = {row["kind"]: float(row["value"]) for row in table if row["kind"]}
    chosen = result.selected
    assert found == {
        "specific": int((chosen & (result.degree == 1)).sum()),
        "related": int((chosen & (result.degree > 1) & (result.degree < 4)).sum()),
        "general": int((result.degree == 4).sum()),
        "unassigned": int((chosen & (result.degree == 0)).sum()),
        "selected": int(chosen.sum()),
    }
    assert f"Neurons at published: 4 x 640 = 2,560, 128 selected, tau {result.threshold:.4f}" in printed
    sets = NeuronSets.load(tmp_path / "out/sets.safetensors")
    assert all(torch.equal(sets[name], result.sets[name]) for name in counts.languages)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8").partition('<script type="application/json"')[0]
    assert "these counts are not those of a run" in page
    assert "classify_languages:" in page  # what was asked stands where a run has its config
    assert "Published" not in page
    hints = re.findall(r"To have it: ([^<]*)", page)
    assert hints
    assert all(hint.startswith("python -m alignlab.") for hint in hints), hints
    # The question, asked again from its file, has the same answer.
    before = (tmp_path / "out/table.csv").read_bytes()
    assert command("config=out/config.yaml", "folder=again")[0] == 0
    assert (tmp_path / "again/table.csv").read_bytes() == before


def test_the_noise_of_published_differences_is_told_in_a_line(command: Command, tmp_path: Path) -> None:
    for name, full, prefix in (("en", [5, 9], [1, 2]), ("de", [4, 3], [4, 4])):
        for start, over in (("", full), ("prefix.", prefix)):
            content = {"total_tokens": 10 if start == "" else 2, "over_zero": torch.tensor([over])}
            torch.save(content, tmp_path / f"{start}activation.{name}.x.pt")
    status, printed, errors = command(
        "counts=.", "counts_format=ternary", "classify_languages=[en,de]", "identifier.top_rate=0.5"
    )
    assert (status, errors) == (0, "")
    assert "note: .: of 4 counts of the response, full text minus prompt, 1 are negative and set to 0" in printed


def test_the_help_says_what_each_analysis_is(command: Command) -> None:
    status, printed, _ = command("--help")
    assert status == 0
    said = printed.partition("Analyses, and what they are in Zhang et al. 2025:")[2]
    named = re.findall(r"^  (\w+) ", said, re.MULTILINE)
    assert named == list(ANALYSES)
    papers = (
        "layer_distribution layer_delta sharing_histogram checkpoint_layer_delta english_uniqueness overlap_ratio "
        "trained_vs_unseen layer_parts single_neuron_profile"
    )
    text = " ".join(said.split())
    for name in papers.split():
        assert f"(there: {MEANINGS[name].figure})" in text, name
        assert MEANINGS[name].figure


def test_the_question_that_is_written_holds_no_secret(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-s3cret")
    template = "probe.prompts.template=${oc.env:MY_TOKEN} {prompt}"
    assert command(f"run={run}", template, "folder=out")[0] == 0
    for path in (tmp_path / "out").iterdir():
        assert b"s3cret-s3cret" not in path.read_bytes(), path
    assert "<MY_TOKEN hidden>" in (tmp_path / "out/config.yaml").read_text()


def test_a_dry_run_writes_nothing(command: Command, run: Path, tmp_path: Path) -> None:
    status, printed, _ = command(f"run={run}", "dry_run=true", "folder=out")
    assert status == 0
    assert "Plan of the analysis" in printed
    assert list(tmp_path.iterdir()) == []


def test_every_torn_snapshot_is_named_before_any_is_asked(command: Command, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for name in ("step-000002", "step-000004"):
        path = tmp_path / f"run/neurons/{name}.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    status, printed, errors = command("run=run", "folder=out")
    assert status == 2
    assert "Plan" not in printed
    assert "step-000002.safetensors: cannot be read as safetensors" in errors
    assert "step-000004.safetensors: cannot be read as safetensors" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["models=[]"], "nothing is set to analyse; expected a run, models or counts. Write run=runs/demo"),
        (["run=a", "counts=b"], "both run and counts are set; expected one of them."),
        (["models=[a]", "counts=b"], "both models and counts are set; expected one of them."),
        (["recount=true", "counts=b"], "recount: true, but there is no run; expected run=FOLDER."),
        (["run=tracked", "recount=true"], "run: there is no tracked/config.yaml, which says the model and the probe;"),
        (
            ["run={run}", "models=[3]"],
            "models: the run has no checkpoint of step 3; expected one of: 0 (the base), 2, 4.",
        ),
        (["models=[./nothing,./nowhere]"], "model.source: there is no folder ./nothing; expected a model folder."),
        (["run=nothing"], "run (nothing): there is no such folder; expected the folder of a run."),
        (
            ["run={run}", "shards=[1]", "intervals=ends"],
            "intervals: ends, but the counts have one shard; expected two shards or more to resample.",
        ),
        (["run={run}", "log=true"], "log: true, but wandb.mode is disabled; expected a mode that logs."),
        (["run=."], "run (.): the folder holds no snapshot; expected snapshots as neurons/step-000000.safetensors."),
        (["counts=nothing"], "counts (nothing): there is no such file or folder; expected counts."),
        (["counts=."], "counts (.): a folder; expected a file that ActivationCounts.save wrote. Give one file"),
        (["counts=.", "counts_format=lape"], "languages: not given; expected the languages of the counts."),
        (["counts=.", "counts_format=lapse"], "Did you mean 'lape'?"),
        (["run=.", "analyses=[kind]"], "Did you mean 'kinds'?"),
        (["run=.", "neurons=[3-4]"], "layers and neurons from 0, such as ['3.127', '0.5']"),
        (["run={run}", "languages=[en]"], "Did you mean 'show_languages' or 'classify_languages'?"),
        (["run={run}", "classify_languages=[en,xx]"], "classify_languages: 'xx' is not among the languages counted"),
        (["run={run}", "show_languages=[en,xx]"], "show_languages: 'xx' is not among the languages classified"),
        (["run={run}", "shards=[3]"], "shards: there is no shard 3; expected numbers from 0 to 2."),
        (["run={run}", "identifier.top_rat=0.1"], "Did you mean 'identifier.top_rate'?"),
        (
            ["run={run}", "folder=mine"],
            "folder (mine): it holds something else; expected a new folder, or an analysis.",
        ),
    ],
)
def test_refusals(command: Command, run: Path, tmp_path: Path, argv: list[str], message: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    (tmp_path / "tracked").mkdir()  # by a callback in somebody's own script
    shutil.copytree(run / "neurons", tmp_path / "tracked/neurons")
    before = sorted(path for folder in (tmp_path, run) for path in folder.rglob("*"))
    status, _, errors = command(*(argument.replace("{run}", str(run)) for argument in argv))
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
    assert sorted(path for folder in (tmp_path, run) for path in folder.rglob("*")) == before


def test_help_has_every_identifier_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", "identifier"]) == 0
    shown = capsys.readouterr().out
    for name, kind in IDENTIFIERS.items():
        assert f"with identifier.name={name}: " in shown
        for option in kind.model_fields:
            assert f"identifier.{option}=" in shown


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("equal_size_lape", ["size=0", "bar=1", "exclusive=perhaps"]),
        ("activation_frequency", ["share=0"]),
        ("average_precision", ["k=1.5", "ends=middle"]),
        ("plnd", ["ffn=0", "attention=many", "sites=[mlp.out]"]),
        ("attribution", ["top_rate=0", "least_z=-1", "probability=never"]),
        ("relevance", ["top_rate=2", "elsewhere=never"]),
    ],
)
def test_wrong_options_of_identifiers_are_all_told(
    name: str, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run=none", f"identifier.name={name}", *(f"identifier.{one}" for one in wrong)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == len(wrong)
    for one in wrong:
        assert sum(line.startswith(f"command line: identifier.{one.split('=')[0]} is ") for line in lines) == 1
