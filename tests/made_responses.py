"""A folder of answers as `alignlab.prepare responses` leaves it, of questions made in a test."""

from __future__ import annotations

from pathlib import Path

from alignlab.preparation.answers import Question
from alignlab.preparation.responses_folder import ResponsesFolder


def make_responses(folder: Path, questions: list[Question], model: str = "builtin:demo") -> ResponsesFolder:
    made = ResponsesFolder(folder)
    made.begin(f"model: {{source: {model}}}\nprompts: {{template: '{{prompt}} ?', chat: false, system: null}}\n", {})
    made.finish(iter(questions), lambda _: "language\nxx\n")
    return made
