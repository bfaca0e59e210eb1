"""The benchmark for a GPU runs every line on a processor, and says so where there is none."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from .scripts_as_modules import SCRIPTS


def rows(*arguments: str) -> list[list[str]]:
    command = [sys.executable, SCRIPTS / "bench.py", "--only", "m", "--rounds", "1", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.strip("| \n").split(" | ") for line in done.stdout.splitlines() if line.startswith("| (m)")]


@pytest.mark.slow
def test_without_a_gpu_one_row_says_what_would_be_measured() -> None:
    (row,) = rows()
    assert "needs a GPU" in row[-1]
    if not torch.cuda.is_available():
        (row,) = rows("--device", "cuda")
        assert "torch finds no GPU here" in row[-1]


@pytest.mark.slow
def test_on_a_tiny_model_everything_runs_and_all_ways_count_the_same() -> None:
    found = rows("--quick")  # a way that counts otherwise would end it
    names = [row[0] for row in found]
    assert names[0].startswith("(m) counting pass")
    assert sum(name.startswith("(m) profile") for name in names) > 5
    assert names[-4:] == [
        "(m) eager > 0, masked, and a sum", "(m) product in bfloat16", "(m) bits, eight tokens a byte",
        "(m) torch.compile of the sum",
    ]  # fmt: skip
    for row in (found[0], *found[-4:-1]):
        assert re.fullmatch(r"\d+\.\d\d", row[4].strip()), row
