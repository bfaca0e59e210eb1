"""Secrets of the environment do not reach what is written or logged."""

from __future__ import annotations

import pytest

from alignlab.hiding import hide_secrets

ENVIRONMENT = {
    "WANDB_API_KEY": "0123456789abcdef",
    "HF_TOKEN": "hf_abcdefghij",
    "db_password": "correct horse",
    "MY_SECRET": "12345678",
    "SHORT_TOKEN": "abcdefg",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": "/home/someone",
    "A_LONGER_TOKEN": "hf_abcdefghijklm",
}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0123456789abcdef", "<WANDB_API_KEY hidden>"),
        ("https://me:hf_abcdefghij@example.org", "https://me:<HF_TOKEN hidden>@example.org"),
        ("hf_abcdefghijklm", "<A_LONGER_TOKEN hidden>"),
        ("correct horse", "<db_password hidden>"),
        (12345678, "<MY_SECRET hidden>"),
        (123456789, 123456789),
        ("abcdefg", "abcdefg"),
        ("false", "false"),
        ("/home/someone", "/home/someone"),
        ([{"deep": ["hf_abcdefghij"]}], [{"deep": ["<HF_TOKEN hidden>"]}]),
        (True, True),
        (None, None),
        (0.5, 0.5),
    ],
)
def test_values_of_secret_variables_are_replaced_wherever_they_are(value: object, shown: object) -> None:
    plain = {"section": {"key": value}}
    assert hide_secrets(plain, ENVIRONMENT) == {"section": {"key": shown}}
    assert plain == {"section": {"key": value}}  # the config itself still works


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "a-value-of-mine")
    assert hide_secrets({"key": "a-value-of-mine"}) == {"key": "<SOME_KEY hidden>"}
