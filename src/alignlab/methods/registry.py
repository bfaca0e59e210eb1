"""Alignment methods by name: options become what trains."""

from __future__ import annotations

from alignlab.methods.base import Method
from alignlab.methods.causal import Causal
from alignlab.methods.consistency import Consistency
from alignlab.methods.options import MethodOptions
from alignlab.methods.preference import Preference
from alignlab.methods.supervised import QuestionTranslation, Supervised

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "question_translation": QuestionTranslation,
    "causal": Causal,
    "preference": Preference,
    "consistency": Consistency,
}


def method_of(options: MethodOptions) -> Method:
    """The method that the options name, with them."""
    return METHODS[options.name].of(options)
