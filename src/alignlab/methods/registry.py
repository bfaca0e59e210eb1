"""Alignment methods by name: options become what trains."""

from __future__ import annotations

from alignlab.methods.options import MethodOptions
from alignlab.methods.supervised import QuestionTranslation

METHODS = {"question_translation": QuestionTranslation}


def method_of(options: MethodOptions) -> QuestionTranslation:
    """The method that the options name, with them."""
    return METHODS[options.name].of(options)
