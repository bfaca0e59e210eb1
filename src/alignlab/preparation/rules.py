"""Rules of preference: what each needs before pairs are drawn, and what it says of a question."""

from __future__ import annotations

from collections.abc import Sequence

from alignlab.preparation.answers import Question
from alignlab.preparation.options import PreferencesOptions
from alignlab.preparation.pairs import Sides, right_over_wrong
from alignlab.preparation.responses_folder import ResponsesFolder


class Rule:
    """What may be chosen over what; this one needs nothing but the answers.

    options: of the command.  source: the answers.  have: the languages of the answers, in their order.
    """

    def __init__(self, options: PreferencesOptions, source: ResponsesFolder, have: Sequence[str]) -> None:
        self.options, self.source = options, source
        self.languages = [code for code in have if options.languages is None or code in options.languages]

    def check(self) -> None:
        """Refuse what it cannot be asked, before any work. Raises InputError."""

    def plan(self) -> list[tuple[str, str]]:
        """Lines of the plan of its own."""
        return []

    def prepare(self) -> None:
        """Make what it needs, on all ranks together; what is there from before is not made again."""

    def begin(self, language: str) -> None:
        """Read what it needs for the questions of a language, which come next."""

    def sides(self, question: Question, *, clean: bool) -> Sides | str:
        """What may be chosen and rejected; else why there is no pair, of `REASONS`. clean: as for the functions."""
        return right_over_wrong(question, clean=clean)

    def measured(self, questions: Sequence[Question]) -> dict[str, float | int | None]:
        """Numbers of a language for the report, by column: the same columns for every language."""
        return {}

    def show(self, measured: Sequence[tuple[str, dict[str, float | int | None]]]) -> None:
        """Print the numbers of all languages."""
