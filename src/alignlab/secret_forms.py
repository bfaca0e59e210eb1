"""Passwords and tokens that are known by their form, wherever they come from."""

from __future__ import annotations

import re

# What each finds, and what takes its place. What is hidden already, `<...`, is left alone.
_Form = tuple[re.Pattern[str], str]
_PASSWORD, _TOKEN = r"\1<password hidden>\2", r"\1<token hidden>"
_NAMED = r"api[_ -]?key|access[_-]?token|auth[_-]?token|password|passwd|secret"

_IN_ADDRESSES: tuple[_Form, ...] = (
    # user:password@ in a URL, or in one that a message cuts with dots. The password may hold a / or @ that should have
    # been escaped; a port is none.
    (
        re.compile(r"(://[^\s/?#:<>\"']*:)(?!<|\d{1,5}(?:[/?#\s\"']|$))(?:[^\s/?#<>]+|[^\s<>]{1,200}?)(@| \.\.\.)"),
        _PASSWORD,
    ),
    # The same where the whole URL is percent-encoded, as a part of another one.
    (
        re.compile(r"(%3A%2F%2F(?:(?!%2F|%3A|%40)[^\s/:@<>])*%3A)(?:(?!%2F|%40)[^\s/@<>])+(%40)", re.IGNORECASE),
        _PASSWORD,
    ),
    # A token in the place of the user, as in git remotes.
    (re.compile(r"(https?://)(?=[^\s/@]*\d)[\w%.~-]{20,}(@)"), r"\1<token hidden>\2"),
    (
        re.compile(rf"([?&](?:{_NAMED}|auth|key|sig|signature|token)=)(?!<)[^&#\s\"'<>]+", re.IGNORECASE),
        _TOKEN,
    ),
)

_BEHIND_NAMES: tuple[_Form, ...] = (
    (
        re.compile(
            r"(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token)\s+)?)(?!<|(?:basic|bearer|token)\s)"
            r"[^\s\"',<>]{4,}",
            re.IGNORECASE,
        ),
        _TOKEN,
    ),
    (re.compile(r"(\bBearer\s+)(?!<)[\w.~+/=-]{3,}"), _TOKEN),
    # W&B's older keys are 40 hexadecimal digits, as a git commit is: only the words before tell them apart.
    (
        re.compile(
            rf"(\b(?:[\w-]{{0,40}}(?:{_NAMED}|token)|wandb[\w ]{{0,20}}key|wandb login)[\"']?[\s:=]{{1,4}}[\"']?)"
            r"[0-9a-f]{40}(?![\w-])",
            re.IGNORECASE,
        ),
        _TOKEN,
    ),
    (
        re.compile(rf"(\b[\w-]{{0,40}}(?:{_NAMED})[\"']?\s?=\s?[\"']?)(?!<)[^\s\"'&,;<>\]}})]{{6,}}", re.IGNORECASE),
        _TOKEN,
    ),
)

_BY_THEMSELVES: tuple[_Form, ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "<key hidden>",
    ),
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:"
            r"(?:hf|api_org|gh[oprsu])_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[\w-]{16,}|"
            # With dashes only behind what its makers write first: `sk` is also Slovak.
            r"sk-(?:proj|ant|svcacct|admin|or|live|test|None)-[\w-]{16,}|sk-[A-Za-z0-9]{20,}|"
            r"[rs]k_(?:live|test)_\w{16,}|wandb_v\d_\w{20,}|"
            r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|AIza[\w-]{35}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|"
            r"xox[abeoprs]-[A-Za-z0-9-]{8,}|"
            r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web tokens
            r")"
        ),
        "<token hidden>",
    ),
)

_FORMS = (*_BY_THEMSELVES, *_IN_ADDRESSES, *_BEHIND_NAMES)


def hide_forms(text: str) -> str:
    """The text with `<password hidden>`, `<token hidden>` or `<key hidden>` for each."""
    for pattern, shown in _FORMS:
        text = pattern.sub(shown, text)
    return text
