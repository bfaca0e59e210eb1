"""Labels in the place of languages: the table that declares them, and a run of programming languages end to end."""

# ruff: noqa: E501 - a table of refusals, a line a case
from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from alignlab import languages
from alignlab.analyze import main as analyze
from alignlab.benchmark import main as benchmark
from alignlab.config import load
from alignlab.errors import InputError
from alignlab.intervene import main as intervene
from alignlab.labels import LabelOptions, LabelsOptions, labels_of
from alignlab.languages import Language
from alignlab.neurons import ActivationCounts, NeuronSets, lape, ternary
from alignlab.neurons.equal_size_lape_identifier import equal_size_lape
from alignlab.neurons.kinds import Kind
from alignlab.neurons.table import read_csv
from alignlab.options import AnalyzeOptions, TrainConfig
from alignlab.report import main as report
from alignlab.train import main as train

TABLE = """
labels:
  axis: programming language
  table:
    python: {name: Python, family: scripting, script: words, resource: high, typology: {typing: dynamic}}
    c_lang: {name: "C & friends", family: braces, script: signs, resource: high, typology: {typing: static}}
    html: {name: HTML, family: markup, script: signs, resource: medium}
    sql: {}
"""


def loaded(folder: Path, text: str, *argv: str) -> TrainConfig:
    (folder / "labels.yaml").write_text(text)
    return load(TrainConfig, [f"config={folder}/labels.yaml", *argv])[0]


def test_declared_labels_are_codes_within_and_nowhere_else(tmp_path: Path) -> None:
    asked = ["data.train.name=files", "data.train.path=x", "data.train.languages=[python,sql,de]", "reference=html"]
    config = loaded(tmp_path, TABLE, *asked)
    assert languages.find("python") is None
    with labels_of(config):
        python, sql = languages.get("python"), languages.get("sql")
        assert (python.name, python.family, python.script, python.resource) == ("Python", "scripting", "words", 2.0)
        assert dict(python.typology) == {"typing": "dynamic"}
        assert (sql.name, sql.family, sql.resource) == ("sql", "", None)
        assert languages.get("de").name == "German"
        assert languages.check_codes(["pyton"]) == (
            "ISO 639 codes such as de, sw, zh, or of labels.table (python, c_lang, html, sql), not 'pyton' (did you mean "
            "'python'?)"
        )
    assert languages.find("python") is None


def test_a_language_keeps_what_it_is_and_gains_what_is_said() -> None:
    german = LabelOptions(resource=5.0, typology={"word_order": "SOV"}).language("de")
    known = languages.LANGUAGES["de"]
    assert (german.name, german.family, german.script, german.own_name) == (
        known.name,
        known.family,
        known.script,
        known.own_name,
    )
    assert (german.resource, german.typology) == (5.0, {"word_order": "SOV"})


def test_everything_said_of_a_label_is_known_of_it() -> None:
    said = {
        "name": "Python", "family": "scripting", "script": "Latn", "resource": 2.5, "spoken": "en",
        "typology": {"typing": "dynamic"},
    }  # fmt: skip
    assert set(said) == set(LabelOptions.model_fields)
    python = LabelOptions.model_validate(said).language("python")
    assert {name: getattr(python, name) for name in said} == said
    assert (python.code, LabelOptions().language("python")) == ("python", Language("python", "python"))
    assert LabelOptions(resource="medium").language("python").resource == 1


def test_labels_of_a_refused_command_are_forgotten(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        loaded(tmp_path, TABLE, "data.train.name=files", "data.train.languages=[pyton]")
    assert languages.find("python") is None


def in_table(entry: str) -> str:
    return "labels:\n  table:\n    " + entry.replace("\n", "\n    ") + "\n"


REFUSALS = {
    "an unknown field": (in_table("python: {famly: x}"), ["labels.yaml:3", "there is no key", "Did you mean 'labels.ta"]),
    "an unknown key beside the table": ("labels: {tabel: {}}\n", ["no key 'labels.tabel'", "Did you mean 'labels.table'?"]),
    "a label twice": (in_table("python: {family: a}\npython: {family: b}"), ["labels.yaml:4", "set a second time"]),
    "a label twice but for capitals": (in_table("python: {}\nPython: {}"), ["python, Python differ in capitals alone"]),
    "two labels of one name": (in_table("a1: {name: X}\na2: {name: X}"), ["a1 and a2 are both called 'X'"]),
    "a list for a family": (in_table("python: {family: [a]}"), ["python.family is ['a']; expected text"]),
    "a list for a label": (in_table("python: [a, b]"), ["python is ['a', 'b']; expected a section"]),
    "a list for the table": ("labels: {table: [python]}\n", ["labels.table is ['python']; expected a mapping of names to sec"]),
    "text for the whole": ("labels: python\n", ["labels is 'python'; expected a section with one of labels.axis"]),
    "a path": (in_table("../etc: {}"), ["labels.yaml:3", "expected a label of 1 to 40 letters"]),
    "a label with a dot": (in_table("c.h: {}"), ["expected a label of 1 to 40 letters"]),
    "markup": (in_table('"<script>": {}'), ["expected a label of 1 to 40 letters"]),
    "markup in a name": (in_table('py: {name: "<b>py"}'), ["labels.table.py.name is '<b>py'", "without < and >"]),
    "an empty label": (in_table('"": {}'), ["expected a label of 1 to 40 letters"]),
    "an empty name": (in_table('py: {name: " "}'), ["labels.table.py.name is ' '; expected text of 1 to 60 characters"]),
    "a long name": (in_table(f"py: {{name: {'x' * 61}}}"), ["expected text of 1 to 60 characters"]),
    "a line break in a name": (in_table('py: {name: "a\\nb"}'), ["control characters and line breaks"]),
    "a digit first": (in_table("3d: {}"), ["expected a label of 1 to 40 letters"]),
    "a word of the tables": (in_table("trained: {}"), ["'trained' means something else in tables and expressions"]),
    "a word of YAML": (in_table('"null": {}'), ["'null' means something else"]),
    "a token as a name": (in_table("py: {name: 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}"), ["text without secrets"]),
    "another name for a language": (in_table("ml: {name: OCaml}"), ["'ml' is the code of Malayalam", "expected another"]),
    "two scales": (in_table("py: {resource: high}\nc_lang: {resource: 3}"), ["expected one scale for all"]),
    "an unknown level": (in_table("py: {resource: hihg}"), ["labels.table.py.resource is 'hihg'; expected one of 'low', 'medium', 'high' or a number", "Did you mean 'high'?"]),
    "no finite level": (in_table("py: {resource: .nan}"), ["labels.table.py.resource is nan"]),
    "typology that is a list": (in_table("py: {typology: [a]}"), ["typology is ['a']; expected a mapping of names to text"]),
    "markup in typology": (in_table("py: {typology: {a: <b>}}"), ["without < and >"]),
    "an axis of nothing": ("labels: {axis: ''}\n", ["labels.axis is ''; expected text"]),
    "a reference that is no label": (TABLE + "reference: pyton\n", ["reference is 'pyton'", "did you mean 'python'?"]),
    "what executes": (in_table('py: !!python/object/apply:os.system ["true"]'), ["python/object/apply:os.system' is not all"]),
    "no YAML": ("labels: {table: [}\n", ["not valid YAML"]),
    "an empty file": ("", ["labels.yaml: the file is empty"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_with_a_table_is_said_once(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = REFUSALS[case]
    (tmp_path / "labels.yaml").write_text(text)
    assert train([f"config={tmp_path}/labels.yaml", "model.source=/nowhere"]) == 2
    printed = capsys.readouterr()
    message = printed.err.strip()
    assert all(part in message for part in said), message
    assert len(message.splitlines()) == 1, message
    assert "Traceback" not in message
    assert "nowhere" not in message  # the model has not been looked for
    assert printed.out == ""


def test_files_that_are_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(data: bytes) -> str:
        (tmp_path / "labels.yaml").write_bytes(data)
        assert analyze([f"config={tmp_path}/labels.yaml", "run=nowhere"]) == 2
        return capsys.readouterr().err

    assert "the byte 0xff is not UTF-8" in refused(b"labels: {axis: \xff}\n")
    assert "the byte 0x89 is not UTF-8" in refused(b"\x89PNG\r\n\x1a\n\0\0")
    huge = b"labels:\n  table:\n" + b"".join(b"    l%07d: {}\n" % number for number in range(700_000))
    assert "expected a config file of at most" in refused(huge)
    many = b"labels:\n  table:\n" + b"".join(b"    l%04d: {}\n" % number for number in range(1001))
    assert "1,001 labels; expected 1,000 at most" in refused(many)
    for missing in ("there-is-none.yaml", "."):
        assert analyze([f"config={tmp_path}/{missing}", "run=nowhere"]) == 2
        assert "expected the path of a config file" in capsys.readouterr().err


def firings(seed: int) -> torch.Tensor:
    """(4, 3, 2, 60): each label has ten neurons of its own, at about half of 100 tokens, and little of all others."""
    counts = torch.randint(0, 12, (4, 3, 2, 60), generator=torch.Generator().manual_seed(seed))
    for label in range(4):
        counts[label, :, :, 5 * label : 5 * label + 5] += 45
    return counts


def counted(names: tuple[str, ...], of: torch.Tensor) -> ActivationCounts:
    tokens = torch.full(of.shape[:2], 100)
    return ActivationCounts(names, of, tokens, tokens, "mlp.act", "all")


IDENTIFIERS: dict[str, Callable[[ActivationCounts], dict[str, torch.Tensor]]] = {
    "lape": lambda counts: lape(counts, top_rate=0.25, bar=0.8).sets,
    "ternary": lambda counts: ternary(counts, top_rate=0.25).sets,
    "equal_size_lape": lambda counts: equal_size_lape(counts, size=10, bar=0.9).sets,
}


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_another_name_for_a_label_changes_no_set(name: str) -> None:
    counts = firings(0)
    before = IDENTIFIERS[name](counted(("en", "de", "sw", "zh"), counts))
    after = IDENTIFIERS[name](counted(("python", "c_lang", "html", "sql"), counts))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), after.values(), strict=True))


def test_a_copy_of_a_label_changes_what_goes_by_entropy_and_nothing_that_goes_label_by_label() -> None:
    """Each label's own most active neurons are what they were; entropy is over labels, and a copy is one more."""
    counts = firings(0)
    names = ("python", "c_lang", "html", "sql")
    before, after = counted(names, counts), counted((*names, "py_copy"), torch.cat([counts, counts[:1]]))
    assert torch.equal(before.probabilities(), after.probabilities()[:4])
    for identifier in IDENTIFIERS.values():
        alone, beside = identifier(before), identifier(after)
        assert torch.equal(beside["python"], beside["py_copy"])  # twins are never told apart
        assert any(not torch.equal(alone[name], beside[name]) for name in names)
    assert not (ternary(after, top_rate=0.25).kinds() == Kind.SPECIFIC)[
        ternary(after, top_rate=0.25).above["python"]
    ].any()


LABELS = ("python", "c_lang", "html", "sql")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on four programming languages, one of which says nothing of itself."""
    folder = tmp_path_factory.mktemp("labels")
    words = {"python": "def return import x", "c_lang": "int { } ;", "html": "<div> </b> <p>", "sql": "SELECT FROM t"}
    (folder / "code").mkdir()
    for label, some in words.items():
        rng = random.Random(label)
        rows = [{"q": " ".join(rng.choices(some.split(), k=5)), "a": rng.choice(some.split())} for _ in range(24)]
        (folder / "code" / f"{label}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"{{name: files, path: {folder}/code, prompt: q, answer: a"
    (folder / "code.yaml").write_text(
        f"base: demo\nrun: {{folder: {folder}/run}}\nreference: python\nevaluation: null\nwandb: {{mode: disabled}}\n"
        f"data:\n  examples_per_step: 4\n  train: {source}, languages: [c_lang, sql]}}\n"
        f"probe: {{source: {source}}}, shards: 6}}\ntrainer: {{max_steps: 2}}\ntracker: {{every_n_steps: 1}}\n" + TABLE
    )
    assert train([f"config={folder}/code.yaml"]) == 0
    return folder / "run"


def test_a_run_of_labels_is_tracked_and_continued(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_csv(run / "neurons.csv")
    assert {row.language for row in rows if row.group == "language"} == set(LABELS)
    assert {row.group for row in rows if row.analysis == "kinds"} >= {"trained", "unseen", "reference"}
    assert train([f"config={run.parent}/code.yaml", "dry_run=true", "run.folder=elsewhere"]) == 0
    plan = capsys.readouterr().out
    assert "C & friends (c_lang) trained" in plan
    assert "What stands in the place of languages here is of another kind: programming language." in plan
    assert train([f"config={run.parent}/code.yaml"]) == 0
    assert "holds this run, finished" in capsys.readouterr().out
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["labels"]["table"]["sql"]["name"] is None


@pytest.mark.slow
def test_stored_labels_are_analysed_with_the_table_of_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["analyses=[family_overlap,label_properties,english_uniqueness]", "labels.table.sql.family=markup"]
    assert analyze([f"run={run}", *asked, f"folder={run.parent}/asked"]) == 0
    printed = capsys.readouterr().out
    assert "specific neurons by typing: share between groups" not in printed  # of two labels each its own
    assert "specific neurons by family: share between groups" in printed
    rows = read_csv(run.parent / "asked" / "table.csv")
    pairs = [row for row in rows if row.measure == "jaccard" and row.group == "within" and not row.is_change]
    assert {row.denominator for row in pairs} <= {0, 1}  # html and sql, where either has a related neuron
    assert pairs
    ratios = [row for row in rows if row.analysis == "english_uniqueness" and row.unit == "ratio"]
    assert {row.language for row in ratios} == {"python"}


@pytest.mark.slow
def test_identifiers_are_compared_on_labels(run: Path) -> None:
    asked = ["agreement", f"run={run}", "only=[ternary,lape]", f"folder={run.parent}/compared"]
    assert benchmark(asked) == 0
    rows = read_csv(run.parent / "compared" / "table.csv")
    assert {row.language for row in rows if row.measure == "size"} == {"python", "c_lang", "html", "sql"}
    assert {row.value for row in rows if row.measure == "tokens beside python" and row.language == "python"} == {1.0}


@pytest.mark.slow
def test_the_page_names_labels_as_the_table_does_and_runs_none_of_it(run: Path) -> None:
    assert report([f"run={run}", "intervals=none"]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "of another kind: programming language" in page
    assert "C &amp; friends" in page
    assert "C & friends" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert html.escape("<div>") not in page  # nor any text of the documents
    assert "The reference beside the others" in page
    assert "English beside" not in page


@pytest.mark.slow
def test_neurons_of_labels_are_switched_off_but_for_those_of_their_languages(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ternary(ActivationCounts.load(run / "neurons" / "step-000002.safetensors"), top_rate=0.1)
    NeuronSets.of(sets).save(run.parent / "labels.safetensors")
    words = NeuronSets({"words": sets.sets["python"] | sets.sets["sql"], "html": sets.sets["html"]})
    words.save(run.parent / "languages.safetensors")
    asked = [f"run={run}", "controls=[]", f"folder={run.parent}/off", f"beside={run.parent}/languages.safetensors"]
    spoken = ["labels.table.python.spoken=words", "languages=[python,html]", "max_documents=4"]
    assert intervene([*asked, *spoken, "each=specific(g)"]) == 2
    assert "beside: set, but no expression asks for it; expected pure, compound or generic" in capsys.readouterr().err
    assert intervene([*asked, *spoken, "each=pure(g) | compound(g)"]) == 0
    capsys.readouterr()
    asked[2] = f"folder={run.parent}/other"
    assert intervene([*asked, "languages=[python,html]", "max_documents=4", "each=pure(g)"]) == 2
    assert "no neurons are known of the language of 'python'; expected labels with a language, such as html" in (
        capsys.readouterr().err
    )
    elsewhere = NeuronSets(words.sets, site="mlp.up")
    elsewhere.save(run.parent / "elsewhere.safetensors")
    at = [f"beside={run.parent}/elsewhere.safetensors", "each=pure(g)", "dry_run=true"]
    assert intervene([*asked[:3], *spoken, *at]) == 2
    assert "beside: neurons at mlp.up; expected neurons at mlp.act" in capsys.readouterr().err


def test_options_made_in_python_know_their_labels_too() -> None:
    made = LabelsOptions(table={"python": LabelOptions()})
    config = TrainConfig(labels=made, reference="python")
    assert config.reference == "python"
    assert AnalyzeOptions(labels=made).labels.note == ""
    with pytest.raises(ValueError, match="pyton"):
        TrainConfig(labels=made, reference="pyton")
