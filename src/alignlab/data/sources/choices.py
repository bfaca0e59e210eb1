"""Where questions of multiple choice come from: XCOPA, XWinograd, and files of any such form.

A source has `load() -> list[Choice]`: the questions of all its languages; those that say the same share an id. It
refuses what it cannot read with an `InputError`, at file and line. `clusters` says what its clusters are; empty where
every question is on its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from alignlab.config import REQUIRED, Options, option, section
from alignlab.data.choices import Choice, continued, filled_in
from alignlab.data.hub_table import HubTable
from alignlab.data.text_files import Column, Ids, TextRow, nearest, no_column, read_rows
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.languages import check_codes, is_code

# Between premise and option, as lm-evaluation-harness has them; English as in its task `copa`.
CONNECTORS: dict[str, dict[str, str]] = {
    "en": {"cause": "because", "effect": "therefore"},
    "et": {"cause": "sest", "effect": "seetõttu"},
    "ht": {"cause": "poukisa", "effect": "donk sa"},
    "id": {"cause": "karena", "effect": "maka"},
    "it": {"cause": "perché", "effect": "quindi"},
    "qu": {"cause": "imataq", "effect": "chaymi"},
    "sw": {"cause": "kwa sababu", "effect": "kwa hiyo"},
    "ta": {"cause": "காரணமாக", "effect": "எனவே"},
    "th": {"cause": "เพราะ", "effect": "ดังนั้น"},
    "tr": {"cause": "çünkü", "effect": "bu yüzden"},
    "vi": {"cause": "bởi vì", "effect": "vì vậy"},
    "zh": {"cause": "因为", "effect": "所以"},
}
_WINOGRAD_CODES = {"jp": "ja"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MARKS_BEHIND = re.compile(r"\W+$")  # some pronouns of the file have the full stop with them
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class XCopa(Options):
    """XCOPA (Ponti et al. 2020): which of two sentences is the cause or the effect of a premise; 11 languages.

    Its files are JSON lines with premise, choice1, choice2, question (cause or effect), label (0 or 1) and idx. Texts
    are put together as lm-evaluation-harness does.
    """

    name: Literal["xcopa"] = "xcopa"
    path: str | None = option(None, "the files, with {language} for the code, such as xcopa/test.{language}.jsonl")
    hub: HubTable | None = section(None, "rows of a data set of the Hub, in place of files")
    languages: list[str] = option(
        [code for code in CONNECTORS if code != "en"],
        "languages, by ISO 639 code",
        check=lambda codes: _check_connectors(codes),
    )

    @property
    def clusters(self) -> str:
        return ""

    def load(self) -> list[Choice]:
        ids, found, problems = Ids(), list[Choice](), list[Problem]()
        for code, row in _rows(self.path, self.hub, self.languages, problems):
            with _collecting(problems):
                found.append(_copa(row, code, ids))
        refuse_any(problems)
        return found


class XWinograd(Options):
    """XWinograd (Tikhonov and Ryabinin 2021): which of two names a pronoun stands for, in its authors' file.

    Each name is put in the pronoun's place, and the text after it is scored. Sentences that begin alike up to the
    pronoun, as the two of a Winograd schema do, are one cluster.
    """

    name: Literal["xwinograd"] = "xwinograd"
    path: str = option(REQUIRED, "the file, such as xwinograd.tsv")
    languages: list[str] | None = option(
        None, "languages, by ISO 639 code (ja for its jp); null takes all", check=check_codes
    )

    @property
    def clusters(self) -> str:
        return "schemas"

    def load(self) -> list[Choice]:
        found, problems, there = list[Choice](), list[Problem](), dict[str, None]()
        for row in read_rows(_existing(self.path)):
            code = _WINOGRAD_CODES.get(str(row.values.get(0)), str(row.values.get(0)))
            there[code] = None
            if self.languages is None or code in self.languages:
                with _collecting(problems):
                    found.append(_winograd(row, code))
        missing = [code for code in self.languages or () if code not in there]
        if missing:
            expected = f"some of: {', '.join(there)}"
            problems.append(Problem(self.path, f"no line is in {', '.join(missing)}", expected))
        refuse_any(problems)
        return found


class ChoiceFiles(Options):
    """Files of questions with options, in any of the formats of the source `files`."""

    name: Literal["choices"] = "choices"
    path: str | None = option(None, "a file of one language, or a path with {language} in it")
    hub: HubTable | None = section(None, "rows of a data set of the Hub, in place of files")
    languages: list[str] = option(REQUIRED, "languages, by ISO 639 code", check=check_codes)
    template: str = option(
        "{prompt}", "the text before an option; {prompt} and others of the file's columns, by name or number"
    )
    templates: dict[str, str] = option({}, "the template of single languages, by code, where it is another")
    options: str | int | list[str | int] | None = option(
        None, "columns of the options, or the one column that holds them as a list; null: they are in `written`"
    )
    written: dict[str, list[str]] = option(
        {},
        "options by language where the file has none, such as {en: ['Yes, {hypothesis}', 'No, {hypothesis}']}, with "
        "columns as in the template",
    )
    label: str | int = option("label", "column of what is right")
    label_is: Literal["index", "number", "letter", "text"] = option(
        "index", "how it is named: index from 0, number from 1, letter from A, or the text of the option"
    )
    delimiter: str = option(" ", "between the text and an option")
    gap: str | None = option(
        None,
        "what stands in the text for the option, such as _ in Winograd sentences: the option is put there, and the "
        "text after it is scored; null scores the options, after the text",
    )
    id: str | int | list[str | int] | None = option(
        None, "column of the question's id, or columns that make it together; null numbers the lines"
    )
    cluster: str | int | None = option(
        None, "column of what questions come from that are not independent; null takes each on its own"
    )
    schemas: bool = option(
        False, "with a gap: questions that begin alike up to it, as those of a Winograd schema do, are one cluster"
    )
    parallel: bool = option(True, "lines of the same number (or id) say the same thing in every language")
    spelled: dict[str, str] = option({}, "how file names spell a code otherwise, such as {ja: jp}")

    @property
    def clusters(self) -> str:
        return "schemas" if self.schemas else "" if self.cluster is None else f"column {self.cluster}"

    def load(self) -> list[Choice]:
        if self.path is not None and "{language}" not in self.path and len(self.languages) != 1:
            several, expected = f"one file, {len(self.languages)} languages", "a path with {language}, or one language"
            raise InputError.of(self.path, several, expected)
        refuse_any(self._unfit())
        ids, found, problems = Ids(), list[Choice](), list[Problem]()
        for code, row in _rows(self.path, self.hub, self.languages, problems, self.spelled):
            with _collecting(problems):
                found.append(self._choice(row, code, ids))
        refuse_any(problems)
        return found

    def _unfit(self) -> list[Problem]:
        """What does not fit together in the options."""
        named: dict[str, Iterable[str]] = {"templates": self.templates, "written": self.written}
        problems = [
            Problem(key, f"{code!r} is no language code", "an ISO 639 code")
            for key, values in named.items()
            for code in values
            if not is_code(code)
        ]
        if self.id == []:
            problems.append(Problem("id", "a list of no columns", "one or more, or null, which numbers the lines"))
        if (self.options is None) != bool(self.written):
            found = "both are set" if self.written else "neither is set"
            problems.append(Problem("options and written", found, "columns of the options, or the options written out"))
        elif self.written and (lacking := [code for code in self.languages if code not in self.written]):
            found = f"no options for {', '.join(lacking)}"
            fix = "Write theirs, or leave these languages out."
            problems.append(Problem("written", found, f"some of: {', '.join(self.written)}", fix))
        if self.schemas and (self.gap is None or self.cluster is not None):
            found = "true, without a gap" if self.gap is None else f"true, beside cluster {self.cluster!r}"
            problems.append(Problem("schemas", found, "true with a gap and without a column of clusters"))
        return problems

    def _choice(self, row: TextRow, language: str, ids: Ids) -> Choice:
        columns = self.id if isinstance(self.id, list) else [] if self.id is None else [self.id]
        name = " ".join(map(row.text, columns)) if columns else str(row.number)
        ids.add(language, name, row.where)
        apart = "" if self.parallel else f"{language}:"
        options = self._options(row, language)
        about = {
            "id": apart + name,
            "language": language,
            "cluster": "" if self.cluster is None else apart + row.text(self.cluster),
            "where": row.where,
        }
        text, gold = self._text(row, self.templates.get(language, self.template)), self._gold(row, options)
        if self.gap is None:
            return continued(text, options, gold, delimiter=self.delimiter, **about)
        before, gap, after = text.partition(self.gap)
        if not gap or self.gap in after:
            found = f"the text has {text.count(self.gap)} times {self.gap!r}"
            raise InputError.of(row.where, found, "once, where the options belong")
        if self.schemas:
            about["cluster"] = f"{language}:{before.strip()}"
        return filled_in(before, after, options, gold, **about)

    def _text(self, row: TextRow, template: str) -> str:
        """The template with the row's columns in it. A brace in a column is only a brace."""
        return _PLACEHOLDER.sub(lambda match: row.text(int(match[1]) if match[1].isdigit() else match[1]), template)

    def _options(self, row: TextRow, language: str) -> list[str]:
        if self.options is None:
            return [self._text(row, written) for written in self.written[language]]
        if isinstance(self.options, list):
            return [row.text(column) for column in self.options]
        listed = _parsed(row, self.options)
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise InputError.of(row.where, f"column {self.options!r} holds no list of texts", "a list of options")
        return [one.strip() for one in listed]

    def _gold(self, row: TextRow, options: Sequence[str]) -> int:
        label = row.text(self.label)
        names = {
            "index": [str(number) for number in range(len(options))],
            "number": [str(number + 1) for number in range(len(options))],
            "letter": list(_LETTERS[: len(options)]),
            "text": list(options),
        }[self.label_is]
        found = label.upper() if self.label_is == "letter" else label
        if names.count(found) != 1:
            fix = f"Set label_is, which is {self.label_is}, if the file names it in another way."
            raise InputError.of(row.where, f"what is right is {label!r:.60}", f"one of: {', '.join(names)}", fix)
        return names.index(found)


ChoiceSource = Annotated[XCopa | XWinograd | ChoiceFiles, Field(discriminator="name")]


def _rows(
    path: str | None,
    hub: HubTable | None,
    languages: Sequence[str],
    problems: list[Problem],
    spelled: dict[str, str] | None = None,
) -> Iterator[tuple[str, TextRow]]:
    """The rows of each language, of its file or on the Hub; what cannot be read is a problem, and the rest is read."""
    if (path is None) == (hub is None):
        found = "neither is set" if path is None else "both are set"
        raise InputError.of("path and hub", found, "one of the two")
    for code in languages:
        with _collecting(problems):
            name = str(path).replace("{language}", (spelled or {}).get(code, code))
            rows: Iterator[TextRow] = read_rows(_existing(name)) if hub is None else hub.rows(code)
            for row in rows:
                yield code, row


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists():
        raise InputError.of(str(path), "there is no such file", fix=nearest(path))
    return path


@contextmanager
def _collecting(problems: list[Problem]) -> Iterator[None]:
    """What is refused within the block is added to the problems."""
    try:
        yield
    except InputError as error:
        problems += error.problems


def _check_connectors(codes: list[str]) -> str | None:
    return None if codes and all(code in CONNECTORS for code in codes) else f"some of: {', '.join(CONNECTORS)}"


def _copa(row: TextRow, language: str, ids: Ids) -> Choice:
    """The premise without its full stop, a connector, and the options beginning with a small letter."""
    question = row.text("question")
    connectors = CONNECTORS[language]
    if question not in connectors:
        fix = did_you_mean(question, connectors)
        raise InputError.of(row.where, f"the question is {question!r:.40}", "cause or effect", fix)
    name, label, premise = row.text("idx"), row.text("label"), row.text("premise")
    if label not in {"0", "1"}:
        raise InputError.of(row.where, f"the label is {label!r:.40}", "0 or 1")
    ids.add(language, name, row.where)
    options = [row.text("choice1"), row.text("choice2")]
    return continued(
        f"{premise[:-1]} {connectors[question]}",
        [text[:1].lower() + text[1:] for text in options],
        int(label),
        id=name,
        language=language,
        where=row.where,
    )


def _winograd(row: TextRow, language: str) -> Choice:
    """Columns: language, source, the English sentence, the sentence, its words, the pronoun, and the two names."""
    if not is_code(language):
        raise InputError.of(row.where, f"{language!r} is no language code", "an ISO 639 code, or jp")
    sentence, words, pronoun, names = row.text(3), _parsed(row, 4), _parsed(row, 5), _parsed(row, 6)
    try:
        right = [bool(is_right) for _, _, _, is_right in names]
        options = [str(text) for text, _, _, _ in names]
        start = _place(sentence, [str(word) for word in words], int(pronoun[1][0]))
        text = _MARKS_BEHIND.sub("", str(pronoun[0]))
    except (TypeError, ValueError, IndexError, KeyError):
        expected = "lists of words, of the pronoun with its place, and of names with whether each is right"
        raise InputError.of(row.where, "its columns 4 to 6 are not XWinograd's", expected) from None
    if start is None or not sentence.startswith(text, start):
        raise InputError.of(row.where, f"the pronoun {text!r:.40} is not at its place in the sentence", "it there")
    if right.count(True) != 1:
        raise InputError.of(row.where, f"{right.count(True)} names are right", "one")
    before, after = sentence[:start], sentence[start + len(text) :]
    return filled_in(
        before,
        after,
        options,
        right.index(True),
        id=f"{language}:{row.number}",
        language=language,
        cluster=f"{language}:{before.strip()}",
        where=row.where,
    )


def _place(sentence: str, words: Sequence[str], number: int) -> int | None:
    """Where the word of that number begins in the sentence: the words are looked for one after another."""
    at = end = 0
    for word in words[: number + 1]:
        plain = '"' if word in {"``", "''"} else word  # as tokenizers of treebanks write quotes
        at = sentence.find(plain, end)
        if at < 0:
            return None
        end = at + len(plain)
    return at


def _parsed(row: TextRow, column: Column) -> Any:
    """What a column holds: a list as JSON Lines and Parquet have it, or the JSON text of one."""
    if column not in row.values:
        raise InputError(no_column(row.where, column, row.values))
    value = row.values[column]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InputError.of(row.where, f"column {column!r} holds no JSON: {value!r:.40}", "a list") from None
