"""Settings that may not hold a secret, and settings from which one was hidden when a config was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignlab.errors import InputError, Problem
from alignlab.redaction import hidden_names, hide


def check_settings(plain: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a config, in plain containers, with all that `secret_problems` and `hidden_problems` find."""
    problems = secret_problems(plain, names) + hidden_problems(plain)
    if problems:
        raise InputError(*problems)


def secret_problems(plain: Mapping[str, Any], names: Sequence[str]) -> list[Problem]:
    """Secrets in settings that serve as names: these are used as they are, so that hiding them is too late.

    names: dotted keys of texts or lists of texts.
    """
    return [
        Problem(key, f"{hide(text)}: it holds a secret", "a name, which is written, shown and uploaded", _FIX)
        for key, text in _texts(plain, "")
        if key in names and hide(text) != text
    ]


def hidden_problems(plain: Mapping[str, Any]) -> list[Problem]:
    """Settings in which a written config has `<NAME hidden>` for what cannot be read back."""
    return [
        Problem(key, f"{text}: the secret was hidden when this was written", "the value itself", _restored(text))
        for key, text in _texts(plain, "")
        if hidden_names(text)
    ]


_FIX = "Name it otherwise; W&B finds its key by itself, in WANDB_API_KEY or by `wandb login`."


def _restored(text: str) -> str:
    name = hidden_names(text)[0]
    if not name.isupper():  # a password or a token that no variable gave
        return "Set it again, best by ${oc.env:NAME} from a variable of the environment."
    return f"Set it again, such as by ${{oc.env:{name}}} in the place of <{name} hidden>."


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, str):
        yield key, value
