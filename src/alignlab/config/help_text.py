"""`--help`, of all or of one section: every key with its default, type, unit and meaning, from where it is declared."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from alignlab.errors import InputError, Problem

from .declare import NAME, Options
from .documents import COMMAND_LINE
from .files import configs_with
from .schema import ABSENT, Field, did_you_mean_key, one_of, schema_of, show

_WIDTHS = 60, 100  # columns, whatever the terminal has
_COLUMN = 40
_ASKS = ("-h", "--help", "help")

_USAGE = {
    "config=FILE": "a YAML file, or the name of a shipped config. Files it names under base: are read first; "
    "under SECTION.base: they hold the keys of that section, such as source.base: base/data/mgsm.",
    "key=value": "one setting, over the file. The value is YAML, a list such as [zh,de]; "
    "nothing after the = is null, '\"\"' is empty text. Of two for one key the last counts.",
    "--help KEY": "this help for one section or key, by its name.",
    "": "Mappings merge key by key, lists are replaced. ${key} takes another key's value, ${oc.env:NAME} the "
    "environment's. A new name for a section drops what lower layers set and it does not have; keys of both stay.",
}


def asks_for_help(argv: Sequence[str]) -> str | None:
    """The key that `--help KEY` or `help=KEY` asks about, an empty text for all of them; None where nobody asks."""
    for argument, following in zip(argv, [*argv[1:], "-"], strict=False):
        asks, equals, key = argument.partition("=")
        if asks in _ASKS and (equals or asks != "help"):
            return key if equals or following.startswith("-") or "=" in following else following
    return None


def start_text(usage: str, intro: str, calls: Mapping[str, str]) -> str:
    """What a command says where nothing is asked for: how it is called, what it does, and calls with what they do."""
    lines = [_wrap(usage, "", " " * 4), "", _wrap(intro, "", ""), ""]
    column = min(_COLUMN, max(map(len, calls)) + 6)
    return "\n".join([*lines, *(_row(call, does, " " * 4, column) for call, does in calls.items())]) + "\n"


def help_text(
    root: type[Options], prog: str, intro: str, words: Mapping[str, Mapping[str, str]] | None = None, key: str = ""
) -> str:
    """The help of a verb, or of one section or key of it, plain text. Raises InputError for a key that is not there.

    words: what choices mean, by a heading for each list of them; they stand at the end of the whole.
    """
    field = schema_of(root)
    for part in key.split(".") if key else ():
        if (below := field.below(part)) is None:
            found, expected = f"--help {show(key)}: there is no such key", one_of((), field.members)
            raise InputError(Problem(COMMAND_LINE, found, expected, did_you_mean_key(schema_of(root), key)))
        field = below
    if key:
        each = _field(f"{key}.NAME", field.each, "  ") if field.each is not None else ()
        return "\n".join([*_field(key, field, ""), *each]) + "\n"
    shipped = ", ".join(configs_with(field.members))
    lines = [f"{prog} [config=FILE] [key=value ...]", "", _wrap(intro, "", ""), ""]
    lines += [_wrap(text, f"    {word:14}", " " * 18) for word, text in _USAGE.items()]
    lines += [_wrap(f"Shipped configs of this command: {shipped}.", " " * 18, " " * 18)] if shipped else []
    for name, member in sorted(field.members.items(), key=lambda item: bool(item[1].choices)):
        lines += ["", *_field(name, member, "")]
    for heading, meanings in (words or {}).items():
        lines += ["", f"{heading}:"]
        width = max(map(len, meanings)) + 4
        lines += [_wrap(meaning, f"  {word:{width - 2}}", " " * width) for word, meaning in meanings.items()]
    return "\n".join(lines) + "\n"


def _field(key: str, field: Field, indent: str, given: object = ABSENT) -> Iterator[str]:
    """The lines of a key; `given` is its default where the section around it has one of its own."""
    default = field.default if given is ABSENT else given
    if field.each is not None:
        yield _wrap(f"{key}: {field.meaning} (--help {key} has the keys of one)", indent, indent + "    ")
        return
    if not field.choices:
        shown = "" if default is ABSENT and not field.required else _default(default)
        yield _row(f"{key}={shown}", field.expected(()), indent)
        if field.meaning:
            yield _wrap(field.meaning, indent + "    ", indent + "    ")
        return
    whether = " (may be null)" if field.optional else ""
    whether = " (null unless one of its keys is set)" if default is None else whether
    yield _wrap(f"{key}: {field.meaning}{whether}", indent, indent + "    ")
    own = default if isinstance(default, dict) else {}
    if field.by_name:
        name = _default(own.get(NAME, default))
        yield _row(f"{key}.{NAME}={name}", "one of " + ", ".join(field.choices), indent + "  ")
    for part, member in field.shared.items():
        yield from _field(f"{key}.{part}", member, indent + "  ", own.get(part, ABSENT))
    for name, members in field.choices.items():
        if field.by_name:
            about = f": {field.about[name]}" if field.about[name] else ""
            yield _wrap(f"with {key}.{NAME}={name}{about}", indent + "  ", indent + "      ")
        for part, member in members.items():
            if part not in field.shared:
                yield from _field(f"{key}.{part}", member, indent + "  " * (1 + field.by_name), own.get(part, ABSENT))


def _default(value: object) -> str:
    """A default as it can be typed, on one line: text without quotes, unless it is empty or has a line's end."""
    if value is ABSENT:
        return "REQUIRED"
    if isinstance(value, list):
        return "[" + ",".join(_default(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {_default(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value, ensure_ascii=False)  # as YAML reads it too: "{prompt}\n"
    return value if isinstance(value, str) and value else show(value)


def _row(setting: str, kind: str, indent: str, column: int = _COLUMN) -> str:
    head = indent + setting
    if len(head) > _width():
        head = _folded(setting, indent)
    if len(head) + 2 > column and len(head) + 2 + len(kind) > _width():
        return head + "\n" + _wrap(kind, " " * column, " " * column)
    return _wrap(kind, head.ljust(column - 2) + "  ", " " * column)


def _folded(setting: str, indent: str) -> str:
    """What is longer than a line: of a list lines end behind commas, of a text between words."""
    spaced = setting.replace(",", ", ") if setting.endswith("]") else setting
    lines = _wrap(spaced, indent, indent + " " * 4)
    return lines if spaced == setting else lines.replace(", ", ",")


def _width() -> int:
    """Columns of the terminal, within bounds in which lines are easy to read; 80 where there is none."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, _WIDTHS[0]), _WIDTHS[1])


def _wrap(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text, _width(), initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
