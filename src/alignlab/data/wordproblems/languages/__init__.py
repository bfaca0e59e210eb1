"""One file a language, each with a `LANGUAGE`. A file that is added here is found by itself."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from alignlab.data.wordproblems.language import ProblemLanguage


def find() -> dict[str, ProblemLanguage]:
    """Language by code, English first, because the others are translated into it; the rest by code."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    languages: list[ProblemLanguage] = [module.LANGUAGE for module in modules]
    return {language.code: language for language in sorted(languages, key=lambda one: (one.code != "en", one.code))}


LANGUAGE_FILES: dict[str, ProblemLanguage] = find()
