"""Sets of neurons made of others, in a line of text: `zh - en`, `specific(zh) | related(zh)`, `(zh | de) & ~general`.

| written | neurons |
|---|---|
| `zh`, `"zh-Hans"` | of that set; names with other characters than letters, digits and _ stand in quotes |
| `specific(zh)`, `related(zh)` | the language's, of that kind (needs a classification with a tau) |
| `above(zh)` | above tau in the language, selected or not (the same) |
| `general`, `unassigned` | of that kind, whatever the language (the same) |
| `selected` | selected (needs a classification) |
| `exclusive(zh)` | of that set and of no other one of those at hand (Kargaran et al.) |
| `pure(us)` | C - L: of the label's set, not of its language's (needs sets of languages; Namazifard and Galke 2025) |
| `compound(us)` | L & C: of both (the same) |
| `generic` | in `pure` of every label at hand (the same) |
| `~a`, `a - b`, `a & b`, `a | b` | not in a; in a, not in b; in both; in either. So they bind, as in Python |

A text is read by a parser of our own and never run. It keeps what is open on a list, so that no text, however nested,
exhausts the stack.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_, or_

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any, some_of
from alignlab.neurons.classification import Classification
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.sets import NeuronSets

MOST_CHARACTERS, MOST_OPEN = 10_000, 100
_SHOWN = 60  # characters of a text that are shown around a mistake

_TOKEN = re.compile(r"""\s*(?:(?P<name>\w+)|(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>[-&|~()]))""")
_BINDS = {"|": 1, "&": 2, "-": 3, "~": 4}
_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"|": or_, "&": and_, "-": lambda a, b: a & ~b}


def select_neurons(
    expression: str,
    sets: NeuronSets | Classification,
    convention: Convention = "paper",
    languages: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The neurons that an expression names, (L, N) bool.

    sets: what its names mean: named sets, or a classification with its languages and kinds.
    convention: by which a neuron of a classification has its kind; see `alignlab.neurons.kinds.kinds_of`.
    languages: where `sets` are of other labels, such as cultures: by label the neurons of its language, (L, N) bool.
        NeuronSets of the same names will do, or {"us": of_languages["en"], "jp": of_languages["ja"]}.

    Raises InputError that points at the place: for what is no expression, and for all names that are not there; and
    for languages' neurons of another shape.

        >>> import torch
        >>> from alignlab import NeuronSets
        >>> from alignlab.interventions import select_neurons
        >>> sets = NeuronSets({"zh": torch.tensor([[True, True, False]]), "en": torch.tensor([[False, True, True]])})
        >>> select_neurons("zh - en", sets)
        tensor([[ True, False, False]])
        >>> select_neurons("~(zh & en)", sets)
        tensor([[ True, False,  True]])
        >>> select_neurons("pure(zh)", sets, languages={"zh": torch.tensor([[True, False, False]])})
        tensor([[False,  True, False]])
    """
    refuse_any(_of_other_types(expression, sets))
    tokens = list(_tokens(expression))
    operands = list(_checked(tokens, expression))
    known = _of_classification(sets, convention) if isinstance(sets, Classification) else _of_sets(sets)
    known = _with_exclusive(known)
    if languages is not None:
        refuse_any(_of_other_shapes(languages, known.sets))
        known = _with_languages(known, languages)
    refuse_any([problem for one in operands if (problem := known.problem(one, expression)) is not None])
    return _evaluate(tokens, known)


def _of_other_types(expression: object, sets: object) -> list[Problem]:
    problems = []
    if not isinstance(expression, str):
        problems.append(Problem("expression", f"of the type {type(expression).__name__}", "text, such as 'zh - en'"))
    if not isinstance(sets, NeuronSets | Classification):
        expected = "NeuronSets, such as load_run(FOLDER).sets(), or a classification"
        problems.append(Problem("sets", f"of the type {type(sets).__name__}", expected))
    return problems


def names_in(expression: str) -> set[str]:
    """The names in an expression, without quotes, those in the parentheses of a function among them.

    Raises InputError for what is no expression.
    """
    operands = _checked(list(_tokens(expression)), expression)
    return {one.word if one.of is None else one.of.word for one in operands}


@dataclass(frozen=True)
class _Token:
    """A word, or a sign, of an expression.

    at: its place.  word: the name, without quotes, or the sign.  of: what stands in the parentheses of a function.
    """

    at: int
    word: str
    kind: str  # name, quoted or sign
    of: _Token | None = None

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.word == sign

    @property
    def written(self) -> str:
        if self.of is not None:
            return f"{self.word}({self.of.written})"
        return f"{self.word!r}" if self.kind == "quoted" else self.word


@dataclass(frozen=True)
class _Known:
    """What the names of an expression mean.

    sets: by name.  words: by words that stand without quotes.  functions: of a name of `languages`.
    lacks: why there are none of the other words, if so.
    spoken: labels whose language's neurons are known; None where no language's are.
    """

    sets: Mapping[str, Tensor]
    words: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    functions: Mapping[str, Callable[[str], Tensor]] = field(default_factory=dict)
    lacks: str = ""
    spoken: Collection[str] | None = None

    def problem(self, one: _Token, text: str) -> Problem | None:
        """What is wrong with a name."""
        if one.of is not None:
            if one.word not in self.functions:
                return self._unknown(one, text, list(self.functions), "a kind of a language")
            if one.of.word not in self.sets:
                return self._unknown(one.of, text, list(self.sets), "a language")
            return self._unspoken(one.of, text, [one.of.word]) if one.word in _OF_LANGUAGES else None
        if one.word == _GENERIC and one.word not in self.sets and one.word in self.words:
            return self._unspoken(one, text, list(self.sets))
        if one.word in self.sets or (one.kind == "name" and one.word in self.words):
            return None
        return self._unknown(one, text, [*self.sets, *self.words], "a set")

    def _unknown(self, one: _Token, text: str, choices: Sequence[str], what: str) -> Problem:
        found = f"{one.word!r} is not {what}"
        expected = f"one of {some_of(choices, 20)}" if choices else "names of sets alone"
        if one.word in (*_OF_LANGUAGES, _GENERIC) and self.spoken is None:
            found = f"{one.word!r} needs the neurons of the labels' languages, and there are none"
            expected = (
                "sets of languages beside these: `languages` in Python, the option `beside` of alignlab.intervene"
            )
            return _problem(text, one.at, found, expected)
        if one.word in _OF_KINDS and self.lacks:
            found, expected = f"{one.word!r} needs {self.lacks}", "names of sets alone"
        return _problem(text, one.at, found, expected, did_you_mean(one.word, choices))

    def _unspoken(self, one: _Token, text: str, labels: Sequence[str]) -> Problem | None:
        """What is wrong where the neurons of a label's language are wanted."""
        lacking = [label for label in labels if label not in (self.spoken or ())]
        if not lacking:
            return None
        found = f"no neurons are known of the language of {some_of([repr(label) for label in lacking], 5)}"
        fix = "Say which it is: as `languages` in Python, in labels.table.LABEL.spoken of a config."
        return _problem(
            text, one.at, found, f"labels with a language, such as {some_of(list(self.spoken or ()), 5)}", fix
        )

    def value(self, one: _Token) -> Tensor:
        if one.of is not None:
            return self.functions[one.word](one.of.word)
        return self.sets[one.word] if one.word in self.sets else self.words[one.word]()


_OF_KINDS = ("specific", "related", "above", "general", "unassigned", "selected")
_OF_LANGUAGES, _GENERIC = ("pure", "compound"), "generic"


def _with_exclusive(known: _Known) -> _Known:
    """And what is in one set alone, out of all those that have a name."""

    def exclusive(name: str) -> Tensor:
        others = [mask for other, mask in known.sets.items() if other != name]
        return reduce(lambda left, other: left & ~other, others, known.sets[name])

    return replace(known, functions={**known.functions, "exclusive": exclusive})


def _with_languages(known: _Known, languages: Mapping[str, Tensor]) -> _Known:
    """And what is of a label and of its language, or not."""

    def pure(label: str) -> Tensor:
        return known.sets[label] & ~languages[label]

    def compound(label: str) -> Tensor:
        return known.sets[label] & languages[label]

    return replace(
        known,
        words={**known.words, _GENERIC: lambda: reduce(and_, map(pure, known.sets))},
        functions={**known.functions, "pure": pure, "compound": compound},
        spoken=languages.keys(),
    )


def _of_other_shapes(languages: Mapping[str, Tensor], sets: Mapping[str, Tensor]) -> list[Problem]:
    expected = next(iter(sets.values())).shape
    return [
        Problem(
            f"languages: the neurons of {label!r}",
            f"{mask.dtype} of the shape {tuple(mask.shape)}",
            f"torch.bool of {tuple(expected)}, layers and neurons of the same model",
        )
        for label, mask in languages.items()
        if mask.dtype != torch.bool or mask.shape != expected
    ]


def _of_sets(sets: NeuronSets) -> _Known:
    return _Known(sets.sets, lacks="the classification of a run, and these are sets by name")


def _of_classification(result: Classification, convention: Convention) -> _Known:
    if not result.has_degree:
        lacks = f"a tau, and {result.identifier} has none"
        return _Known(result.sets, {"selected": lambda: result.selected}, lacks=lacks)

    def of_kind(kind: Kind) -> Tensor:
        return result.kinds(convention) == kind

    return _Known(
        result.sets,
        {
            "general": lambda: of_kind(Kind.GENERAL),
            "unassigned": lambda: of_kind(Kind.UNASSIGNED),
            "selected": lambda: result.selected,
        },
        {
            "specific": lambda language: result.above[language] & of_kind(Kind.SPECIFIC),
            "related": lambda language: result.above[language] & of_kind(Kind.RELATED),
            "above": lambda language: result.above[language],
        },
    )


def _tokens(text: str) -> Iterator[_Token]:
    """The words and signs of a text, a function and what it is of being one."""
    found = _words(text)
    place = 0
    while place < len(found):
        one, after = found[place], found[place + 1 : place + 4]
        if one.kind == "name" and after and after[0].is_sign("("):
            if len(after) < 3 or after[1].kind == "sign" or not after[2].is_sign(")"):
                example = one.word if one.word in _OF_KINDS else _OF_KINDS[0]
                raise InputError(_problem(text, after[0].at, f"{one.word}( ...", f"one name, such as {example}(zh)"))
            yield replace(one, of=after[1])
            place += 4
        else:
            yield one
            place += 1


def _words(text: str) -> list[_Token]:
    """The words and signs of a text one by one."""
    if len(text) > MOST_CHARACTERS:
        raise InputError.of("expression", f"{len(text):,} characters", f"{MOST_CHARACTERS:,} at most")
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = "a quotation mark that is never closed" if text[at] in "\"'" else f"{text[at]!r}"
            expected = "names, quoted where they have other characters, ~ - & | and parentheses"
            raise InputError(_problem(text, at, what, expected))
        kind = str(match.lastgroup)
        word = match[kind]
        found.append(_Token(match.start(kind), word[1:-1] if kind == "quoted" else word, kind))
        at = match.end()
    return found


def _checked(tokens: Collection[_Token], text: str) -> Iterator[_Token]:
    """The operands, once they and the signs stand where they can. Raises InputError at the first that does not."""
    opened: list[_Token] = []
    value_is_next = True
    for one in tokens:
        starts = one.kind != "sign" or one.word in ("~", "(")
        if starts != value_is_next:
            expected = "a set, ~ or (" if value_is_next else "one of - & | between sets"
            raise InputError(_problem(text, one.at, f"{one.written!r}", expected))
        if one.kind != "sign":
            yield one
        elif one.word == "(":
            opened.append(one)
            if len(opened) > MOST_OPEN:
                found = f"{len(opened)} parentheses within each other"
                raise InputError(_problem(text, one.at, found, f"{MOST_OPEN} at most"))
        elif one.word == ")":
            if not opened:
                raise InputError(_problem(text, one.at, "a ) that nothing has opened", "as many ( as )"))
            opened.pop()
        value_is_next = one.kind == "sign" and one.word != ")"
    if value_is_next:
        raise InputError(_problem(text, len(text.rstrip()), "the end", "a set"))
    if opened:
        raise InputError(_problem(text, opened[-1].at, "a ( that is never closed", "as many ) as ("))


def _evaluate(tokens: Sequence[_Token], known: _Known) -> Tensor:
    """The value of an expression that has been checked: values and signs that wait are kept on two lists."""
    values: list[Tensor] = []
    waiting: list[str] = []

    def apply() -> None:
        sign = waiting.pop()
        last = values.pop()
        values.append(~last if sign == "~" else _OPERATIONS[sign](values.pop(), last))

    for one in tokens:
        if one.kind != "sign":
            values.append(known.value(one))
        elif one.word in "(~":
            waiting.append(one.word)
        elif one.word == ")":
            while waiting[-1] != "(":
                apply()
            waiting.pop()
        else:  # what binds as much, or more, comes first: from the left
            while waiting and waiting[-1] != "(" and _BINDS[waiting[-1]] >= _BINDS[one.word]:
                apply()
            waiting.append(one.word)
    while waiting:
        apply()
    (value,) = values
    return value.clone()


def _problem(text: str, at: int, found: str, expected: str, fix: str = "") -> Problem:
    """A mistake at a place of the text, which is pointed at."""
    start = max(0, at - _SHOWN)
    # One character for each, whatever it is, so that the mark stands below it.
    shown = "".join(sign if sign.isprintable() else "?" for sign in text[start : at + _SHOWN])
    width = sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in shown[: at - start])
    pointed = f"\n    {shown}\n    {' ' * width}^"
    return Problem("expression", found, expected, f"{fix}{pointed}")
