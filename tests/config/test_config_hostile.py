"""Input that nobody means: one message, soon, whatever it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alignlab.config import load
from alignlab.errors import InputError
from alignlab.options import TrainConfig


@pytest.fixture
def told(here: Path, root: type):
    def run(content: bytes) -> str:
        (here / "a.yaml").write_bytes(content)
        with pytest.raises(InputError) as caught:
            load(root, ["config=a.yaml"])
        return str(caught.value)

    return run


def test_long_hexadecimal_numbers_are_text() -> None:
    for prefix, digit in (("0x", "f"), ("0o", "7"), ("", "9")):
        with pytest.raises(InputError, match="seed"):
            load(TrainConfig, [f"seed={prefix}{digit * 6000}"])


def test_a_chain_of_base_files_has_an_end(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / f"c{number}.yaml").write_text(f"base: c{number + 1}.yaml\nseed: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="more than 100 files lead from one to the next"):
        load(TrainConfig, [f"config={tmp_path / 'c0.yaml'}"])


def test_aliases_that_multiply(told) -> None:
    lists = "\n".join(["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))])
    keys = [f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}" for n in range(1, 30)]
    for text in (lists, "\n".join(["a0: &a0 {x: 1}", *keys])):
        assert "its aliases repeat too much" in told(text.encode())


def test_an_unknown_key_in_what_an_alias_repeats(told) -> None:
    assert (
        told(b"run: &r {name: x, zzz: 1}\ndata: *r\n")
        .splitlines()[1]
        .startswith("a.yaml:2: there is no key 'data.name'")
    )


@pytest.mark.slow
def test_hundreds_of_thousands_of_unknown_keys(told) -> None:
    lines = told("".join(f"key{n}: 1\n" for n in range(300_000)).encode()).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("a.yaml:1: there is no key 'key0' (set to 1)")
    assert lines[-1] == "...: and 299,980 more."


@pytest.mark.slow
def test_below_a_section_too(told) -> None:
    lines = told(("run:\n" + "".join(f"  key{n}: 1\n" for n in range(100_000))).encode()).splitlines()
    assert lines[0].startswith("a.yaml:2: there is no key 'run.key0' (set to 1); expected one of run.name")
    assert lines[-1] == "...: and 99,980 more."


@pytest.mark.parametrize(
    "text", [f"{'k' * 3_000_000}: 1", f"resume: {'v' * 3_000_000}", f"trainer: {{{'k' * 3_000_000}: 1}}"]
)
def test_three_million_letters(told, text: str) -> None:
    message = told(text.encode())
    assert message.startswith("a.yaml:1:")
    assert len(message) < 400


def test_more_than_a_config_is(told) -> None:
    assert told(b"#" * 4_000_001) == "a.yaml: 4,000,001 bytes; expected a config file of at most 4,000,000."


@pytest.mark.parametrize("opened", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("times", [1000, 100_000])
def test_deep_nesting(told, opened: str, times: int) -> None:
    message = told(("run: " + opened * times if opened in "[{a: " else opened * times).encode())
    assert message.startswith("a.yaml:")
    assert "not valid YAML" in message
    assert "\n" not in message


def test_text_that_is_not_utf_8(told) -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        message = told("run: {name: x}\n".encode(codec))
        assert "Save the file as UTF-8." in message
    assert "Save the file as UTF-8." in told("run: {name: x}\n".encode("utf-16"))


def test_a_nul_character(told) -> None:
    assert told(b'run:\n  name: "a\\0b"\n') == "a.yaml:2: a NUL character; expected text without it."
    assert "Save the file as UTF-8." in told(b"run: {name: a\0b}\n")


def test_what_is_no_file(here: Path, root: type) -> None:
    os.mkfifo(here / "pipe.yaml")
    (here / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "pipe", "folder.yaml", "x" * 5000, "a\0b", "/dev/null"):
        with pytest.raises(InputError) as caught:
            load(root, [f"config={name}"])
        (problem,) = caught.value.problems
        assert problem.where.startswith("command line: config=")
        assert problem.expected.startswith("the path of a config file")
        assert len(str(problem)) < 5400
