"""Templates and chat templates."""

from __future__ import annotations

import copy

import pytest
from transformers import PreTrainedTokenizerFast

from alignlab.data.encoding import encode
from alignlab.data.prompts import Prompts, Rendered, check_template
from alignlab.data.records import Record
from alignlab.errors import InputError

CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ raise_exception('no') }}"
    "{% endif %}<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"


@pytest.fixture
def chat_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    own = copy.deepcopy(tokenizer)
    own.chat_template = CHAT
    return own


def test_placeholders_are_filled_in(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts = Prompts(template="From {language} ({code}):\n{prompt}\n{prompt}|")
    rendered = prompts.render(Record("1", "sw", "swali", "jibu"), tokenizer)
    assert rendered == Rendered("From Swahili (sw):\nswali\nswali|", "jibu", add_special_tokens=True)


@pytest.mark.parametrize("prompt", ["{language}", "{0} {x!r} {", "a } {{b}}", "%s \\1 \\g<1> {prompt}", "{}"])
def test_braces_in_a_record_stay_text(tokenizer: PreTrainedTokenizerFast, prompt: str) -> None:
    rendered = Prompts(template="Q: {prompt} ({code}) { } {{").render(Record("1", "de", prompt, prompt), tokenizer)
    assert rendered.prompt == f"Q: {prompt} (de) {{ }} {{{{"
    assert rendered.answer == prompt


@pytest.mark.parametrize("template", ["{prompt}", "{code}{prompt}{language}", "a { b } {prompt}"])
def test_templates_that_are_accepted(template: str) -> None:
    assert check_template(template) is None


@pytest.mark.parametrize("template", ["", "prompt", "{code}", "{prompt} {answer}", "{Prompt}", "{ prompt }"])
def test_templates_that_are_refused(template: str) -> None:
    assert check_template(template) == (
        "a text with {prompt} in it, and of other placeholders only {language} and {code}"
    )


def test_an_unknown_language_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="'xx' is not a known code"):
        Prompts().render(Record("1", "xx", "?"), tokenizer)


@pytest.mark.parametrize("system", [None, "Be brief. {code}"])
def test_a_chat_is_tokenised_as_the_tokenizer_itself_does(
    chat_tokenizer: PreTrainedTokenizerFast, system: str | None
) -> None:
    record = Record("1", "de", "Wie viele Äpfel {x}?", "12 Äpfel")
    prompts = Prompts(template="[{code}] {prompt}", chat=True, system=system)
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": "[de] Wie viele Äpfel {x}?"})
    own = chat_tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert own.count(chat_tokenizer.bos_token_id) == 1  # else the comparison would not see a second one

    encoded = encode([record], chat_tokenizer, prompts, max_length=500, append_eos=True, needs_answer=True)
    (document,) = encoded.documents
    assert document.tokens[: len(own)].tolist() == own
    assert not document.answer[: len(own)].any()
    assert chat_tokenizer.decode(document.tokens[document.answer]) == "12 Äpfel<eos>"
    assert document.answer[len(own) :].all()


def test_a_chat_without_chat_template_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="true, but the tokenizer has no chat template") as refused:
        Prompts(chat=True).render(Record("1", "de", "?"), tokenizer)
    assert refused.value.problems[0].where == "prompts.chat"


def test_what_a_chat_template_refuses_is_refused(chat_tokenizer: PreTrainedTokenizerFast) -> None:
    chat_tokenizer.chat_template = NO_SYSTEM
    record = Record("1", "de", "?")
    assert Prompts(chat=True).render(record, chat_tokenizer).prompt == "x"
    with pytest.raises(InputError, match=r"System role not supported.*Set system: null"):
        Prompts(chat=True, system="Be brief.").render(record, chat_tokenizer)
