"""`${data.root}/x`: a value made of other values, by OmegaConf, with the file and line of what cannot be resolved.

Every string that holds `${` is tried on its own first: one bad string would stop OmegaConf for the whole tree. Other
strings pass through untouched. Of OmegaConf's functions only `${oc.env:NAME}` is allowed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alignlab.errors import Problem

from .completion import Chosen, Member, Setting, settings
from .schema import NAME, Section, keys_of
from .suggestions import suggest
from .tree import Branch, Tree, from_plain, plain
from .values import MismatchError, convert, show

_MARK = "${"
_CALL = re.compile(r"\$\{\s*(?!oc\.env\s*:)[\w.]+\s*:")
_UNSET = re.compile(r"Environment variable '(.*)' not found")
_WHOLE = re.compile(r"^\$\{[^${}]*\}$")
_MISSING = re.compile(r"Interpolation key '(.*?)' not found(?: \(resolved to '(.*)'\))?")


def interpolate(root: Chosen, schema: Section) -> tuple[Chosen, list[Problem]]:
    """The sections with every interpolation resolved; a setting that cannot be resolved is left out."""
    made = [setting for setting in settings(root) if _is_made(setting.tree)]
    faults = {setting.key: _grammar_fault(setting) for setting in made}
    unfit = {setting.key for setting in settings(root) if setting.key not in faults and not _fits(setting)}
    values = _values(root, faults, unfit)
    resolver = _Resolver(OmegaConf.create(values), OmegaConf.create(_as_text(values)), schema, faults, unfit)
    resolved = {setting.key: resolver.setting(setting) for setting in sorted(made, key=_is_whole)}
    return _replaced(root, resolved), resolver.problems + resolver.unexplained()


@dataclass
class _Resolver:
    """`values` are taken as they are, `parts` as pieces of a longer text. `unfit` keys have a problem of their own.

    causes: what was found to be missing; what is mended in one place is told once.
    echoes: what was missing in a value met on the way, with the problem, told only if no other problem tells of it.
    """

    values: DictConfig
    parts: DictConfig
    schema: Section
    faults: dict[str, str]
    unfit: set[str]
    problems: list[Problem] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    echoes: list[tuple[str, Problem]] = field(default_factory=list)

    def setting(self, setting: Setting) -> Tree | None:
        if self.faults[setting.key]:
            self.refuse(setting.key, setting.tree, self.faults[setting.key])
            return None
        return self.tree(setting.tree, tuple(setting.key.split(".")))

    def tree(self, tree: Tree, path: tuple[str, ...]) -> Tree | None:
        """The tree resolved, or None if a part of it cannot be."""
        if not _is_made(tree):
            return tree
        if isinstance(tree, Branch):
            children = {name: self.tree(child, (*path, name)) for name, child in tree.children.items()}
            sound = {name: child for name, child in children.items() if child is not None}
            return replace(tree, children=sound) if len(sound) == len(children) else None
        try:
            value = _at(self.values if _whole(tree) else self.parts, path)
            resolved = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except (OmegaConfBaseException, RecursionError) as error:
            self.refuse(".".join(path), tree, str(error).partition("\n")[0])
            return None
        made = from_plain(resolved, tree.origin)
        if not _is_made(made):  # what refers to this one gets the text that was made here
            _at(self.values, path[:-1])[path[-1]] = resolved
        return made

    def refuse(self, key: str, tree: Tree, reason: str) -> None:
        expected, fix, cause, once = "", "", "", False
        missing = _MISSING.match(reason)
        if missing:
            cause, other = missing[1], missing[2] or missing[1]
            once = other in set(keys_of(self.schema, sections=True))
            reason = f"{other!r} has no value" if once else f"there is no key {other!r}"
            fix = f"Set it with {other}=VALUE." if once else suggest(self.schema, other)
        elif _UNSET.search(reason):
            cause, once = _UNSET.findall(reason)[0], True
            reason, fix = f"the environment has no {cause}", "Set the variable."
        elif "Recursive" in reason or "recursion" in reason:
            reason = "it leads back to itself"
        else:
            expected = "${key} or ${oc.env:VARIABLE}"
        problem = Problem(tree.origin.where, f"{key} is {show(plain(tree))}, but {reason}", expected, fix)
        here = re.compile(rf"(?<![\w.]){re.escape(cause)}(?![\w.])" if cause else "")
        if any(here.search(text) for text in _texts(tree)):
            self.problems += [] if cause in self.unfit or (once and cause in self.causes) else [problem]
            self.causes.add(cause)
        else:
            self.echoes.append((cause, problem))

    def unexplained(self) -> list[Problem]:
        return [problem for cause, problem in self.echoes if cause not in self.causes | self.unfit]


def _replaced(chosen: Chosen, resolved: dict[str, Tree | None]) -> Chosen:
    members: dict[str, Member] = {}
    for name, member in chosen.members.items():
        if isinstance(member, Chosen):
            members[name] = _replaced(member, resolved)
        elif isinstance(member, Setting) and member.key in resolved:
            tree = resolved[member.key]
            if tree is not None:
                members[name] = replace(member, tree=tree)
        else:
            members[name] = member
    return replace(chosen, members=members)


def _at(values: Any, path: tuple[str, ...]) -> Any:
    return functools.reduce(lambda inner, part: inner[part], path, values)


def _whole(tree: Tree) -> bool:
    """Whether every interpolation is a value of its own, not a piece of a longer text."""
    return all(_WHOLE.match(text) for text in _texts(tree) if _MARK in text)


def _is_whole(setting: Setting) -> bool:
    return _whole(setting.tree)


def _fits(setting: Setting) -> bool:
    try:
        convert(setting.tree, setting.option.hint)
    except MismatchError:
        return False
    return True


def _is_made(tree: Tree) -> bool:
    """Whether a tree holds an interpolation (or an escaped one, `\\${`)."""
    return any(_MARK in text for text in _texts(tree))


def _texts(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Branch):
        for child in tree.children.values():
            yield from _texts(child)
    elif isinstance(tree.value, list):
        for item in tree.value:
            yield from _texts(item)
    elif isinstance(tree.value, str):
        yield tree.value


def _grammar_fault(setting: Setting) -> str:
    """Why an interpolation cannot be read, or an empty string."""
    for text in _texts(setting.tree):
        call = _CALL.search(text)
        if call:
            return f"{call[0] + '...}'!r} is not allowed"
        try:
            OmegaConf.create({"text": text})
        except OmegaConfBaseException:
            return "its ${...} cannot be read"
    return ""


def _as_text(values: dict[str, Any]) -> dict[str, Any]:
    """Values as pieces of text: null is none, and booleans are written as in YAML (Python's own would be `True`)."""
    pieces = {
        key: _as_text(value) if isinstance(value, dict) else show(value) if isinstance(value, bool) else value
        for key, value in values.items()
    }
    return {key: value for key, value in pieces.items() if value is not None}


def _values(chosen: Chosen, faults: dict[str, str], unfit: set[str]) -> dict[str, Any]:
    """The plain values interpolations may take, those of settings that fit their type already converted."""
    values: dict[str, Any] = {} if chosen.name is None else {NAME: chosen.name}
    for name, member in chosen.members.items():
        if isinstance(member, Chosen):
            values[name] = _values(member, faults, unfit)
        elif isinstance(member, Setting) and member.key not in faults and member.key not in unfit:
            values[name] = convert(member.tree, member.option.hint)
        elif isinstance(member, Setting) and faults.get(member.key) == "":
            values[name] = plain(member.tree)
    return values
