"""A grid that was begun before there were some of the options goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from alignlab.config import to_yaml
from alignlab.errors import InputError
from alignlab.intervening.folder import GridFolder
from alignlab.intervening.options import InterveneOptions


def test_options_that_came_later_are_what_they_meant_before(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path / "grid")
    now = to_yaml(InterveneOptions(run="run"))
    later = ("sites", "group", "objects", "fallback", "labels", "beside")
    then = {name: value for name, value in yaml.safe_load(now).items() if name not in later}
    folder.begin(yaml.safe_dump(then), {})
    folder.parts.path.mkdir()
    (folder.parts.path / "part-work-000000.jsonl").write_text("")
    assert folder.start(now) == "continue"
    with pytest.raises(InputError, match="different are group"):
        folder.start(to_yaml(InterveneOptions(run="run", group="unseen")))
