"""YAML text to a tree of settings with line numbers, and back. Tags construct nothing, so nothing can execute.

Scalars follow YAML 1.2: only `true` and `false` are booleans (`no` is Norwegian, `on` is a word), `1e-4` is a number,
dates and `1_000` are text. A key given twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import yaml

from alignlab.errors import Problem

from .schema import Path, show

COMMAND_LINE = "command line"  # the one source without line numbers
_DEEPEST = 30
_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
# What a scalar without quotes and tag is: the first that matches, else text. Python refuses longer integers.
_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (
        r"[-+]?[0-9]{1,4000}|0o[0-7]{1,3000}|0x[0-9a-fA-F]{1,3000}",
        lambda text: int(text, 0 if text[1:2] in "ox" else 10),
    ),
    "float": (_FLOAT, lambda text: float(re.sub(r"\.(?=[inIN])", "", text))),
    "str": (r"(?s:.*)", str),
}
_FIXES = {
    "\0": "Save the file as UTF-8.",
    "\t": "Indent with spaces, not tabs.",
    "${": 'Inside [ ] or { }, put "${...}" in quotes.',
}  # by what is in the line
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is built in: ten times as fast


class _Loader(_Base):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's name for it)


class _Dumper(yaml.SafeDumper):
    """Quotes all text that YAML 1.1, or our own reader, would take for something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence(_TAG + "seq", data, flow_style=True))
for _kind, (_pattern, _) in _SCALARS.items():
    for _class in (_Loader, _Dumper) if _kind != "str" else ():
        _class.add_implicit_resolver(_TAG + _kind, re.compile(f"^({_pattern})$"), None)


@dataclass
class Node:
    """A setting: a scalar, a list of nodes or a mapping to nodes.

    where: where it was set, such as `configs/demo.yaml:12`. text: what was written, if not in quotes.
    fault: why the text is no YAML, if it is not (on the command line only).
    foreign: whether the section it is in had another name at the time, to which there is no such key.
    """

    value: Any
    where: str = "default"
    text: str | None = None
    fault: str = ""
    foreign: bool = False

    @classmethod
    def of(cls, plain: Any, where: str = "default") -> Node:
        if isinstance(plain, dict):
            return cls({key: cls.of(child, where) for key, child in plain.items()}, where)
        return cls([cls.of(item, where) for item in plain] if isinstance(plain, list) else plain, where)

    @classmethod
    def under(cls, keys: Sequence[str], plain: Any, where: str) -> Node:
        """A value below nested keys."""
        return reduce(lambda below, key: cls({key: below}, where), reversed(keys), cls.of(plain, where))

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value


def merged(lower: Node, upper: Node) -> Node:
    """Mappings merge key by key, all else is replaced. OmegaConf's own merge fails where a mapping replaces a list."""
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    both = {key: merged(lower.value[key], child) for key, child in upper.value.items() if key in lower.value}
    return Node(lower.value | upper.value | both, upper.where)


def mapped(value: Any, change: Callable[[Any, Path], Any], path: Path = ()) -> Any:
    """A copy of plain containers with all that is neither mapping nor list changed, which gets its path too."""
    if isinstance(value, dict):
        return {key: mapped(child, change, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [mapped(item, change, (*path, number)) for number, item in enumerate(value)]
    return change(value, path)


def write(plain: Any) -> str:
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def read(text: str, source: str) -> tuple[Node, list[Problem]]:
    """The document as a node, whose value is None if there is none, and all that is wrong with it."""
    reader, depth = _Reader(source, room=10 * len(text) + 100), 0
    try:
        for event in yaml.parse(text, _Loader):  # before it is composed, which recurs as deep as the text does
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise _error(event, f"it is nested more than {_DEEPEST} deep")
        node = yaml.compose(text, _Loader)
        return (Node(None, source) if node is None else reader.read(node)), reader.problems
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # the latter of what a terminal passes that is not UTF-8
        return Node(None), [_not_yaml(error, text, source)]


@dataclass
class _Reader:
    """room: for nodes. Each takes a character of its own, but for those that an alias (*name) repeats."""

    source: str
    room: int
    problems: list[Problem] = field(default_factory=list)

    def read(self, node: yaml.Node, line: int = 0, depth: int = 0) -> Node:
        """line: of the key above it. What an alias repeats is set where the alias is."""
        self.room -= 1
        if self.room < 0 or depth > _DEEPEST:
            raise _error(node, "its aliases repeat too much, or themselves")
        line = max(line, node.start_mark.line + 1)
        where = self.source if self.source == COMMAND_LINE else f"{self.source}:{line}"
        kind = node.tag.removeprefix(_TAG)
        pattern, construct = _SCALARS.get(kind, ("", None))
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return Node(self.mapping(node, line, depth), where)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return Node([self.read(item, line, depth + 1) for item in node.value], where)
        if not isinstance(node, yaml.ScalarNode) or construct is None or not re.fullmatch(pattern, node.value):
            found = f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed here"
            plain = "plain values: text, numbers, true, false, null, lists and mappings"
            self.problems.append(Problem(where, found, plain))
            return Node(None, where)
        if "\0" in node.value:
            self.problems.append(Problem(where, "a NUL character", "text without it"))
        value = construct(node.value)
        return Node(value, where, None if node.style or value is None else node.value)

    def mapping(self, node: yaml.MappingNode, line: int, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error(key, "a key is a list or a mapping; expected text as a key")
            name, where = key.value, self.read(key, line, depth).where
            if name == "<<" and not key.style:
                found = "a merge key (<<), which would copy the keys of another mapping to here"
                fix = "Write the keys themselves, or put them into a file of their own and name it in 'base:'."
                self.problems.append(Problem(where, found, "plain keys", fix))
                continue
            if name in children:
                fix = f"Keep one of the two; the first is at {children[name].where}."
                self.problems.append(Problem(where, f"the key {show(name)} is set a second time", fix=fix))
            children[name] = replace(self.read(child, max(line, key.start_mark.line + 1), depth + 1), where=where)
        return children


def _error(there: Any, reason: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=there.start_mark)


def _not_yaml(error: Exception, text: str, source: str) -> Problem:
    mark, position = getattr(error, "problem_mark", None), getattr(error, "position", 0)
    line = mark.line if mark else text.encode(errors="replace")[:position].count(b"\n")
    why = " ".join(filter(None, (getattr(error, name, None) for name in ("context", "problem", "reason"))))
    why = "it is not UTF-8" if isinstance(error, UnicodeEncodeError) else why
    written = [*text.split("\n"), ""][line]
    fix = next((fix for sign, fix in _FIXES.items() if sign in written), "")
    column = f":{mark.column + 1}" if mark else ""
    return Problem(f"{source}:{line + 1}{column}", f"not valid YAML: {why}", fix=fix)
