"""`${data.root}/x`: a value made of other values, by OmegaConf; of its functions only `${oc.env:NAME}` is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .documents import Path, each_text
from .layers import Settings
from .schema import Field, keys_of
from .words import did_you_mean_key, dotted, show

_CALL = re.compile(r"\$\{\s*(?!oc\.env\s*:)[\w.]+\s*:")
_WHOLE = re.compile(r"^\$\{[^${}]*\}$")
_LACKING = re.compile(
    r"Interpolation key '(.*?)' not found|.*Error trying to access ([\w.]+):|.*variable '(.*)' not found"
)

Faults = dict[Path, tuple[str, str]]


def interpolate(values: dict[str, Any]) -> Faults:
    """Resolve every `${...}` in `values`, in place. By path, the text of those that cannot be resolved, and why."""
    made = {path: text for path, text in _texts(values) if "${" in text}
    faults = {path: (text, reason) for path, text in made.items() if (reason := _unreadable(text))}
    for path in faults:
        put(values, path, None)
    wholes = OmegaConf.create(each_text(values, _guarded))
    pieces = OmegaConf.create(each_text(_as_text(values), _guarded))
    readable = [(bool(_WHOLE.match(text)), path) for path, text in made.items() if path not in faults]
    for whole, path in sorted(readable, key=lambda item: item[0]):
        try:
            value = _at(wholes if whole else pieces, path)
            value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except (OmegaConfBaseException, RecursionError) as error:
            faults[path] = made[path], str(error).partition("\n")[0]
            continue
        if not whole:  # what refers to this one gets the text that was made here
            put(wholes, path, escaped(str(value)))
        put(values, path, each_text(value, lambda text: text.replace("\0", "")))
    return faults


def refuse(settings: Settings, schema: Field, faults: Faults) -> None:
    """A problem for each, told once where many values lack the same, of one that names it."""
    told, lacking = {dotted(path) for path in settings.refused}, []
    for path, (text, reason) in faults.items():
        found = _LACKING.match(reason)
        cause = next(filter(None, found.groups())) if found else ""
        named = re.search(rf"(?<![\w.]){re.escape(cause)}(?![\w.])", text) is not None
        lacking.append((not named, path, cause))
    for unnamed, path, cause in sorted(lacking, key=lambda item: item[0]):
        text, reason = faults[path]
        known, expected, fix = cause in keys_of(schema), "", ""
        if cause in told and (known or unnamed):
            continue
        told |= {cause} - {""}
        if "variable" in reason:
            reason, fix = f"the environment has no {cause}", "Set the variable."
        elif cause:
            reason = f"{cause!r} has no value" if known else f"there is no key {cause!r}"
            fix = f"Set it with {cause}=VALUE." if known else did_you_mean_key(schema, cause)
        elif "ecursi" in reason:
            reason = "it leads back to itself"
        else:
            expected = "${key} or ${oc.env:VARIABLE}"
        settings.refuse(path, f"{dotted(path)} is {show(text)}, but {reason}", expected, fix)


def escaped(text: str) -> str:
    """Text in which `${` stands for itself when it is resolved."""
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)


def put(values: Any, path: Path, value: Any) -> None:
    _at(values, path[:-1])[path[-1]] = value


def _guarded(text: str) -> str:
    """Text that OmegaConf takes for text: `???` is no missing value to us. No text of a layer has a NUL of its own."""
    return "\0" + text if text == "???" else text


def _unreadable(text: str) -> str:
    """Why an interpolation cannot be read, or an empty string."""
    call = _CALL.search(text)
    try:
        OmegaConf.create({"text": text})
    except OmegaConfBaseException:
        return "its ${...} cannot be read"
    return f"{call[0] + '...}'!r} is not allowed" if call else ""


def _as_text(value: Any) -> Any:
    """Values as pieces of text: booleans as in YAML (Python's own would be `True`), and no null."""
    if isinstance(value, dict):
        return {key: _as_text(child) for key, child in value.items() if child is not None}
    return show(value) if isinstance(value, bool) else value


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _texts(child, (*path, key))


def _at(values: Any, path: Path) -> Any:
    return reduce(lambda inner, part: inner[part], path, values)
