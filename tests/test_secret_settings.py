"""Names that hold secrets, and settings whose secrets were hidden, are refused by key, all at once."""

from __future__ import annotations

import pytest

from alignlab.errors import InputError
from alignlab.secret_settings import check_settings, hidden_problems, secret_problems


def test_only_names_are_refused_for_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_PAT", "a-pat-of-mine")
    plain = {"run": {"name": "x-a-pat-of-mine"}, "tags": ["mine", "a-pat-of-mine"], "path": "a-pat-of-mine", "n": 3}
    found = secret_problems(plain, ("run.name", "tags", "n"))
    assert [(problem.where, problem.found) for problem in found] == [
        ("run.name", "x-<GITHUB_PAT hidden>: it holds a secret"),
        ("tags", "<GITHUB_PAT hidden>: it holds a secret"),
    ]
    assert secret_problems({"run": {"name": "demo"}, "tags": []}, ("run.name", "tags")) == []


def test_what_was_hidden_is_asked_for() -> None:
    plain = {
        "a": {"b": ["x", "in/<HF_TOKEN hidden>"]},
        "c": "https://me:<password hidden>@host",
        "d": "<answer hidden>",
    }
    one, other = hidden_problems(plain)
    assert str(one) == (
        "a.b: in/<HF_TOKEN hidden>: the secret was hidden when this was written; expected the value itself. "
        "Set it again, such as by ${oc.env:HF_TOKEN} in the place of <HF_TOKEN hidden>."
    )
    assert other.where == "c"
    assert "${oc.env:NAME}" in other.fix


def test_both_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_PAT", "a-pat-of-mine")
    with pytest.raises(InputError) as refusal:
        check_settings({"name": "a-pat-of-mine", "path": "<HF_TOKEN hidden>"}, ("name",))
    assert [problem.where for problem in refusal.value.problems] == ["name", "path"]
    check_settings({"name": "demo", "path": "a-pat-of-mine"}, ("name",))
