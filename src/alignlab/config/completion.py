"""A tree of settings laid over the schema: variants picked by name, defaults filled in, unknown keys refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from alignlab.errors import Problem, did_you_mean

from .declare import REQUIRED, Option
from .schema import NAME, Field, Section, Variants, child_names
from .suggestions import nearest, suggest
from .tree import DEFAULT, Branch, Leaf, Tree, from_plain, leaves, merge, plain
from .values import expectation, is_text, show


@dataclass(frozen=True)
class Setting:
    """An option and what it is set to."""

    key: str
    option: Option
    tree: Tree


@dataclass(frozen=True)
class Absent:
    """A section that is null."""

    key: str
    where: str


@dataclass(frozen=True)
class Chosen:
    """A section that is there: its dataclass, the name that picked it (and where that was set), and its members."""

    key: str
    config: type
    where: str
    members: dict[str, Member]
    name: str | None = None
    named: str = ""


Member: TypeAlias = Setting | Absent | Chosen


def settings(member: Member) -> Iterator[Setting]:
    """Every setting at or below a member."""
    if isinstance(member, Setting):
        yield member
    elif isinstance(member, Chosen):
        for below in member.members.values():
            yield from settings(below)


@dataclass
class Completion:
    """Completes trees against `root` and gathers the problems. A field with a problem is left out of its section."""

    root: Section
    problems: list[Problem] = field(default_factory=list)

    def section(self, schema: Section, tree: Branch, key: str = "") -> Chosen:
        members: dict[str, Member] = {}
        for part, below in schema.fields.items():
            try:
                members[part] = self._member(below, tree.children.get(part), _join(key, part))
            except _RefusedError as refused:
                self.problems.append(refused.problem)
        for part, child in tree.children.items():
            if part not in schema.fields:
                self._unknown(schema, key, part, child)
        return Chosen(key, schema.config, tree.origin.where, members)

    def _member(self, schema: Field, tree: Tree | None, key: str) -> Member:
        if isinstance(schema, Option):
            return self._setting(schema, tree, key)
        if tree is None:
            there = schema.present if isinstance(schema, Section) else schema.default is not None
            tree = Branch({}, DEFAULT) if there else Leaf(None, DEFAULT)
        if isinstance(tree, Branch):
            return self.section(schema, tree, key) if isinstance(schema, Section) else self._variant(schema, tree, key)
        if tree.value is None and not tree.fault and (schema.optional or tree.origin == DEFAULT):
            return Absent(key, tree.origin.where)
        value, fix = plain(tree), ""
        if isinstance(schema, Variants) and isinstance(value, str) and value in schema.choices:
            fix = f"Write {key}.{NAME}={value}."
        expected = "a section with " + _keys(child_names(schema), key)
        raise _RefusedError(Problem(tree.origin.where, f"{key} is {show(value)}", expected, fix))

    def _setting(self, option: Option, tree: Tree | None, key: str) -> Setting:
        if tree is not None and tree.text is not None and is_text(option.hint) and _is_no_scalar(tree):
            tree = Leaf(tree.text, tree.origin)
        if option.default is not REQUIRED:
            default = from_plain(option.default, DEFAULT)
            tree = default if tree is None else merge(default, tree)
        elif tree is None:
            expected = f"{expectation(option)}: {option.meaning}"
            raise _RefusedError(Problem(key, "not set", expected, f"Set it with {key}=VALUE."))
        if option.keys is not None and isinstance(tree, Branch):
            tree = replace(tree, children=self._known(tree, sorted(option.keys()), key))
        return Setting(key, option, tree)

    def _known(self, tree: Branch, allowed: list[str], key: str) -> dict[str, Tree]:
        """The children of a free-form mapping that it may have; the others are refused."""
        for part, child in tree.children.items():
            if part not in allowed:
                near = nearest(part, allowed)
                fix = f"Did you mean {_join(key, near)!r}?" if near else ""
                expected = "" if near else _keys(allowed, key)
                self.problems.append(Problem(child.origin.where, _no_key(_join(key, part), child), expected, fix))
        return {part: child for part, child in tree.children.items() if part in allowed}

    def _variant(self, schema: Variants, tree: Branch, key: str) -> Chosen:
        dotted = _join(key, NAME)
        choices = "one of " + ", ".join(repr(choice) for choice in schema.choices)
        leaf = tree.children.get(NAME)
        if leaf is None and not isinstance(schema.default, str):
            raise _RefusedError(
                Problem(dotted, "not set", f"{choices}: {schema.meaning}", f"Set it with {dotted}=NAME.")
            )
        name = schema.default if leaf is None else plain(leaf)
        if not isinstance(name, str) or name not in schema.choices:
            where = DEFAULT.where if leaf is None else leaf.origin.where
            near = did_you_mean(name, schema.choices) if isinstance(name, str) else ""
            raise _RefusedError(Problem(where, f"{dotted} is {show(name)}", choices, near))
        chosen = schema.choices[name]
        kept = {}
        for part, child in tree.children.items():
            owners = [other for other in schema.choices if part in schema.choices[other].fields]
            if name in owners or (not owners and part != NAME):
                kept[part] = child
            elif part != NAME and not _switched_off(schema, leaf, child, owners):
                found = _no_key(_join(key, part), child, f" where {dotted} is {name!r}")
                expected = _keys(list(chosen.fields), key)
                self.problems.append(
                    Problem(child.origin.where, found, expected, f"It belongs to {dotted}={owners[0]}.")
                )
        section = self.section(chosen, replace(tree, children=kept), key)
        return replace(section, name=name, named=DEFAULT.where if leaf is None else leaf.origin.where)

    def _unknown(self, schema: Section, section: str, part: str, tree: Tree) -> None:
        """Refuse a key; a mapping with a single key in it is named by that key."""
        key = _join(section, part)
        below = list(leaves(tree, key))
        if len(below) == 1:
            key, tree = below[0]
        fix = suggest(self.root, key)
        if "." in part:
            fix = f"In a file, write the parts of {part!r} one below the other: a section, and the key in it."
        expected = "" if fix else _keys(list(schema.fields), section)
        self.problems.append(Problem(tree.origin.where, _no_key(key, tree), expected, fix))


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _switched_off(schema: Variants, name: Tree | None, child: Tree, owners: list[str]) -> bool:
    """Whether a key was right for the variant that its own layer saw, and a higher layer has switched that off."""
    if not isinstance(name, Leaf):
        return False
    rank = max(leaf.origin.rank for _, leaf in leaves(child))
    seen: Leaf | None = name
    while seen is not None and seen.origin.rank > rank:
        seen = seen.below
    return (schema.default if seen is None else seen.value) in owners


def _is_no_scalar(tree: Tree) -> bool:
    return isinstance(tree, Branch) or isinstance(tree.value, list) or bool(tree.fault)


def _no_key(key: str, tree: Tree, condition: str = "") -> str:
    value = "" if isinstance(tree, Branch) else f" (set to {show(plain(tree))})"
    return f"there is no key {key!r}{condition}{value}"


def _join(key: str, part: str) -> str:
    return f"{key}.{part}" if key else part


def _keys(names: list[str], key: str) -> str:
    return ("one of " + ", ".join(_join(key, name) for name in names)) if names else "no keys"
