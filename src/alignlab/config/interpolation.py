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
_MARK = re.compile(r"\0(\d+)\0")  # no text of a layer has a NUL of its own

Faults = dict[Path, tuple[str, str]]


def interpolate(values: Any) -> tuple[Any, Faults]:
    """The values with every `${...}` resolved; by path the text of those that cannot be, which are None, and why."""
    faults: Faults = {}
    kept: list[tuple[Any, Path]] = []

    def marked(value: Any, path: Path) -> Any:
        """In place of what OmegaConf takes for missing, or puts into text as Python writes it, a mark."""
        if isinstance(value, str) and "${" in value and (reason := _unreadable(value)):
            faults[path], value = (value, reason), None
        if value is not None and not isinstance(value, bool) and value != "???":
            return value
        kept.append((value, path))
        return f"\0{len(kept) - 1}\0"

    def unmarked(value: Any, path: Path) -> Any:
        whole = _MARK.fullmatch(value) if isinstance(value, str) else None
        if whole:
            return kept[int(whole[1])][0]
        return _MARK.sub(written, value) if isinstance(value, str) else value

    def written(mark: re.Match[str]) -> str:
        value, path = kept[int(mark[1])]
        if value is None:
            raise InterpolationKeyError(f"Interpolation key '{dotted(path)}' not found")
        return value if isinstance(value, str) else show(value)

    def resolved(value: Any, path: Path) -> Any:
        if path in faults or not isinstance(value, str) or "${" not in value:
            return None if path in faults else value
        try:
            found = reduce(getitem, path, tree)
            return mapped(
                OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found, unmarked
            )
        except (OmegaConfBaseException, RecursionError) as error:
            faults[path] = value, str(error).partition("\n")[0]
            return None

    tree = OmegaConf.create(mapped(values, marked))
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
            reason, fix = f"{cause!r} has no value", f"Set it with {cause}=VALUE."
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
    except OmegaConfBaseException:
        return "its ${...} cannot be read"
    return f"{call[0] + '...}'!r} is not allowed" if call else ""
