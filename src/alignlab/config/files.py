"""Where settings come from: config files, by path or shipped name, with their `base:` chains, and the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from os.path import isdir, isfile  # pathlib's raise where a name is too long
from pathlib import Path

import alignlab
from alignlab.errors import Problem, did_you_mean

from .documents import COMMAND_LINE, Node, read
from .schema import Path as Key
from .schema import show

_SUFFIX = ".yaml"
_MOST_FILES = 100  # of a chain of base files
_MOST_BYTES = 4_000_000  # of a file: YAML takes seconds a megabyte


def shipped_configs() -> dict[str, Path]:
    """The configs in the package by name: `demo`, `base/tracker`, `experiments/...`."""
    folder = (Path(alignlab.__file__).parent / "configs").resolve()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*" + _SUFFIX))}


def configs_with(keys: Iterable[str]) -> list[str]:
    """Names of the shipped configs that set none but these keys at the top: what a command with these keys can take.

    Those in base/ are parts of configs, and are left out.
    """
    known = {"base", *keys}
    return [name for name, path in shipped_configs().items() if not name.startswith("base/") and _keys(path) <= known]


def _keys(path: Path) -> set[str]:
    """The keys at the top of a shipped config and of its `base:` files."""
    text = path.read_text(encoding="utf-8")
    found = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    for line in re.findall(r"^base:(.*)", text, re.MULTILINE):
        for base in re.findall(r"[\w./-]+", line):
            below = path.parent / (base.removesuffix(_SUFFIX) + _SUFFIX)
            found |= _keys(below if below.is_file() else shipped_configs()[base])
    return found


@dataclass
class Sources:
    """The layers that arguments and files stand for, lowest first, each in its parts, and what is wrong with them.

    A file that several `base:` entries lead to is merged once, at its first place. A `base:` within a section names a
    file of that section's keys.
    """

    layers: list[list[Node]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def refuse(self, where: str, found: str, expected: str = "", fix: str = "") -> None:
        self.problems.append(Problem(where, found, expected, fix))

    def read_arguments(self, argv: Sequence[str]) -> None:
        """The file of `config=`, and over it one layer of all that is set, in parts."""
        configs, overrides, rest = [], [], list(argv)
        bases: list[tuple[tuple[str, ...], str]] = []
        while rest:
            argument = rest.pop(0)
            key, equals, text = argument.partition("=")
            path = key.lstrip("-")
            if key != path or not equals:
                if key != path and not equals and rest and "=" not in rest[0] and not rest[0].startswith("-"):
                    text = rest.pop(0)
                    argument += f" {text}"
                fix = f"Write {path}={text or 'VALUE'}." if path else "Leave it out."
                if key.endswith((_SUFFIX, ".yml")) or key in shipped_configs():
                    fix = f"Did you mean config={key}?"
                self.refuse(COMMAND_LINE, show(argument), "key=value", fix)
            elif not all(key.split(".")):
                self.refuse(COMMAND_LINE, f"{show(argument)} has no key, or a key with an empty part", "key=value")
            elif key == "base":
                fix = f"Write config={text}, or set base in the file."
                self.refuse(COMMAND_LINE, f"{show(argument)} is not an override", fix=fix)
            elif key == "config":
                configs.append(text)
            elif key.endswith(".base"):
                bases.append((tuple(key.split(".")[:-1]), text))
            else:
                overrides.append(_override(key, text))
        if len(configs) > 1:
            fix = f"Keep one, or write a file with 'base: [{', '.join(configs)}]'."
            self.refuse(COMMAND_LINE, f"config= is given {len(configs)} times", "one file", fix)
        for name in configs[:1]:
            self.follow(name, Path.cwd(), f"{COMMAND_LINE}: config={name}")
        for section, text in bases:
            self.follow_under(section, text, Path.cwd(), f"{COMMAND_LINE}: {'.'.join(section)}.base={text}")
        self.layers.append(overrides)

    def follow(self, name: str, folder: Path, where: str, steps: tuple[Path, ...] = ()) -> None:
        """Read a config below `folder`, with or without its suffix, else a shipped one."""
        shipped, short = shipped_configs(), name.removesuffix(_SUFFIX)
        places = [folder / name, folder / (name + _SUFFIX)] if name else []
        found = [*filter(isfile, places), *filter(None, [shipped.get(short.removeprefix("configs/"))])]
        path = found[0].resolve() if found else None
        if path is None:
            kind = "a folder" if any(map(isdir, places)) else "no file, and no shipped config"
            expected = "the path of a config file" + (f", or one of {', '.join(shipped)}" if shipped else "")
            wrong = f"{show(name)} is {kind}" if name else "no file is named"
            self.refuse(where, wrong, expected, did_you_mean(short, shipped))
        elif path in steps:
            circle = " -> ".join(_display(step) for step in (*steps[steps.index(path) :], path))
            self.refuse(where, f"the base files go in a circle: {circle}", fix="Take one 'base:' out.")
        elif len(steps) == _MOST_FILES:
            self.refuse(
                where, f"more than {_MOST_FILES} files lead from one to the next", fix="Put their keys into fewer."
            )
        elif path not in self.seen:
            self.seen.add(path)
            self.read_file(path, (*steps, path))

    def read_file(self, path: Path, steps: tuple[Path, ...]) -> None:
        shown = _display(path)
        try:
            size = path.stat().st_size
            if size > _MOST_BYTES:
                return self.refuse(shown, f"{size:,} bytes", f"a config file of at most {_MOST_BYTES:,}")
            layer, problems = read(path.read_bytes().decode(), shown)
        except OSError as error:
            return self.refuse(shown, f"cannot be read ({error.strerror})")
        except UnicodeDecodeError as error:
            where = f"{shown}:{1 + error.object.count(10, 0, error.start)}"
            found = f"the byte 0x{error.object[error.start]:02x} is not UTF-8"
            return self.refuse(where, found, fix="Save the file as UTF-8.")
        self.problems += problems
        if not isinstance(layer.value, dict):
            found = "the file is empty" if layer.value is None else "the file is not a mapping"
            return None if problems else self.refuse(shown, found, "settings, one 'key: value' a line")
        base = layer.value.pop("base", Node(None))
        for name in self.names(base):
            self.follow(name, path.parent, base.where, steps)
        for section, base in [*_bases_of_sections(layer, ())]:
            for name in self.names(base):
                self.follow_under(section, name, path.parent, base.where, steps)
        return self.layers.append([layer])

    def names(self, base: Node) -> list[str]:
        """The files that a `base:` names, one or a list."""
        names = [] if base.value is None else base.plain()
        names = names if isinstance(names, list) else [names]
        for name in names:
            if not isinstance(name, str):
                self.refuse(base.where, f"base is {show(name)}", "the path of a config file, or a list of paths")
        return [name for name in names if isinstance(name, str)]

    def follow_under(self, section: Key, name: str, folder: Path, where: str, steps: tuple[Path, ...] = ()) -> None:
        """Read a config, and those below it, as settings of a section: layers of their own, below what is set in it."""
        below = Sources(problems=self.problems)  # of one section: another may name the same file
        below.follow(name, folder, where, steps)
        for node in chain(*below.layers):
            self.layers.append([reduce(lambda inner, key: Node({key: inner}, node.where), reversed(section), node)])


def _bases_of_sections(node: Node, above: Key) -> Iterator[tuple[Key, Node]]:
    """The `base:` of every section within a mapping, with the section's place; taken out of it.

    A mapping under that key is none: it is what something of that name is set to.
    """
    for key, child in node.value.items():
        if isinstance(child.value, dict):
            if isinstance(child.value.get("base", Node({})).value, str | list):
                yield (*above, key), child.value.pop("base")
            yield from _bases_of_sections(child, (*above, key))


def _override(key: str, text: str) -> Node:
    """The layer of one value. Its text is kept, for options that want text: `prompt={question}` is not a mapping."""
    (node, problems), written = read(text, COMMAND_LINE), text.strip()
    if problems:
        node = Node(text, COMMAND_LINE, text, problems[0].found)
    elif isinstance(node.value, list | dict):
        node.text = text
    elif (node.text or written) != written or (node.value is None and written.startswith("#")):
        node = Node(written, COMMAND_LINE, written)  # `# x` and `a # b` are text: nothing typed is lost in silence
    return reduce(lambda below, part: Node({part: below}, COMMAND_LINE), reversed(key.split(".")), node)


def _display(path: Path) -> str:
    """The path from here if it lies below, else the whole path."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
