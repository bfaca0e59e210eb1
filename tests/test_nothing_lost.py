"""What a user has is neither lost nor falsified, whatever is typed, edited, deleted or damaged between two commands."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import alignlab.analyze
import alignlab.report
import alignlab.train
from alignlab.callbacks.neuron_tracker import NeuronTracker
from alignlab.environment import differing_sources
from alignlab.errors import InputError
from alignlab.methods.base import AlignmentModule
from alignlab.methods.supervised import SupervisedModule
from alignlab.neurons import table
from alignlab.runs import RunFolder

SMALL = (
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled", "probe.source.languages=[en,de,zh]",
    "evaluation=null",
)  # fmt: skip
MODELS = (("/home/one/model", "5bc1e80"), ("/home/two/model", "5bc1e80"), ("/home/one/model", "77f0a2c"))
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verb:
    """A verb with its arguments, in a folder of its own: exit status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *argv: str) -> tuple[int, str, str]:
        own_data = any(argument.startswith("data.train.name=") for argument in argv)
        small = tuple(argument for argument in SMALL if not (own_data and argument.startswith("data.train.")))
        status = getattr(alignlab, name).main(small + argv if name == "train" else argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder, with what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def results(folder: Path) -> dict[str, Any]:
    """What a run found: its tables and its last weights."""
    state = torch.load(folder / "checkpoints/step-000004/trainer.ckpt", weights_only=True)
    weights = {name: value.tolist() for name, value in state["state_dict"].items()}
    return {"weights": weights} | {name: (folder / name).read_bytes() for name in ("neurons.csv", "metrics.csv")}


def break_off(folder: Path, step: int = 2) -> None:
    """Make of a finished run one that was killed behind the checkpoint of a step."""
    run = RunFolder(folder)
    run.finished.unlink()
    for later in run.checkpoint_steps():
        if later > step:
            shutil.rmtree(run.checkpoint(later))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, never changed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    command = [sys.executable, "-m", "alignlab.train", *SMALL, f"run.folder={folder}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)
    return folder


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it that was broken off behind step 2."""
    shutil.copytree(finished_run, tmp_path / "run")
    break_off(tmp_path / "run")
    return tmp_path / "run"


# 1. Only what the same kind of job wrote is removed or replaced


def test_an_analysis_does_not_replace_what_is_no_analysis(verb: Verb, run: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    for name in ("config.yaml", "thesis.tex", "checkpoints.txt"):
        (thesis / name).write_text("years", encoding="utf-8")
    before = files(tmp_path)
    for target in ("thesis", "run", "run/checkpoints/step-000002", "run/neurons"):
        status, _, complaint = verb("analyze", "run=run", f"folder={target}")
        assert status == 2
        assert f"folder ({target}): it holds" in complaint
        assert "expected a new folder, or an analysis" in complaint
    assert files(tmp_path) == before


def test_an_analysis_replaces_its_own_and_keeps_what_was_added_to_it(verb: Verb, run: Path, tmp_path: Path) -> None:
    assert verb("analyze", "run=run", "folder=out")[0] == 0
    assert verb("analyze", "run=run", "folder=out", "identifier.bar=0.9")[0] == 0
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    before = files(tmp_path / "out")
    status, _, complaint = verb("analyze", "run=run", "folder=out")
    assert (status, files(tmp_path / "out")) == (2, before)
    assert "it also holds notes.txt, which alignlab did not write" in complaint


@pytest.mark.parametrize("target", ["thesis.html", "run/config.yaml", "run/checkpoints", "run/neurons.csv"])
def test_a_report_replaces_pages_only(verb: Verb, run: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "thesis.html").write_text("<html>years</html>", encoding="utf-8")
    before = files(tmp_path)
    status, _, complaint = verb("report", "run=run", f"file={target}", "intervals=none")
    assert status == 2
    assert f"file ({target}): it is no " in complaint
    assert files(tmp_path) == before


def test_a_report_replaces_its_own_page(verb: Verb, run: Path) -> None:
    assert verb("report", "run=run", "intervals=none")[0] == 0
    assert verb("report", "run=run", "intervals=none")[0] == 0
    assert (run / "report.html").stat().st_size > 1_000_000


def test_overwriting_keeps_what_other_jobs_and_people_left(verb: Verb, run: Path) -> None:
    others = {"notes.txt": b"mine", "analysis/x/table.csv": b"a", "checkpoints/step-best/model.pt": b"b"}
    for name, text in others.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(text)
    assert verb("train", "run.folder=run", "seed=1", "overwrite=true")[0] == 0
    assert files(run).items() >= others.items()
    assert (run / "finished.json").is_file()


# 2. What a run is made from is compared when it goes on


@pytest.fixture
def own_data(tmp_path: Path) -> tuple[str, ...]:
    """A data set of one's own, which can be edited."""
    lines = [{"question": f"Frage {n} ist {n}?", "answer": f"Question {n} is {n}?"} for n in range(20)]
    (tmp_path / "de.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return (
        "data.train.name=files", "data.train.path={language}.jsonl", "data.train.languages=[de]",
        "data.train.prompt=question", "data.train.answer=answer", "run.folder=run",
    )  # fmt: skip


def edit(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("Frage 7 ", "Frage 8 "), encoding="utf-8")


def test_edited_training_data_are_refused_and_the_fingerprint_stays(
    verb: Verb, own_data: tuple[str, ...], tmp_path: Path
) -> None:
    assert verb("train", *own_data)[0] == 0
    whole = results(tmp_path / "run")
    break_off(tmp_path / "run")
    before = (tmp_path / "de.jsonl").read_bytes()
    edit(tmp_path / "de.jsonl")
    stored = files(tmp_path / "run")
    status, _, complaint = verb("train", *own_data)
    assert status == 2
    assert "data.train: the training data, as tokenised, changed since run began" in complaint
    assert "probe:" not in complaint
    assert files(tmp_path / "run") == stored
    (tmp_path / "de.jsonl").write_bytes(before)
    assert verb("train", *own_data)[0] == 0
    assert results(tmp_path / "run") == whole


def test_where_the_models_files_lie_is_no_part_of_what_a_run_is_made_from() -> None:
    then, moved, updated = ({"model": {"source": source, "revision": revision}} for source, revision in MODELS)
    assert differing_sources(then, moved, "run") == []
    (problem,) = differing_sources(then, updated, "run")
    assert "5bc1e80" in str(problem)


def test_another_model_under_the_same_name_is_refused(verb: Verb, tmp_path: Path) -> None:
    import safetensors.torch

    from alignlab.models.load import DEMO_FOLDER

    shutil.copytree(DEMO_FOLDER, tmp_path / "model")
    assert verb("train", "run.folder=run", "model.source=model")[0] == 0
    break_off(tmp_path / "run")
    weights = safetensors.torch.load_file(tmp_path / "model/model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    safetensors.torch.save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    status, _, complaint = verb("train", "run.folder=run", "model.source=model")
    assert status == 2
    assert "model.source: the weights of the model changed since run began" in complaint


def test_other_versions_are_told_and_accepted(verb: Verb, run: Path, finished_run: Path) -> None:
    stored = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    stored["packages"]["torch"] = "1.0.0"
    (run / "environment.json").write_text(json.dumps(stored), encoding="utf-8")
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 0
    assert f"note: the run began with torch 1.0.0, and goes on with {torch.__version__}" in complaint
    assert results(run) == results(finished_run)
    assert json.loads((run / "environment.json").read_text(encoding="utf-8")) == stored


@pytest.mark.parametrize("text", [None, "", "[]", "{", "{}"])
def test_a_run_that_cannot_tell_what_it_is_made_from_is_refused(verb: Verb, run: Path, text: str | None) -> None:
    path = run / "environment.json"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 2
    assert "environment.json: it is " in complaint


@pytest.mark.parametrize("step", [0, 2])
def test_a_deleted_snapshot_is_noticed(verb: Verb, run: Path, finished_run: Path, step: int) -> None:
    name = f"neurons/step-{step:06d}.safetensors"
    (run / name).unlink()
    status, _, complaint = verb("train", "run.folder=run")
    if step == 0:
        assert status == 2
        assert f"{name}: there is no such file, and the run is at step 2" in complaint
    else:  # its weights are at hand: it is taken again
        assert status == 0
        assert results(run) == results(finished_run)


def test_a_deleted_snapshot_between_is_noticed(verb: Verb, tmp_path: Path) -> None:
    more = ("run.folder=run", "trainer.max_steps=6")
    assert verb("train", *more)[0] == 0
    break_off(tmp_path / "run", 4)
    (tmp_path / "run/neurons/step-000002.safetensors").unlink()
    status, _, complaint = verb("train", *more)
    assert status == 2
    assert "step-000002.safetensors: there is no such file, and the run is at step 4" in complaint
    assert "or remove the checkpoints from step 2 on" in complaint
    for step in (2, 4):
        shutil.rmtree(tmp_path / f"run/checkpoints/step-00000{step}")
    assert verb("train", *more)[0] == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_snapshot_is_named_and_refused(verb: Verb, run: Path, damage: str) -> None:
    path = run / "neurons/step-000000.safetensors"
    whole = path.read_bytes()
    place = len(whole) - 100
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    path.write_bytes({"flip": flipped, "truncate": whole[:-50], "empty": b""}[damage])
    stored = files(run)
    for name, argv in (("train", "run.folder=run"), ("analyze", "run=run")):
        status, _, complaint = verb(name, argv)
        assert status == 2, name
        assert "step-000000.safetensors" in complaint
    assert files(run) == stored


def test_a_snapshot_under_another_steps_name_is_refused(verb: Verb, run: Path) -> None:
    shutil.copy(run / "neurons/step-000000.safetensors", run / "neurons/step-000002.safetensors")
    for name, argv in (("analyze", "run=run"), ("report", "run=run"), ("train", "run.folder=run")):
        status, _, complaint = verb(name, argv)
        assert status == 2, name
        assert "step-000002.safetensors: it holds the counts of step 0" in complaint
    with pytest.raises(InputError, match="it holds the counts of step 0"):
        alignlab.load_run(run)


def test_a_config_that_lost_its_end_gives_no_other_classification(verb: Verb, run: Path) -> None:
    whole = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(whole[: whole.index("identifier:")], encoding="utf-8")
    for name, argv in (("analyze", "run=run"), ("report", "run=run")):
        status, _, complaint = verb(name, argv)
        assert status == 2, name
        assert "config.yaml: it is not as it was written" in complaint
    with pytest.raises(InputError, match="it is not as it was written"):
        alignlab.load_run(run)


def test_resamples_under_another_name_are_drawn_again(verb: Verb, run: Path) -> None:
    asked = ("run=run", "intervals=ends", "resamples=4")
    assert verb("analyze", *asked, "folder=one")[0] == 0
    kept: dict[str, list[Path]] = {}
    for path in sorted((run / "analysis/cache").iterdir()):
        with safe_open(path, framework="pt") as file:
            shapes = str(sorted((name, file.get_slice(name).get_shape()) for name in file.keys()))  # noqa: SIM118
        kept.setdefault(shapes, []).append(path)
    group = max(kept.values(), key=len)
    assert len(group) > 1
    contents = [path.read_bytes() for path in group]
    for path, content in zip(group, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    status, _, complaint = verb("analyze", *asked, "folder=two")
    assert status == 0
    assert "drawn again" in complaint
    tables = [(run.parent / name / "table.csv").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]


def test_a_dry_run_says_that_overwrite_removes_a_run(verb: Verb, run: Path) -> None:
    status, _, complaint = verb("train", "run.folder=run", "seed=4", "overwrite=true", "dry_run=true")
    assert status == 0
    assert "overwrite=true removes the run" in complaint


@pytest.mark.parametrize("damage", ["missing", "empty", "changed"])
@pytest.mark.parametrize("step", [0, 2])
def test_a_damaged_table_is_written_again(verb: Verb, run: Path, finished_run: Path, damage: str, step: int) -> None:
    path = run / f"neurons/step-{step:06d}.csv"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("" if damage == "empty" else path.read_text().replace(",0.", ",7."), encoding="utf-8")
    status, said, _ = verb("train", "run.folder=run")
    assert status == 0
    assert f"{path.relative_to(run.parent)} {'was missing' if damage == 'missing' else 'had changed'}" in said
    assert results(run) == results(finished_run)


def test_a_flipped_byte_of_the_trainers_state_is_found(verb: Verb, run: Path) -> None:
    for name in ("trainer.ckpt", "adapter_model.safetensors"):
        path = run / "checkpoints/step-000002" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
        status, _, complaint = verb("train", "run.folder=run")
        assert status == 2
        assert f"{name} is not as it was written; expected a whole checkpoint" in complaint
        assert "Remove the folder" in complaint
        path.write_bytes(whole)


@pytest.mark.parametrize("row", ["nonsense", "x,train/loss,1", "1,train/loss,many", "1,train/loss"])
def test_a_damaged_row_of_metrics_is_named(verb: Verb, run: Path, row: str) -> None:
    lines = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    lines.insert(2, row)
    (run / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stored = files(run)
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 2
    assert "metrics.csv:3: it is" in complaint
    assert files(run) == stored


def test_missing_metrics_are_told(verb: Verb, run: Path) -> None:
    (run / "metrics.csv").unlink()
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 0
    assert "metrics.csv lacks the steps up to 2" in complaint


def test_a_changed_number_in_the_metrics_is_noticed(verb: Verb, run: Path, finished_run: Path) -> None:
    path = run / "metrics.csv"
    text = path.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("1,train/loss,"))
    path.write_text(text.replace(line, "1,train/loss,0.001"), encoding="utf-8")
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 2
    assert "metrics.csv: its numbers up to step 2 are not those that were logged" in complaint
    path.write_text(text, encoding="utf-8")
    assert verb("train", "run.folder=run")[0] == 0
    assert results(run) == results(finished_run)


def test_a_run_without_its_first_snapshot_is_not_analysed_from_another(verb: Verb, run: Path) -> None:
    (run / "neurons/step-000000.safetensors").unlink()
    for name in ("analyze", "report"):
        status, _, complaint = verb(name, "run=run")
        assert status == 2
        assert "step-000000.safetensors: there is no such file; expected the snapshot of step 0" in complaint


def test_a_snapshot_that_is_missing_between_is_told(verb: Verb, run: Path) -> None:
    (run / "neurons/step-000002.safetensors").unlink()
    status, _, complaint = verb("analyze", "run=run")
    assert status == 0
    assert "note: run lacks the snapshots of steps 2" in complaint


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_environment_is_named_by_those_who_show_it(verb: Verb, run: Path, text: str) -> None:
    (run / "environment.json").write_text(text, encoding="utf-8")
    for name in ("analyze", "report"):
        status, _, complaint = verb(name, "run=run")
        assert status == 2
        assert "environment.json: it is damaged" in complaint


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "neurons/step-000002.safetensors").unlink(), "2.safetensors: there is no such file"),
        (lambda run: (run / "neurons/step-000002.safetensors").write_bytes(b""), "step-000002.safetensors"),
        (lambda run: (run / "neurons.csv").unlink(), "neurons.csv: there is no such file"),
        (lambda run: (run / "metrics.csv").write_text("x"), "metrics.csv: it is damaged"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "there is no checkpoint any more"),
        (lambda run: (run / "checkpoints/step-000002/adapter_config.json").unlink(), "adapter_config.json is missing"),
        (lambda run: flip(run / "checkpoints/step-000004/adapter_model.safetensors"), "is not as it was written"),
    ],
)  # fmt: skip
def test_what_a_finished_run_lacks_is_told(
    verb: Verb, finished_run: Path, tmp_path: Path, spoil: Callable[[Path], Any], says: str
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    assert "note:" not in verb("train", "run.folder=run")[2]
    spoil(tmp_path / "run")
    status, said, complaint = verb("train", "run.folder=run")
    assert status == 0
    assert "holds this run, finished" in said
    assert "note: " in complaint
    assert says in complaint


def flip(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])


def test_an_earlier_checkpoint_is_looked_at_too(verb: Verb, tmp_path: Path) -> None:
    more = ("run.folder=run", "trainer.max_steps=6")
    assert verb("train", *more)[0] == 0
    break_off(tmp_path / "run", 4)
    (tmp_path / "run/checkpoints/step-000002/adapter_model.safetensors").write_bytes(b"short")
    status, _, complaint = verb("train", *more)
    assert status == 2
    assert "step-000002: adapter_model.safetensors is not as it was written" in complaint


def test_a_damaged_checkpoint_is_not_counted_again(verb: Verb, run: Path) -> None:
    flip(run / "checkpoints/step-000002/adapter_model.safetensors")
    status, _, complaint = verb("analyze", "run=run", "recount=true")
    assert status == 2
    assert "step-000002: adapter_model.safetensors is not as it was written" in complaint


def test_a_checkpoint_without_its_list_is_refused(verb: Verb, run: Path) -> None:
    (run / "checkpoints/step-000002/manifest.json").unlink()
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 2
    assert "manifest.json: there is no such file; expected the list of its files" in complaint


def test_deleted_checkpoints_are_told_and_the_run_begins_again(verb: Verb, run: Path, finished_run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    status, said, _ = verb("train", "run.folder=run")
    assert status == 0
    assert "There is no checkpoint to continue from: the run begins again at step 0." in said
    assert results(run) == results(finished_run)


def test_a_changed_table_of_all_snapshots_is_written_again_and_said(verb: Verb, run: Path, finished_run: Path) -> None:
    (run / "neurons.csv").write_text((run / "neurons.csv").read_text().replace(",0.", ",7."), encoding="utf-8")
    status, said, _ = verb("train", "run.folder=run")
    assert status == 0
    assert "neurons.csv had changed: written again" in said
    assert results(run) == results(finished_run)


def test_a_folder_where_a_cache_goes_is_told_and_passed_over(verb: Verb, run: Path) -> None:
    assert verb("report", "run=run", "resamples=4")[0] == 0
    page = (run / "report.html").read_bytes()
    for path in (run / "analysis/cache").iterdir():
        path.unlink()
        path.mkdir()
    status, _, complaint = verb("report", "run=run", "resamples=4")
    assert status == 0
    assert "cache cannot be written (Is a directory): what is drawn is not kept" in " ".join(complaint.split())
    assert (run / "report.html").read_bytes() == page


# 3. Finished means the last planned step


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("trainer.fast_dev_run=true", "trainer.fast_dev_run: True breaks the plan"),
        ("trainer.fast_dev_run=2", "trainer.fast_dev_run: 2 breaks the plan"),
        ("trainer.limit_train_batches=1", "trainer.limit_train_batches: 1 breaks the plan"),
        ("trainer.limit_train_batches=0.5", "trainer.limit_train_batches: 0.5 breaks the plan"),
        ("trainer.overfit_batches=1", "trainer.overfit_batches: 1 breaks the plan"),
        ("trainer.min_steps=9", "trainer.min_steps: 9 breaks the plan"),
        ("trainer.use_distributed_sampler=true", "trainer.use_distributed_sampler: True breaks the plan"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches"),
        ("trainer.accumulate_grad_batches=-1", "trainer.accumulate_grad_batches"),
        ("trainer.accumulate_grad_batches=2.7", "trainer.accumulate_grad_batches"),
        ("trainer.accumulate_grad_batches=two", "trainer.accumulate_grad_batches"),
        ("trainer.accumulate_grad_batches=null", "trainer.accumulate_grad_batches"),
    ],
)
def test_what_breaks_the_plan_is_refused(verb: Verb, tmp_path: Path, argument: str, says: str) -> None:
    status, _, complaint = verb("train", argument)
    assert status == 2
    assert says in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_time_limit_stops_early_says_so_and_the_run_goes_on(verb: Verb, finished_run: Path, tmp_path: Path) -> None:
    limit = "trainer.max_time={seconds: 0}"
    for _ in range(2):
        status, said, _ = verb("train", "run.folder=run", limit)
        assert status == 0
        assert not (tmp_path / "run/finished.json").exists()
        assert "trainer.max_time is over. The same command goes on from there." in said
    assert "Stopped after step" in said
    assert verb("train", "run.folder=run")[0] == 0
    assert (tmp_path / "run/finished.json").is_file()
    assert results(tmp_path / "run") == results(finished_run)
    assert RunFolder(tmp_path / "run").checkpoint_steps() == [2, 4]


def test_a_training_that_ends_before_its_end_is_not_finished(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = NeuronTracker.on_train_batch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        own(self, trainer, *rest)
        trainer.should_stop = trainer.global_step == 3

    monkeypatch.setattr(NeuronTracker, "on_train_batch_end", stop)
    with pytest.raises(RuntimeError, match="the training ended after step 3 of 4, and nothing had asked it to"):
        verb("train", "run.folder=run")
    assert not (tmp_path / "run/finished.json").exists()


# 4. Weights that are no numbers are never saved


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_nan_gradient_under_a_finite_loss_costs_no_checkpoint(
    verb: Verb, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    own = SupervisedModule.loss_sum

    def poisoned(self: AlignmentModule, batch: Any) -> torch.Tensor:
        loss = own(self, batch)
        if int(batch["number"]) == at - 1:
            loss.register_hook(lambda gradient: gradient * torch.nan)
        return loss

    monkeypatch.setattr(SupervisedModule, "loss_sum", poisoned)
    status, _, complaint = verb("train", "run.folder=run", "checkpoints.keep_last=1", "checkpoints.every_n_steps=1")
    assert status == 2
    assert f"step {at}: " in complaint
    assert "trained tensors hold NaN or infinite values: base_model" in complaint
    run = RunFolder(tmp_path / "run")
    assert run.checkpoint_steps()[-1] == at - 1
    assert max(int(path.stem[5:]) for path in run.snapshots()) < at
    for step in run.checkpoint_steps():
        state = torch.load(run.checkpoint(step) / "trainer.ckpt", weights_only=True)["state_dict"]
        assert all(bool(value.isfinite().all()) for value in state.values())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert verb("train", "run.folder=run", "checkpoints.keep_last=1", "checkpoints.every_n_steps=1")[0] == 0
    assert results(tmp_path / "run") == results(finished_run)


# 5. Two at once


@pytest.mark.slow
def test_identical_analyses_and_reports_at_once_all_succeed(run: Path, finished_run: Path) -> None:
    shutil.copy(finished_run / "finished.json", run)
    commands = [["analyze", "run=run", "intervals=ends", "resamples=5"], ["report", "run=run", "resamples=5"]] * 2
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"alignlab.{name}", *argv], cwd=run.parent, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for name, *argv in commands
    ]  # fmt: skip
    for process in started:
        assert process.communicate(timeout=300)[1] == ""
        assert process.returncode == 0
    (folder,) = [path for path in (run / "analysis").iterdir() if path.name.startswith("ternary")]
    assert {path.name for path in folder.iterdir()} >= {"table.csv", "sets.safetensors", "report.html", "config.yaml"}
    assert not [path for path in run.rglob("*") if ".partial" in path.name]


# 7. Who starts second, and starts that are refused later


def test_the_state_of_a_run_is_looked_at_under_its_lock(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    own = RunFolder.start

    def start(self: RunFolder, *args: Any, **kwargs: Any) -> Any:
        probe = [sys.executable, "-c", f"import fcntl; fcntl.lockf(open({str(self.path / '.lock')!r}, 'r+'), 6)"]
        seen.append(subprocess.run(probe, check=False, capture_output=True).returncode)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(RunFolder, "start", start)
    assert verb("train", "run.folder=run", "trainer.max_steps=1")[0] == 0
    assert seen == [1]


def test_a_start_that_is_refused_later_leaves_nothing(verb: Verb, tmp_path: Path) -> None:
    from alignlab.models.load import DEMO_FOLDER

    shutil.copytree(DEMO_FOLDER, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    status, _, complaint = verb("train", "run.folder=run", "model.source=model")
    assert status == 2
    assert "holds no model.safetensors" in complaint
    assert not (tmp_path / "run").exists()
    assert verb("train", "run.folder=run")[0] == 0


def test_a_refused_start_with_overwrite_keeps_the_old_run(verb: Verb, run: Path) -> None:
    (run.parent / "broken").mkdir()
    before = files(run)
    assert verb("train", "run.folder=run", "model.source=./broken", "overwrite=true")[0] == 2
    assert files(run) == before


def test_a_refused_start_leaves_nothing_in_somebody_elses_folder(verb: Verb, run: Path) -> None:
    before = sorted(run.rglob("*"))
    for target in ("run/checkpoints/step-000002", "run/neurons"):
        assert verb("train", f"run.folder={target}", "overwrite=true")[0] == 2
    assert sorted(run.rglob("*")) == before


# 8. Where a run lies is no part of what it is


def test_a_run_goes_on_wherever_it_lies(verb: Verb, run: Path, finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    for folder in ("run/", str(tmp_path / "other")):
        assert verb("train", f"run.folder={folder}")[0] == 0
        assert results(Path(folder)) == results(finished_run)
    (tmp_path / "other").rename(tmp_path / "moved")
    status, said, _ = verb("train", "run.folder=moved/../moved", "run.name=moved")
    assert status == 0
    assert "holds this run, finished" in said


# 9. No iterator's end is read as success


def test_an_empty_table_does_not_end_the_training(verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = NeuronTracker.look

    def empty(self: NeuronTracker, *args: Any) -> dict[str, float] | None:
        if self.last is not None:
            (self.folder / "neurons/step-000000.csv").write_text("", encoding="utf-8")
        return own(self, *args)

    monkeypatch.setattr(NeuronTracker, "look", empty)
    status, _, complaint = verb("train", "run.folder=run")
    assert status == 2
    assert "step-000000.csv:1: the header ''" in complaint
    assert not (tmp_path / "run/finished.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert verb("train", "run.folder=run")[0] == 0


@pytest.mark.parametrize("where", ["tracker", "step", "loader"])
def test_an_iterator_that_ends_somewhere_is_an_error(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def ended(*_args: Any, **_kwargs: Any) -> None:
        next(iter(()))

    if where == "tracker":
        monkeypatch.setattr(NeuronTracker, "due", ended)
    elif where == "step":
        monkeypatch.setattr(SupervisedModule, "loss_sum", ended)
    else:
        monkeypatch.setattr("alignlab.data.training.MicroBatches.__len__", lambda self: 2)
    with pytest.raises(RuntimeError):
        verb("train", "run.folder=run")
    assert not (tmp_path / "run/finished.json").exists()


def test_tables_are_put_together_in_the_order_of_steps(tmp_path: Path) -> None:
    paths = [tmp_path / f"step-{step:06d}.csv" for step in (1_000_000, 20, 100)]
    for path in paths:
        table.write_csv(path, [table.Row(step=int(path.stem[5:]), value=1.0)])
    table.collect_csv(paths, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["20", "100", "1000000"]
