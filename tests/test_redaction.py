"""What is secret is hidden in every text, whatever writes it; all else stays as it is."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest

from alignlab import console
from alignlab.errors import InputError, Problem
from alignlab.redaction import comparable, hidden_names, hide, hide_all

ENVIRONMENT = {
    "WANDB_API_KEY": "0123456789abcdef",
    "HF_TOKEN": "hf_abcdefghij",
    "db_password": "correct horse",
    "MY_SECRET": "12345678",
    "SHORT_TOKEN": "abcdefg",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": "/home/someone",
    "A_LONGER_TOKEN": "hf_abcdefghijklm",
    "GITHUB_PAT": "gh-pat-of-mine",
    "PGPASSWORD": "hunt3r",
    "SERVICE_CREDENTIALS": 'he said "7\'n\\8" ü',
    "SSH_KEY": "-----BEGIN KEY-----\nAAAAB3NzaC1yc2EAAAADAQABAAAB\nshort\n-----END KEY-----\n",
}
# Names that hold one of the words and say something else, or values that are no secrets.
HARMLESS = {
    "PATH": "/usr/local/bin:/usr/bin",
    "PWD": "/work/some-folder",
    "OLDPWD": "/work/other-folder",
    "XAUTHORITY": "/run/user/1000/xauth_abc",
    "SSH_AUTH_SOCK": "/tmp/ssh-XXXXabcd/agent.123",  # noqa: S108
    "WANDB_IDENTITY_TOKEN_FILE": "/run/identity-token",
    "HF_TOKEN_PATH": "/run/hf-token-path",
    "TOKENIZERS_PARALLELISM": "trueandfalse",
    "GOOGLE_APPLICATION_CREDENTIALS": "/etc/hostname",
    "GIT_AUTHOR_NAME": "Some Author",
    "KEYBOARD_LAYOUT": "us-international",
    "MONKEY": "chimpanzee",
    "MAX_NEW_TOKENS": "100000000",
    "USE_AUTH": "true",
    "NO_TOKEN": "disabled",
    "EMPTY_TOKEN": "",
    "ZERO_TOKEN": "00000000",
    "A_TOKEN": "on",
}
COMMIT = "9cb89e2f0c3de0aa5b8b0d7a1f2e3d4c5b6a7980"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0123456789abcdef", "<WANDB_API_KEY hidden>"),
        ("https://me:hf_abcdefghij@example.org", "https://me:<HF_TOKEN hidden>@example.org"),
        ("hf_abcdefghijklm", "<A_LONGER_TOKEN hidden>"),
        ("correct horse", "<db_password hidden>"),
        (12345678, "<MY_SECRET hidden>"),
        (123456789, 123456789),
        ("12345678 and 123456789", "<MY_SECRET hidden> and 123456789"),
        ("abcdefg", "abcdefg"),
        ("false", "false"),
        ("/home/someone", "/home/someone"),
        ([{"deep": ["hf_abcdefghij"]}], [{"deep": ["<HF_TOKEN hidden>"]}]),
        (("hf_abcdefghij",), ["<HF_TOKEN hidden>"]),
        ({"gh-pat-of-mine": 1}, {"<GITHUB_PAT hidden>": 1}),
        ("runs/gh-pat-of-mine/x", "runs/<GITHUB_PAT hidden>/x"),
        ("the value is 'hunt3r'.", "the value is '<PGPASSWORD hidden>'."),
        ("hunt3rs", "hunt3rs"),
        ("before AAAAB3NzaC1yc2EAAAADAQABAAAB after short", "before <SSH_KEY hidden> after short"),
        ("model.dtype is 'xgh-pat-of ...'", "model.dtype is 'x<GITHUB_PAT hidden> ...'"),
        ("and so on ...", "and so on ..."),
        (True, True),
        (None, None),
        (0.5, 0.5),
    ],
)
def test_values_of_secret_variables_are_replaced_wherever_they_are(value: object, shown: object) -> None:
    plain = {"section": {"key": value}}
    assert hide_all(plain, ENVIRONMENT) == {"section": {"key": shown}}
    assert plain == {"section": {"key": value}}  # the config itself still works
    assert hide_all({"section": {"key": shown}}, ENVIRONMENT) == {"section": {"key": shown}}


@pytest.mark.parametrize("name", sorted(ENVIRONMENT.keys() - {"SHORT_TOKEN", "TOKENIZERS_PARALLELISM", "HOME"}))
@pytest.mark.parametrize("written", [str, repr, json.dumps, quote, quote_plus, shlex.quote])
def test_a_secret_is_found_however_it_is_written(name: str, written: object) -> None:
    assert callable(written)
    text = written(ENVIRONMENT[name].strip())
    assert f"{name} hidden" in hide(f"see {text}!", ENVIRONMENT)
    assert text.strip("'\"") not in hide(f"see {text}!", ENVIRONMENT)


@pytest.mark.parametrize("name", HARMLESS)
def test_other_variables_are_no_secrets(name: str) -> None:
    assert hide(f"({HARMLESS[name]})", HARMLESS) == f"({HARMLESS[name]})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pw@host/x", "https://user:<password hidden>@host/x"),
        ("https://user:p%40w%2F@host:80/x@y", "https://user:<password hidden>@host:80/x@y"),
        ("https://me@corp.org:pw@host", "https://me@corp.org:<password hidden>@host"),
        ("https://user:p/w?#@host/x", "https://user:<password hidden>@host/x"),
        ("https://user:8080x@host", "https://user:<password hidden>@host"),
        ("redis://:pw@host", "redis://:<password hidden>@host"),
        ("git+ssh://git:pw@host/repo.git", "git+ssh://git:<password hidden>@host/repo.git"),
        ("origin\thttps://x-access-token:abc@github.com/a/b (fetch)",
         "origin\thttps://x-access-token:<password hidden>@github.com/a/b (fetch)"),
        ("cannot access 'https://u:pw@h/': no", "cannot access 'https://u:<password hidden>@h/': no"),
        ("is 'https://user:passw ...'", "is 'https://user:<password hidden> ...'"),
        ("?next=https%3A%2F%2Fuser%3Apw%40host", "?next=https%3A%2F%2Fuser%3A<password hidden>%40host"),
        ("https://1234567890abcdefghij1234@host/x", "https://<token hidden>@host/x"),
        ("https://host/x?a=1&access_token=abc&b=2", "https://host/x?a=1&access_token=<token hidden>&b=2"),
        ("HTTP 401 for url: https://h/?api_key=abc", "HTTP 401 for url: https://h/?api_key=<token hidden>"),
        ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567", "<token hidden>"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "<token hidden>"),
        *((f"x gh{kind}_0123456789abcdefghijABCDEFGHIJ012345.", "x <token hidden>.") for kind in "ousr"),
        ("github_pat_11AAAAAAA0123456789_abcdefghijklmnop", "<token hidden>"),
        ("sk-0123456789abcdefghijABCDEFGHIJ0123456789abcdefgh", "<token hidden>"),
        ("sk-proj-abc_DEF-0123456789abcdef", "<token hidden>"),
        ("sk-ant-api03-abc_DEF-0123456789abcdef", "<token hidden>"),
        ("AKIAIOSFODNN7EXAMPLE", "<token hidden>"),
        ("glpat-abcDEF0123456789_-xy", "<token hidden>"),
        *((f"xox{kind}-123456789012-abcdefABCDEF", "<token hidden>") for kind in "abp"),
        ("Authorization: Bearer xyz", "Authorization: Bearer <token hidden>"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "{'Authorization': 'Basic <token hidden>'}"),
        ("Bearer xyz", "Bearer <token hidden>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "<token hidden>"),
        (f"WANDB_API_KEY={COMMIT}", "WANDB_API_KEY=<token hidden>"),
        (f"wandb login {COMMIT}", "wandb login <token hidden>"),
        (f'"api_key": "{COMMIT}"', '"api_key": "<token hidden>"'),
        ("postgres://h/db password=swordfish;", "postgres://h/db password=<token hidden>;"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "<key hidden>"),
    ],
)  # fmt: skip
def test_passwords_and_tokens_are_known_by_their_form(text: str, shown: str) -> None:
    assert hide(text, {}) == shown
    assert hide(shown, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        COMMIT,
        f"revision {COMMIT}",
        f"git_revision: {COMMIT}+changes",
        "https://example.org:8080/a@b",
        "http://localhost:8080",
        "['http://localhost:80', 'a@b']",
        "https://user@example.org/x",
        "https://api.wandb.ai/me/alignlab/runs/abc123",
        "git@github.com:someone/repo.git",
        "mistralai/Mistral-7B-v0.1@main",
        "s3://bucket/key",
        "runs/demo/neurons/step-000100.safetensors",
        "sk-slovak-translation-of-questions",
        "sk-SK",
        "task-0123456789abcdefghij0123",
        "hf_transformers",
        "ghp_short",
        "data_fingerprint 0123456789abcdef",
        "2 tokens: 12345678 of 123456789",
        "eos_token: <|endoftext|>",
        "pad_token='<pad>'",
        "probe.source.path is 'x'; expected a folder. Did you mean 'xy'?",
        "data.train.password: there is no such key",
        "12:30, 5:00@noon",
        "AKIA",
        "the bearer of news",
        "Bearer",
        "eyJhbGciOi",
        "<HF_TOKEN hidden>",
        "小明有12个苹果",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert hide(text, {}) == text


def test_a_name_that_is_the_value_of_another_variable_is_hidden_once() -> None:
    assert hide("abc-of-mine", {"GITHUB_PAT": "abc-of-mine", "MY_TOKEN": "GITHUB_PAT"}) == "<GITHUB_PAT hidden>"
    both = {"FIRST_TOKEN": "same-value", "OTHER_TOKEN": "same-value"}
    assert hide("same-value", both) == "<FIRST_TOKEN hidden>"


def test_the_environment_is_that_of_the_process_at_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("a-value-of-mine", "another-one"):
        monkeypatch.setenv("SOME_KEY", value)
        assert hide_all({"key": value}) == {"key": "<SOME_KEY hidden>"}


def test_a_changed_secret_makes_no_other_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "a-value-of-mine")
    old = hide_all({"path": "x/a-value-of-mine", "url": "https://u:pw@h", "n": [1, None, True]})
    monkeypatch.setenv("SOME_TOKEN", "quite-another")
    assert comparable(old) == comparable({"path": "x/quite-another", "url": "https://u:other@h", "n": [1, None, True]})
    assert comparable(old) != comparable({"path": "y/quite-another", "url": "https://u:other@h", "n": [1, None, True]})
    assert hidden_names(old["path"]) == ["SOME_TOKEN"]
    # Other words in such brackets are a text's own.
    assert hidden_names("<answer hidden> <token hidden>") == ["token"]
    assert comparable("<answer hidden>") != comparable("<question hidden>")


def test_every_line_of_the_terminal_and_every_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "a-value-of-mine")
    text = "see https://u:swordfish@h and a-value-of-mine"
    console.say(text)
    console.heading(text)
    console.table([(text, "x")], header=(text,))
    console.complain(text)
    problem = Problem(text, text, text, text)
    captured = capsys.readouterr()
    for shown in (captured.out, captured.err, str(problem), str(InputError(problem))):
        assert "a-value-of-mine" not in shown
        assert "swordfish" not in shown
        assert "see https://u:<password hidden>@h and <SOME_TOKEN hidden>" in shown
    assert captured.out.count("<SOME_TOKEN hidden>") == 4


def test_tracebacks_hide_secrets_too() -> None:
    code = (
        "from alignlab.redaction import guard_tracebacks\n"
        "guard_tracebacks()\n"
        "raise OSError('no route to https://u:' + 'swordfish@h/' + 'a-value' + '-of-mine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"SOME_TOKEN": "a-value-of-mine", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "OSError: no route to https://u:<password hidden>@h/<SOME_TOKEN hidden>" in done.stderr
