"""From a record to the text that a model sees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from alignlab.config import Options, option
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.languages import get

PLACEHOLDERS = ("prompt", "language", "code")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def check_template(template: object) -> str | None:
    """What a template has to look like, if this one does not."""
    names = _PLACEHOLDER.findall(str(template))
    if "prompt" not in names or any(name not in PLACEHOLDERS for name in names):
        return "a text with {prompt} in it, and of other placeholders only {language} and {code}"
    return None


@dataclass(frozen=True)
class Rendered:
    """Prompt and answer as text; `add_special_tokens` is false where the text has the special tokens already."""

    prompt: str
    answer: str
    add_special_tokens: bool


class Prompts(Options):
    """How a record becomes text."""

    template: str = option(
        "{prompt}\n", "text before the answer; {prompt}, {language} (English name) and {code} are filled in",
        check=check_template,
    )  # fmt: skip
    chat: bool = option(False, "wrap the prompt in the tokenizer's chat template")
    system: str | None = option(None, "system message of the chat; null for none")

    def render(self, record: Record, tokenizer: Any) -> Rendered:
        """The record as text. Values are put in as they are: a brace in a record is only a brace."""
        values = {"prompt": record.prompt, "language": get(record.language).name, "code": record.language}
        text = _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)
        if not self.chat:
            return Rendered(text, record.answer, add_special_tokens=True)
        if not getattr(tokenizer, "chat_template", None):
            raise InputError.of(
                "prompts.chat",
                "true, but the tokenizer has no chat template",
                "one",
                "Set chat: false, or take a model that was trained on chats.",
            )
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages = [*system, {"role": "user", "content": text}]
        try:
            chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            found = f"the tokenizer's chat template refuses the messages ({error})"
            fix = "Set system: null; some models know no system message." if system else ""
            raise InputError.of("prompts.chat", found, fix=fix) from error
        return Rendered(chat, record.answer, add_special_tokens=False)
