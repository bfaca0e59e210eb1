"""Settings as they were written: a tree whose every node knows the file and line, or the layer, it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Origin:
    """Where something was set (`configs/demo.yaml:12`, `command line`) and how high that layer is."""

    where: str
    rank: int


DEFAULT = Origin("default", -1)


@dataclass(frozen=True)
class Leaf:
    """A scalar, or a list of trees.

    text: what was written, for an option that wants text where YAML sees a number.
    fault: why the text is not YAML, if it is not (on the command line only).
    below: what this leaf replaced in a lower layer.
    """

    value: Any
    origin: Origin
    text: str | None = None
    fault: str = ""
    below: Leaf | None = None


@dataclass(frozen=True)
class Branch:
    """A mapping."""

    children: dict[str, Tree]
    origin: Origin
    text: str | None = None


Tree: TypeAlias = Leaf | Branch


def merge(lower: Tree | None, upper: Tree) -> Tree:
    """`upper` over `lower`: mappings merge key by key, all else is replaced."""
    if isinstance(lower, Branch) and isinstance(upper, Branch):
        return merge_branches(lower, upper)
    if isinstance(lower, Leaf) and isinstance(upper, Leaf):
        return replace(upper, below=lower)
    return upper


def merge_branches(lower: Branch, upper: Branch) -> Branch:
    children = dict(lower.children)
    for key, child in upper.children.items():
        children[key] = merge(children.get(key), child)
    return replace(upper, children=children)


def plain(tree: Tree) -> Any:
    """The tree as dicts, lists and scalars."""
    if isinstance(tree, Branch):
        return {key: plain(child) for key, child in tree.children.items()}
    if isinstance(tree.value, list):
        return [plain(item) for item in tree.value]
    return tree.text if tree.fault else tree.value


def from_plain(value: Any, origin: Origin) -> Tree:
    """The reverse of `plain`, all of one origin; numbers can be read as text."""
    if isinstance(value, dict):
        return Branch({str(key): from_plain(child, origin) for key, child in value.items()}, origin)
    if isinstance(value, list):
        return Leaf([from_plain(item, origin) for item in value], origin)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Leaf(value, origin, text=str(value) if is_number else None)


def leaves(tree: Tree, key: str = "") -> Iterator[tuple[str, Tree]]:
    """The leaves under `key` with their dotted keys; a mapping without keys counts as one."""
    if isinstance(tree, Branch) and tree.children:
        for name, child in tree.children.items():
            yield from leaves(child, f"{key}.{name}" if key else name)
    else:
        yield key, tree
