"""Labels in the place of languages: what a config says of cultures, programming languages, domains or scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError

from alignlab.config import Options, option, section
from alignlab.config.declare import EXPECTED
from alignlab.console import has_controls
from alignlab.languages import LABEL_FORM, LANGUAGES, Language, declared, is_label
from alignlab.redaction import hide

LABELS_MEANING = "labels in the place of languages: cultures, programming languages, domains, scripts"
LANGUAGE = "language"
_LEVELS = {"low": 0.0, "medium": 1.0, "high": 2.0}
_LONGEST, _MOST = 60, 1000
# What columns, keys of W&B and expressions call something else, and what other programs read as no text.
_OTHERS = (
    "all trained unseen reference specific related general unassigned selected above none null true false nan g pure "
    "compound generic exclusive"
)
_TAKEN = frozenset(_OTHERS.split())


def _text(value: str) -> str | None:
    """What a name has to be, if this is none: it is shown in figures, which take < for markup."""
    if not value.strip() or len(value) > _LONGEST or has_controls(value) or set(value) & set("<>"):
        return f"text of 1 to {_LONGEST} characters without < and >, control characters and line breaks"
    return "text without secrets: it is written, shown and uploaded" if hide(value) != value else None


def _texts(value: Mapping[str, str]) -> str | None:
    return next(filter(None, map(_text, [*value, *value.values()])), None)


def _label(value: str) -> str:
    expected = None if is_label(value) else f"a label of {LABEL_FORM}"
    if expected is None and value.casefold() in _TAKEN:
        expected = f"another label: {value!r} means something else in tables and expressions"
    if expected is None and hide(value) != value:
        expected = "a label without secrets: it is written, shown and uploaded"
    if expected is not None:
        raise PydanticCustomError(EXPECTED, "{words}", {"words": expected})
    return value


class LabelOptions(Options):
    """What is known of a label. Of a language's own code it is added to what `languages.py` says."""

    name: str | None = option(None, "what prompts and tables call it; null: the label itself", check=_text)
    family: str | None = option(None, "its kin, within which overlaps are compared, such as scripting", check=_text)
    script: str | None = option(None, "what it is written in, such as Latn", check=_text)
    resource: Literal["low", "medium", "high"] | float | None = option(
        None, "how much of it models have seen: low, medium or high; or a number on a scale that rises, of every label"
    )
    spoken: str | None = option(
        None,
        "of a culture or a domain its language, by the name of that one's set of neurons, which pure(LABEL) leaves "
        "out; null: the label itself",
        check=_text,
    )
    typology: dict[str, str] = option({}, "further properties by name, such as {word_order: SOV}", check=_texts)

    def language(self, label: str) -> Language:
        """The label as the rest of alignlab takes it."""
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        if self.resource is not None:
            given["resource"] = _LEVELS[self.resource] if isinstance(self.resource, str) else self.resource
        return replace(LANGUAGES.get(label, Language(label, label)), **given)


class LabelsOptions(Options):
    """Labels that may stand where languages do, and what they are."""

    axis: str = option(LANGUAGE, "what a label is, in the singular, such as programming language", check=_text)
    table: dict[Annotated[str, AfterValidator(_label)], LabelOptions] = section(
        {}, "what is known of each, by label; a label with nothing known is {}. Codes of languages need no entry"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        wrong = list(self._wrong())
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong(self) -> Iterator[str]:
        """What no entry has wrong by itself."""
        if len(self.table) > _MOST:
            yield f"{len(self.table):,} labels; expected {_MOST:,} at most"
        spelled = Counter(label.casefold() for label in self.table)
        alike = [label for label in self.table if spelled[label.casefold()] > 1]
        if alike:
            yield f"{', '.join(alike)} differ in capitals alone; expected labels that differ otherwise too"
        names = Counter(one.language(label).name for label, one in self.table.items())
        for name in [name for name, times in names.items() if times > 1]:
            twice = [label for label, one in self.table.items() if one.language(label).name == name]
            yield f"{' and '.join(twice)} are both called {name!r}; expected a name of each"
        for label, one in self.table.items():
            if label in LANGUAGES and one.name not in (None, LANGUAGES[label].name):
                yield (
                    f"{label!r} is the code of {LANGUAGES[label].name}, whose answers are read as such, and is called "
                    f"{one.name!r}; expected another label for it"
                )
        scales = {isinstance(one.resource, str) for one in self.table.values() if one.resource is not None}
        if len(scales) > 1:
            yield "resource is a word of some labels and a number of others; expected one scale for all"

    def languages(self) -> list[Language]:
        """The labels as the rest of alignlab takes them."""
        return [one.language(label) for label, one in self.table.items()]

    @property
    def note(self) -> str:
        """What stands in the place of languages, in a sentence; "" where languages do."""
        if self.axis == LANGUAGE:
            return ""
        return f"What stands in the place of languages here is of another kind: {self.axis}."


class Labelled(Options):
    """Options with a field `labels`, which are checked with these labels as codes beside those of languages."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_labels(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with declared(_named(values)):
            return handler(values)


def _named(values: Any) -> list[Language]:
    """The labels of values that are not checked yet. What is wrong with them is told where they are checked."""
    labels = values.get("labels") if isinstance(values, Mapping) else getattr(values, "labels", None)
    if isinstance(labels, LabelsOptions):
        return labels.languages()
    table = labels.get("table") if isinstance(labels, Mapping) else None
    return [Language(str(label), str(label)) for label in table] if isinstance(table, Mapping) else []


@contextmanager
def labels_of(options: Options) -> Iterator[None]:
    """Within it the labels of these options are known; those of options without any change nothing."""
    labels = getattr(options, "labels", None)
    if labels is None:
        yield
    else:
        with declared(labels.languages()):
            yield
