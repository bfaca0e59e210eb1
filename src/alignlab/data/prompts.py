"""From a record to the text that a model sees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

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
    ended: ClassVar[bool] = False  # whether the text ends as the model is to end it, so that it needs no EOS

    @property
    def text(self) -> str:
        return self.prompt + self.answer

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the answer stands, as first character and the one behind the last; none for an empty answer."""
        # To the end, and beyond it: whatever a tokenizer places there belongs to the answer.
        return [(len(self.prompt), len(self.text) + 1)] if self.answer else []


@dataclass(frozen=True)
class Conversation:
    """A conversation as text with all its special tokens. spans: where the turns of the assistant stand."""

    text: str
    spans: list[tuple[int, int]]
    ended: bool
    add_special_tokens: ClassVar[bool] = False


class Prompts(Options):
    """How a record becomes text."""

    template: str = option(
        "{prompt}\n",
        "text before the answer; {prompt}, {language} (English name) and {code} are filled in (not into messages)",
        check=check_template,
    )
    chat: bool = option(False, "wrap the prompt in the tokenizer's chat template")
    system: str | None = option(None, "system message of the chat; null for none")

    def render(self, record: Record, tokenizer: Any) -> Rendered | Conversation:
        """The record as text. Values are put in as they are: a brace in a record is only a brace."""
        if record.messages:
            return self._conversation(record, tokenizer)
        values = {"prompt": record.prompt, "language": get(record.language).name, "code": record.language}
        text = _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)
        if not self.chat:
            return Rendered(text, record.answer, add_special_tokens=True)
        chat = self._chat([{"role": "user", "content": text}], tokenizer, prompts=True)
        return Rendered(chat, record.answer, add_special_tokens=False)

    def _chat(self, turns: list[dict[str, str]], tokenizer: Any, *, prompts: bool) -> str:
        """Turns in the tokenizer's chat template. prompts: the text ends where an answer is to follow."""
        if not getattr(tokenizer, "chat_template", None):
            found, fix = "the tokenizer has no chat template", "Conversations (a column of messages) need one."
            if self.chat:
                found, fix = f"true, but {found}", "Set chat: false, or take a model that was trained on chats."
            raise InputError.of("prompts.chat", found, "one", fix)
        own = self.system is not None and turns[0]["role"] != "system"
        system = [{"role": "system", "content": str(self.system)}] if own else []
        try:
            rendered = tokenizer.apply_chat_template([*system, *turns], tokenize=False, add_generation_prompt=prompts)
        except TemplateError as error:
            found = f"the tokenizer's chat template refuses the messages ({error})"
            fix = "Set system: null; some models know no system message." if system else ""
            raise InputError.of("prompts.chat", found, fix=fix) from error
        return str(rendered)

    def _conversation(self, record: Record, tokenizer: Any) -> Conversation:
        """All turns as one text, and where in it the assistant speaks, the end of its turn included."""
        turns = [{"role": message.role, "content": message.content} for message in record.messages]
        if turns[0]["role"] == "assistant":
            found = f"the conversation of document {record.id!r} begins with the assistant"
            raise InputError.of("prompts", found, "a turn that is answered")
        text = self._chat(turns, tokenizer, prompts=False)
        spans = []
        for number, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before = self._chat(turns[:number], tokenizer, prompts=True)
            # White space between turns is the template's; the model has ended before it.
            through = self._chat(turns[: number + 1], tokenizer, prompts=False).rstrip()
            if not through.startswith(before) or not text.startswith(through):
                raise InputError.of(
                    "prompts.chat",
                    "the tokenizer's chat template writes a turn otherwise once the conversation goes on (document "
                    f"{record.id!r}, turn {number + 1})",
                    "a template under which every turn keeps its text",
                    "Train on single answers (prompt and answer), or give the model a template that keeps them.",
                )
            spans.append((len(before), len(through)))
        last = turns[-1]
        open_end = last["role"] == "assistant" and text.rstrip().endswith(last["content"].rstrip())
        return Conversation(text, spans, ended=not open_end)
