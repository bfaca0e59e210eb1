"""Secrets planted in the environment, in settings and in paths: none is in any file that is written, nor printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

import alignlab.analyze
import alignlab.report
import alignlab.train
from alignlab.errors import InputError

from .reporting.wandb_server import bare_environment

SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.max_texts=6", "probe.shards=3",
    "data.train.count=12", "data.examples_per_step=4", "wandb.mode=offline", "run.folder=run", "evaluation=null",
]  # fmt: skip
PLANTED = {
    "GITHUB_PAT": "planted-pat-0a1b2c",
    "DB_PASSWORD": "plantéd 'pass\\word\" +1/2",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "hf_PlantedPlantedPlanted0123456789",
    "SERVICE_CREDENTIALS": "credentials-0f9e8d",
}
# Not in the environment: known by their form.
LITERAL = {"url": "planted-url-password", "token": "ghp_PlantedPlantedPlantedPlanted01234567"}


def alignlab_verb(verb: str, *argv: str, folder: Path) -> tuple[int, str]:
    environment = bare_environment() | PLANTED | {"HOME": str(folder / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", f"alignlab.{verb}", *argv], cwd=folder, env=environment, capture_output=True, timeout=300
    )
    (folder / f"{verb}-{len(list(folder.glob('*.said')))}.said").write_bytes(done.stdout + done.stderr)
    return done.returncode, (done.stdout + done.stderr).decode()


def leaks(folder: Path) -> list[str]:
    """The files that hold a planted secret, as it is or as URLs and JSON write it."""
    written = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    found = []
    for name, secret in (PLANTED | LITERAL).items():
        forms = {secret, quote(secret), quote(secret, safe=""), secret.replace("\\", "\\\\").replace('"', '\\"')}
        found += [
            f"{name} in {path.relative_to(folder)}"
            for path, content in written.items()
            if "given" not in path.parts and any(form.encode() in content for form in forms)
        ]
    return found


@pytest.mark.slow
def test_no_file_and_no_line_holds_a_secret(tmp_path: Path) -> None:
    given = tmp_path / "given" / PLANTED["GITHUB_PAT"]
    given.mkdir(parents=True)
    for code in ("en", "de", "sw"):
        lines = "".join(f"Frage {number} in {code}?\tAntwort {number} {code}.\n" for number in range(6))
        (given / f"{code}.tsv").write_text(lines, encoding="utf-8")
    settings = [
        *SMALL,
        "probe.source.name=files", "probe.source.path=given/${oc.env:GITHUB_PAT}", "probe.source.answer=1",
        "data.prompts.system=${oc.env:DB_PASSWORD}",
        f"data.root=https://me:{LITERAL['url']}@example.org/{LITERAL['token']}",
        "probe.prompts.template=${oc.env:SERVICE_CREDENTIALS} {prompt}",
    ]  # fmt: skip
    status, said = alignlab_verb("train", *settings, folder=tmp_path)
    assert status == 0, said
    assert leaks(tmp_path) == []
    stored = (tmp_path / "run/config.yaml").read_text(encoding="utf-8")
    assert "given/<GITHUB_PAT hidden>" in stored
    assert "https://me:<password hidden>@example.org/<token hidden>" in stored
    (binary,) = (tmp_path / "run/wandb").rglob("*.wandb")
    assert b"given/<GITHUB_PAT hidden>" in binary.read_bytes()  # it is no compressed file, in which nothing is found

    # The same command again is the same run; so it is with another password.
    settings[-2] = f"data.root=https://me:other-password@example.org/{LITERAL['token']}"
    status, said = alignlab_verb("train", *settings, folder=tmp_path)
    assert (status, "finished" in said) == (0, True), said

    # A model in a folder with such a name, counted and compared.
    shutil.copytree(tmp_path / "run/checkpoints/step-000002", given / PLANTED["HF_TOKEN"])
    again = [
        f'models=["0","given/${{oc.env:GITHUB_PAT}}/{PLANTED["HF_TOKEN"]}"]', "log=true", "run=run", "intervals=ends",
        "resamples=3", "probe.source.path=given/${oc.env:GITHUB_PAT}",
        "probe.prompts.template=${oc.env:DB_PASSWORD} {prompt}",
    ]  # fmt: skip
    status, said = alignlab_verb("analyze", *again, folder=tmp_path)
    assert status == 0, said
    assert leaks(tmp_path) == []
    assert "<HF_TOKEN hidden>" in said
    assert list((tmp_path / "run/analysis/wandb").rglob("*.wandb"))
    status, said = alignlab_verb("report", "run=run", f"file=given/{LITERAL['token']}.html", folder=tmp_path)
    assert status == 0, said
    shutil.copy(tmp_path / f"given/{LITERAL['token']}.html", tmp_path / "page.html")
    assert leaks(tmp_path) == []
    assert "given/&lt;GITHUB_PAT hidden&gt;" in (tmp_path / "page.html").read_text(encoding="utf-8")

    # What the run hides is asked for where it is needed, and refused input says no secret either.
    asked_for = "${oc.env:GITHUB_PAT} in the place of <GITHUB_PAT hidden>"
    for verb, argv, expected in (
        ("analyze", ["run=run", "recount=true"], asked_for),
        ("train", ["config=run/config.yaml", "run.folder=new"], asked_for),
        ("train", [*SMALL, "model.source=./${oc.env:GITHUB_PAT}"], "model.source: ./<GITHUB_PAT hidden>: it holds a"),
        ("train", [*SMALL, "probe.source.path=./${oc.env:HF_TOKEN}", "probe.source.name=files", "run.folder=new",
                   "probe.source.languages=[en,de]"], "<HF_TOKEN hidden>: there is no such"),
        ("train", [*SMALL, f"model.dtype={PLANTED['SERVICE_CREDENTIALS']}"], "<SERVICE_CREDENTIALS hidden>"),
    ):  # fmt: skip
        status, said = alignlab_verb(verb, *argv, folder=tmp_path)
        assert status == 2, said
        assert expected in " ".join(said.split())
    assert leaks(tmp_path) == []
    assert not (tmp_path / "new").exists()


def test_names_that_hold_a_secret_are_refused_together_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_PAT", PLANTED["GITHUB_PAT"])
    argv = [
        "config=demo", "run.name=${oc.env:GITHUB_PAT}", "wandb.tags=[mine,'${oc.env:GITHUB_PAT}']",
        "wandb.entity=${oc.env:GITHUB_PAT}", f"wandb.project=p-{LITERAL['token']}",
    ]  # fmt: skip
    assert alignlab.train.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert PLANTED["GITHUB_PAT"] not in captured.err
    assert captured.err.strip().splitlines() == [
        f"{where}{key}: {shown}: it holds a secret; expected a name, which is written, shown and uploaded. "
        "Name it otherwise; W&B finds its key by itself, in WANDB_API_KEY or by `wandb login`."
        for where, key, shown in (
            ("command line: ", "run.name", "<GITHUB_PAT hidden>"),
            ("", "run.folder", "runs/<GITHUB_PAT hidden>"),  # its default, of the name
            ("command line: ", "wandb.project", "p-<token hidden>"),
            ("command line: ", "wandb.entity", "<GITHUB_PAT hidden>"),
            ("command line: ", "wandb.tags", "<GITHUB_PAT hidden>"),
        )
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_analysis_refuses_such_names_where_it_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_PAT", PLANTED["GITHUB_PAT"])
    argv = ["counts=none", "wandb.tags=['${oc.env:GITHUB_PAT}']", "folder=${oc.env:GITHUB_PAT}"]
    for log, keys in (("true", ["folder", "wandb.tags"]), ("false", ["folder"])):
        assert alignlab.analyze.main([*argv, f"log={log}", "wandb.mode=offline"]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert sorted(line.split(": ")[1] for line in said) == keys
        assert all("it holds a secret" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_a_dashboard_of_a_hidden_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("wandb: {project: <MY_TOKEN hidden>, entity: null}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"wandb\.project: <MY_TOKEN hidden>: the secret was hidden"):
        alignlab.report.dashboard(str(tmp_path), None)  # type: ignore[arg-type]
