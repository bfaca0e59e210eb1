"""YAML text to a layer of settings with line numbers. Nothing is constructed from tags, so nothing can execute.

Scalars follow YAML 1.2: only `true` and `false` are booleans (`no` is Norwegian, `on` is a word), `1e-4` is a number,
dates and `1_000` are text. A key given twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from alignlab.errors import Problem

from .words import show

_DEEPEST = 30
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain values: text, numbers, true, false, null, lists and mappings"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
# What a scalar without quotes and tag is: the first that matches, else text. Python refuses longer integers.
SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    _TAG + "null": (re.compile(r"^(~|null|Null|NULL|)$"), lambda text: None),
    _TAG + "bool": (re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), lambda text: text.lower() == "true"),
    _TAG + "int": (
        re.compile(r"^([-+]?[0-9]{1,4000}|0o[0-7]+|0x[0-9a-fA-F]+)$"),
        lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    ),
    _TAG + "float": (re.compile(rf"^({_FLOAT})$"), lambda text: float(re.sub(r"\.(?=[inIN])", "", text))),
    _TAG + "str": (re.compile(""), str),
}
# libyaml where it is built in: ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Path = tuple[str | int, ...]


@dataclass
class Layer:
    """Settings as plain containers, with what else is known of them by path.

    origins: where each was set, such as `configs/demo.yaml:12`. texts: what was written, where it was not in quotes.
    faults: why a text is no YAML, if it is not (on the command line only).
    """

    values: Any = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of plain containers with every text in them changed."""
    if isinstance(value, dict):
        return {key: each_text(child, change) for key, child in value.items()}
    if isinstance(value, list):
        return [each_text(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def paths(value: Any) -> Iterator[Path]:
    """Of every key in nested mappings."""
    for key, child in value.items() if isinstance(value, dict) else ():
        yield (key,)
        yield from ((key, *below) for below in paths(child))


@dataclass
class Reader:
    """Reads `text` into `layer`, whose values are None for a text without any, and tells what is wrong in `problems`.

    It reads events, not nodes: nothing recurs deeper than `_DEEPEST`, and what an alias repeats is not copied.
    numbered: name lines in origins (`source:12`).
    """

    text: str
    source: str
    numbered: bool = True
    layer: Layer = field(default_factory=Layer)
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    size: int = 0

    def read(self) -> Layer:
        """The layer. Raises YAMLError for what is none."""
        self.events = yaml.parse(self.text, _Loader)
        values: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.NodeEvent):
                if values:
                    raise _error(event, "expected a single document but found another")
                values.append(self.value(event, ()))
        self.layer.values = values[0] if values else None
        return self.layer

    def origin(self, event: Any) -> str:
        return f"{self.source}:{event.start_mark.line + 1}" if self.numbered else self.source

    def value(self, event: Any, path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent):
            value, size = self.anchors.get(str(event.anchor), (None, 0))
            self.size += size
            # Every value takes a character of its own, but for those that an alias (*name) repeats.
            if not size or self.size > 10 * len(self.text) + 100:
                raise _error(event, "its aliases repeat too much" if size else f"there is no &{event.anchor} above")
            self.layer.origins |= {(*path, *below): self.origin(event) for below in paths(value)}
            return value
        if len(path) >= _DEEPEST and not isinstance(event, yaml.ScalarEvent):
            raise _error(event, f"it is nested more than {_DEEPEST} deep")
        before = self.size
        self.size += 1
        if event.tag not in (None, "!", _TAG + "map", _TAG + "seq", *SCALARS):
            self.refuse_tag(event)
        if isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                value.append(self.value(item, (*path, len(value))))
        else:
            value = self.scalar(event, path)
        if event.anchor:
            self.anchors[event.anchor] = value, self.size - before
        return value

    def mapping(self, path: Path) -> dict[str, Any]:
        children: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _error(event, "a key is a list, a mapping or an alias; expected text as a key")
            key, origin = (*path, event.value), self.origin(event)
            if event.value in children:
                first = f", first at {self.layer.origins[key]}" * self.numbered
                found = f"the key {show(event.value)} is set a second time{first}"
                self.problems.append(Problem(origin, found, fix="Keep one of the two."))
            self.layer.origins[key] = origin
            children[event.value] = self.value(next(self.events), key)
        return children

    def scalar(self, event: Any, path: Path) -> Any:
        text, tag, plain = event.value, event.tag, event.implicit[0]
        if "\0" in text:
            self.problems.append(Problem(self.origin(event), "a NUL character", "text without it"))
        if tag in (None, "!"):
            tag = next(of for of, (shape, _) in SCALARS.items() if (plain and shape.match(text)) or of == _TAG + "str")
        shape, construct = SCALARS.get(tag, SCALARS[_TAG + "str"])
        if not shape.match(text):
            self.refuse_tag(event)
            return None
        value = construct(text)
        if plain and value is not None:
            self.layer.texts[path] = text
        return value

    def refuse_tag(self, event: Any) -> None:
        found = f"the tag {event.tag.replace(_TAG, '!!')!r} is not allowed here"
        self.problems.append(Problem(self.origin(event), found, _PLAIN))


def _error(event: Any, reason: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)
