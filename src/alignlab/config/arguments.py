"""The command line: `config=FILE` and dotted overrides `key.sub=value`, the highest layer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from alignlab.errors import Problem

from .documents import YamlError, read_document
from .files import BASE
from .tree import Branch, Leaf, Origin, Tree, merge_branches

COMMAND_LINE = "command line"
CONFIG = "config"
_RANK = sys.maxsize  # above every file
_ORIGIN = Origin(COMMAND_LINE, _RANK)
_HELP = ("-h", "--help")
_ALIKE = "key=value"


def asks_for_help(argv: Sequence[str]) -> bool:
    return any(argument in _HELP for argument in argv)


def read_arguments(argv: Sequence[str]) -> tuple[str | None, Branch, list[Problem]]:
    """The `config=` given, the overrides as one layer (of two for one key the last counts), and what is wrong."""
    config: str | None = None
    layer = Branch({}, _ORIGIN)
    problems: list[Problem] = []
    arguments = [argument for argument in argv if argument not in _HELP]
    while arguments:
        argument = arguments.pop(0)
        key, equals, text = argument.partition("=")
        if key.startswith("-"):
            dotted = key.lstrip("-")
            follows = not equals and bool(arguments) and "=" not in arguments[0] and not arguments[0].startswith("-")
            value = arguments.pop(0) if follows else text if equals else "VALUE"
            fix = f"Drop the dashes: write {dotted}={value}." if dotted else "Leave it out."
            found = f"{argument} {value}" if follows else argument
            problems.append(Problem(COMMAND_LINE, repr(found), _ALIKE, fix))
        elif not equals:
            problems.append(Problem(COMMAND_LINE, repr(argument), _ALIKE, f"Write {argument}=VALUE."))
        elif not all(key.split(".")):
            problems.append(Problem(COMMAND_LINE, f"{argument!r} has no key, or a key with an empty part", _ALIKE))
        elif key == CONFIG:
            if config is not None:
                found = f"config= is given twice, as {config!r} and {text!r}"
                fix = f"Keep one, or write a file with 'base: [{config}, {text}]'."
                problems.append(Problem(COMMAND_LINE, found, "one file", fix))
            config = text
        elif key == BASE:
            fix = f"Write config={text}, or set base in the file."
            problems.append(Problem(COMMAND_LINE, f"{argument!r} is not an override", fix=fix))
        else:
            layer = merge_branches(layer, _nested(key, _value(text)))
    return config, layer, problems


def _nested(key: str, tree: Tree) -> Branch:
    head, _, rest = key.partition(".")
    return Branch({head: _nested(rest, tree) if rest else tree}, _ORIGIN)


def _value(text: str) -> Tree:
    """The tree of one value. Its text is kept, for options that want text: `prompt={question}` is not a mapping."""
    try:
        tree, problems = read_document(text, COMMAND_LINE, _RANK, numbered=False)
    except YamlError as error:
        return Leaf(None, _ORIGIN, text, fault=f"not valid YAML: {error.reason}")
    if problems:
        return Leaf(None, _ORIGIN, text, fault=problems[0].found)
    if isinstance(tree, Branch) or (isinstance(tree, Leaf) and isinstance(tree.value, list)):
        return replace(tree, text=text)
    # `# x` and `a # b` are text, not comments: nothing that was typed is lost in silence.
    written = text.strip()
    if written and (tree is None or tree.text not in (None, written)):
        return Leaf(written, _ORIGIN, written)
    return Leaf(None, _ORIGIN) if tree is None else tree
