"""One small run for all tests of `alignlab.evaluate`; they copy it before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run."""
    return small_run.make(tmp_path_factory.mktemp("evaluated") / "run")
