"""Every command of the README, run; those of `make` are run by CI, the Python examples by tests/callbacks."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alignlab.train
from alignlab.neurons import ActivationCounts
from alignlab.neurons.formats import save_ternary_counts

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].strip() for line in re.findall(r"^    (\S.*)$", README, re.MULTILINE)]
SMALL = [
    "trainer.max_steps=1", "probe.max_texts=2", "probe.source.count=2", "data.train.count=4",
    "data.examples_per_step=2", "wandb.mode=disabled",
]  # fmt: skip
# What makes a command of the README small enough for a test.
FEW = {
    "models=[builtin:demo,runs/demo/checkpoints/step-000200]": ["probe.max_texts=2", "probe.source.count=2"],
}


def starting(with_: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(with_)]


def test_no_command_is_forgotten() -> None:
    known = [c for start in ("make ", "python -m alignlab.", "torchrun ", "sbatch ") for c in starting(start)]
    assert sorted(known) == sorted(COMMANDS)
    assert len(starting("python -m alignlab.")) >= 4


@pytest.mark.parametrize("command", starting("make "))
def test_make_has_the_target(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "alignlab" in done.stdout or "pytest" in done.stdout


@pytest.mark.parametrize("command", starting("python -m alignlab."))
def test_the_command_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    _, _, module, *arguments = shlex.split(command)
    if module in ("alignlab.analyze", "alignlab.report"):
        make_run(tmp_path)
        arguments = [argument.replace("FOLDER", "published") for argument in arguments]
        capsys.readouterr()
        assert importlib.import_module(module).main([*arguments, *FEW.get(" ".join(arguments), [])]) == 0
        assert "Written" in capsys.readouterr().out
        return
    assert module == "alignlab.train"
    if "data.root=../shared/data" in arguments:
        make_texts(tmp_path / "data")
        arguments = [*arguments, f"data.root={tmp_path / 'data'}", "trainer.max_steps=1", "wandb.mode=disabled"]
    elif "--help" not in arguments:
        arguments += SMALL
    if "trainer.strategy=ddp" in arguments:  # with two real processes: tests/distributed
        arguments.append("dry_run=true")
    assert alignlab.train.main(arguments) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("command", starting("torchrun "))
def test_torchrun(command: str, tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    _, *arguments = shlex.split(command)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", *arguments, *SMALL]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "runs/demo/finished.json").is_file()


@pytest.mark.parametrize("command", starting("sbatch "))
def test_the_slurm_script(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no SLURM here: the script is read by bash, and the command that it starts is planned."""
    _, script, *arguments = shlex.split(command)
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    line = next(line for line in (ROOT / script).read_text().splitlines() if line.startswith("srun "))
    assert line.startswith('srun .venv/bin/python -m alignlab.train "$@" ')
    fixed = shlex.split(line.partition('"$@"')[2])
    assert "trainer.num_nodes=2" in fixed
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    options = [option for option in fixed if "devices" not in option]  # four processes need four cores
    assert alignlab.train.main([*arguments, *options, *SMALL, "dry_run=true"]) == 0
    assert capsys.readouterr().out.strip()


def make_texts(root: Path) -> None:
    """A few lines of text, laid out as ../shared/data is."""
    (root / "gsm8k_questions").mkdir(parents=True)
    (root / "mgsm").mkdir()
    for code in ("de", "sw", "zh"):
        (root / f"gsm8k_questions/{code}-en.{code}").write_text(f"{code} eins\n{code} zwei\n" * 20, encoding="utf-8")
        (root / f"gsm8k_questions/{code}-en.en").write_text("one\ntwo\n" * 20, encoding="utf-8")
    for code in ("de", "en", "sw", "te"):
        (root / f"mgsm/{code}.tsv").write_text(f"Frage in {code}?\t3\nUnd noch eine?\t4\n", encoding="utf-8")


def make_run(folder: Path) -> None:
    """What the commands that ask again read: two runs of two snapshots, and published files."""
    for name in ("demo", "other"):
        argv = ["config=demo", f"run.name={name}", *SMALL, "probe.shards=2", "trainer.max_steps=1"]
        assert alignlab.train.main(argv) == 0
    checkpoints = folder / "runs/demo/checkpoints"
    shutil.copytree(checkpoints / "step-000001", checkpoints / "step-000200")
    counts = ActivationCounts.load(folder / "runs/demo/neurons/step-000001.safetensors")
    save_ternary_counts(counts, folder / "published", "train.demo")
