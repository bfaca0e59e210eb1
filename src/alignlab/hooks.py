"""Hooks that Lightning calls: no failure of one passes for the end of the data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def loud(hook: Callable[P, R]) -> Callable[P, R]:
    """A hook whose StopIteration becomes a RuntimeError, as Python does in generators.

    Lightning calls its hooks from inside the loop over the data and takes any StopIteration for their end: a training
    would stop there and pass for finished.
    """

    @functools.wraps(hook)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return hook(*args, **kwargs)
        except StopIteration as error:
            raise RuntimeError(f"{hook.__qualname__} raised StopIteration") from error

    return call
