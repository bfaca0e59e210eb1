"""A script as a module, for tests of what it does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1] / "scripts"
SIMULATIONS = SCRIPTS / "simulations"


def script_as_module(path: Path) -> Any:
    """The module, by a name of its own: a script may be called as a module of the package is.

    As where it is run, what lies beside it can be imported.
    """
    name = f"script_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
