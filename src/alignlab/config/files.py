"""Config files: finding them by path or shipped name, and following their `base:` chains."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import alignlab
from alignlab.errors import Problem, did_you_mean

from .documents import YamlError, read_document
from .tree import Branch, Leaf, Tree, plain

BASE = "base"
SUFFIX = ".yaml"


def shipped_configs() -> dict[str, Path]:
    """The configs in the package by name: `demo`, `base/tracker`, `experiments/...`."""
    folder = (Path(alignlab.__file__).parent / "configs").resolve()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*" + SUFFIX))}


def read_files(*configs: str) -> tuple[list[Branch], list[Problem]]:
    """The layers that `config=` on the command line stands for, lowest first, and what is wrong with them.

    A file that several `base:` entries lead to is merged once, at its first place.
    """
    reader = _Reader()
    for config in configs:
        reader.follow(config, Path.cwd(), f"command line: config={config}", ())
    return reader.layers, reader.problems


@dataclass
class _Reader:
    layers: list[Branch] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def follow(self, name: str, folder: Path, where: str, chain: tuple[Path, ...]) -> None:
        path = _find(name, folder)
        if path is None:
            self.problems.append(_not_found(name, folder, where))
            return
        real = path.resolve()
        if real in chain:
            circle = " -> ".join(_display(step) for step in (*chain[chain.index(real) :], real))
            self.problems.append(
                Problem(where, f"the base files go in a circle: {circle}", fix="Take one 'base:' out.")
            )
        elif real not in self.seen:
            self.seen.add(real)
            self.read(real, chain)

    def read(self, path: Path, chain: tuple[Path, ...]) -> None:
        shown = _display(path)
        try:
            text = path.read_bytes().decode("utf-8")
            # The rank is known only once the bases are read, so `base:` is looked up in a first reading.
            first, _ = read_document(text, shown, 0)
        except OSError as error:
            self.problems.append(Problem(shown, f"cannot be read ({error.strerror})"))
            return
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            byte = error.object[error.start]
            self.problems.append(
                Problem(f"{shown}:{line}", f"the byte 0x{byte:02x} is not UTF-8", fix="Save the file as UTF-8.")
            )
            return
        except YamlError as error:
            self.problems.append(_not_yaml(shown, text, error))
            return
        if not isinstance(first, Branch):
            found = "the file is empty" if first is None else "the file is not a mapping"
            self.problems.append(Problem(shown, found, "settings, one 'key: value' a line"))
            return
        if BASE in first.children:
            self.bases(first.children[BASE], path, chain)
        layer, problems = read_document(text, shown, len(self.layers))
        self.problems += problems
        if isinstance(layer, Branch):
            children = {key: child for key, child in layer.children.items() if key != BASE}
            self.layers.append(Branch(children, layer.origin))

    def bases(self, tree: Tree, path: Path, chain: tuple[Path, ...]) -> None:
        names = plain(tree)
        names = [] if names is None else names if isinstance(names, list) else [names]
        for name in names:
            if isinstance(tree, Leaf) and isinstance(name, str):
                self.follow(name, path.parent, tree.origin.where, (*chain, path))
            else:
                self.problems.append(
                    Problem(tree.origin.where, f"base is {name!r}", "the path of a config file, or a list of paths")
                )


def _find(name: str, folder: Path) -> Path | None:
    """A file below `folder`, with or without its suffix, else a shipped config."""
    for candidate in (folder / name, folder / (name + SUFFIX)):
        if name and candidate.is_file():
            return candidate
    return shipped_configs().get(name.removeprefix("configs/").removesuffix(SUFFIX))


def _display(path: Path) -> str:
    """The path from here if it lies below, else the whole path."""
    here = os.path.realpath(os.curdir)
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _not_found(name: str, folder: Path, where: str) -> Problem:
    shipped = list(shipped_configs())
    kind = "a folder" if name and (folder / name).is_dir() else "no file, and no shipped config"
    return Problem(
        where,
        f"{name!r} is {kind}" if name else "no file is named",
        "the path of a config file" + (f", or one of {', '.join(shipped)}" if shipped else ""),
        did_you_mean(name.removesuffix(SUFFIX), shipped),
    )


def _not_yaml(shown: str, text: str, error: YamlError) -> Problem:
    where = shown + (f":{error.line}" if error.line else "") + (f":{error.column}" if error.column else "")
    line = text.splitlines()[error.line - 1] if 0 < error.line <= len(text.splitlines()) else ""
    fix = ""
    if "\t" in line:
        fix = "Indent with spaces, not tabs."
    elif "${" in line:
        fix = 'Inside [ ] or { }, put "${...}" in quotes.'
    return Problem(where, f"not valid YAML: {error.reason}", fix=fix)
