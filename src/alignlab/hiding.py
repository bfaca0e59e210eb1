"""Keep secrets out of what is written and logged: a config may have read them from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
MIN_LENGTH = 8


def hide_secrets(plain: dict[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A copy of a config in plain containers in which the values of secret environment variables are replaced.

    A variable is secret when its name contains KEY, TOKEN, SECRET or PASSWORD and its value has 8 characters or more;
    `<NAME hidden>` stands for the value, alone or inside a longer text, as in a URL. A number is replaced when it is
    written as the whole value. Keys are left as they are.

    environment: by default that of this process.
    """
    variables = os.environ if environment is None else environment
    secrets = [
        (value, f"<{name} hidden>")
        for name, value in sorted(variables.items())
        if len(value) >= MIN_LENGTH and any(word in name.upper() for word in SECRET_NAMES)
    ]
    secrets.sort(key=lambda item: -len(item[0]))  # one secret may be a part of another
    return {key: _hidden(value, secrets) for key, value in plain.items()}


def _hidden(value: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item, secrets) for item in value]
    if isinstance(value, str):
        for secret, name in secrets:
            value = value.replace(secret, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return dict(secrets).get(str(value), value)
    return value
