"""The table of tasks: for the options of each kind what builds it."""

from __future__ import annotations

from typing import Any

from alignlab.evaluating.answers import ProblemsTask
from alignlab.evaluating.harness_tasks import HarnessTask
from alignlab.evaluating.likelihoods import ChoiceTask, PerplexityTask
from alignlab.evaluating.mexa import MexaTask
from alignlab.evaluating.options import EvaluationTask, Harness, Mexa, MultipleChoice, Perplexity, Problems, Translation
from alignlab.evaluating.task import BuiltTask, placed
from alignlab.evaluating.translations import TranslationTask


def build(name: str, options: EvaluationTask, tokenizer: Any, reference: str) -> BuiltTask:
    """The task of a name, as a tokenizer cuts its texts. Raises InputError, at the keys of the task."""
    with placed(name):
        match options:
            case Problems():
                return ProblemsTask(name, options, tokenizer, reference)
            case Perplexity():
                return PerplexityTask(name, options, tokenizer)
            case MultipleChoice():
                return ChoiceTask(name, options, tokenizer)
            case Harness():
                return HarnessTask(name, options, tokenizer)
            case Mexa():
                return MexaTask(name, options, tokenizer, reference)
            case Translation():
                return TranslationTask(name, options, tokenizer, reference)
