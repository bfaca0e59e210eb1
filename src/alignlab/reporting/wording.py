"""Numbers as the page and the terminal say them, and words put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignlab.analysis.languages import EXPECTED_COMMON

_PLACES = {"ratio": 2}
# Measures that are means over draws.
_OVER_DRAWS = ("by chance", EXPECTED_COMMON)
# Groups whose counts are whole numbers: of others they are means over languages.
_WHOLE = ("all", "selection", "language", "pair", "reference")


def digits(group: str) -> int:
    """Decimals of a count: none, but one for means over languages."""
    return 0 if group in _WHOLE else 1


def form(row: Any) -> tuple[int, str]:
    """How the number of a row is said: its decimals, and "+" where it has a sign, as changes have.

    Counts are whole numbers; means over languages, and over draws of chance, have one decimal.
    """
    places = _PLACES.get(row.unit, 3)
    if row.unit == "neurons":
        places = 1 if row.measure in _OVER_DRAWS else digits(row.group)
    return places, "+" if row.reference == 0 else ""


def number(value: float | None, places: int = 0, sign: str = "") -> str:
    """With thousands separators and a minus as long as the plus; "" for none.  sign: "+" where a plus is to be seen."""
    if value is None or value != value:
        return ""
    text = f"{value:{sign}z,.{places}f}"
    return text.replace("-", "−")


def signed(value: float | None, places: int = 0) -> str:
    """A change, with its sign."""
    return number(value, places, "+")


def interval(low: float | None, high: float | None, places: int, sign: str = "") -> str:
    """Its ends, each as `number` says it; "" for none."""
    ends = number(low, places, sign), number(high, places, sign)
    return " to ".join(ends) if all(ends) else ""


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def shortened(text: str, most: int, lines: int | None = None) -> str:
    """At most so many characters and lines of a text; where it had more it says how many characters there are."""
    kept = "\n".join(text[:most].split("\n", lines or -1)[:lines])
    return text if kept == text else f"{kept} … ({len(text):,} characters)"


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Options on a line, such as `top_rate 0.1, sites mlp.act attention.q, exclusive false`."""
    return ", ".join(f"{key} {_in_words(value)}" for key, value in settings.items())


def _in_words(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return " ".join(map(_in_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
