"""Every mistake, and the whole message it gets."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from alignlab.config import REQUIRED, Options, load, option, section
from alignlab.errors import InputError

RANK = "an integer, at least 1"
CODES = "ISO 639 codes such as de, sw, zh"
DECLARE = "Labels that are no languages are declared in labels.table."
SECTIONS = "dry_run, resume, top, run, data, method, trainer, spelled"
TRAINER = "a section with one of trainer.max_steps, trainer.precision, trainer.logger"
UNREAD = "not valid YAML: while parsing a flow sequence did not find expected ',' or ']'"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        # arguments
        ("data.root", "'data.root'; expected key=value. Write data.root=VALUE."),
        ("--data.root=x", "'--data.root=x'; expected key=value. Write data.root=x."),
        ("-v", "'-v'; expected key=value. Write v=VALUE."),
        ("--", "'--'; expected key=value. Leave it out."),
        ("configs/mine.yaml", "'configs/mine.yaml'; expected key=value. Did you mean config=configs/mine.yaml?"),
        ("=x", "'=x' has no key, or a key with an empty part; expected key=value."),
        ("a..b=x", "'a..b=x' has no key, or a key with an empty part; expected key=value."),
        ("base=x", "'base=x' is not an override. Write config=x, or set base in the file."),
        ("config=", "config=: no file is named; expected the path of a config file."),
        ("config=x", "config=x: 'x' is no file, and no shipped config; expected the path of a config file."),
        ("config=.", "config=.: '.' is a folder; expected the path of a config file."),
        # keys
        ("data.rot=x", "there is no key 'data.rot' (set to 'x'). Did you mean 'data.root'?"),
        ("dta.root=x", "there is no key 'dta.root' (set to 'x'). Did you mean 'data.root'?"),
        ("adapter.rank=1", "there is no key 'adapter.rank' (set to 1). Did you mean 'method.adapter.rank'?"),
        (
            "method.targets=[a]",
            "there is no key 'method.targets' (set to ['a']). Did you mean 'method.adapter.targets'?",
        ),
        ("langages=[a]", "there is no key 'langages' (set to ['a']). Did you mean 'data.languages'?"),
        ("adapter={rank: 1, alpha: 2}", "there is no key 'adapter'. Did you mean 'method.adapter'?"),
        ("trainr.max_steps=1", "there is no key 'trainr.max_steps' (set to 1). Did you mean 'trainer.max_steps'?"),
        ("trainer.max_step=1", "there is no key 'trainer.max_step' (set to 1). Did you mean 'trainer.max_steps'?"),
        (
            "trainer.zzz=1",
            "there is no key 'trainer.zzz' (set to 1); expected one of trainer.max_steps, trainer.precision, "
            "trainer.logger.",
        ),
        ("zzz=true", f"there is no key 'zzz' (set to true); expected one of {SECTIONS}."),
        ("run.zzz=null", "there is no key 'run.zzz' (set to null); expected one of run.name, run.folder, run.note."),
        ("a\x1b[31m=1", f"there is no key 'a\\x1b[31m' (set to 1); expected one of {SECTIONS}."),
        ("data.root.x=1", "data.root is {'x': 1}; expected text."),
        # types and ranges
        ("dry_run=\udcfc", "dry_run is '\\udcfc' (not valid YAML: it is not UTF-8); expected true or false."),
        ("dry_run=yes", "dry_run is 'yes'; expected true or false."),
        ("dry_run=1", "dry_run is 1; expected true or false."),
        ("resume=atuo", "resume is 'atuo'; expected one of 'auto', 'never'. Did you mean 'auto'?"),
        ("top=small", "top is 'small'; expected 'largest' or a number, at least 0."),
        ("top=-1", "top is -1; expected 'largest' or a number, at least 0."),
        ("top=true", "top is true; expected 'largest' or a number, at least 0."),
        ("top=.nan", "top is nan; expected 'largest' or a number, at least 0."),
        ("run.name=null", "run.name is null; expected text."),
        ("run.name=", "run.name is null; expected text."),
        ("method.warmup=soon", "method.warmup is 'soon'; expected an integer or a number or null."),
        ("method.adapter.rank=0", f"method.adapter.rank is 0; expected {RANK}."),
        ("method.adapter.rank=1.5", f"method.adapter.rank is 1.5; expected {RANK}."),
        ("method.adapter.rank=true", f"method.adapter.rank is true; expected {RANK}."),
        ("method.adapter.rank='8'", f"method.adapter.rank is '8'; expected {RANK}."),
        ("method.adapter.rank=8 # or 9", f"method.adapter.rank is '8 # or 9'; expected {RANK}."),
        ("method.adapter.rank=1_000", f"method.adapter.rank is '1_000'; expected {RANK}."),
        ("method.adapter.dropout=1", "method.adapter.dropout is 1; expected a number, at least 0 and below 1."),
        ("method.learning_rate=0", "method.learning_rate is 0; expected a number, above 0."),
        ("method.learning_rate=fast", "method.learning_rate is 'fast'; expected a number, above 0."),
        ("data.source.templates=31", "data.source.templates is 31; expected an integer, at least 1 and at most 30."),
        ("data.source.max_texts=0", "data.source.max_texts is 0; expected an integer, at least 1 (texts)."),
        ("data.weights=[1,0]", "data.weights is [1, 0]; expected a list of numbers, such as [0.1, 0.2], above 0."),
        ("data.weights=[1,x]", "data.weights is [1, 'x']; expected a list of numbers, such as [0.1, 0.2], above 0."),
        (
            "data.shares.de=2",
            "data.shares.de is 2; expected a mapping of names to numbers, at least 0 and at most 1.",
        ),
        (
            "data.shares.de=x",
            "data.shares.de is 'x'; expected a mapping of names to numbers, at least 0 and at most 1.",
        ),
        ("data.languages=zh", "data.languages is 'zh'; expected a list of texts, such as [a, b]."),
        (
            "data.languages=[zh,de",
            f"data.languages is '[zh,de' ({UNREAD}); expected a list of texts, such as [a, b].",
        ),
        (
            "data.languages=[${run.name}, x]",
            "data.languages is '[${run.name}, x]' (" + UNREAD + "); expected a list of texts, such as [a, b].",
        ),
        ("data.languages=[jp]", f"data.languages is ['jp']; expected {CODES}, not 'jp' (did you mean 'ja'?)."),
        (
            "data.languages=[de,zh,de]",
            "data.languages is ['de', 'zh', 'de']; expected each language once, not 'de' twice.",
        ),
        (
            "method.adapter.targets=[x]",
            "method.adapter.targets is ['x']; expected a list of texts, such as [a, b], "
            "each one of 'q_proj', 'v_proj'.",
        ),
        ("trainer=3", f"trainer is 3; expected {TRAINER}."),
        (
            "trainer={a: 1, a: 2}",
            f"trainer is '{{a: 1, a: 2}}' (the key 'a' is set a second time); expected {TRAINER}.",
        ),
        (
            "trainer=!!python/object/apply:os.system [x]",
            "trainer is '!!python/object/apply:os.system [x]' (the tag '!!python/object/apply:os.system' is not "
            f"allowed here); expected {TRAINER}.",
        ),
        # sections and variants
        ("run=null", "run is null; expected a section with one of run.name, run.folder, run.note."),
        ("method.ema=3", "method.ema is 3; expected a section with one of method.ema.decay."),
        (
            "data.source=folder",
            "data.source is 'folder'; expected a section with one of data.source.name, data.source.templates, "
            "data.source.max_texts, data.source.path. Write data.source.name=folder.",
        ),
        (
            "data.source.name=fodler",
            "data.source.name is 'fodler'; expected one of 'words', 'folder'. Did you mean 'folder'?",
        ),
        ("data.source.name=[a]", "data.source.name is ['a']; expected one of 'words', 'folder'."),
        (
            "data.source.path=p",
            "there is no key 'data.source.path' where data.source.name is 'words' (set to 'p'); expected one of "
            "data.source.templates, data.source.max_texts. It belongs to data.source.name=folder.",
        ),
        (
            "data.source.zzz=1",
            "there is no key 'data.source.zzz' (set to 1); expected one of data.source.name, "
            "data.source.templates, data.source.max_texts, data.source.path.",
        ),
        (
            "data.source.path=${zzz}",
            "there is no key 'data.source.path' where data.source.name is 'words' (set to '${zzz}'); expected one of "
            "data.source.templates, data.source.max_texts. It belongs to data.source.name=folder.",
        ),
        (
            "run=${data.source}",
            "run is '${data.source}'; expected a section with one of run.name, run.folder, run.note.",
        ),
        ("method.adapter.alpha=8", "method.adapter: alpha (8) is below rank (16)."),
        # interpolation
        ("run.name=${run.nam}", "run.name is '${run.nam}', but there is no key 'run.nam'. Did you mean 'run.name'?"),
        ("run.note=${run.note}", "run.note is '${run.note}', but it leads back to itself."),
        (
            "run.note=${oc.env:NOT_THERE_AT_ALL}",
            "run.note is '${oc.env:NOT_THERE_AT_ALL}', but the environment has no NOT_THERE_AT_ALL. Set the variable.",
        ),
        (
            "run.note=${oc.decode:x}",
            "run.note is '${oc.decode:x}', but '${oc.decode:...}' is not allowed; "
            "expected ${key} or ${oc.env:VARIABLE}.",
        ),
        ("run.note=${x", "run.note is '${x', but its ${...} cannot be read; expected ${key} or ${oc.env:VARIABLE}."),
        (
            "run.note=${method.ema.decay}",
            "run.note is '${method.ema.decay}', but 'method.ema.decay' has no value. "
            "Set it with method.ema.decay=VALUE.",
        ),
        (
            "run.folder=runs/${run.note}",
            "run.folder is 'runs/${run.note}', but 'run.note' has no value. Set it with run.note=VALUE.",
        ),
        ("data.languages=${run.name}", "data.languages is 'demo'; expected a list of texts, such as [a, b]."),
    ],
)
def test_on_the_command_line(refused, argument, message):
    assert refused(argument) == [f"command line: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method:\n  adapter:\n\n    rank: 0\n", f"a.yaml:4: method.adapter.rank is 0; expected {RANK}."),
        ("\n\ndata:\n  rot: x\n", "a.yaml:4: there is no key 'data.rot' (set to 'x'). Did you mean 'data.root'?"),
        (
            "data: {languages: [no, xx]}",
            f"a.yaml:1: data.languages is ['no', 'xx']; expected {CODES}, not 'xx'. {DECLARE}",
        ),
        (
            "data:\n  languages:\n  - de\n  - 5x\n",
            f"a.yaml:2: data.languages is ['de', '5x']; expected {CODES}, not '5x'. {DECLARE}",
        ),
        (
            "trainer:\n  max_steps: 1\n  presicion: 16\n",
            "a.yaml:3: there is no key 'trainer.presicion' (set to 16). Did you mean 'trainer.precision'?",
        ),
        (
            "data:\n  shares:\n    de: 1\n    zh: x\n",
            "a.yaml:4: data.shares.zh is 'x'; expected a mapping of names to numbers, at least 0 and at most 1.",
        ),
        (
            "data.root: x\n",
            "a.yaml:1: there is no key 'data.root' (set to 'x'). "
            "In a file, write the parts of 'data.root' one below the other: a section, and the key in it.",
        ),
        ("adapter:\n  rank: 1\n  alpha: 2\n", "a.yaml:1: there is no key 'adapter'. Did you mean 'method.adapter'?"),
        (
            "run: {note: 1}\nrun: {}\n",
            "a.yaml:2: the key 'run' is set a second time. Keep one of the two; the first is at a.yaml:1.",
        ),
        (
            "run:\n  ? [a]\n  : 1\n",
            "a.yaml:2:5: not valid YAML: a key is a list or a mapping; expected text as a key.",
        ),
        (
            "run:\n  note: !!python/object/apply:os.system [ls]\n",
            "a.yaml:2: the tag '!!python/object/apply:os.system' is not allowed here; "
            "expected plain values: text, numbers, true, false, null, lists and mappings.",
        ),
        (
            "run:\n  note: !!int x\n",
            "a.yaml:2: the tag '!!int' is not allowed here; "
            "expected plain values: text, numbers, true, false, null, lists and mappings.",
        ),
        (
            "run:\n\tname: x\n",
            "a.yaml:2:1: not valid YAML: while scanning for the next token found character that "
            "cannot start any token. Indent with spaces, not tabs.",
        ),
        (
            "data:\n  languages: [${run.name}]\n",
            "a.yaml:2:16: not valid YAML: while parsing a flow sequence did not find "
            "expected ',' or ']'. Inside [ ] or { }, put \"${...}\" in quotes.",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "a.yaml:2:1: not valid YAML: expected a single document in the stream but found another document.",
        ),
        ("a: 1\nb: \x07\n", "a.yaml:2: not valid YAML: control characters are not allowed."),
        ("a: [*x]\n", "a.yaml:1:5: not valid YAML: found undefined alias."),
        ("a: &x [*x]\n", "a.yaml:1:4: not valid YAML: its aliases repeat too much, or themselves."),
        ("a:\n  " + "[" * 31 + "]" * 31, "a.yaml:2:32: not valid YAML: it is nested more than 30 deep."),
        ("[" * 100_000, "a.yaml:1:31: not valid YAML: it is nested more than 30 deep."),
        ("", "a.yaml: the file is empty; expected settings, one 'key: value' a line."),
        ("# nothing\n", "a.yaml: the file is empty; expected settings, one 'key: value' a line."),
        ("- a\n", "a.yaml: the file is not a mapping; expected settings, one 'key: value' a line."),
        ("run:\n  name: gr\udcfc\udcdfe\n", "a.yaml:2: the byte 0xfc is not UTF-8. Save the file as UTF-8."),
        (
            "run: {}\nbase: none\n",
            "a.yaml:2: 'none' is no file, and no shipped config; expected the path of a config file.",
        ),
        ("base: {a: b}\n", "a.yaml:1: base is {'a': 'b'}; expected the path of a config file, or a list of paths."),
        (
            "run:\n  base: none\n",
            "a.yaml:2: 'none' is no file, and no shipped config; expected the path of a config file.",
        ),
        ("run:\n  base: [3]\n", "a.yaml:2: base is 3; expected the path of a config file, or a list of paths."),
        ("run:\n  base: a.yaml\n", "a.yaml:2: the base files go in a circle: a.yaml -> a.yaml. Take one 'base:' out."),
        (
            "run:\n  base: {a: b}\n",
            "a.yaml:2: there is no key 'run.base.a' (set to 'b'); expected one of run.name, run.folder, run.note.",
        ),
        ("base: [3]\n", "a.yaml:1: base is 3; expected the path of a config file, or a list of paths."),
        ("base: a.yaml\n", "a.yaml:1: the base files go in a circle: a.yaml -> a.yaml. Take one 'base:' out."),
        (
            "run:\n  name: ${rn.name}\n",
            "a.yaml:2: run.name is '${rn.name}', but there is no key 'rn.name'. Did you mean 'run.name'?",
        ),
        (
            "run:\n  note: ${run.folder}\n  folder: x${run.note}\n",
            "a.yaml:3: run.folder is 'x${run.note}', but it leads back to itself.",
        ),
    ],
)
def test_in_a_file(refused, text, message):
    messages = refused("config=a.yaml", files={"a.yaml": text})
    assert messages[0] == message
    assert len(messages) == (2 if "back to itself" in message else 1)


def test_a_circle_of_bases_shows_the_chain(refused):
    files = {"a.yaml": "base: sub/b\n", "sub/b.yaml": "# b\nbase: ../c.yaml\n", "c.yaml": "base: [sub/b.yaml]\n"}
    assert refused("config=a", files=files) == [
        "c.yaml:1: the base files go in a circle: sub/b.yaml -> c.yaml -> sub/b.yaml. Take one 'base:' out."
    ]


def test_dashes_before_a_key_and_its_value(refused):
    assert refused("--data.root", "x", "--dry_run") == [
        "command line: '--data.root x'; expected key=value. Write data.root=x.",
        "command line: '--dry_run'; expected key=value. Write dry_run=VALUE.",
    ]


def test_two_configs(refused):
    files = {"a.yaml": "run: {}", "b.yaml": "run: {}"}
    assert refused("config=a", "config=b", files=files) == [
        "command line: config= is given 2 times; expected one file. Keep one, or write a file with 'base: [a, b]'."
    ]


def test_the_layer_of_a_value_out_of_range_is_the_one_that_set_it(refused):
    files = {
        "base.yaml": "method:\n  adapter:\n    rank: -1\n",
        "a.yaml": "base: base\nmethod: {adapter: {alpha: 64}}\n",
    }
    message = f"method.adapter.rank is -1; expected {RANK}."
    assert refused("config=a", files=files) == [f"base.yaml:3: {message}"]
    assert refused("config=a", "method.adapter.rank=-1") == [f"command line: {message}"]


def test_all_problems_are_told_at_once(refused):
    files = {
        "base.yaml": "method:\n  adapter: {rank: 0}\nfoo: 1\n",
        "a.yaml": "base: base\ndata:\n  languages: [jp]\n  root: ${zzz}\n",
    }
    messages = refused("config=a", "resume=x", "run.nam=y", "data.source.name=folder", files=files)
    assert sorted(message.partition("; expected")[0] for message in messages) == [
        "a.yaml:3: data.languages is ['jp']",
        "a.yaml:4: data.root is '${zzz}', but there is no key 'zzz'.",
        "base.yaml:2: method.adapter.rank is 0",
        "base.yaml:3: there is no key 'foo' (set to 1)",
        "command line: resume is 'x'",
        "command line: there is no key 'run.nam' (set to 'y'). Did you mean 'run.name'?",
        "data.source.path: not set",
    ]


def test_a_missing_value_that_many_keys_want_is_told_once(refused):
    argv = ["data.root=${run.note}/a", "data.prompt=${run.note}/b", "run.folder=${data.root}/c"]
    assert refused(*argv) == [
        "command line: data.root is '${run.note}/a', but 'run.note' has no value. Set it with run.note=VALUE."
    ]


def test_all_unreadable_layers_are_told_at_once(refused):
    files = {"a.yaml": "base: [b, c, d]\nrun: {name: x, name: y}\n", "b.yaml": "x: [", "c.yaml": ""}
    messages = refused("config=a", "oops", files=files)
    assert sorted(message.partition(": ")[0] for message in messages) == [
        "a.yaml:1",
        "a.yaml:2",
        "b.yaml:2:1",
        "c.yaml",
        "command line",
    ]


def test_the_other_variants_key_in_the_same_or_a_higher_layer(refused):
    files = {"a.yaml": "data:\n  source:\n    name: folder\n    path: p\n    templates: 3\n"}
    tail = (
        "there is no key 'data.source.templates' where data.source.name is 'folder' (set to 3); expected one of "
        "data.source.path, data.source.max_texts. It belongs to data.source.name=words."
    )
    assert refused("config=a", files=files) == [f"a.yaml:5: {tail}"]
    assert refused("data.source.templates=3", "data.source.path=p", "data.source.name=folder") == [
        f"command line: {tail}"
    ]


def test_a_lower_layers_mistake_is_not_hidden_by_naming_the_variant_again(refused):
    files = {
        "a.yaml": "data: {source: {name: folder, path: p, templates: 3}}",
        "b.yaml": "base: a\ndata: {source: {name: folder}}",
        "c.yaml": "data: {source: {templats: 3}}",
    }
    assert refused("config=b", files=files)[0].startswith("a.yaml:1: there is no key 'data.source.templates'")
    assert refused("config=c", "data.source.name=folder", "data.source.path=p")[0].startswith(
        "c.yaml:1: there is no key 'data.source.templats' (set to 3)"
    )


class Needy(Options):
    size: int = option(REQUIRED, "how large", unit="GB", ge=1)


class First(Needy):
    name: Literal["a"] = "a"


class Second(Options):
    name: Literal["c"] = "c"


class NeedyRoot(Options):
    store: Needy = section(Needy, "the store")
    kind: Annotated[First | Second, Field(discriminator="name")] = section(REQUIRED, "which kind")


def test_what_has_no_default_must_be_set(refused):
    assert refused(config=NeedyRoot) == [
        "kind.name: not set; expected one of 'a', 'c': which kind. Set it with kind.name=VALUE.",
        "store.size: not set; expected an integer, at least 1 (GB): how large. Set it with store.size=VALUE.",
    ]


def test_a_dataclass_may_refuse_with_problems_of_its_own(here):
    with pytest.raises(InputError) as caught:
        load(NeedyRoot, ["store.size=0", "kind.name=b"])
    assert len(caught.value.problems) == 2
