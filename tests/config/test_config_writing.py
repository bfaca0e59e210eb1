from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
import yaml

from alignlab.config import Options, differences, load, option, to_plain, to_yaml

TRICKY = [
    "no",
    "on",
    "null",
    "~",
    "",
    " x ",
    "1",
    "007",
    "1e-4",
    "1_0",
    "0x1",
    "1:30",
    "2024-01-01",
    "true",
    ".inf",
    "=",
    "<<",
    "a: b",
    "# c",
    "[x]",
    "{x}",
    "*a",
    "&a",
    "!t",
    "'q'",
    '"q"',
    "a\nb\n",
    "\ttab",
    "\x07",
    "ü 漢 ไ \u2028",
    "🙂",
    "${x}",
    "\\${x}",
    "\\\\${x}",
    "a\\",
    "$${x}",
    "${",
    "???",
    "-",
    "- a",
    "---",
    "%",
    "@",
    "`",
    "x" * 300,
]


class Free(Options):
    text: str = option("", "any text")
    words: list[str] = option([], "any texts")
    anything: dict[str, Any] = option({}, "anything")


def reloaded(config: Any, folder: Any) -> Any:
    path = folder / "resolved.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return load(type(config), [f"config={path}"])[0]


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_text_survives_in_every_place(tmp_path, text):
    config = Free(text=text, words=[text, "x"], anything={"k": text, "l": [text, {"m": text}]})
    assert reloaded(config, tmp_path) == config
    if "${" not in text:  # another YAML reader sees the same
        assert yaml.safe_load(to_yaml(config))["anything"] == config.anything


def test_random_text_survives(tmp_path):
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice("$${}\\:.'\"a #-?\n") for _ in range(rng.randint(1, 8)))
        config = Free(
            text=text, words=[text], anything={"k": text, "n": rng.choice([1, 1e-7, 1e22, True, None, [1.5]])}
        )
        assert reloaded(config, tmp_path) == config, text


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["data.source.name=folder", "data.source.path=no", "data.source.max_texts=3"],
        ["method.adapter=null", "method.ema.decay=1e-7", "method.warmup=3", "top=1e-3"],
        ["method.warmup=0.1", "trainer={precision: 16-mixed, logger: [1, {a: null}]}", "data.shares={no: 1, de: 0.5}"],
        [r"data.prompt=\${x}: ${run.name}", "run.name=007", "data.languages=[no, en]"],
    ],
)
def test_a_resolved_config_loads_back_equal(root, tmp_path, argv):
    config, _ = load(root, argv)
    again = reloaded(config, tmp_path)
    assert again == config
    assert to_yaml(again) == to_yaml(config)


def test_plain_containers_only(root):
    plain = to_plain(load(root, ["data.source.name=folder", "data.source.path=p"])[0])
    assert json.loads(json.dumps(plain)) == plain
    assert plain["data"]["source"] == {"name": "folder", "path": "p", "max_texts": 100}
    assert plain["method"]["ema"] is None


def test_plain_is_a_copy(root):
    config = load(root, [])[0]
    to_plain(config)["trainer"]["max_steps"] = 1
    assert config.trainer["max_steps"] == 100


def test_the_document_reads_well(root):
    text = to_yaml(load(root, [])[0])
    assert "data:\n  root: data\n  languages: [zh, de]\n  source:\n    name: words\n    templates: 8\n" in text


@pytest.mark.parametrize(
    ("old", "new", "ignore", "keys"),
    [
        ({"a": 1}, {"a": 1}, [], []),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": 2, "b": {"c": 1, "d": 3}}, [], ["a", "b.d"]),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": 2, "b": {"c": 1, "d": 3}}, ["b"], ["a"]),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": 2, "b": {"c": 1, "d": 3}}, ["b.d", "a"], []),
        ({"ab": 1}, {"ab": 2}, ["a"], ["ab"]),
        ({"a": {"b": 1, "c": 2}}, {"a": None}, [], ["a"]),
        ({"a": None}, {}, [], ["a"]),
        ({}, {"a": {}}, [], ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [], ["a"]),
        ({"a": 1}, {"a": 1.0}, [], []),
        ({"a": 1}, {"a": True}, [], ["a"]),
        ({"a": math.nan}, {"a": float("nan")}, [], []),
    ],
)
def test_differences(old, new, ignore, keys):
    found = differences(old, new, ignore=ignore)
    assert [one.key for one in found] == keys
    assert {(one.key, repr(one.new), repr(one.old)) for one in differences(new, old, ignore=ignore)} == {
        (one.key, repr(one.old), repr(one.new)) for one in found
    }


def test_a_difference_tells_both_values() -> None:
    old = {"a": 1, "b": {"c": None, "d": [1, 2]}, "text": "t" * 500 + "1", "gone": "\x1b[31m"}
    new = {"a": True, "b": {"c": 0.5, "d": [2]}, "text": "t" * 500 + "2"}
    assert [str(one) for one in differences(old, new)] == [
        "a (1 there, true here)",
        "b.c (null there, 0.5 here)",
        "b.d ([1, 2] there, [2] here)",
        f"text (both begin with '{'t' * 65} ...)",
        "gone ('\\x1b[31m' there, not set here)",
    ]
