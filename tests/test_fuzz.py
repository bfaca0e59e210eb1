"""The fuzzers find nothing with a fixed seed, and would find what there was to be found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from alignlab.errors import InputError

FUZZ = Path(__file__).parents[1] / "scripts" / "fuzz"


def fuzzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FUZZ), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("cases", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_nothing_is_found(cases: int) -> None:
    done = fuzzed("--seed", "ci", "--cases", str(cases), "--minutes", "30")
    assert done.returncode == 0, done.stdout[-5000:]
    assert f"{cases:,} cases" in done.stdout
    assert "tracebacks 0, hangs 0, files outside the run 0, refusals without a message 0" in done.stdout


def raises(rng: Random) -> int:
    raise KeyError(str(rng))


def hangs(rng: Random) -> int:
    time.sleep(60)
    return 0


def writes_elsewhere(rng: Random) -> int:
    Path("lightning_logs").mkdir()
    return 0


def climbs(rng: Random) -> int:
    Path("../x").write_text("x")
    return 0


def is_silent(rng: Random) -> int:
    return 2


def dies(rng: Random) -> int:
    os.abort()


def refuses(rng: Random) -> int:
    raise InputError.of("here", "wrong")


def is_content(rng: Random) -> int:
    Path("runs/x").write_text("x")
    return 0


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        (raises, ["traceback"]),
        (hangs, ["hang"]),
        (writes_elsewhere, ["outside"]),
        (climbs, ["outside"]),
        (is_silent, ["no message"]),
        (dies, ["traceback"]),
        (refuses, []),
        (is_content, []),
    ],
)
def test_what_a_case_may_not_do_is_found(
    target: Callable[[Random], int], kinds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = modules(monkeypatch)["running"]
    found = running.run_case("x", target, "seed", 7, seconds=2.0)[1]
    assert [(one.kind, one.number) for one in found] == [(kind, 7) for kind in kinds]


def test_a_case_follows_from_its_seed_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    mutated = modules(monkeypatch)["mutations"].mutated
    tree = {"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}
    made = [[repr(mutated(Random(f"1 {number}"), tree)) for number in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 100
    assert tree == {"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}


def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The fuzzers' own modules, which lie beside no package."""
    monkeypatch.syspath_prepend(str(FUZZ))
    import mutations
    import running

    return {"mutations": mutations, "running": running}
