"""What drives neurons, as people read it: a line an activation, with its token marked in its text.

Texts are data: nothing in them is obeyed. Secrets are hidden, control characters shown, and a token that would not be
seen (blanks, ends of lines, marks without a letter) is given a sign.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from alignlab.analysis.driving import Neuron, NeuronTexts
from alignlab.console import plain
from alignlab.recording.driving_texts import Driving, DrivingTexts
from alignlab.recording.windows import Window, first_of, last_of

_SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
_BLANK, _LETTER = "␣", "◌"  # what stands for a blank, and for the letter that a mark is on
_CELL = 80  # characters of a text on the terminal


@dataclass(frozen=True)
class TextLine:
    """An activation. place: document and token.  before, token, after: its text; all empty where none is stored.

    note: what is to be known of the token; else empty.
    """

    neuron: str
    language: str
    activation: str
    place: str
    before: str
    token: str
    after: str
    note: str = ""


@dataclass(frozen=True)
class TextTable:
    """title: whose neurons, in words.  lines: neuron after neuron, of each the highest first."""

    title: str
    lines: Sequence[TextLine]


@dataclass(frozen=True)
class TextTables:
    """said: what the tables show, in sentences.  has_text: whether there is text, or places alone."""

    said: str
    tables: Sequence[TextTable]
    notes: Sequence[str] = ()
    has_text: bool = True

    def first(self, most: int) -> TextTables:
        """The same with about so many lines at most: the first of every table, in equal parts."""
        number = sum(len(table.lines) for table in self.tables)
        if number <= most:
            return self
        each = max(1, most // len(self.tables))
        kept = [replace(table, lines=table.lines[:each]) for table in self.tables][:most]
        left = number - sum(len(table.lines) for table in kept)
        note = f"{left:,} more activations are left out, to keep this page small; texts.safetensors has all."
        return replace(self, tables=kept, notes=[*self.notes, note])


def text_tables(texts: NeuronTexts, languages: Sequence[str]) -> TextTables | None:
    """The tables of what was found; None where there is nothing.

    Of a language's most specific neurons: their highest activations there, and the highest in any other language. Of
    neurons that were named: those in every language.
    languages: of which there are rows.
    """
    if texts.record is None:
        return None
    record, tables = texts.record, []
    shown = [language for language in record.languages if language in languages]
    if texts.named:
        lines = [line for neuron in texts.named for language in shown for line in _lines(record, neuron, language)]
        tables.append(TextTable("Neurons asked by name, in every language", lines))
    for language, neurons in texts.specific.items():
        if neurons and language in shown:
            tables.append(
                TextTable(f"Most specific neurons of {language}", list(_specific(record, neurons, language, shown)))
            )
    said = (
        f"Of {plain(texts.label)}: the {record.k} highest activations on counted tokens (scope {record.scope}), and "
        "where they are: which token, from 0, of which document."
    )
    if texts.specific:
        others = ", then the highest in any other" if len(shown) > 1 else ""
        said += (
            " Of each language the neurons of its set that fire most beyond any other language, with their highest "
            f"there{others}."
        )
    if texts.around is None:
        said += " No text is stored (texts.around=null): the probe has it, at these documents and tokens."
    return TextTables(said, tables, [plain(note) for note in texts.notes], texts.around is not None)


def terminal_lines(tables: TextTables) -> list[tuple[str, ...]]:
    """Cells of a table for the terminal: of each neuron in a language the highest."""
    lines: list[tuple[str, ...]] = []
    for table in tables.tables:
        seen = set()
        for line in table.lines:
            if (line.neuron, line.language) not in seen:
                seen.add((line.neuron, line.language))
                lines.append((line.neuron, line.language, line.activation, line.place, _in_a_cell(line)))
    return lines


def terminal_note(tables: TextTables) -> str:
    """What that table shows."""
    token = "; the token stands between » and «" if tables.has_text else ""
    return f"{tables.said} Here each neuron (layer.neuron, from 0) has the highest of a language alone{token}."


TERMINAL_HEADER = ("neuron", "language", "activation", "document:token", "text")


def _specific(
    record: DrivingTexts, neurons: Sequence[Neuron], language: str, shown: Sequence[str]
) -> Iterator[TextLine]:
    for neuron in neurons:
        yield from _lines(record, neuron, language)
        others = [(one, other) for other in shown if other != language for one in record.of(*neuron, other)[:1]]
        if others:
            highest, other = max(others, key=lambda one: one[0].activation)
            yield _line(neuron, other, highest)


def _lines(record: DrivingTexts, neuron: Neuron, language: str) -> Iterator[TextLine]:
    for one in record.of(*neuron, language):
        yield _line(neuron, language, one)


def _line(neuron: Neuron, language: str, one: Driving) -> TextLine:
    window = one.window or Window("", "", "")
    note = "" if window.whole else "the token is a part of it"
    name = f"{neuron[0]}.{neuron[1]}"
    place = f"{_readable(one.document)}:{one.position}"
    before, after = _readable(window.before), _readable(window.after)
    return TextLine(name, language, f"{one.activation:.4g}", place, before, _token(window.token), after, note)


def _readable(text: str) -> str:
    """The text in one line, with secrets hidden and control characters shown."""
    return "".join(_SIGNS.get(character, character) for character in plain(text))


def _token(text: str) -> str:
    """A token that is seen, whatever it is."""
    kinds = [unicodedata.category(character) for character in text]
    if text and all(kind in ("Cf", "Zl", "Zp") for kind in kinds):  # such as joiners, which have no width
        return text.encode("unicode_escape").decode()
    if text and not text.strip(" \u00a0\u3000"):
        return _BLANK * len(text)
    return (_LETTER if kinds and kinds[0].startswith("M") else "") + _readable(text)


def _in_a_cell(line: TextLine) -> str:
    if not line.token:
        return ""
    room = max(0, (_CELL - len(line.token)) // 2)
    return f"{last_of(line.before, room)}»{line.token}«{first_of(line.after, room)}"
