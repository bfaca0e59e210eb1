"""Layers of settings laid over one another and over what options declare."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from alignlab.errors import MOST, Problem

from .declare import NAME
from .documents import COMMAND_LINE, Node, merged
from .schema import ABSENT, Field, Path, did_you_mean_key, dotted, one_of, show


@dataclass
class Settings:
    """All layers as one, and what is wrong with them.

    refused: the keys about which that is.  under: the key of the user's own config in which these keys are set.
    """

    schema: Field
    root: Node = field(default_factory=lambda: Node({}))
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)
    under: str = ""

    def given_as(self, key: str) -> str:
        """A dotted key as the user sets it."""
        return f"{self.under}.{key}" if self.under else key

    def trail(self, path: Path) -> list[Node]:
        """The nodes from the root to a key, or to what is set of it: to the text `${data}`, or to nothing."""
        nodes = [self.root]
        for part in path:
            below: Any = nodes[-1].value
            within = part in below if isinstance(below, dict) else isinstance(below, list)
            if not within:
                break
            nodes.append(below[part])
        return nodes

    def at(self, path: Path) -> Node:
        """What was set there."""
        nodes = self.trail(path)
        return nodes[-1] if len(nodes) > len(path) else Node(ABSENT)

    def refuse(self, path: Path, found: str, expected: str = "", fix: str = "", *, where: str = "") -> None:
        """A problem with a key; where: in place of where it was set, or what it stands in if that is one value."""
        self.problems.append(Problem(where or self.trail(path)[-1].where, found, expected, fix))
        self.refused.add(path)

    def lay(self, layer: Sequence[Node]) -> None:
        """A layer, given in one or more parts, over those that are there; unknown keys are refused."""
        for part in layer:
            self._check_names(self.schema, part, self.root)
        self.root = replace(reduce(merged, layer, self.root), where="default")
        for part in layer:
            self._check(self.schema, part, self.root)

    def inherit(self) -> None:
        """Lay what sections set over what is set at the top, once all layers are there."""
        for key, member in self.schema.members.items():
            sections = self.root.value[key].value if member.inherits and key in self.root.value else None
            for section in sections.values() if isinstance(sections, dict) else ():
                if isinstance(section.value, dict):
                    section.value = merged(self._top(member), section).value

    def inherited(self, path: Path) -> Path | None:
        """The key at the top from which a key in a section has its value, or would have it; None if it has its own."""
        member = self.schema.members.get(str(path[0])) if len(path) > 2 else None
        if member is None or path[2] not in member.inherits:
            return None
        own, top = self.trail(path), self.trail(path[2:])
        return path[2:] if len(own) <= len(path) or own[-1] is top[-1] else None

    def _top(self, field: Field) -> Node:
        """What is set at the top for the keys that the sections of a field inherit."""
        return Node({name: self.root.value[name] for name in field.inherits if name in self.root.value})

    def _check(self, field: Field, layer: Node, whole: Node, path: Path = (), below: Node | None = None) -> None:
        """below: what the section inherits."""
        if not isinstance(layer.value, dict) or not (field.choices or field.each):
            return
        values = whole.value if isinstance(whole.value, dict) else {}  # a later part of the layer may have replaced it
        if field.each is not None:
            for key, node in layer.value.items():
                self._check(field.each, node, values.get(key, Node(None)), (*path, key), self._top(field))
            return
        under = below.value if below is not None and isinstance(below.value, dict) else {}
        known = field.choices.get(str(_name(field, under | values)), {})
        for key, node in layer.value.items():
            if key in field.members:
                child = values.get(key, Node(None))
                child.foreign = key not in known and key != NAME
                self._check(field.members[key], node, child, (*path, key), under.get(key))
            elif len(self.problems) < MOST:
                self._refuse_unknown(field, (*path, key), node)
            else:  # only counted: the nearest of many keys takes its time
                self.refuse((*path, key), "there is no such key", where=node.where)

    def _check_names(self, field: Field, given: Node, before: Node, path: Path = ()) -> None:
        """Refuse a section that the command line would add beside others of which one has nearly its name.

        before: what layers below have set.
        """
        if not isinstance(given.value, dict) or not isinstance(before.value, dict):
            return
        for key, node in given.value.items():
            if field.each is not None and key not in before.value and given.where == COMMAND_LINE:
                if near := _mistyped(str(key), [*map(str, before.value)]):
                    fix = f"Did you mean {near!r}? To add one of that name write it in a file."
                    found = f"there is no {show(dotted((*path, key)))}"
                    self.refuse((*path, key), found, "", fix, where=COMMAND_LINE)
            elif (below := field.below(str(key))) is not None and key in before.value:
                self._check_names(below, node, before.value[key], (*path, key))

    def _refuse_unknown(self, field: Field, path: Path, node: Node) -> None:
        """A mapping with one key in it is named by that key."""
        below = path
        while isinstance(node.value, dict) and len(node.value) == 1:
            ((key, node),) = node.value.items()
            below = (*below, key)
        found = f"there is no key {show(dotted(below))}"
        found += "" if isinstance(node.value, dict) else f" (set to {show(node.plain())})"
        fix = did_you_mean_key(self.schema, dotted(below))
        if "." in str(path[-1]):
            fix = f"In a file, write the parts of {show(path[-1])} one below the other: a section, and the key in it."
        self.refuse(below, found, "" if fix else one_of(path[:-1], field.members), fix, where=node.where)


def complete(field: Field, node: Node) -> Any:
    """The plain value with all defaults filled in, or ABSENT. Keys that the name of a higher layer switched off go."""
    default = Node.of({} if field.choices and field.default is ABSENT else field.default)
    node = default if node.value is ABSENT else merged(default, node)
    if field.each is not None and isinstance(node.value, dict):
        return {key: complete(field.each, child) for key, child in node.value.items()}
    name = _name(field, node.value) if isinstance(node.value, dict) else ABSENT
    fields = field.choices.get(str(name))
    if fields is None:
        return node.plain()
    values = {NAME: name} if field.by_name else {}
    values |= {part: child.plain() for part, child in node.value.items() if child.foreign and part not in fields}
    values |= {part: complete(child, node.value.get(part, Node(ABSENT))) for part, child in fields.items()}
    return {part: value for part, value in values.items() if value is not ABSENT}


def _name(field: Field, section: Mapping[str, Node]) -> Any:
    """The name that picks the choice of a section, ABSENT if there is none."""
    if not field.by_name:
        return ""
    return section[NAME].plain() if NAME in section else field.members[NAME].default


def _mistyped(name: str, names: Sequence[str]) -> str:
    """Of the names the one that this is a slip of: the same letters, or nearly; short names are alike by chance."""
    turned = [one for one in names if sorted(one) == sorted(name)]
    return next(iter([*turned, *difflib.get_close_matches(name, names, n=1, cutoff=0.75)]), "")
