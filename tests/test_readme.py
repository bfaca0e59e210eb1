"""Every command of the README and of the pages that go on with it, run; those of `make` are run by CI, the Python
examples by tests/callbacks and the scripts by test_examples.py."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import alignlab.benchmark
import alignlab.evaluate
import alignlab.intervene
import alignlab.prepare
import alignlab.study
import alignlab.train
from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons import ActivationCounts
from alignlab.neurons.formats import save_ternary_counts
from alignlab.neurons.summary import COUNTED_KINDS
from alignlab.reporting.counts_table import TABLE_HEADER

sys.path.insert(0, str(Path(__file__).parent))
import public_files
import small_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING, ANALYSIS = ((ROOT / f"docs/{page}.md").read_text(encoding="utf-8") for page in ("training", "analysis"))
OF_TERMINAL = re.sub(r"^```.*?^```", "", f"{README}\n{TRAINING}\n{ANALYSIS}", flags=re.MULTILINE | re.DOTALL)
LINES = re.findall(r"^    (\S.*)$", OF_TERMINAL, re.MULTILINE)
COMMANDS = list(dict.fromkeys(line.partition("#")[0].strip() for line in LINES))
SMALL = [
    "trainer.max_steps=1", "probe.max_texts=2", "probe.source.count=2", "data.train.count=4",
    "data.examples_per_step=2", "wandb.mode=disabled", "evaluation=null",
]  # fmt: skip
# What makes a command of the README small enough for a test: of the configs of evaluate, the tasks in which texts are
# written, and others that have many; and settings of other commands.
TASKS = {
    "": ([], ["text"]),
    "config=evaluate_demo": (["problems"], ["text"]),
    "config=evaluate_interventions": (["problems"], ["text"]),
    "config=evaluate_real": (["mgsm", "msvamp"], []),
    "config=evaluate_translation": (["from_english", "into_english"], ["mexa"]),
}
FEW = {
    "models=[builtin:demo,runs/demo/checkpoints/step-000150] identifier.top_rate=0.1": [
        "probe.max_texts=2",
        "probe.source.count=2",
    ],
    "models=[builtin:demo] identifier.name=relevance": ["probe.max_texts=2", "probe.source.count=2"],
    "identifiers": [
        "planted.families=2", "planted.neurons=48", "planted.layers=2", "planted.width=32", "planted.concepts=20",
        "planted.shared=5", "planted.specific=2", "planted.family=1", "planted.pairs=1", "planted.idle=1",
        "planted.hidden=1", "planted.general=3", "text.documents=10", "text.truth_documents=2",
        "text.tokens=8", "seeds=2",
    ],
    "agreement run=runs/demo config=agreement_demo": ["only=[ternary,relevance]"],
}  # fmt: skip
LITTLE = ["max_documents=2", "seeds=2"]
SLOW = {
    "python -m alignlab.intervene run=runs/demo config=interventions/amplification_sweep",
    "python -m alignlab.analyze run=runs/demo recount=true probe.max_texts=50",
    "python -m alignlab.study config=study_demo",
    "python -m alignlab.report runs=[runs/demo,runs/other] file=both.html",
    "python -m alignlab.analyze run=runs/demo intervals=all",
    "python -m alignlab.benchmark agreement run=runs/demo config=agreement_demo",
}


def starting(with_: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(with_)]


def marked(commands: list[str]) -> list[Any]:
    return [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in commands]


def test_no_command_is_forgotten() -> None:
    starts = ("make ", "python -m alignlab.", "python examples/", "torchrun ", "sbatch ", "git clone ")
    known = [command for start in starts for command in starting(start)]
    assert sorted(known) == sorted(COMMANDS)
    assert len(starting("python -m alignlab.")) >= 4


@pytest.mark.parametrize("command", starting("make "))
def test_make_has_the_target(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "alignlab" in done.stdout or "pytest" in done.stdout


def test_the_demo_goes_on_where_it_was_stopped_and_starts_anew_once_it_is_finished(tmp_path: Path) -> None:
    make = ["make", "--dry-run", "--directory", str(tmp_path), "--makefile", str(ROOT / "Makefile"), "demo"]
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "runs/demo").mkdir(parents=True)
    assert "overwrite" not in subprocess.run(make, capture_output=True, text=True, check=True).stdout
    (tmp_path / "runs/demo/finished.json").touch()
    assert "overwrite=true" in subprocess.run(make, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def run_of_some_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("readme") / "run")


@pytest.mark.parametrize("command", marked(starting("python -m alignlab.")))
def test_the_command_runs(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    _, _, module, *arguments = shlex.split(command)
    if module in ("alignlab.analyze", "alignlab.report", "alignlab.share"):
        make_run(tmp_path)
        arguments = [argument.replace("FOLDER", "published") for argument in arguments]
        capsys.readouterr()
        assert importlib.import_module(module).main([*arguments, *FEW.get(" ".join(arguments), [])]) == 0
        assert "Written" in capsys.readouterr().out
        return
    if module == "alignlab.benchmark":
        if "run=runs/demo" in arguments:
            make_run(tmp_path)
        capsys.readouterr()
        assert alignlab.benchmark.main([*arguments, *FEW[" ".join(arguments)]]) == 0
        assert "Written" in capsys.readouterr().out
        return
    if module == "alignlab.evaluate":
        make_run(tmp_path)
        data = public_files.make(tmp_path / "public")
        arguments = [argument.replace("FOLDER", str(data)) for argument in arguments]
        config = next((argument for argument in arguments if argument.startswith("config=")), "")
        written, read = TASKS[config]
        few = [f"tasks.{task}.{key}" for task in written for key in ("max_texts=2", "max_new_tokens=4")]
        few += [f"tasks.{task}.max_texts=2" for task in read]
        if config == "config=evaluate_interventions":  # the checkpoint at step 150 is not this run's
            few += [f"interventions.{name}.found_at=1" for name in ("zh-off", "sw-off")]
        capsys.readouterr()
        assert alignlab.evaluate.main([*arguments, *few]) == 0
        assert "Written" in capsys.readouterr().out
        return
    if module == "alignlab.study":
        few = ["trainer.max_steps=1", "probe.source.count=2", "data.train.count=4", "evaluation=null"]
        assert alignlab.study.main([*arguments, "seeds=[0]", *(f"cell.set.{one}" for one in few)]) == 0
        assert "Written" in capsys.readouterr().out
        return
    if module == "alignlab.prepare":
        kind, *rest = arguments
        asked = rest if kind == "responses" else ["config=prepare_demo"]
        few = ["source.count=4", "samples=3", "temperature=1.5", "max_new_tokens=64"]
        assert alignlab.prepare.main(["responses", *asked, *few]) == 0
        assert kind == "responses" or alignlab.prepare.main(arguments) == 0
        assert "Written" in capsys.readouterr().out
        return
    if module == "alignlab.intervene":
        shutil.copytree(request.getfixturevalue("run_of_some_steps"), tmp_path / "runs/demo")
        assert alignlab.intervene.main([*arguments, *LITTLE]) == 0
        said = capsys.readouterr().out
        assert "Written" in said or "This was a dry run" in said
        return
    assert module == "alignlab.train"
    if "config=configs/local_files.yaml" in arguments:
        make_texts(tmp_path)
        named = {"FOLDER": "QAlign/data/gsmtrans/gsm8kinstruct_question", "TEXTS": "texts"}
        for placeholder, path in named.items():
            arguments = [argument.replace(f"={placeholder}", f"={path}") for argument in arguments]
        arguments += ["trainer.max_steps=1", "wandb.mode=disabled", "probe.max_texts=2"]
    elif arguments and "--help" not in arguments:
        arguments = [argument.replace("=MODEL", f"={DEMO_FOLDER}") for argument in arguments] + SMALL
    if "trainer.devices=2" in arguments:  # with two real processes: tests/distributed
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
    assert (tmp_path / "runs/ranks/finished.json").is_file()


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
    """A few lines of text: laid out as in the repository that the README names, and a folder of one file a language."""
    pairs = root / "QAlign/data/gsmtrans/gsm8kinstruct_question"
    for code in ("de", "sw", "zh"):
        (pairs / f"{code}-en").mkdir(parents=True)
        (pairs / f"{code}-en/train.{code}").write_text(f"{code} eins\n{code} zwei\n" * 20, encoding="utf-8")
        (pairs / f"{code}-en/train.en").write_text("one\ntwo\n" * 20, encoding="utf-8")
    (root / "texts").mkdir()
    for code in ("de", "en", "sw", "th"):
        (root / f"texts/{code}.txt").write_text(f"Text in {code}.\nUnd noch einer.\n", encoding="utf-8")


def test_the_layout_that_is_shown_is_the_one_that_is_read(tmp_path: Path) -> None:
    make_texts(tmp_path)
    shown = re.findall(r"data\.root/(\S+)", TRAINING)
    root = tmp_path / "QAlign/data/gsmtrans/gsm8kinstruct_question"
    assert sorted(shown) == sorted(path.relative_to(root).as_posix() for path in root.rglob("train.*"))


def test_every_word_of_the_tracker_s_table_is_explained() -> None:
    for kind in COUNTED_KINDS:
        assert f"**{kind.label}**" in README
    for column in {name for name in TABLE_HEADER if name and name not in ("kind", "change")} - {""}:
        assert f"*{column}*" in README, column


def make_run(folder: Path) -> None:
    """What the commands that ask again read: two runs of two snapshots, and published files."""
    for name in ("demo", "other"):
        argv = ["config=demo", f"run.name={name}", *SMALL, "probe.shards=2", "trainer.max_steps=1"]
        assert alignlab.train.main(argv) == 0
    checkpoints = folder / "runs/demo/checkpoints"
    shutil.copytree(checkpoints / "step-000001", checkpoints / "step-000150")
    counts = ActivationCounts.load(folder / "runs/demo/neurons/step-000001.safetensors")
    save_ternary_counts(counts, folder / "published", "train.demo")
