"""Valid examples made wrong: in types, values, sizes, characters and bytes, all of it by the `Random` given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

_TEXTS: Sequence[str] = (
    "", " ", "x", "null", "~", "no", "../../x", "/", "/etc/passwd", "~nobody/x", "a\0b", "\u202ex", "\ud83d",
    "\ufeff", "=1+1", "<script>", "${seed}", "${", "${oc.env:HOME}", "{prompt}", "{language}", "%s", "\n", "\x1b[31m",
    "ü", "語", "x" * 300, "x" * 20_000, "9" * 5000, "nan", "auto", "cuda", "1e999", "0x1f", "2026-01-01",
    "!!python/object:os.system", "&a [*a]",
)  # fmt: skip
_NUMBERS: Sequence[Any] = (
    0, 1, -1, 2, 3, 7, 255, 256, 2**31, 2**53, 2**63, 10**20, 0.0, -0.0, 0.5, 2.7, 1e-300, 1e30, 1e300,
    float("nan"), float("inf"), float("-inf"), True, False, None,
)  # fmt: skip


def odd_value(rng: Random, depth: int = 0) -> Any:
    """A value of any kind that JSON or YAML can write."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(_NUMBERS)
    if kind < 8 or depth > 2:
        return rng.choice(_TEXTS)
    size = rng.choice((0, 1, 2, 50))
    if kind == 8:
        return [odd_value(rng, depth + 1) for _ in range(size)]
    return {str(odd_value(rng, 3)): odd_value(rng, depth + 1) for _ in range(size)}


def mutated(rng: Random, tree: Any) -> Any:
    """Nested lists and mappings with one to three changes at places of any depth."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        tree = _changed(rng, tree)
    return tree


def _changed(rng: Random, tree: Any) -> Any:
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return _scalar(rng, tree)
    if isinstance(tree, list):
        place = rng.randrange(len(tree))
        return [_changed(rng, item) if index == place else item for index, item in enumerate(tree)]
    key, how = rng.choice(list(tree)), rng.random()
    if how < 0.1:
        return {name: value for name, value in tree.items() if name != key}
    if how < 0.2:
        return {str(odd_value(rng, 3)) if name == key else name: value for name, value in tree.items()}
    if how < 0.3:
        return {**tree, str(odd_value(rng, 3)): odd_value(rng)}
    return {name: _changed(rng, value) if name == key else value for name, value in tree.items()}


def _scalar(rng: Random, value: Any) -> Any:
    nearby: list[Callable[[], Any]] = [lambda: odd_value(rng)] * 3
    if isinstance(value, bool | int | float):
        nearby += [lambda: -value, lambda: value + 1, lambda: value * 10**6, lambda: float(value), lambda: str(value)]
    if isinstance(value, str):
        nearby += [lambda: value + rng.choice(_TEXTS), lambda: value[: len(value) // 2], lambda: [value], value.upper]
    return rng.choice(nearby)()


def deep(levels: int) -> str:
    """JSON, and YAML, of so many levels."""
    return "[" * levels + "]" * levels


def damaged(rng: Random, content: bytes) -> bytes:
    """Bytes cut, flipped, doubled, replaced or put in between, or read as another encoding writes them."""
    at = rng.randrange(len(content) + 1)
    change = rng.randrange(9)
    if change == 0:
        return content[:at]
    if change == 1 and content:
        flipped = bytearray(content)
        for _ in range(rng.choice((1, 1, 8))):
            flipped[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(flipped)
    if change == 2:
        return content + content
    if change == 3:
        return content[:at] + rng.randbytes(rng.choice((1, 4, 100))) + content[at:]
    if change == 4:
        return content[:at] + rng.choice(_TEXTS).encode(errors="replace") + content[at:]
    if change == 5:
        return content.decode(errors="replace").encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    if change == 6:
        return content.replace(b"\n", rng.choice((b"\r", b"\r\n", b"", b"\0", b"\n\n", "\u2028".encode())))
    if change == 7:
        return deep(rng.choice((10, 1000, 100_000))).encode()
    return rng.choice((b"", b"\0" * 100, b"\xff\xfe", b"null", b"{}", b"[]", json.dumps("9" * 5000).encode()))


def spoil(rng: Random, path: Path) -> None:
    """A file with other bytes, or in its place nothing, a folder, a pipe, a link that leads nowhere or in a circle."""
    how = rng.randrange(12)
    if how < 6:
        path.write_bytes(damaged(rng, path.read_bytes()))
        return
    path.unlink()
    if how == 6:
        path.mkdir()
    elif how == 7:
        os.mkfifo(path)
    elif how == 8:
        path.symlink_to("nowhere")
    elif how == 9:
        path.symlink_to(path.name)
    elif how == 10:
        path.symlink_to("/dev/zero")
