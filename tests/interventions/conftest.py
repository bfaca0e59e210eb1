"""What tests of interventions share: a model of every family, and statistics of its activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignlab.models.options import SiteName
from alignlab.models.sites import find_sites
from alignlab.recording.means import ActivationMeans, record_means

from ..models.conftest import make as make  # a fixture
from ..recording.test_tallies import make_probe

MeansOf = Callable[[Any, SiteName], ActivationMeans]


@pytest.fixture
def means_of(tmp_path: Path) -> MeansOf:
    """means_of(model, at): the record of a model's means at a site, over random texts in en and sw."""

    def record(model: Any, at: SiteName) -> ActivationMeans:
        return record_means(model, find_sites(model, at), make_probe(60), tmp_path / f"means of {at}")

    return record
