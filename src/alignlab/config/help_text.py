"""`--help`: every key with its default, type, unit and meaning, from the dataclasses that declare them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from .declare import REQUIRED, Option
from .files import shipped_configs
from .schema import NAME, Field, Section, Variants, schema_of
from .values import expectation, show

_WIDTH = 100
_COLUMN = 44

_USAGE = {
    "config=FILE": "a YAML file, or the name of a shipped config. Files it names under base: are read first.",
    "key=value": "one setting, over the file. The value is YAML, such as data.languages=[zh,de]; "
    "nothing after the = is null, '\"\"' is empty text. Of two for one key the last counts.",
    "": "Mappings merge key by key, lists are replaced. ${key} takes another key's value, ${oc.env:NAME} the "
    "environment's. A new name for a section drops what lower layers set and it does not have; keys of both stay.",
}


def help_text(root: type, prog: str, intro: str, words: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """The help of a verb, plain text.

    words: what choices mean, by a heading for each list of them; they stand at the end.
    """
    schema = schema_of(root)
    shipped = ", ".join(shipped_configs())
    lines = [f"{prog} [config=FILE] [key=value ...]", "", textwrap.fill(intro, _WIDTH), ""]
    lines += [_wrap(text, f"    {word:14}", " " * 18) for word, text in _USAGE.items()]
    lines += [_wrap(f"Shipped configs: {shipped}.", " " * 18, " " * 18)] if shipped else []
    own = {name: field for name, field in schema.fields.items() if isinstance(field, Option)}
    for name, option in own.items():
        lines += ["", *_option(name, option, "")]
    for name, field in schema.fields.items():
        if name not in own:
            lines += ["", *_field(name, field, "")]
    for heading, meanings in (words or {}).items():
        lines += ["", f"{heading}:"]
        width = max(map(len, meanings)) + 4
        lines += [_wrap(meaning, f"  {word:{width - 2}}", " " * width) for word, meaning in meanings.items()]
    return "\n".join(lines) + "\n"


def _field(key: str, field: Field, indent: str) -> Iterator[str]:
    if isinstance(field, Option):
        yield from _option(key, field, indent)
        return
    yield _wrap(f"{key}: {field.meaning}{_whether(field)}" if field.meaning else key, indent, indent + "    ")
    indent += "  "
    if isinstance(field, Section):
        yield from _members(key, field, indent)
        return
    default = field.default if isinstance(field.default, str) else "REQUIRED" if field.default is REQUIRED else "null"
    yield _row(f"{key}.{NAME}={default}", "one of " + ", ".join(field.choices), indent)
    for name, section in field.choices.items():
        if section.fields:
            yield f"{indent}with {key}.{NAME}={name}:"
            yield from _members(key, section, indent + "  ")


def _members(key: str, section: Section, indent: str) -> Iterator[str]:
    for name, field in section.fields.items():
        yield from _field(f"{key}.{name}", field, indent)


def _option(key: str, option: Option, indent: str) -> Iterator[str]:
    default = "REQUIRED" if option.default is REQUIRED else _default(option.default)
    yield _row(f"{key}={default}", expectation(option), indent)
    yield _wrap(option.meaning, indent + "    ", indent + "    ")


def _default(value: object) -> str:
    """A default as it can be typed: text without quotes, unless it is empty."""
    if isinstance(value, list):
        return "[" + ",".join(_default(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {_default(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) and value else show(value)


def _row(setting: str, kind: str, indent: str) -> str:
    head = indent + setting
    if len(head) + 2 > _COLUMN and len(head) + 2 + len(kind) > _WIDTH:
        return head + "\n" + _wrap(kind, " " * _COLUMN, " " * _COLUMN)
    return _wrap(kind, head.ljust(_COLUMN - 2) + "  ", " " * _COLUMN)


def _whether(field: Section | Variants) -> str:
    there = field.present if isinstance(field, Section) else field.default is not None
    return "" if not field.optional else " (may be null)" if there else " (null unless one of its keys is set)"


def _wrap(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
