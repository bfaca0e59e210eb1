"""The wheel holds all that the main job needs: configs, the demo model, the word problems."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = "import alignlab, pathlib; print(pathlib.Path(alignlab.__file__).parents[1])"


@pytest.mark.slow
def test_the_installed_wheel_runs_the_demo_outside_the_repository(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = tmp_path / "built"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = built.glob("alignlab-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("configs/demo.yaml", "configs/base/question_translation.yaml", "assets/demo_model/model.safetensors",
        "reporting/page/page.html", "reporting/page/page.css", "reporting/page/page.js"):  # fmt: skip
        assert f"alignlab/{name}" in names
    assert not [name for name in names if "test" in name.lower() or name.endswith(".pyc")]
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True, capture_output=True
    )
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert where.stdout.strip() == str(site)
    command = [
        sys.executable, "-m", "alignlab.train", "config=demo", "trainer.max_steps=2", "probe.max_texts=2",
        "probe.source.count=2", "data.train.count=8", "data.examples_per_step=4", "wandb.mode=offline",
        "evaluation=null",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs" / "demo" / "finished.json").is_file()
