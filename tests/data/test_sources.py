"""Records of local files, parallel text, data sets and the built-in problems."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alignlab.data.records import Record
from alignlab.data.sources import Files, Hub, ParallelText, WordProblems
from alignlab.data.wordproblems import generate
from alignlab.data.wordproblems.languages.en import LANGUAGE as ENGLISH
from alignlab.errors import InputError


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_json(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    return write(path, *(json.dumps(row, ensure_ascii=False) for row in rows))


def refusal(load: Callable[[], object]) -> list[str]:
    with pytest.raises(InputError) as refused:
        load()
    return [str(problem) for problem in refused.value.problems]


# Files: a folder


def test_a_folder_gives_every_file_named_by_a_code(tmp_path: Path) -> None:
    write(tmp_path / "de.txt", "eins", "", "zwei")
    write(tmp_path / "sw.tsv", "moja\t1", "mbili\t2")
    write_json(tmp_path / "zh.jsonl", [{"q": "一"}])
    write(tmp_path / "README.txt", "no language")
    write(tmp_path / "en.md", "not a kind of file that is read")
    records = Files(path=str(tmp_path), languages=["de", "sw"]).load()
    assert records == [
        Record("1", "de", "eins"),
        Record("3", "de", "zwei"),
        Record("1", "sw", "moja"),
        Record("2", "sw", "mbili"),
    ]
    (tmp_path / "zh.jsonl").unlink()
    assert {record.language for record in Files(path=str(tmp_path)).load()} == {"de", "sw"}


def test_languages_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for code in ("de", "en", "zh"):
        write(tmp_path / f"{code}.txt", code)
    assert [record.language for record in Files(path=str(tmp_path), languages=["zh", "de"]).load()] == ["zh", "de"]


def test_parallel_documents_share_an_id_and_others_do_not(tmp_path: Path) -> None:
    write(tmp_path / "de.txt", "eins", "zwei")
    write(tmp_path / "en.txt", "one", "two")
    ids = [record.id for record in Files(path=str(tmp_path)).load()]
    assert ids == ["1", "2", "1", "2"]
    apart = [record.id for record in Files(path=str(tmp_path), parallel=False).load()]
    assert len(set(apart)) == 4


def test_ids_and_answers_come_from_columns(tmp_path: Path) -> None:
    write_json(tmp_path / "en.jsonl", [{"q": "2+2?", "a": 4, "key": "x7"}, {"q": "1+1?", "a": "2", "key": 9}])
    records = Files(path=str(tmp_path), prompt="q", answer="a", id="key").load()
    assert records == [Record("x7", "en", "2+2?", "4"), Record("9", "en", "1+1?", "2")]


def test_files_may_spell_a_code_otherwise(tmp_path: Path) -> None:
    write(tmp_path / "jp.txt", "一つ")
    write(tmp_path / "en.txt", "one")
    spelled = {"ja": "jp"}
    assert [r.language for r in Files(path=str(tmp_path), spelled=spelled).load()] == ["en", "ja"]
    assert [r.language for r in Files(path=str(tmp_path), spelled=spelled, languages=["ja"]).load()] == ["ja"]
    pattern = f"{tmp_path}/{{language}}.txt"
    assert [r.prompt for r in Files(path=pattern, spelled=spelled, languages=["ja"]).load()] == ["一つ"]


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_limit_takes_the_first_of_each_language(tmp_path: Path, limit: int) -> None:
    write(tmp_path / "de.txt", "d1", "", "d2", "d3")
    write(tmp_path / "en.txt", "e1", "e2")
    prompts = [record.prompt for record in Files(path=str(tmp_path), limit=limit).load()]
    assert prompts == ["d1", "d2", "d3"][:limit] + ["e1", "e2"][:limit]


def test_a_folder_without_the_files_asked_for_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "de.txt", "eins")
    (problem,) = refusal(Files(path=str(tmp_path), languages=["de", "sw", "ja"], spelled={"ja": "jp"}).load)
    assert problem == f"{tmp_path}: there is no file sw.*, jp.*; expected one of: de."
    (tmp_path / "de.txt").rename(tmp_path / "german.txt")
    (problem,) = refusal(Files(path=str(tmp_path)).load)
    assert "1 text files, none named by a code" in problem


def test_a_path_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mgsm").mkdir()
    (problem,) = refusal(Files(path=str(tmp_path / "mgms")).load)
    assert problem == f"{tmp_path / 'mgms'}: there is no such file or folder. Did you mean 'mgsm'?"


# Files: a pattern, and one file


def test_a_pattern_names_a_file_for_each_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "de" / "test.de.jsonl", [{"m": "eins"}])
    write_json(tmp_path / "en" / "test.en.jsonl", [{"m": "one"}])
    monkeypatch.setenv("HOME", str(tmp_path))
    source = Files(path="~/{language}/test.{language}.jsonl", languages=["en", "de"], prompt="m")
    assert source.load() == [Record("1", "en", "one"), Record("1", "de", "eins")]
    (problem,) = refusal(Files(path=f"{tmp_path}/{{language}}.txt").load)
    assert problem.endswith("null; expected the codes that take the place of {language}.")


def test_one_file_is_of_one_language(tmp_path: Path) -> None:
    path = write(tmp_path / "questions.txt", "one")
    assert Files(path=str(path), languages=["en"]).load() == [Record("1", "en", "one")]
    for languages in (None, ["en", "de"]):
        (problem,) = refusal(Files(path=str(path), languages=languages).load)
        assert "one file, but not which language it is in" in problem


def test_one_file_has_a_column_of_codes(tmp_path: Path) -> None:
    path = write(tmp_path / "all.tsv", "en\tone\tx", "de\teins\tx", "en\ttwo\ty", "jp\t三\tz", "en\tthree\tz")
    source = Files(path=str(path), language=0, prompt=1, id=2, spelled={"ja": "jp"})
    everything = [
        Record("x", "en", "one"),
        Record("x", "de", "eins"),
        Record("y", "en", "two"),
        Record("z", "ja", "三"),
        Record("z", "en", "three"),
    ]
    assert source.load() == everything
    source.languages = ["ja", "en"]
    assert source.load() == [record for record in everything if record.language != "de"]
    source.limit = 2
    assert [record.prompt for record in source.load()] == ["one", "two", "三"]


def test_another_code_in_the_column_is_refused_unless_it_is_not_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "all.tsv", "en\tone", "xx\t")
    (problem,) = refusal(Files(path=str(path), language=0, prompt=1).load)
    assert problem == f"{path}:2: 'xx' is no language code; expected an ISO 639 code."
    assert Files(path=str(path), language=0, prompt=1, languages=["en"]).load() == [Record("1", "en", "one")]


def test_every_wrong_line_of_a_file_is_told(tmp_path: Path) -> None:
    lines = [{"q": "a", "a": 1}, {"q": "", "a": 1}, {"q": "b\0", "a": 1}, {"a": 1}, {"q": "c", "a": [1]}]
    (tmp_path / "en.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "de.jsonl").write_text(json.dumps({"q": "x", "a": None}) + "\n")
    with pytest.raises(InputError) as refused:
        Files(path=str(tmp_path), languages=["en", "de"], prompt="q", answer="a").load()
    told = [str(problem).removeprefix(f"{tmp_path}/").partition(";")[0] for problem in refused.value.problems]
    assert told == [
        "en.jsonl:2: column 'q' is empty",
        "en.jsonl:3: column 'q' holds a NUL character",
        "en.jsonl:4: there is no column 'q'",
        "en.jsonl:5: column 'a' holds list",
        "de.jsonl:1: column 'a' holds NoneType",
    ]


def test_columns_that_a_file_lacks_are_told_once_with_the_keys_that_name_them(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"question": "a", "lang": "de"}\n' * 50)
    with pytest.raises(InputError) as refused:
        Files(path=f"{tmp_path}/x.jsonl", language="code", id="question").load()
    told = [str(problem).removeprefix(f"{tmp_path}/") for problem in refused.value.problems]
    have = "expected one of: question, lang. Name the column in the source's"
    assert told == [
        f"x.jsonl:1: there is no column 0; {have} prompt.",
        f"x.jsonl:1: there is no column 'code'; {have} language.",
    ]


def test_a_language_that_one_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "all.tsv", "en\tone", "de\teins")
    (problem,) = refusal(Files(path=str(path), language=0, prompt=1, languages=["en", "sw", "zh"]).load)
    assert problem == f"{path}: no line is in sw, zh; expected some of: en."


def test_an_empty_prompt_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "en.tsv", "one\t1", " \t2")
    (problem,) = refusal(Files(path=str(tmp_path)).load)
    assert problem == f"{path}:2: column 0 is empty; expected a prompt."


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_same_table_gives_the_same_records_in_every_format(tmp_path: Path, kind: str) -> None:
    """With columns by name, also where a cell has newlines, so that lines and rows are not the same."""
    for code, texts in {"de": ["eins,\nzwei", "drei", "vier"], "en": ["one, two", "three", "four"]}.items():
        frame = pd.DataFrame({"q": texts, "a": [1, 2, 3], "key": ["k7", "k8", "k9"], "from": ["x", "x", "y"]})
        path = tmp_path / f"{code}.{kind}"
        if kind == "csv":
            frame.to_csv(path, index=False)
        elif kind == "parquet":
            frame.to_parquet(path)
        else:
            frame.to_json(path, orient="records", lines=True, force_ascii=False)
    expected = [
        Record(name, code, text, answer, cluster)
        for code, texts in (("de", ["eins,\nzwei", "drei", "vier"]), ("en", ["one, two", "three", "four"]))
        for name, text, answer, cluster in zip(["k7", "k8", "k9"], texts, "123", "xxy", strict=True)
    ]
    columns = {"prompt": "q", "answer": "a", "cluster": "from"}
    assert Files(path=str(tmp_path), **columns, id="key").load() == expected
    numbered = Files(path=str(tmp_path), **columns).load()
    assert [(record.id, record.prompt) for record in numbered] == [
        (str(number), record.prompt) for number, record in zip([1, 2, 3, 1, 2, 3], expected, strict=True)
    ]
    blocks = Files(path=str(tmp_path), prompt="q", cluster_lines=2).load()
    assert [record.cluster for record in blocks] == ["lines 1-2", "lines 1-2", "lines 3-4"] * 2
    if kind != "jsonl":
        assert [record.prompt for record in Files(path=str(tmp_path)).load()] == [r.prompt for r in expected]
    (problem,) = refusal(Files(path=str(tmp_path), prompt="qq").load)
    assert "there is no column 'qq'; expected one of: q, a, key, from." in problem


# Clusters


def test_a_column_names_the_clusters(tmp_path: Path) -> None:
    write_json(
        tmp_path / "en.jsonl", [{"q": "a", "from": "news 1"}, {"q": "b", "from": 7}, {"q": "c", "from": "news 1"}]
    )
    source = Files(path=str(tmp_path), prompt="q", cluster="from")
    assert [record.cluster for record in source.load()] == ["news 1", "7", "news 1"]
    assert source.clusters == "column from"
    source.parallel = False  # documents of their own, and of the same articles
    assert [(record.id, record.cluster) for record in source.load()] == [
        ("en:1", "news 1"),
        ("en:2", "7"),
        ("en:3", "news 1"),
    ]
    table = write(tmp_path / "de.tsv", "x\tt1", "y\tt2")
    assert [r.cluster for r in Files(path=str(table), languages=["de"], cluster=1).load()] == ["t1", "t2"]


def test_documents_are_their_own_clusters_where_nothing_names_one(tmp_path: Path) -> None:
    write(tmp_path / "en.txt", "one", "", "two")
    for parallel in (True, False):
        source = Files(path=str(tmp_path), parallel=parallel)
        assert source.clusters == ""
        assert all(record.cluster == record.id for record in source.load())


def test_blocks_of_lines_are_clusters(tmp_path: Path) -> None:
    for code in ("de", "en"):
        write(tmp_path / f"{code}.txt", *("" if n == 4 else f"{code} {n}" for n in range(1, 9)))
    source = Files(path=str(tmp_path), cluster_lines=3)
    expected = {n: ("lines 1-3", "lines 4-6", "lines 7-9")[(n - 1) // 3] for n in (1, 2, 3, 5, 6, 7, 8)}
    assert [(int(r.id), r.cluster) for r in source.load()] == 2 * list(expected.items())
    assert source.clusters == "blocks of 3 lines"
    source.parallel = False
    assert {record.cluster for record in source.load()} == {
        f"{code}:{block}" for code in ("de", "en") for block in expected.values()
    }


def test_a_cluster_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "en.jsonl"
    good = {"q": "a", "template": "t"}
    for bad, found in (
        ({"q": "b", "template": "  "}, "column 'template' is empty; expected the name of a cluster."),
        ({"q": "b", "template": ["t"]}, "column 'template' holds list; expected text or a number."),
        ({"q": "b"}, "there is no column 'template'; expected one of: q."),
        (
            {"q": "b", "tmplate": "t"},
            "there is no column 'template'; expected one of: q, tmplate. Did you mean 'tmplate'?",
        ),
    ):
        write_json(path, [good, bad])
        assert refusal(Files(path=str(path), languages=["en"], prompt="q", cluster="template").load) == [
            f"{path}:2: {found}"
        ]


def test_a_column_of_clusters_beside_blocks_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "en.txt", "one")
    (problem,) = refusal(Files(path=str(tmp_path), cluster=0, cluster_lines=10).load)
    assert problem == f"cluster_lines of path {tmp_path}: 10, beside cluster 0; expected one of the two."


def test_pairs_come_in_blocks_of_lines(tmp_path: Path) -> None:
    source = pair(tmp_path, ["eins", "", "drei", "vier", "fünf"], ["one", "", "three", "four", "five"])
    assert [record.cluster for record in source.load()] == ["de:1", "de:3", "de:4", "de:5"]
    source.cluster_lines = 2
    assert [record.cluster for record in source.load()] == ["de:lines 1-2", *["de:lines 3-4"] * 2, "de:lines 5-6"]
    source.parallel, source.limit = True, 2
    assert [record.cluster for record in source.load()] == ["lines 1-2", "lines 3-4"]
    assert source.clusters == "blocks of 2 lines"


def test_a_data_set_has_a_column_of_clusters(tmp_path: Path) -> None:
    rows = [{"question": f"q {n}", "url": url} for n, url in enumerate(("a", 3, "a"))]
    path = data_set(tmp_path / "flores", {"de": rows[::2], "en": rows[::2]}, "parquet")
    source = Hub(path=str(path), subset="{language}", split="test", languages=["de", "en"], cluster="url")
    assert [(r.language, r.id, r.cluster) for r in source.load()] == [
        (code, number, "a") for code in ("de", "en") for number in ("0", "1")
    ]
    assert source.clusters == "column url"
    source.cluster = "ulr"
    assert refusal(source.load)[0].endswith(
        "there is no column 'ulr'; expected one of: question, url. Did you mean 'url'?"
    )
    empty = data_set(tmp_path / "empty", {"de": [{"question": "q", "url": "a"}, {"question": "q", "url": " "}]})
    (problem,) = refusal(Hub(path=str(empty), subset="de", split="test", languages=["de"], cluster="url").load)
    assert problem == f"{empty} (test), row 1: column 'url' holds ' '; expected text or a number."


def test_word_problems_of_a_template_are_a_cluster() -> None:
    """Told from the text alone: without numbers, names and things the English questions of a template are alike."""
    source = WordProblems(split="probe", count=200, languages=["en", "sw"])
    skeletons: dict[str, set[str]] = {}
    words = {form for text in ENGLISH.things for form in text.split("|")} | {*ENGLISH.women, *ENGLISH.men}
    for record in source.load():
        if record.language == "en":
            kept = [re.sub(r"\d+", "0", word.strip(".,?")) for word in record.prompt.split()]
            skeletons.setdefault(record.cluster, set()).add(" ".join(word for word in kept if word not in words))
    assert all(len(found) == 1 for found in skeletons.values())
    assert len({*map(min, skeletons.values())}) == len(skeletons) == 22
    by_id = {record.id: record.cluster for record in source.load()[:200]}
    assert all(by_id[record.id] == record.cluster for record in source.load())
    assert source.clusters == "templates"


# Parallel text


def pair(folder: Path, source: list[str], target: list[str]) -> ParallelText:
    write(folder / "de-en.de", *source)
    write(folder / "de-en.en", *target)
    pattern = f"{folder}/{{language}}-en"
    return ParallelText(source=f"{pattern}.{{language}}", target=f"{pattern}.en", languages=["de"])


def test_lines_of_parallel_text_are_paired(tmp_path: Path) -> None:
    source = pair(tmp_path, ["eins", "", " zwei ", "drei"], ["one", "  ", "two", "three"])
    assert source.load() == [
        Record("de:1", "de", "eins", "one"),
        Record("de:3", "de", "zwei", "two"),
        Record("de:4", "de", "drei", "three"),
    ]
    source.parallel, source.limit = True, 2
    assert [record.id for record in source.load()] == ["1", "3"]


@pytest.mark.parametrize("line", [0, 3, 6])
@pytest.mark.parametrize("empty", [0, 1])
def test_a_line_without_counterpart_is_refused(tmp_path: Path, line: int, empty: int) -> None:
    sides = [[f"{side} {number}" for number in range(7)] for side in ("de", "en")]
    sides[empty][line] = ""
    if line == 6:  # the last line must stay one
        for side in sides:
            side.append("end")
    (problem,) = refusal(pair(tmp_path, *sides).load)
    bad, good = (f"{tmp_path}/de-en.{('de', 'en')[side]}:{line + 1}" for side in (empty, 1 - empty))
    assert problem == (f"{bad}: the line is empty; expected the counterpart of {good}. The files are not aligned.")


@pytest.mark.parametrize("longer", [0, 1])
def test_files_of_other_length_are_refused(tmp_path: Path, longer: int) -> None:
    sides = [["a", "b", "c"], ["a", "b", "c"]]
    sides[longer] += ["d", "e"]
    (problem,) = refusal(pair(tmp_path, *sides).load)
    short, long = (f"{tmp_path}/de-en.{('de', 'en')[side]}" for side in (1 - longer, longer))
    assert problem == f"{short}:4: the file ends before line 4; expected as many lines as {long} has (5)."


def test_parallel_text_tells_the_problems_of_all_languages(tmp_path: Path) -> None:
    source = pair(tmp_path, ["eins"], ["one", "two"])
    source.languages = ["sw", "de"]
    missing, shorter = refusal(source.load)
    assert missing.startswith(f"{tmp_path}/sw-en.sw: there is no such file")
    assert "ends before line 2" in shorter


def test_one_target_may_serve_all_languages(tmp_path: Path) -> None:
    for code, text in (("de", "eins"), ("jp", "一つ")):
        write(tmp_path / code, text)
    write(tmp_path / "english", "one")
    source = ParallelText(
        source=f"{tmp_path}/{{language}}", target=f"{tmp_path}/english", languages=["ja", "de"], spelled={"ja": "jp"}
    )
    assert source.load() == [Record("ja:1", "ja", "一つ", "one"), Record("de:1", "de", "eins", "one")]


# Data sets


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterable[None]:
    """`datasets` reads these when it is first imported, which only the Hub source does."""
    import datasets
    import huggingface_hub.constants

    cache = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        datasets.disable_progress_bars()
        yield


def data_set(folder: Path, subsets: dict[str, list[dict[str, Any]]], kind: str = "jsonl") -> Path:
    """A data set with one subset a language and the split test, as on the Hub."""
    import datasets

    configs = ["---", "configs:"]
    for name, rows in subsets.items():
        path = folder / name / f"test.{kind}"
        if kind == "jsonl":
            write_json(path, rows)
        else:
            path.parent.mkdir(parents=True)
            datasets.Dataset.from_list(rows).to_parquet(path)
        configs += [f"- config_name: {name}", "  data_files:", "  - split: test", f"    path: {name}/test.{kind}"]
    write(folder / "README.md", *configs, "---")
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_data_set_has_a_subset_for_each_language(tmp_path: Path, kind: str) -> None:
    subsets = {code: [{"question": f" {code} {i}\n", "answer_number": i} for i in range(3)] for code in ("de", "jp")}
    path = data_set(tmp_path / "mgsm", subsets, kind)
    source = Hub(
        path=str(path),
        subset="{language}",
        split="test",
        languages=["ja", "de"],
        answer="answer_number",
        spelled={"ja": "jp"},
        limit=2,
    )
    assert source.load() == [
        Record("0", "ja", "jp 0", "0"),
        Record("1", "ja", "jp 1", "1"),
        Record("0", "de", "de 0", "0"),
        Record("1", "de", "de 1", "1"),
    ]
    source.parallel = False
    assert [record.id for record in source.load()] == ["ja:0", "ja:1", "de:0", "de:1"]


def test_columns_may_be_named_by_language(tmp_path: Path) -> None:
    rows = [
        {"sentence_de": "eins", "sentence_en": "one", "key": "a"},
        {"sentence_de": "zwei", "sentence_en": "two", "key": "b"},
    ]
    write_json(tmp_path / "pairs" / "train.jsonl", rows)
    source = Hub(
        path=str(tmp_path / "pairs"),
        languages=["de", "en"],
        prompt="sentence_{language}",
        answer="sentence_en",
        id="key",
    )
    assert source.load() == [
        Record("a", "de", "eins", "one"),
        Record("b", "de", "zwei", "two"),
        Record("a", "en", "one", "one"),
        Record("b", "en", "two", "two"),
    ]


def test_a_column_may_hold_the_code(tmp_path: Path) -> None:
    rows = [{"question": f"{code} {i}", "lang": code, "n": i} for i in range(3) for code in ("de", "jp")]
    write_json(tmp_path / "mixed" / "train.jsonl", rows)
    source = Hub(
        path=str(tmp_path / "mixed"), languages=["ja", "de"], language="lang", spelled={"ja": "jp"}, limit=2, id="n"
    )
    assert source.load() == [
        Record("0", "ja", "jp 0"),
        Record("1", "ja", "jp 1"),
        Record("0", "de", "de 0"),
        Record("1", "de", "de 1"),
    ]
    source.languages = ["sw"]
    assert refusal(source.load) == [f"{tmp_path / 'mixed'} (train): no row of language 'sw'; expected at least one."]


def test_missing_columns_are_refused_all_at_once(tmp_path: Path) -> None:
    path = data_set(tmp_path / "set", {"de": [{"question": "x", "answer": "y"}]})
    source = Hub(path=str(path), subset="de", split="test", languages=["de"], prompt="qestion", answer="zzz")
    first, second = refusal(source.load)
    assert first == (
        f"{path} (test): there is no column 'qestion'; expected one of: question, answer. Did you mean 'question'?"
    )
    assert "there is no column 'zzz'" in second
    assert "Did you mean" not in second


@pytest.mark.parametrize("value", [None, "", "  ", ["x"]])
def test_a_row_without_text_is_refused(tmp_path: Path, value: object) -> None:
    rows = [{"question": ["fine"] if isinstance(value, list) else "fine"}, {"question": value}]
    write_json(tmp_path / "set" / "train.jsonl", rows)
    (problem,) = refusal(Hub(path=str(tmp_path / "set"), languages=["de"]).load)
    row = 0 if isinstance(value, list) else 1
    assert problem.startswith(f"{tmp_path / 'set'} (train), row {row}: column 'question' holds ")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"path": "{folder}x"}, "Couldn't find any data file at"),
        ({"subset": "sw"}, "BuilderConfig 'sw' not found. Available: ['de', 'en']"),
        ({"subset": None}, "Please pick one among the available configs: ['de', 'en']"),
        ({"split": "train"}, "Unknown split \"train\". Should be one of ['test']"),
    ],
)
def test_a_data_set_that_cannot_be_loaded_is_refused(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    path = data_set(tmp_path / "set", {code: [{"question": code}] for code in ("de", "en")})
    values = {"path": str(path), "subset": "de", "split": "test", **change}
    values["path"] = values["path"].replace("{folder}", str(path))
    (problem,) = refusal(Hub(languages=["de"], **values).load)
    assert "it cannot be loaded (" in problem
    assert found in problem
    assert "Check the id, the subset and the split" in problem or "Check the subset: the code that" in problem


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_does_not_answer_is_told_and_not_asked_for_the_data_set(
    monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("alignlab.data.hub_table.hub_answers", lambda: False)
    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    (problem,) = refusal(Hub(path="someone/something", subset="{language}", languages=["de"]).load)
    assert problem == (
        "someone/something (de): it is not here and the Hub cannot be reached; expected a data set of the Hub or a "
        "local folder. Check the network, or download the data set elsewhere and give its folder."
    )
    assert datasets.config.HF_HUB_OFFLINE is offline


def test_the_revision_is_that_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(path: str, subset: str, *, split: str, revision: str, **_: None) -> None:
        raise ValueError(f"asked for {path}, {subset}, {split}, {revision}")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    (problem,) = refusal(Hub(path="a/b", subset="{language}", split="test", revision="v2", languages=["de"]).load)
    assert "(asked for a/b, de, test, v2)" in problem


def test_a_data_set_that_is_a_script_is_refused_and_not_run(tmp_path: Path) -> None:
    write(tmp_path / "scripted" / "scripted.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    (problem,) = refusal(Hub(path=str(tmp_path / "scripted"), languages=["de"]).load)
    assert "scripts are no longer supported" in problem
    assert not (tmp_path / "ran").exists()


def test_what_is_wrong_inside_a_data_file_is_told(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", "{broken")
    (problem,) = refusal(Hub(path=str(tmp_path / "set"), languages=["de"]).load)
    assert re.search(r"cannot be loaded \(.*JSON", problem)


# The built-in problems


def test_word_problems_are_generated_as_configured() -> None:
    source = WordProblems(languages=["sw", "de"], split="probe", task="translate", count=7, seed=3)
    assert source.load() == generate(["sw", "de"], 7, split="probe", seed=3, task="translate")
