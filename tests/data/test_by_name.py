"""The data sets that are shipped by name, each read from a folder of its published schema, and refused where not so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from alignlab.config import Options, load, section, shipped_configs
from alignlab.data.choices import Choice
from alignlab.data.hub_table import HubTable
from alignlab.data.records import Record
from alignlab.data.sources import Hub, Source
from alignlab.data.sources.choices import ChoiceFiles, ChoiceSource
from alignlab.errors import InputError
from alignlab.languages import is_code

DATA = Path(__file__).parents[2] / "../shared/data"
NAMES = sorted(name for name in shipped_configs() if name.startswith("base/data/"))
FILES = sorted(name for name in shipped_configs() if name.startswith("base/files/"))


class OfText(Options):
    source: Source = section(Hub, "records")


class OfChoices(Options):
    source: ChoiceSource = section(ChoiceFiles, "questions")


QUESTIONS = {get_args(one.model_fields["name"].annotation)[0] for one in get_args(get_args(ChoiceSource)[0])}


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterable[None]:
    """`datasets` reads these when it is first imported."""
    import datasets
    import huggingface_hub.constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


def source(name: str, *overrides: str) -> Any:
    """The source of a shipped file, with overrides over it, as a user would write them."""
    kind = yaml.safe_load(shipped_configs()[name].read_text(encoding="utf-8"))["name"]
    root = OfChoices if kind in QUESTIONS else OfText
    return load(root, [f"source.base={name}", *(f"source.{one}" for one in overrides)])[0].source


def publish(folder: Path, tables: dict[str, list[dict[str, Any]]], split: str, labels: list[str] | None = None) -> None:
    """A copy of a data set of the Hub: Parquet, a subset for each table; one called "" has no subset."""
    import datasets

    lines = ["---", "configs:"]
    for subset, rows in tables.items():
        table = datasets.Dataset.from_list(rows)
        if labels is not None:
            table = table.cast_column("label", datasets.ClassLabel(names=labels))
        path = folder / (subset or "data") / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        table.to_parquet(path)
        lines += [f"- config_name: {subset or 'default'}", "  data_files:", f"  - split: {split}"]
        lines += [f"    path: {path.relative_to(folder).as_posix()}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")


def test_every_name_is_one_source_with_codes_that_are_languages() -> None:
    assert NAMES
    for name in [*NAMES, *FILES]:
        found = source(name)
        assert all(map(is_code, found.languages or [])), name
        table = getattr(found, "hub", None) or found
        assert all(map(is_code, getattr(table, "spelled", {}))), name
        assert isinstance(table, HubTable) == (name.startswith("base/data/") and found.name != "parallel_text")


def test_every_name_has_its_row_and_is_read_from_a_copy_of_its_schema() -> None:
    names = [name.removeprefix("base/data/") for name in NAMES]
    text = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    rows = sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == names, f"docs/data.md: its table and configs/base/data differ in {sorted({*rows} ^ {*names})}"
    without = [name for name in names if f"test_{name}" not in globals()]
    assert without == [], f"no test_NAME here, which reads a copy of its schema, of: {without}"


def test_mgsm(tmp_path: Path) -> None:
    rows = [{"question": "¿Cuántos?", "answer": None, "answer_number": 18, "equation_solution": None}]
    publish(tmp_path / "juletxara/mgsm", {"es": rows, "te": [{**rows[0], "question": "ఎన్ని?"}]}, "test")
    found = source("base/data/mgsm", f"root={tmp_path}", "languages=[es,te]").load()
    assert found == [Record("0", "es", "¿Cuántos?", "18"), Record("0", "te", "ఎన్ని?", "18")]


def test_msvamp(tmp_path: Path) -> None:
    rows = [{"m_query": "Wie viele?", "response": "145", "query": "How many?", "equation": "( 8.0 - 2.0 )"}]
    publish(tmp_path / "MSVAMP", {"de": rows}, "test")  # by the last part of its id
    assert source("base/data/msvamp", f"root={tmp_path}", "languages=[de]").load() == [
        Record("0", "de", "Wie viele?", "145")
    ]


def test_gsm8k(tmp_path: Path) -> None:
    rows = [{"question": "How many?", "answer": "48/2 = <<48/2=24>>24\n#### 24"}]
    publish(tmp_path / "openai/gsm8k", {"main": rows, "socratic": [{**rows[0], "answer": "no"}]}, "train")
    assert source("base/data/gsm8k", f"root={tmp_path}").load() == [Record("0", "en", "How many?", rows[0]["answer"])]


def test_metamathqa(tmp_path: Path) -> None:
    row = {"type": "MATH_AnsAug", "query": "What?", "original_question": "Which?", "response": "The answer is: 2"}
    folder = tmp_path / "meta-math/MetaMathQA"
    folder.mkdir(parents=True)
    (folder / "MetaMathQA-395K.json").write_text(json.dumps([row]), encoding="utf-8")  # one list, as it is published
    assert source("base/data/metamathqa", f"root={tmp_path}").load() == [Record("0", "en", "What?", "The answer is: 2")]


def test_ntrex(tmp_path: Path) -> None:
    row = {"eng_Latn": "Hello.", "swa_Latn": "Habari.", "zho_Hans": "你好。"}
    publish(tmp_path / "mteb/NTREX", {"": [row]}, "test")
    found = source("base/data/ntrex", f"root={tmp_path}", "languages=[zh,sw,en]").load()
    assert found == [Record("0", "zh", "你好。"), Record("0", "sw", "Habari."), Record("0", "en", "Hello.")]


def test_flores_plus(tmp_path: Path) -> None:
    row = {"id": 7, "iso_639_3": "cmn", "iso_15924": "Hans", "glottocode": "beij1234", "text": "你好。", "domain": "w"}
    publish(tmp_path / "flores_plus", {"cmn_Hans": [row], "swh_Latn": [{**row, "text": "Habari."}]}, "devtest")
    found = source("base/data/flores_plus", f"root={tmp_path}", "languages=[zh,sw]").load()
    assert found == [Record("7", "zh", "你好。"), Record("7", "sw", "Habari.")]


def test_xcopa(tmp_path: Path) -> None:
    row = {"premise": "L'acqua bolliva.", "choice1": "Era caldo.", "choice2": "Era notte.", "question": "cause"}
    row |= {"label": 0, "idx": 3, "changed": False}
    publish(tmp_path / "cambridgeltl/xcopa", {"it": [row]}, "test")
    (found,) = source("base/data/xcopa", f"hub.root={tmp_path}", "languages=[it]").load()
    assert (found.contexts[0], found.continuations[0]) == ("L'acqua bolliva perché", " era caldo.")
    assert (found.id, found.gold) == ("3", 0)


def test_xwinograd(tmp_path: Path) -> None:
    import datasets

    texts = ["The cup fits in the bag because _ is small.", "The cup fits in the bag because _ is large.", "_ ran."]
    rows = [
        {"sentence": one, "option1": "the cup", "option2": "the bag", "answer": str(i)} for i, one in enumerate(texts)
    ]
    rows[0]["answer"], rows[2]["answer"] = "1", "2"
    rows[1]["answer"] = "2"
    (folder := tmp_path / "Muennighoff/xwinograd/jp/test").mkdir(parents=True)
    datasets.Dataset.from_list(rows).to_parquet(folder / "0000.parquet")  # as the branch refs/convert/parquet has it
    first, second, third = source("base/data/xwinograd", f"hub.root={tmp_path}", "languages=[ja]").load()
    assert first.contexts == (
        "The cup fits in the bag because the cup",
        "The cup fits in the bag because the bag",
    )
    assert (first.continuations, first.gold, second.gold) == ((" is small.",) * 2, 0, 1)
    assert first.cluster == second.cluster != third.cluster


def test_paws_x(tmp_path: Path) -> None:
    row = {"id": 1, "sentence1": "A ran to B.", "sentence2": "B ran to A.", "label": 0}
    publish(tmp_path / "google-research-datasets/paws-x", {"zh": [row], "en": [row]}, "test", ["0", "1"])
    zh, en = source("base/data/paws_x", f"hub.root={tmp_path}", "languages=[zh,en]").load()
    # As lm-evaluation-harness's paws_zh and paws_en write it, without the first sentence on both sides.
    whole = [context + text for context, text in zip(zh.contexts, zh.continuations, strict=True)]
    assert whole == ["A ran to B., 对吧? 不是, B ran to A.", "A ran to B., 对吧? 是, B ran to A."]
    assert en.contexts[0] + en.continuations[1] == "A ran to B., right? Yes, B ran to A."
    assert (zh.gold, zh.id, en.id) == (0, "1", "1")


def test_xnli(tmp_path: Path) -> None:
    row = {"premise": "Er lief.", "hypothesis": "Er ruhte.", "label": 2}
    publish(tmp_path / "facebook/xnli", {"de": [row]}, "test", ["entailment", "neutral", "contradiction"])
    (found,) = source("base/data/xnli", f"hub.root={tmp_path}", "languages=[de]").load()
    assert found == Choice(
        "0",
        "de",
        ("Er lief., richtig?",) * 3,
        (" Ja, Er ruhte.", " Auch, Er ruhte.", " Nein, Er ruhte."),
        ("Ja, Er ruhte.", "Auch, Er ruhte.", "Nein, Er ruhte."),
        2,
    )


def test_gsm8k_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "gsm8kinstruct_question/sw-en").mkdir(parents=True)
    (folder / "train.sw").write_text("Wangapi?\n", encoding="utf-8")
    (folder / "train.en").write_text("How many?\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert source("base/data/gsm8k_questions", "languages=[sw]").load() == [Record("1", "sw", "Wangapi?", "How many?")]


# 11, 10 and 24 languages; XWinograd's lines; GSM8K's questions in seven.
COUNTS = {"mgsm": 2750, "msvamp": 10_000, "ntrex": 24 * 1997, "xcopa": 5500, "xwinograd": 4000, "gsm8k": 3000}


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("name", FILES)
def test_the_published_files_themselves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    found = source(name).load()
    short = name.rpartition("/")[2]
    assert len(found) == COUNTS.get(short, 14_000) if short != "xwinograd" else len(found) > 3000


# What is refused


def refused(name: str, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as error:
        source(name, *overrides).load()
    return [str(problem) for problem in error.value.problems]


MGSM = {"question": "¿Cuántos?", "answer_number": 18}


@pytest.mark.parametrize(
    ("row", "overrides", "told"),
    [
        (MGSM, ["languages=[de]"], "BuilderConfig 'de' not found. Available: ['es']"),
        (MGSM, ["split=train"], "Unknown split \"train\". Should be one of ['test']"),
        (MGSM, ["languages=[xx]"], "source.languages is ['xx']"),
        (MGSM, ["root=nowhere"], "nowhere/juletxara/mgsm: there is no such folder; expected a copy of the data set."),
        (MGSM, ["prompt=qestion"], "there is no column 'qestion'; expected one of: question, answer_number. Did you"),
        (MGSM, ["answer=answer"], "there is no column 'answer'"),
        (MGSM, ["path=juletxara/mgms"], "hf download juletxara/mgms --repo-type dataset --local-dir "),
        (MGSM, ["spelled={es: de}"], "BuilderConfig 'de' not found"),
        (MGSM, ["limit=0"], "source.limit is 0"),
        (MGSM, ["sepelled={es: de}"], "there is no key 'source.sepelled.es'"),
        (MGSM, ["folder=es/nothing", "subset=null"], "it cannot be loaded ("),
        ({**MGSM, "question": " "}, [], "row 0: column 'question' holds ' '; expected text or a number"),
        ({**MGSM, "question": "a\0b"}, [], "column 'question' holds a NUL character"),
        ({**MGSM, "answer_number": None}, [], "column 'answer_number' holds None"),
        ({**MGSM, "question": ["a"]}, [], "column 'question' holds ['a']"),
        ({**MGSM, "answer_number": True}, [], "column 'answer_number' holds True"),
    ],
)
def test_a_data_set_that_is_not_as_published(
    row: dict[str, Any], overrides: list[str], told: str, tmp_path: Path
) -> None:
    publish(tmp_path / "juletxara/mgsm", {"es": [row]}, "test")
    problems = refused("base/data/mgsm", f"root={tmp_path}", "languages=[es]", *overrides)
    assert len(problems) == 1
    assert told in problems[0]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["hub=null"], "path and hub: neither is set; expected one of the two"),
        (["path=x/{language}.jsonl"], "path and hub: both are set"),
        (["options=[a, b]"], "options and written: both are set"),
        (["languages=[en, sw]"], "written: no options for sw; expected some of: de, en, es, fr, ja, ko, zh"),
        (["written={qq: [a, b]}"], "written: 'qq' is no language code"),
        (["schemas=true"], "schemas: true, without a gap"),
        (["schemas=true", "gap=_", "cluster=id"], "schemas: true, beside cluster 'id'"),
        (["template='{sentence}, right?'"], "there is no column 'sentence'"),
        (["label_is=letter"], "what is right is '0'; expected one of: A, B"),
        (["hub.split=validation"], 'Unknown split "validation"'),
        (["hub.root=nowhere"], "there is no such folder; expected a copy of the data set"),
    ],
)
def test_questions_that_are_not_as_published(overrides: list[str], told: str, tmp_path: Path) -> None:
    row = {"id": 1, "sentence1": "A ran to B.", "sentence2": "B ran to A.", "label": 0}
    publish(tmp_path / "paws-x", {"en": [row]}, "test", ["0", "1"])
    problems = refused("base/data/paws_x", f"hub.root={tmp_path}", "languages=[en]", *overrides)
    assert any(told in problem for problem in problems), problems


def test_a_copy_that_was_corrected_is_read_anew(tmp_path: Path) -> None:
    folder = tmp_path / "juletxara/mgsm"
    for question in ("Uno?", "Dos?"):
        publish(folder, {"es": [{**MGSM, "question": question}]}, "test")
        (found,) = source("base/data/mgsm", f"root={tmp_path}", "languages=[es]").load()
        assert found.prompt == question
        shutil.rmtree(folder)


def test_a_gated_and_a_moved_data_set_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    page = "https://huggingface.co/datasets/openlanguagedata/flores_plus"
    said = {
        "Dataset 'x' is a gated dataset on the Hub. You must be authenticated to access it.": (
            f"Accept its conditions at {page}, then log in: hf auth login."
        ),
        "Dataset 'x' doesn't exist on the Hub or cannot be accessed.": (
            f"Was it moved or renamed? See {page}; give its new id in path."
        ),
    }
    for message, told in said.items():

        def load_dataset(*_: Any, message: str = message, **__: Any) -> None:
            raise datasets.exceptions.DatasetNotFoundError(message)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        (problem,) = refused("base/data/flores_plus", "languages=[de]")
        assert message.rstrip(".") in problem
        assert told in problem


def test_no_network_is_told_once_a_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignlab.data.hub_table.hub_answers", lambda: False)
    problems = refused("base/data/mgsm", "languages=[de,sw]")
    assert [problem.partition(":")[0] for problem in problems] == ["juletxara/mgsm (de)", "juletxara/mgsm (sw)"]
    assert all("Check the network, or download the data set elsewhere" in problem for problem in problems)
