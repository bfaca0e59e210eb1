r"""The language of an answer, among the languages at hand; `docs/evaluation.md` says how often it is right.

py3langid decides (Lui and Baldwin 2012, langid.py: naive Bayes over sequences of bytes). It needs no network; its model
is a file of its package, arrays that are read without unpickling. What it decides is taken where the next language is
clearly less probable, and where the text is in the script of the language: of scripts that no language at hand has it
knows nothing, and is often sure all the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cache

import regex
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from alignlab.errors import Problem, refuse_any
from alignlab.languages import LANGUAGES, get

# How much more probable the language is than the next. With less none is named: of lines of news in 24 languages .1 %.
LEAST_MARGIN = 0.2
# Characters of some script; fewer are too little text.
LEAST_CHARACTERS = 3
# Of the characters, those of the language's script. Japanese is a third kana or more, and so is not taken for Chinese.
LEAST_IN_SCRIPT = 2 / 3

# Its names of languages, where they are others.
_LABELS = {"fil": "tl", "nb": "no"}
_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Kore": "Hang"}
_NOT_WORDS = regex.compile(r"\\[A-Za-z]+|[^\p{L}\p{M}\s'’]+")
_WRITTEN = regex.compile(r"[^\p{sc=Zyyy}\p{sc=Zinh}]")


def language_of(texts: Iterable[str], languages: Sequence[str]) -> list[str | None]:
    """The language of each text, one of `languages`; None where it cannot be told.

    texts: of any content; digits, punctuation, symbols and LaTeX commands are left out.
    languages: ISO 639 codes, those that a text may be in. Where there is one only, any text in its script is in it.

    None: fewer than 3 characters of some script; two languages within .2 in probability; or under two thirds of the
    text in the script of the language. Latin letters do not count in this where the language has another script,
    since units and names are often left in them.

    Raises InputError for languages that are not known, or that py3langid cannot tell.
    """
    codes = {_LABELS.get(code, code): code for code in languages}
    refuse_any(_problems(languages))
    identifier = _restricted_to(tuple(sorted(codes)))
    return [_told(words, codes, identifier) for words in map(_words, texts)]


def cannot_be_told(languages: Iterable[str]) -> list[str]:
    """Those of the languages that py3langid has not learnt, in order."""
    known = set(_identifier().labels)
    return [code for code in languages if _LABELS.get(code, code) not in known]


def _problems(languages: Sequence[str]) -> list[Problem]:
    where = "languages of answers"
    if not languages:
        return [Problem(where, "none", "one or more")]
    for code in languages:
        get(code, where)
    problems = [
        Problem(where, f"{code!r}, which py3langid has not learnt", fix="Leave it out.")
        for code in cannot_be_told(languages)
    ]
    labels = [_LABELS.get(code, code) for code in languages]
    twice = [code for code, label in zip(languages, labels, strict=True) if labels.count(label) > 1]
    if twice:
        problems.append(Problem(where, ", ".join(map(repr, twice)), "languages that py3langid tells apart, each once"))
    return problems


def _words(text: str) -> str:
    return " ".join(_NOT_WORDS.sub(" ", text).split())


def _told(words: str, codes: dict[str, str], identifier: LanguageIdentifier) -> str | None:
    if len(_WRITTEN.findall(words)) < LEAST_CHARACTERS:
        return None
    (label, most), *others = identifier.rank(words)
    sure = not others or most - others[0][1] >= LEAST_MARGIN
    code = codes[label]
    return code if sure and _share_in_script(words, LANGUAGES[code].script) >= LEAST_IN_SCRIPT else None


def _share_in_script(words: str, script: str) -> float:
    own = len(_in_script(script).findall(words))
    written = len(_WRITTEN.findall(words))
    if script != "Latn":
        written -= len(_in_script("Latn").findall(words))
    return own / written if written else 0.0


@cache
def _in_script(script: str) -> regex.Pattern[str]:
    names = _SCRIPTS.get(script, script).split()
    return regex.compile("[" + "".join(rf"\p{{sc={name}}}" for name in names) + "]")


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _restricted_to(labels: tuple[str, ...]) -> LanguageIdentifier:
    restricted = copy.copy(_identifier())
    restricted.set_languages(labels)
    return restricted
