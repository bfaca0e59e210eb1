"""What `import alignlab` gives: by name, and only when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import alignlab


@pytest.mark.parametrize("name", alignlab.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(alignlab, name).__name__ == name
    assert name in dir(alignlab)


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="module 'alignlab' has no attribute 'nothing'"):
        _ = alignlab.nothing  # type: ignore[attr-defined]


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, alignlab; sys.exit(bool({'torch', 'transformers', 'lightning', 'pandas'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
