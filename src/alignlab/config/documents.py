"""YAML text to a tree of settings with line numbers. Nothing is constructed from tags, so nothing can execute.

Scalars follow YAML 1.2: only `true` and `false` are booleans (`no` is Norwegian, `on` is a word), `1e-4` is a number,
dates and `1_000` are text. A key given twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from alignlab.errors import Problem

from .tree import Branch, Leaf, Origin, Tree

_DEEPEST = 30
_TAG = "tag:yaml.org,2002:"
RESOLVERS = (
    (_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (_TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    (_TAG + "int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    (
        _TAG + "float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    ),
)


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by RESOLVERS only."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


class YamlError(Exception):
    """The text is not YAML: `reason`, and `line`, `column` from 1 where they are known."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


def read_document(text: str, source: str, rank: int, *, numbered: bool = True) -> tuple[Tree | None, list[Problem]]:
    """The tree in `text` (None if there is nothing in it), and what is wrong with it; YamlError if it cannot be read.

    `numbered`: name lines in origins (`source:12`).
    """
    try:
        node = yaml.compose(text, _Loader)
        reader = _Reader(source, rank, numbered)
        return (None if node is None else reader.tree(node, node)), reader.problems
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise YamlError(f"the character {chr(int(error.character))!r} is not allowed in YAML", line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise YamlError(reason, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0) from error
    except RecursionError as error:
        raise YamlError(f"it is nested more than {_DEEPEST} deep") from error


@dataclass
class _Reader:
    source: str
    rank: int
    numbered: bool
    problems: list[Problem] = field(default_factory=list)
    depth: int = 0

    def origin(self, node: yaml.Node) -> Origin:
        return Origin(f"{self.source}:{node.start_mark.line + 1}" if self.numbered else self.source, self.rank)

    def tree(self, node: yaml.Node, key: yaml.Node) -> Tree:
        """The tree of a value; its origin is the line of its key."""
        origin = self.origin(key)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            with self.below(node):
                return Branch(self.children(node), origin)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            with self.below(node):
                return Leaf([self.tree(item, item) for item in node.value], origin)
        if isinstance(node, yaml.ScalarNode):
            try:
                value = _scalar(node.tag, node.value)
                return Leaf(value, origin, node.value if node.style is None and value is not None else None)
            except ValueError:
                pass
        self.problems.append(
            Problem(
                self.origin(node).where,
                f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed here",
                "plain values: text, numbers, true, false, null, lists and mappings",
            )
        )
        return Leaf(None, origin)

    @contextmanager
    def below(self, node: yaml.Node) -> Iterator[None]:
        if self.depth == _DEEPEST:
            mark = node.start_mark
            raise YamlError(f"it is nested more than {_DEEPEST} deep", mark.line + 1, mark.column + 1)
        self.depth += 1
        yield
        self.depth -= 1

    def children(self, node: yaml.MappingNode) -> dict[str, Tree]:
        children: dict[str, Tree] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(self.origin(key).where, "a key is a list or a mapping", "text as a key"))
            elif key.value in lines:
                found = f"the key {key.value!r} is set a second time"
                found += f", first on line {lines[key.value]}" if self.numbered else ""
                self.problems.append(Problem(self.origin(key).where, found, fix="Keep one of the two."))
            else:
                lines[key.value] = line
                children[key.value] = self.tree(value, key)
        return children


def _scalar(tag: str, text: str) -> Any:
    """The value of a scalar; ValueError for a tag that is not a plain value or does not fit the text."""
    kind = tag.removeprefix(_TAG)
    if kind == "str" or tag == "!":
        return text
    if not any(tag == known and pattern.match(text) for known, pattern, _ in RESOLVERS):
        raise ValueError(tag)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text, base)
    except ValueError:  # Python refuses integers of thousands of digits
        return text
