"""Run folders: new, continued, finished or refused; locked; cleared."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignlab.atomic import whole_folder
from alignlab.errors import InputError
from alignlab.runs import RunFolder, check_writable, step_name, step_of

CONFIG: dict[str, Any] = {
    "dry_run": False,
    "resume": "auto",
    "overwrite": False,
    "seed": 0,
    "run": {"name": "demo", "folder": "R"},
    "data": {"workers": 0, "max_length": 512, "train": {"name": "files", "path": "a"}},
    "wandb": {"mode": "auto"},
    "trainer": {"max_steps": 100, "precision": "32-true"},
}


def changed(**changes: Any) -> str:
    """CONFIG as a document with dotted keys changed (`__` for a dot)."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *sections, name = key.split("__")
        section = config
        for inner in sections:
            section = section[inner]
        section[name] = value
    return yaml.safe_dump(config, sort_keys=False)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has begun with CONFIG and taken its first snapshot."""
    folder = RunFolder(tmp_path / "runs" / "demo")
    folder.begin(changed())
    folder.neurons.mkdir()
    (folder.neurons / "step-000000.safetensors").touch()
    return folder


def save(run: RunFolder, step: int) -> None:
    """A checkpoint, as a training writes it."""
    with whole_folder(run.checkpoint(step), "checkpoint") as partial:
        (partial / "adapter.safetensors").write_text("x", encoding="utf-8")


def refusal(run: RunFolder, document: str, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        run.start(document, **{"resume": "auto", "overwrite": False, **options})
    (problem,) = refused.value.problems
    assert str(run.path) in problem.where
    return str(problem)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# start


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_folder_that_is_empty_or_not_there_is_new(tmp_path: Path, resume: str) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.start(changed(), resume=resume, overwrite=False) == "new"
    assert not run.path.exists()  # asking makes nothing
    run.path.mkdir()
    assert run.start(changed(), resume=resume, overwrite=False) == "new"
    with run.locked():
        assert run.start(changed(), resume=resume, overwrite=False) == "new"


def test_an_unfinished_run_is_continued(run: RunFolder) -> None:
    save(run, 10)
    assert run.start(changed(), resume="auto", overwrite=False) == "continue"


def test_a_run_of_which_nothing_is_there_but_its_start_is_new(run: RunFolder) -> None:
    """As a start leaves it that was refused later: the corrected command must not be another config."""
    (run.neurons / "step-000000.safetensors").unlink()
    run.metrics.write_text("step,key,value\n", encoding="utf-8")
    assert run.start(changed(seed=1), resume="auto", overwrite=False) == "new"
    assert run.start(changed(seed=1), resume="never", overwrite=False) == "new"


def test_a_run_whose_config_was_deleted_is_refused(run: RunFolder) -> None:
    run.config.unlink()
    assert "it is missing; expected the config of this run" in refusal(run, changed())
    assert run.start(changed(), resume="auto", overwrite=True) == "new"


def test_a_finished_run_is_finished(run: RunFolder) -> None:
    run.finish({"step": 100})
    assert run.start(changed(), resume="auto", overwrite=False) == "finished"
    assert yaml.safe_load(run.finished.read_text(encoding="utf-8")) == {"step": 100}


def test_overwriting_is_new_whatever_was_there(run: RunFolder) -> None:
    assert run.start(changed(), resume="auto", overwrite=True) == "new"
    assert run.start(changed(seed=1), resume="never", overwrite=True) == "new"
    run.finish({})
    assert run.start(changed(), resume="auto", overwrite=True) == "new"


def test_resume_never_refuses_an_unfinished_run(run: RunFolder) -> None:
    message = refusal(run, changed(), resume="never")
    assert "it holds an unfinished run; expected no run (resume=never)" in message
    assert message.endswith("Set resume=auto to continue it, or overwrite=true to replace it.")


def test_another_config_is_refused_with_the_keys_that_differ(run: RunFolder) -> None:
    document = changed(seed=3, trainer__max_steps=200, data__train={"name": "hub", "path": "a"})
    message = refusal(run, document)
    assert "it holds a run with another config; different are " in message
    assert (
        "seed (0 there, 3 here); data.train.name ('files' there, 'hub' here); trainer.max_steps (100 there, 200 here);"
        in message
    )
    assert message.endswith("Set run.folder to another folder, or overwrite=true to replace this run.")
    run.finish({})
    assert refusal(run, document) == message


@pytest.mark.parametrize(
    "change",
    [
        {"dry_run": True},
        {"overwrite": True},
        {"wandb": {"mode": "offline"}},
        {"data__workers": 4},
        {"resume": "never"},
        {"run__folder": "R/"},
        {"run__folder": "/elsewhere/R", "run__name": "moved"},
        {"trainer__max_time": "00:01:00:00"},
    ],
)
def test_what_changes_no_number_may_differ(run: RunFolder, change: dict[str, Any]) -> None:
    assert run.start(changed(**change), resume="auto", overwrite=False) == "continue"


STAGES = {"one": {"data": {"workers": 0}, "adapter": "merge"}, "two": {"data": {"workers": 0}, "adapter": "carry"}}


def test_a_run_from_before_there_were_stages_goes_on(run: RunFolder) -> None:
    assert run.start(changed(stages={}), resume="auto", overwrite=False) == "continue"
    assert "different are stages.one (not set there, {'data'" in refusal(run, changed(stages=STAGES))


def test_a_run_from_before_there_were_labels_goes_on_without_any(run: RunFolder) -> None:
    none = {"axis": "language", "table": {}}
    assert run.start(changed(labels=none), resume="auto", overwrite=False) == "continue"
    some = {"axis": "language", "table": {"sql": {}}}
    assert "different are labels.table.sql (not set there" in refusal(run, changed(labels=some))


def test_the_order_of_stages_counts_and_their_workers_do_not(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(changed(stages=STAGES))
    run.neurons.mkdir()
    (run.neurons / "step-000000.safetensors").touch()
    more = copy.deepcopy(STAGES)
    more["one"]["data"]["workers"] = 2  # type: ignore[index]
    assert run.start(changed(stages=more), resume="auto", overwrite=False) == "continue"
    turned = dict(reversed(STAGES.items()))
    assert "different are the order of stages (one, two there; two, one here);" in refusal(run, changed(stages=turned))
    more["two"]["adapter"] = "merge"
    assert "different are stages.two.adapter ('carry' there, 'merge' here);" in refusal(run, changed(stages=more))


def test_what_stages_left_is_cleared_and_what_strangers_put_there_is_not(run: RunFolder) -> None:
    with whole_folder(run.merged_model(10), "merged model") as partial:
        (partial / "model.safetensors").write_text("x", encoding="utf-8")
    run.stages.write_text("[]", encoding="utf-8")
    (run.merged_model(10) / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"it also holds mine.txt, which alignlab did not write"):
        run.start(changed(seed=1), resume="auto", overwrite=True)
    (run.merged_model(10) / "mine.txt").unlink()
    (run.neurons / "step-000000.safetensors").unlink()
    assert run.start(changed(seed=1), resume="auto", overwrite=True) == "new"
    run.clear()
    assert files(run.path) == []


def test_a_key_that_only_one_config_has_differs(run: RunFolder) -> None:
    assert "different are trainer.accelerator (not set there, 'cpu' here);" in refusal(
        run, changed(trainer__accelerator="cpu")
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_refused_and_kept(tmp_path: Path, overwrite: bool) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    message = refusal(run, changed(), overwrite=overwrite)
    assert "the folder holds other things and no run of alignlab" in message
    assert files(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_strangers_config_does_not_make_a_run(tmp_path: Path, overwrite: bool) -> None:
    run = RunFolder(tmp_path)
    for name in (
        "config.yaml",
        "metrics.csv",
        "checkpoints/step-000010/model.pt",
        "wandb/run_id.txt",
        "environment.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(changed() if name == "config.yaml" else "{}", encoding="utf-8")
    before = files(tmp_path)
    assert "the folder holds other things and no run of alignlab" in refusal(run, changed(), overwrite=overwrite)
    assert files(tmp_path) == before


def test_a_run_from_before_there_were_marks_is_a_run(run: RunFolder) -> None:
    (run.path / "manifest.json").unlink()
    assert "other things" in refusal(run, changed())
    run.environment.write_text('{"data_fingerprint": "0123", "packages": {}}', encoding="utf-8")
    assert run.start(changed(), resume="auto", overwrite=False) == "continue"
    assert run.start(changed(seed=1), resume="auto", overwrite=True) == "new"


def test_files_of_ones_own_in_a_checkpoint_are_not_overwritten(run: RunFolder) -> None:
    save(run, 10)
    (run.checkpoint(10) / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"it also holds notes.txt, which alignlab did not write"):
        run.start(changed(), resume="auto", overwrite=True)
    assert run.start(changed(), resume="auto", overwrite=False) == "continue"


@pytest.mark.parametrize("text", [b"a: [", b"- a\n- b\n", b"", b"!!python/object/apply:os.getcwd []", b"\xff\xfe"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_damaged_config_is_refused_unless_the_run_is_replaced(run: RunFolder, text: bytes, overwrite: bool) -> None:
    run.config.write_bytes(text)
    if overwrite:
        assert run.start(changed(), resume="auto", overwrite=True) == "new"
        return
    assert refusal(run, changed()).startswith(f"{run.config}: it is not as it was written, or damaged; expected")
    # As earlier versions began a run, without a checksum of its config.
    (run.path / "manifest.json").write_text('{"kind": "run", "files": {}, "state": "begun"}', encoding="utf-8")
    message = refusal(run, changed())
    assert message.startswith(f"{run.config}: it is not the config of a run; expected that of this run.")


# lock

HOLD = """
import sys, time
from pathlib import Path
from alignlab.runs import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InputError, match="another process is using this run folder"):
                run.locked().__enter__()
        finally:
            other.kill()
    with run.locked():  # a killed process holds nothing
        pass
    with run.locked():
        pass


def test_the_lock_is_given_up_when_the_run_fails(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), run.locked():
        _ = 1 / 0
    with run.locked():
        assert run.path.is_dir()


# clear, and names


def make_whole(run: RunFolder) -> None:
    table = "thresholds,step,group,language,layer,kind,degree,convention,count,denominator\n"
    response = '{"language": "de", "id": "1", "prompt": "x", "tokens": [1], "ended": true, "text": "x"}\n'
    for path, text in (
        (run.neurons / "step-000000.csv", table),
        (run.neurons / "responses.jsonl", response),
        (run.neurons / "step-000010.responses.jsonl", response),
        (run.path / "wandb" / "offline-run-20260101_000000-abcd" / "x.wandb", "x"),
        (run.path / "wandb" / "run_id.txt", "x"),
        (run.environment, "x"),
        (run.metrics, "step,key,value\n"),
        (run.table, table),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    save(run, 10)
    run.finish({})


OTHERS = (
    "notes.txt", "report.html", "neurons/step-best.safetensors", "checkpoints/step-best/model.pt", "wandb/notes.txt",
    "checkpoints/step-000004 (copy)/adapter.safetensors", "analysis/lape-1/table.csv",
)  # fmt: skip


def test_clearing_removes_the_run_and_nothing_else(run: RunFolder) -> None:
    make_whole(run)
    for name in OTHERS:
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("mine", encoding="utf-8")
    assert run.checkpoint_steps() == [10]
    assert [path.name for path in run.snapshots()] == ["step-000000.safetensors"]
    with run.locked():
        run.clear()
    assert files(run.path) == sorted([".lock", *OTHERS])
    run.clear()  # also where nothing is left


@pytest.mark.parametrize(
    "name", ["neurons/step-000000.csv", "neurons/step-000099.safetensors", "neurons.csv", "metrics.csv"]
)
def test_files_of_ones_own_under_a_runs_names_are_not_overwritten(run: RunFolder, name: str) -> None:
    make_whole(run)
    (run.path / name).write_text("mine", encoding="utf-8")
    before = files(run.path)
    with pytest.raises(InputError, match=rf"it also holds {name}, which alignlab did not write"):
        run.start(changed(), resume="auto", overwrite=True)
    assert files(run.path) == before


def test_looking_at_somebody_elses_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="the folder holds other things"):
        RunFolder(tmp_path).check_ours()
    assert files(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("name", ["neurons", "checkpoints", "wandb"])
def test_a_file_where_a_folder_goes_is_refused(run: RunFolder, name: str) -> None:
    (run.neurons / "step-000000.safetensors").unlink()
    run.neurons.rmdir()
    (run.path / name).touch()
    assert "it is no folder" in refusal(run, changed(), overwrite=True)


@pytest.mark.parametrize("name", ["metrics.csv", "finished.json", "config.yaml", "neurons.csv"])
def test_a_folder_where_a_file_goes_is_refused(run: RunFolder, name: str) -> None:
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).mkdir()
    assert "it is no file" in refusal(run, changed(), overwrite=True)


def test_a_damaged_mark_is_named(run: RunFolder) -> None:
    (run.path / "manifest.json").write_text("{", encoding="utf-8")
    assert "manifest.json: it is damaged" in refusal(run, changed())


def test_a_broken_off_removal_does_not_pass_for_a_run_that_goes_on(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_whole(run)
    document = changed(seed=1)
    seen = []
    own = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if len(seen) == kill_at:
            raise KeyboardInterrupt
        seen.append(path.name)
        own(path, missing_ok=missing_ok)

    for kill_at in range(100):
        seen.clear()
        monkeypatch.setattr(Path, "unlink", killed)
        try:
            run.clear()
            break
        except KeyboardInterrupt:
            monkeypatch.undo()
            assert run.start(document, resume="auto", overwrite=False) == "new" or kill_at == 0
    monkeypatch.undo()
    assert kill_at > 5
    assert files(run.path) == []


def test_a_folder_in_which_nothing_was_written_is_not_left_behind(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        assert files(tmp_path) == ["run/.lock"]
    assert list(tmp_path.iterdir()) == []
    with run.locked():
        run.begin(changed())
    assert files(tmp_path) == ["run/.lock", "run/config.yaml", "run/manifest.json"]


def test_what_killed_processes_were_writing_is_removed_by_who_holds_the_folder(run: RunFolder) -> None:
    for name in ("metrics.csv.partial", "neurons/step-000010.csv.ab12cd-1-0.partial"):
        (run.path / name).write_text("half", encoding="utf-8")
    (run.checkpoints / "step-000010.old.ab12cd-1-0.partial").mkdir(parents=True)
    with run.locked():
        assert files(run.path) == [".lock", "config.yaml", "manifest.json", "neurons/step-000000.safetensors"]


def test_what_other_programs_and_reports_were_writing_stays(run: RunFolder) -> None:
    others = (
        "download.partial",
        "report.html.ab12cd-1-0.partial",
        "neurons/model.bin.partial",
        "checkpoints/best.partial",
        "neurons.csv.tar.partial",
    )
    for name in others:
        path = run.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("half", encoding="utf-8")
    with run.locked():
        assert set(others) <= set(files(run.path))


def test_a_folder_with_somebody_elses_half_file_is_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "download.partial").write_text("half", encoding="utf-8")
    with pytest.raises(InputError, match="holds other things"):
        RunFolder(tmp_path).check_ours()


@pytest.mark.parametrize("tracker", [None, 3, ["every_n_steps"], {"every_n_steps": "often"}])
def test_a_stored_config_without_a_tracker_expects_the_first_and_the_last_snapshot(
    run: RunFolder, tracker: Any
) -> None:
    run.begin(yaml.safe_dump({"tracker": tracker}))
    assert run.stored_config() == {"tracker": tracker}
    assert run.snapshot_steps_expected() == [0]


def test_a_config_that_is_not_as_it_was_written_is_refused(run: RunFolder) -> None:
    run.begin("seed: 1\nidentifier:\n  top_rate: 0.1\n")
    assert run.stored_config()["seed"] == 1
    run.config.write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml: it is not as it was written"):
        run.stored_config()


def test_a_link_that_leads_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("nowhere")
    with pytest.raises(InputError, match="a link that leads to nothing"):
        check_writable(tmp_path / "run")


def test_a_lock_that_is_a_link_is_refused_and_not_followed(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    (run.path / ".lock").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(InputError, match=r"\.lock cannot be opened"):
        run.locked().__enter__()
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years"


def test_only_whole_checkpoints_count(run: RunFolder) -> None:
    assert run.checkpoint_steps() == []
    others = (
        "step-000030.partial",
        "step-000020.old.partial",
        "step-best",
        "step-000004 (copy)",
        "step-0000005",
        "step-7",
    )
    for name in ("step-000100", "step-000020", "step-1000000", *others):
        (run.checkpoints / name).mkdir(parents=True)
    assert run.checkpoint_steps() == [20, 100, 1_000_000]
    assert run.checkpoint(20) == run.checkpoints / "step-000020"


@pytest.mark.parametrize("step", [0, 7, 999_999, 1_000_000, 12_345_678])
def test_a_step_is_read_back_from_its_name(step: int) -> None:
    assert step_of(Path("neurons") / f"{step_name(step)}.safetensors") == step
    assert step_of(Path("checkpoints") / step_name(step)) == step


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "yet" / "there")
    assert files(tmp_path) == []
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(
            InputError, match=r"file cannot be written to \(Not a directory\); expected a folder with write"
        ):
            check_writable(path)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, in which nobody can write")
def test_a_folder_in_which_nobody_can_write_is_refused() -> None:
    with pytest.raises(InputError, match=r"run\.folder: /proc cannot be written to \("):
        check_writable(Path("/proc/runs/demo"))
