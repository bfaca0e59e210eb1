"""Alignment methods; `METHODS` maps the `name:` of a config to its dataclass."""

from __future__ import annotations

from alignlab.methods.base import AlignmentModule
from alignlab.methods.supervised import QuestionTranslation

METHODS: dict[str, type] = {"question_translation": QuestionTranslation}

__all__ = ["METHODS", "AlignmentModule", "QuestionTranslation"]
