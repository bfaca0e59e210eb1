"""The examples in the docstrings of what `import alignlab` gives: each has one that runs."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import alignlab

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*tensorboardX",
)


@pytest.mark.parametrize("name", ["alignlab", *alignlab.__all__])
def test_the_example_of_every_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples write files
    entry = alignlab if name == "alignlab" else getattr(alignlab, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(entry, name, globs={})
    assert test.examples, f"the docstring of {name} has no example"
    assert not any(doctest.SKIP in example.options for example in test.examples)
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert not told, "".join(told)
