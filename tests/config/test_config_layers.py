"""What a config becomes: layers, bases, variants, values, interpolation and where each key was set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import alignlab
from alignlab.config import load, to_plain


def value_at(config: Any, key: str) -> Any:
    value: Any = to_plain(config)
    for part in key.split("."):
        value = value[part]
    return value


def test_defaults_stand_without_a_file(loaded):
    config, where = loaded()
    assert config.method.adapter.rank == 16
    assert config.method.ema is None
    assert config.trainer == {"max_steps": 100}
    assert type(config.data.source).__name__ == "Words"
    assert set(where.values()) == {"default"}


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("dry_run=true", True),
        ("top=0.5", 0.5),
        ("top=1", 1.0),
        ("top=largest", "largest"),
        ("method.learning_rate=1e-4", 0.0001),
        ("method.learning_rate=5e-5", 0.00005),
        ("method.learning_rate=1E3", 1000.0),
        ("method.learning_rate=.5", 0.5),
        ("method.learning_rate=3", 3.0),
        ("method.warmup=3", 3),
        ("method.warmup=0.1", 0.1),
        ("method.warmup=", None),
        ("method.adapter.rank=0x10", 16),
        ("method.adapter.rank=0012", 12),
        ("method.adapter=null", None),
        ("data.languages=[zh,de]", ["zh", "de"]),
        ("data.languages=[en, no]", ["en", "no"]),
        ("data.languages=[]", []),
        ("data.column=7", 7),
        ("data.column='7'", "7"),
        ("data.column=[x]", "[x]"),
        ("data.shares={no: 0.5, de: 1}", {"no": 0.5, "de": 1.0}),
        ("data.shares.no=0.5", {"no": 0.5}),
        ("data.weights=[1, 1e-3]", [1.0, 0.001]),
        ("run.name=no", "no"),
        ("run.name=on", "on"),
        ("run.name=007", "007"),
        ("run.name=1e10", "1e10"),
        ("run.name=true", "true"),
        ("run.name=2024-01-01", "2024-01-01"),
        ("run.name=1:30", "1:30"),
        ('run.name=""', ""),
        ("run.name='null'", "null"),
        ("run.name=a=b", "a=b"),
        ("run.name=a # b", "a # b"),
        ("run.name=# b", "# b"),
        ("run.note=", None),
        ("run.note=~", None),
        ("data.prompt={question}: {x", "{question}: {x"),
        ("data.prompt=[a, b]", "[a, b]"),
        ("data.prompt=Translate: it", "Translate: it"),
        ("data.prompt=!!python/name:os.system", "!!python/name:os.system"),
        ("data.prompt=*a", "*a"),
    ],
)
def test_a_value_on_the_command_line(loaded, override, value):
    config, where = loaded(override)
    key = override.partition("=")[0]
    found = value_at(config, "data.shares" if key.startswith("data.shares") else key)
    assert found == value
    assert type(found) is type(value)
    assert where[key] == "command line"


def test_files_merge_over_their_bases_and_the_command_line_over_all(loaded):
    files = {
        "base/model.yaml": "run:\n  name: one\n  note: kept\ndata:\n  languages: [fr]\n",
        "base/fast.yaml": "\nrun:\n  name: two\ntrainer:\n  precision: bf16\n",
        "exp/a.yaml": (
            "# header\nbase: [../base/model.yaml, ../base/fast]\ndata:\n  languages:\n    - zh\n    - sw\n  root: x\n"
        ),
    }
    config, where = loaded("config=exp/a.yaml", "data.root=y", "trainer.max_steps=10", files=files)
    assert (config.run.name, config.run.note, config.run.folder) == ("two", "kept", "runs/two")
    assert config.data.languages == ["zh", "sw"]
    assert config.trainer == {"max_steps": 10, "precision": "bf16"}
    expected = {
        "run.name": "base/fast.yaml:3",
        "run.note": "base/model.yaml:3",
        "run.folder": "default",
        "data.languages": "exp/a.yaml:4",
        "data.root": "command line",
        "data.prompt": "default",
        "trainer.max_steps": "command line",
        "trainer.precision": "base/fast.yaml:5",
        "method.adapter.rank": "default",
    }
    assert {key: where[key] for key in expected} == expected


def test_of_two_overrides_the_last_counts(loaded):
    assert loaded("run.name=a", "run.name=b")[0].run.name == "b"
    assert loaded("method.adapter=null", "method.adapter.rank=4")[0].method.adapter.rank == 4
    assert loaded("method.adapter.rank=4", "method.adapter=null")[0].method.adapter is None
    files = {"a.yaml": "method: {adapter: {rank: 2, alpha: 64}}"}
    anew = loaded("config=a", "method.adapter=null", "method.adapter.rank=4", files=files)[0].method.adapter
    assert (anew.rank, anew.alpha) == (4, 32)


def test_a_base_that_two_files_share_does_not_undo_the_first(loaded):
    files = {
        "common.yaml": "run: {name: common, note: common}",
        "a.yaml": "base: common.yaml\nrun: {name: a}",
        "b.yaml": "base: common.yaml\nrun: {note: b}",
        "c.yaml": "base: [a, b]\n",
    }
    config, _ = loaded("config=c", files=files)
    assert (config.run.name, config.run.note) == ("a", "b")


def test_a_base_of_a_section_lies_below_what_is_set_in_it(loaded):
    files = {
        "sets/common.yaml": "templates: 7\n",
        "sets/words.yaml": "base: common\nname: words\nmax_texts: 5\n",
        "exp/a.yaml": "data:\n  source:\n    base: ../sets/words\n    max_texts: 6\n",
        "exp/b.yaml": "base: a\ndata: {source: {name: folder, path: p}}\n",
    }
    config, where = loaded("config=exp/a", files=files)
    assert (config.data.source.name, config.data.source.templates, config.data.source.max_texts) == ("words", 7, 6)
    assert where["data.source.templates"] == "sets/common.yaml:1"
    assert where["data.source.max_texts"] == "exp/a.yaml:4"
    # Of a name that a higher layer switches, keys that it does not have go; the command line lays one over the file.
    assert loaded("config=exp/b")[0].data.source.path == "p"
    config, where = loaded("config=exp/b", "data.source.base=sets/words", "data.source.max_texts=9")
    assert (config.data.source.name, config.data.source.templates, config.data.source.max_texts) == ("words", 7, 9)


def test_two_sections_may_have_one_base(loaded):
    files = {
        "adapter.yaml": "rank: 3\n",
        "a.yaml": "method: {adapter: {base: adapter.yaml}}\n",
        "b.yaml": "base: a\nmethod: {adapter: {base: [adapter.yaml], alpha: 5}}\n",
    }
    config, _ = loaded("config=b", files=files)
    assert (config.method.adapter.rank, config.method.adapter.alpha) == (3, 5)


def test_null_takes_a_section_out_and_a_key_brings_it_back_with_defaults(loaded):
    files = {"a.yaml": "method: {adapter: {rank: 4, alpha: 9}}", "b.yaml": "base: a\nmethod: {adapter: null}"}
    assert loaded("config=b", files=files)[0].method.adapter is None
    back = loaded("config=b", "method.adapter.rank=8")[0].method.adapter
    assert (back.rank, back.alpha) == (8, 32)


def test_an_optional_section_appears_when_one_of_its_keys_is_set(loaded):
    config, where = loaded("method.ema.decay=0.5")
    assert config.method.ema.decay == 0.5
    assert loaded("method.ema={}")[0].method.ema.decay == 0.99
    assert where["method.ema"] == "command line"


def test_switching_the_name_drops_what_lower_layers_set_for_the_other(loaded):
    files = {"a.yaml": "data:\n  source:\n    templates: 3\n    max_texts: 7\n"}
    config, where = loaded("config=a", "data.source.name=folder", "data.source.path=p", files=files)
    source = config.data.source
    assert (type(source).__name__, source.path, source.max_texts) == ("Folder", "p", 7)
    assert where["data.source.name"] == "command line"
    assert where["data.source.max_texts"] == "a.yaml:4"


def test_a_name_switched_back_by_a_third_layer(loaded):
    files = {
        "a.yaml": "data: {source: {templates: 3}}",
        "b.yaml": "base: a\ndata: {source: {name: folder, path: p}}",
        "c.yaml": "base: b\ndata: {source: {name: words}}",
    }
    assert loaded("config=c", files=files)[0].data.source.templates == 3


def test_interpolation(loaded, monkeypatch):
    monkeypatch.setenv("WHERE", "/there")
    files = {
        "a.yaml": """
data:
  root: ${oc.env:WHERE}/data
  languages: ["${run.note}", de]
  prompt: 'literally \\${x}, ${data.root}'
run: {name: 007, note: sw}
method:
  learning_rate: ${method.adapter.dropout}
  adapter: {dropout: 0.25}
trainer: {logger: {steps: "${trainer.max_steps}", name: "${run.folder}"}}
"""
    }
    config, where = loaded("config=a", "data.source.templates=${method.adapter.rank}", files=files)
    assert config.data.root == "/there/data"
    assert config.data.languages == ["sw", "de"]
    assert config.data.prompt == "literally ${x}, /there/data"
    assert config.run.folder == "runs/007"
    assert config.method.learning_rate == 0.25
    assert config.data.source.templates == 16
    assert config.trainer["logger"] == {"steps": 100, "name": "runs/007"}
    assert where["data.root"] == "a.yaml:3"


def test_null_and_booleans_in_interpolation(loaded):
    config, _ = loaded("run.note=${method.warmup}", "run.folder=${data.root}", "data.root=${dry_run}/x")
    assert (config.run.note, config.run.folder, config.data.root) == (None, "false/x", "false/x")


def test_text_without_interpolation_is_left_alone(loaded):
    config, _ = loaded(r"data.prompt=a\\b \n ??? $x {y}", "run.note=???")
    assert config.data.prompt == r"a\\b \n ??? $x {y}"
    assert config.run.note == "???"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose configs folder is a link, as in the repository."""
    (tmp_path / "shipped/base").mkdir(parents=True)
    (tmp_path / "shipped/demo.yaml").write_text("base: base/words\nrun: {name: shipped}\n")
    (tmp_path / "shipped/base/words.yaml").write_text("data: {source: {templates: 2}}\n")
    (tmp_path / "alignlab").mkdir()
    (tmp_path / "alignlab/configs").symlink_to("../shipped")
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(alignlab, "__file__", str(tmp_path / "alignlab/__init__.py"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml", "../shipped/demo.yaml"])
def test_a_shipped_config_from_anywhere(package, root, name):
    config, where = load(root, [f"config={name}"])
    assert (config.run.name, config.data.source.templates) == ("shipped", 2)
    assert where["run.name"] == f"{package}/shipped/demo.yaml:2"


def test_a_file_here_wins_over_a_shipped_one_and_may_build_on_it(package, root):
    Path("mine.yaml").write_text("base: demo\nrun: {note: mine}\n")
    assert load(root, ["config=mine"])[0].run.name == "shipped"
    Path("demo.yaml").write_text("run: {name: here}\n")
    config, where = load(root, ["config=demo"])
    assert (config.run.name, where["run.name"]) == ("here", "demo.yaml:1")


def test_an_unknown_name_lists_the_shipped_configs(package, refused):
    assert refused("config=dmo") == [
        "command line: config=dmo: 'dmo' is no file, and no shipped config; "
        "expected the path of a config file, or one of base/words, demo. Did you mean 'demo'?"
    ]


def test_a_byte_order_mark_and_anchors_are_read(loaded):
    config, _ = loaded("config=a", files={"a.yaml": "\ufeffrun: {name: &n x, note: *n}\n"})
    assert (config.run.name, config.run.note) == ("x", "x")
