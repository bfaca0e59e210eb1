"""What a run is made with: asked of git without writing into its checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from alignlab.environment import _git_revision


def git(folder: Path, *command: str) -> str:
    own = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    said = subprocess.run(["git", "-C", str(folder), *own, *command], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def test_the_revision_of_a_checkout_is_asked_without_a_lock(tmp_path: Path) -> None:
    """git status writes its index anew where files look changed: killed meanwhile, it would leave the lock."""
    assert _git_revision(tmp_path) is None
    git(tmp_path, "init")
    file = tmp_path / "code.py"
    file.write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    os.utime(file, (1e9, 1e9))
    index = (tmp_path / ".git/index").read_bytes()
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert _git_revision(tmp_path) == commit
    assert (tmp_path / ".git/index").read_bytes() == index
    file.write_text("2\n")
    assert _git_revision(tmp_path) == f"{commit}+changes"
