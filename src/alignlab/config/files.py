"""Where settings come from: config files, by path or shipped name, with their `base:` chains, and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import alignlab
from alignlab.errors import Problem, did_you_mean

from .documents import Layer, Reader
from .words import show

COMMAND_LINE = "command line"
_SUFFIX = ".yaml"
_FIXES = {"\t": "Indent with spaces, not tabs.", "${": 'Inside [ ] or { }, put "${...}" in quotes.'}


def shipped_configs() -> dict[str, Path]:
    """The configs in the package by name: `demo`, `base/tracker`, `experiments/...`."""
    folder = (Path(alignlab.__file__).parent / "configs").resolve()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*" + _SUFFIX))}


def read_arguments(argv: Sequence[str]) -> tuple[list[str], list[Layer], list[Problem]]:
    """The files of `config=`, a layer for each override (of two for one key the last counts), and what is wrong."""
    configs, layers, problems, rest = [], [], [], list(argv)
    while rest:
        argument = rest.pop(0)
        key, equals, text = argument.partition("=")
        path = key.lstrip("-")
        if key != path or not equals:
            if key != path and not equals and rest and "=" not in rest[0] and rest[0][:1] != "-":
                text = rest.pop(0)
                argument += f" {text}"
            fix = f"Write {path}={text or 'VALUE'}." if path else "Leave it out."
            problems.append(Problem(COMMAND_LINE, show(argument), "key=value", fix))
        elif not all(key.split(".")):
            found = f"{show(argument)} has no key, or a key with an empty part"
            problems.append(Problem(COMMAND_LINE, found, "key=value"))
        elif key == "base":
            fix = f"Write config={text}, or set base in the file."
            problems.append(Problem(COMMAND_LINE, f"{show(argument)} is not an override", fix=fix))
        elif key == "config":
            configs.append(text)
        else:
            layers.append(_override(tuple(key.split(".")), text))
    if len(configs) > 1:
        fix = f"Keep one, or write a file with 'base: [{', '.join(configs)}]'."
        problems.append(Problem(COMMAND_LINE, f"config= is given {len(configs)} times", "one file", fix))
    return configs, layers, problems


def _override(path: tuple[str, ...], text: str) -> Layer:
    """The layer of one value. Its text is kept, for options that want text: `prompt={question}` is not a mapping."""
    reader, layer, written, fault = Reader(text, COMMAND_LINE, numbered=False), Layer(), text.strip(), ""
    try:
        value = reader.read().values
        fault = reader.problems[0].found if reader.problems else ""
        # `# x` and `a # b` are text, not comments: nothing that was typed is lost in silence.
        if reader.layer.texts.get((), written) != written or (value is None and written.startswith("#")):
            value = reader.layer.texts[()] = written
    except yaml.YAMLError as error:
        fault = f"not valid YAML: {_why(error)}"
    if fault:
        value, layer.faults[path], layer.texts[path] = text, fault, text
    else:
        layer.origins = {(*path, *key): COMMAND_LINE for key in reader.layer.origins}
        layer.texts = {(*path, *key): found for key, found in reader.layer.texts.items()}
        layer.texts |= {path: text} if isinstance(value, list | dict) else {}
    for end in range(len(path), 0, -1):
        layer.origins[path[:end]] = COMMAND_LINE
        value = {path[end - 1]: value}
    layer.values = value
    return layer


@dataclass
class Files:
    """The layers that config files stand for, lowest first, and what is wrong with them.

    A file that several `base:` entries lead to is merged once, at its first place.
    """

    layers: list[Layer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def follow(self, name: str, folder: Path, where: str, chain: tuple[Path, ...] = ()) -> None:
        path = _find(name, folder)
        if path is None:
            shipped = list(shipped_configs())
            expected = "the path of a config file" + (f", or one of {', '.join(shipped)}" if shipped else "")
            kind = "a folder" if name and _is(folder / name, Path.is_dir) else "no file, and no shipped config"
            found = f"{show(name)} is {kind}" if name else "no file is named"
            self.problems.append(Problem(where, found, expected, did_you_mean(name.removesuffix(_SUFFIX), shipped)))
        elif path in chain:
            circle = " -> ".join(_display(step) for step in (*chain[chain.index(path) :], path))
            found = f"the base files go in a circle: {circle}"
            self.problems.append(Problem(where, found, fix="Take one 'base:' out."))
        elif path not in self.seen:
            self.seen.add(path)
            self.read(path, (*chain, path))

    def read(self, path: Path, chain: tuple[Path, ...]) -> None:
        shown = _display(path)
        try:
            reader = Reader(path.read_bytes().decode("utf-8"), shown)
            layer = reader.read()
        except OSError as error:
            self.problems.append(Problem(shown, f"cannot be read ({error.strerror})"))
        except UnicodeDecodeError as error:
            where = f"{shown}:{1 + error.object.count(10, 0, error.start)}"
            found = f"the byte 0x{error.object[error.start]:02x} is not UTF-8"
            self.problems.append(Problem(where, found, fix="Save the file as UTF-8."))
        except yaml.YAMLError as error:
            self.problems.append(_not_yaml(reader, error))
        else:
            self.problems += reader.problems
            if not isinstance(layer.values, dict):
                found = "the file is empty" if layer.values is None else "the file is not a mapping"
                self.problems.append(Problem(shown, found, "settings, one 'key: value' a line"))
                return
            names, where = layer.values.pop("base", None), layer.origins.pop(("base",), shown)
            for name in names if isinstance(names, list) else [names] if names is not None else []:
                if isinstance(name, str):
                    self.follow(name, path.parent, where, chain)
                else:
                    expected = "the path of a config file, or a list of paths"
                    self.problems.append(Problem(where, f"base is {show(name)}", expected))
            self.layers.append(layer)


def _find(name: str, folder: Path) -> Path | None:
    """A file below `folder`, with or without its suffix, else a shipped config."""
    shipped = shipped_configs().get(name.removeprefix("configs/").removesuffix(_SUFFIX))
    files = [path for path in (folder / name, folder / (name + _SUFFIX)) if name and _is(path, Path.is_file)]
    return next((path.resolve() for path in [*files, shipped] if path), None)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def _display(path: Path) -> str:
    """The path from here if it lies below, else the whole path."""
    here = os.path.realpath(os.curdir)
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _why(error: yaml.YAMLError) -> str:
    parts = (getattr(error, name, None) for name in ("context", "problem", "reason"))
    return " ".join(str(part) for part in parts if part)


def _not_yaml(reader: Reader, error: yaml.YAMLError) -> Problem:
    where, line, mark = reader.source, "", getattr(error, "problem_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        wrong = yaml.reader.Reader.NON_PRINTABLE.search(reader.text)
        where += f":{reader.text.count(chr(10), 0, wrong.start()) + 1}" if wrong else ""
    elif mark is not None:
        where += f":{mark.line + 1}:{mark.column + 1}"
        line = "".join(reader.text.splitlines()[mark.line : mark.line + 1])
    fix = next((fix for sign, fix in _FIXES.items() if sign in line), "Save the file as UTF-8." * ("\0" in reader.text))
    return Problem(where, f"not valid YAML: {_why(error)}", fix=fix)
