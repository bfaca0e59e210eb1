"""`${data.root}/x`: a value made of other values, by OmegaConf; of its functions only `${oc.env:NAME}` is allowed."""

from __future__ import annotations

import re
from functools import reduce
from operator import getitem
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from .documents import mapped
from .schema import Path, did_you_mean_key, dotted, keys_of, show
from .settings import Settings

_CALL = re.compile(r"\$\{\s*(?!oc\.env\s*:)[\w.]+\s*:")
_LACKING = re.compile(
    r"Interpolation key '(.*?)' not found|.*Error trying to access ([\w.]+):|.*variable '(.*)' not found"
)

Faults = dict[Path, tuple[str, str]]


class _Kept:
    """A value that OmegaConf takes for missing, or puts into text as Python writes it; as text it is as in YAML."""

    def __init__(self, value: Any, path: Path) -> None:  # a dataclass would be a section to OmegaConf
        self.value, self.path = value, path

    def __str__(self) -> str:
        if self.value is None:
            raise InterpolationKeyError(f"Interpolation key '{dotted(self.path)}' not found")
        return str(self.value) if isinstance(self.value, str) else show(self.value)


def interpolate(values: Any) -> tuple[Any, Faults]:
    """The values with every `${...}` resolved; by path the text of those that cannot be, which are None, and why."""
    faults: Faults = {}

    def kept(value: Any, path: Path) -> Any:
        if isinstance(value, str) and "${" in value and (reason := _unreadable(value)):
            faults[path], value = (value, reason), None
        return _Kept(value, path) if value is None or isinstance(value, bool) or value == "???" else value

    def resolved(value: Any, path: Path) -> Any:
        if path in faults or not isinstance(value, str) or "${" not in value:
            return None if path in faults else value
        try:
            found = reduce(getitem, path, tree)
            found = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
            return mapped(found, lambda value, path: value.value if isinstance(value, _Kept) else value)
        except (OmegaConfBaseException, RecursionError) as error:
            faults[path] = value, str(error).partition("\n")[0]
            return None

    tree = OmegaConf.create(mapped(values, kept), flags={"allow_objects": True})
    return mapped(values, resolved), faults


def refuse_unresolved(settings: Settings, faults: Faults) -> None:
    """A problem for each, told once where many values lack the same, of one that names it."""
    matches = {path: _LACKING.match(reason) for path, (_, reason) in faults.items()}
    causes = {path: match[match.lastindex or 0] if match else "" for path, match in matches.items()}
    named = {path: re.search(rf"\b{re.escape(causes[path])}\b", text) is not None for path, (text, _) in faults.items()}
    told = {dotted(path) for path in settings.refused} - {""}
    for path in sorted(faults, key=lambda path: not named[path]):
        (text, reason), cause, expected, fix = faults[path], causes[path], "", ""
        known = cause in keys_of(settings.schema)
        if cause in told and (known or not named[path]):
            continue
        told |= {cause} - {""}
        if "variable" in reason:
            reason, fix = f"the environment has no {cause}", "Set the variable."
        elif known:
            reason, fix = f"{cause!r} has no value", f"Set it with {settings.given_as(cause)}=VALUE."
        elif cause:
            reason, fix = f"there is no key {cause!r}", did_you_mean_key(settings.schema, cause)
        elif "ecursi" in reason:
            reason = "it leads back to itself"
        else:
            expected = "${key} or ${oc.env:VARIABLE}"
        settings.refuse(path, f"{dotted(path)} is {show(text)}, but {reason}", expected, fix)


def escaped(value: Any, path: Path) -> Any:
    """A value, whose `${` stands for itself when it is resolved."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _unreadable(text: str) -> str:
    """Why an interpolation cannot be read, or an empty string."""
    call = _CALL.search(text)
    try:
        OmegaConf.create({"text": text})
    except (OmegaConfBaseException, RecursionError):
        return "its ${...} cannot be read"
    return f"{call[0] + '...}'!r} is not allowed" if call else ""
