"""Run folders: new, continued, finished or refused; locked; cleared."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignlab.errors import InputError
from alignlab.runs import RunFolder, check_writable, step_name, step_of

CONFIG: dict[str, Any] = {
    "dry_run": False,
    "resume": "auto",
    "overwrite": False,
    "seed": 0,
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
    """A run that has begun with CONFIG."""
    folder = RunFolder(tmp_path / "runs" / "demo")
    folder.path.mkdir(parents=True)
    folder.config.write_text(changed(), encoding="utf-8")
    return folder


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
    run.checkpoint(10).mkdir(parents=True)
    assert run.start(changed(), resume="auto", overwrite=False) == "continue"


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
    assert "it holds a run with another config; different are seed; data.train.name; trainer.max_steps;" in message
    assert message.endswith("Set run.folder to another folder, or overwrite=true to replace this run.")
    run.finish({})
    assert refusal(run, document) == message


@pytest.mark.parametrize(
    "change",
    [{"dry_run": True}, {"overwrite": True}, {"wandb": {"mode": "offline"}}, {"data__workers": 4}, {"resume": "never"}],
)
def test_what_changes_no_number_may_differ(run: RunFolder, change: dict[str, Any]) -> None:
    assert run.start(changed(**change), resume="auto", overwrite=False) == "continue"


def test_a_key_that_only_one_config_has_differs(run: RunFolder) -> None:
    assert "different are trainer.accelerator;" in refusal(run, changed(trainer__accelerator="cpu"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_refused_and_kept(tmp_path: Path, overwrite: bool) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    message = refusal(run, changed(), overwrite=overwrite)
    assert "the folder holds other things and no config.yaml of a run" in message
    assert files(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("text", [b"a: [", b"- a\n- b\n", b"", b"!!python/object/apply:os.getcwd []", b"\xff\xfe"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_config_that_is_no_runs_is_refused(run: RunFolder, text: bytes, overwrite: bool) -> None:
    run.config.write_bytes(text)
    message = refusal(run, changed(), overwrite=overwrite)
    assert message.startswith(f"{run.config}: it is not the config of a run; expected a run's folder.")


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
    for path in (
        run.neurons / "step-000000.safetensors",
        run.checkpoint(10) / "adapter.safetensors",
        run.path / "wandb" / "offline-run" / "x.wandb",
        run.environment,
        run.metrics,
        run.path / "neurons.csv",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    run.finish({})


def test_clearing_removes_the_run_and_nothing_else(run: RunFolder) -> None:
    make_whole(run)
    (run.path / "notes.txt").write_text("mine", encoding="utf-8")
    with run.locked():
        run.clear()
    assert files(run.path) == [".lock", "notes.txt"]
    run.clear()  # also where nothing is left


def test_a_broken_off_removal_does_not_pass_for_a_finished_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_whole(run)

    def killed(_folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alignlab.runs.remove", killed)
    with pytest.raises(KeyboardInterrupt):
        run.clear()
    assert run.start(changed(), resume="auto", overwrite=False) == "continue"


def test_only_whole_checkpoints_count(run: RunFolder) -> None:
    assert run.checkpoint_steps() == []
    for name in ("step-000100", "step-000020", "step-1000000", "step-000030.partial", "step-000020.old.partial"):
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
