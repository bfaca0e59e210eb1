"""The one place through which text leaves the process: what is secret in it is hidden.

Secret are the values of environment variables whose names say so, passwords in URLs, and tokens that are known by
their form. Each is replaced by `<NAME hidden>` with the variable's name, or by `<password hidden>` and the like. This
is for configuration, names, paths and messages; the data themselves (texts, counts, tables) are not looked at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

from alignlab.secret_forms import hide_forms

# A word of a variable's name, between underscores, that says that its value is secret ...
_SECRET_WORD = re.compile(
    r"AUTH|BEARER|COOKIE|CREDENTIALS?|CREDS|JWT|PASS|SSHPASS|PASSWORDS|PATS?|PW|PWD|SECRETS|TOKENS|(?:API|SECRET)?KEYS?|"
    # ... also the end of a longer one, as in PGPASSWORD; never the beginning, as in TOKENIZERS_PARALLELISM ...
    r"\w*(?:APIKEY|PASSPHRASE|PASSWD|PASSWORD|SECRET|TOKEN)"
)
# ... unless the last word says that it is something about a secret: SSH_AUTH_SOCK, WANDB_IDENTITY_TOKEN_FILE.
_ABOUT = re.compile(
    r"AGENT|ALGORITHM|CACHE|COMMAND|COUNT|DIR|DIRECTORY|ENABLED|FILE|FOLDER|HELPER|HOME|HOST|LENGTH|LIMIT|METHOD|MODE|"
    r"NAMES?|PATH|PID|PORT|PROGRAM|SIZE|SOCK|SOCKET|TIMEOUT|TTL|TYPE|USER|USERNAME|VERSION"
)
_NUMBER = re.compile(r"MAX|MIN|NUM|PER")  # MAX_TOKENS
_FOLDERS = ("PWD", "OLDPWD")
# Values that are settings and would be found all over.
_TRIVIAL = re.compile(
    r"always|anonymous|auto|basic|default|disabled|enabled|false|never|no|none|null|off|on|optional|password|required|"
    r"true|undefined|yes|(.)\1*",
    re.IGNORECASE,
)
_SHORT, _LONG = 6, 8
_HIDDEN = re.compile(r"<(\w+) hidden>")
_CUT = " ..."  # as messages cut long values


def hide(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with its secrets hidden; to hide twice changes nothing.

    environment: by default that of this process. Values of fewer than 8 characters are hidden only where they stand by
    themselves and are no plain word; those of fewer than 6, settings such as `true`, and folders and files that exist
    are not.
    """
    variables = os.environ if environment is None else environment
    secrets = _Secrets.of(tuple((name, value) for name, value in variables.items() if _names_secret(name)))
    return hide_forms(secrets.hide(text))


def hide_all(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A copy of plain containers with the secrets of every text hidden, keys included.

    A number is hidden where it is, as written, the value of a secret variable. Tuples become lists.
    """
    if isinstance(value, Mapping):
        return {hide_all(key, environment): hide_all(item, environment) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_all(item, environment) for item in value]
    if isinstance(value, str):
        return hide(value, environment)
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = hide(str(value), environment)
        return shown if _HIDDEN.fullmatch(shown) else value
    return value


def hidden_names(text: str) -> list[str]:
    """What is hidden in a text, such as `HF_TOKEN` in `https://me:<HF_TOKEN hidden>@example.org`."""
    return [name for name in _HIDDEN.findall(text) if _names_secret(name)]


def comparable(value: Any) -> Any:
    """Plain containers in which all secrets are alike, so that one that has changed makes no other config."""
    if isinstance(value, Mapping):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    shown = hide_all(value)
    if not isinstance(shown, str):
        return shown
    return _HIDDEN.sub(lambda match: "<hidden>" if _names_secret(match[1]) else match[0], shown)


def guard_tracebacks() -> None:
    """Hide secrets in what Python prints of an exception that nobody catches."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))

    sys.excepthook = show


class _Secrets:
    """The values of some variables, in every form in which a text may hold them."""

    def __init__(self, variables: tuple[tuple[str, str], ...]) -> None:
        self._names: dict[str, str] = {}
        bounded: set[str] = set()
        for name, value in sorted(variables):
            for part in _parts(value):
                for form in _written(part):
                    self._names.setdefault(form, name)
                    if len(part) < _LONG or part.isdecimal():  # other words and numbers may hold these
                        bounded.add(form)
        # The longest first: one secret may be a part of another. What is hidden already is passed over: a variable's
        # name may be the value of another.
        ordered = sorted(self._names, key=lambda form: -len(form))
        patterns = [rf"(?<!\w){re.escape(form)}(?!\w)" if form in bounded else re.escape(form) for form in ordered]
        self._pattern = re.compile("|".join([r"(<\w+ hidden>)", *patterns]))

    @staticmethod
    @lru_cache(maxsize=32)
    def of(variables: tuple[tuple[str, str], ...]) -> _Secrets:
        return _Secrets(variables)

    def hide(self, text: str) -> str:
        shown = self._pattern.sub(lambda match: match[1] or f"<{self._names[match[0]]} hidden>", text)
        *cut, rest = shown.split(_CUT)
        return "".join(f"{self._without_start(part)}{_CUT}" for part in cut) + rest

    def _without_start(self, cut: str) -> str:
        """A text that was cut, without the beginning of a secret at its end."""
        for form, name in self._names.items():
            for length in range(min(len(form) - 1, len(cut)), _SHORT - 1, -1):
                if cut.endswith(form[:length]):
                    return f"{cut[:-length]}<{name} hidden>"
        return cut


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    words = [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word]
    if not words or name.upper() in _FOLDERS or _ABOUT.fullmatch(words[-1]) or any(map(_NUMBER.fullmatch, words)):
        return False
    return any(map(_SECRET_WORD.fullmatch, words))


def _parts(value: str) -> Iterator[str]:
    """The value, and its longer lines where it has several; nothing for one that is no secret."""
    value = value.strip()
    if _TRIVIAL.fullmatch(value) or len(value) < _SHORT or (value.startswith(("/", "~")) and _exists(value)):
        return
    mixed = re.search("[A-Za-z]", value) and re.search("[^A-Za-z]", value)
    if len(value) >= _LONG or mixed:
        yield value
        yield from (line for line in value.splitlines() if "\n" in value and len(line) >= 2 * _LONG)


def _written(secret: str) -> set[str]:
    """The secret as it is, and as Python, JSON, URLs and shells write it."""
    quoted = {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_shells = secret.replace("'", shlex.quote("'")[1:-1])
    return {secret, *quoted, quote(secret), quote(secret, safe=""), quote_plus(secret), in_shells}


@lru_cache(maxsize=128)
def _exists(path: str) -> bool:
    """Whether a value says where something lies, as GOOGLE_APPLICATION_CREDENTIALS does."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long for a name, no such user, a NUL
        return False
