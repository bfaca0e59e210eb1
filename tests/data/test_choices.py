"""Questions of multiple choice out of files: how texts are put together, and what is refused, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignlab.data.choices import Choice, filled_in
from alignlab.data.sources.choices import ChoiceFiles, XCopa, XWinograd
from alignlab.errors import InputError


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def winograd(sentence: str, words: list[str], place: int, names: list[tuple[str, bool]], code: str = "en") -> str:
    pronoun = [words[place], [place, place + 1], [words[place]]]
    options = [[name, [0, 1], name.split(), right] for name, right in names]
    return "\t".join([code, "original", "?", sentence, *map(json.dumps, (words, pronoun, options))]) + "\n"


COPA = {"premise": "The street was wet.", "choice1": "It had rained.", "choice2": "It was hot.", "question": "cause"}


def test_xcopa_as_the_harness_puts_it_together(tmp_path: Path) -> None:
    rows = [{**COPA, "label": 0, "idx": 7}, {**COPA, "question": "effect", "label": 1, "idx": 9}]
    write(tmp_path / "test.en.jsonl", rows)
    first, second = XCopa(path=f"{tmp_path}/test.{{language}}.jsonl", languages=["en"]).load()
    assert first.contexts == ("The street was wet because",) * 2
    assert first.continuations == (" it had rained.", " it was hot.")
    assert (first.id, first.gold, first.options) == ("7", 0, ("it had rained.", "it was hot."))
    assert (second.contexts[0], second.gold) == ("The street was wet therefore", 1)


def test_all_that_is_wrong_in_xcopa_is_told_at_once(tmp_path: Path) -> None:
    rows = [
        {**COPA, "label": 2, "idx": 0},
        {**COPA, "question": "causes", "label": 0, "idx": 1},
        {**COPA, "label": 0, "idx": 2},
        {**COPA, "label": 0, "idx": 2},
    ]
    write(tmp_path / "test.it.jsonl", rows)
    with pytest.raises(InputError) as refused:
        XCopa(path=f"{tmp_path}/test.{{language}}.jsonl", languages=["it", "zh"]).load()
    told = str(refused.value)
    assert "test.it.jsonl:1: the label is '2'; expected 0 or 1." in told
    assert "test.it.jsonl:2: the question is 'causes'; expected cause or effect. Did you mean 'cause'?" in told
    assert "test.it.jsonl:4: the id '2' is that of another document in 'it'" in told
    assert "test.zh.jsonl: there is no such file. Did you mean 'test.it.jsonl'?" in told
    with pytest.raises(ValueError, match="some of: en, et, ht"):
        XCopa(path="x", languages=["de"])


def test_a_pronoun_is_replaced_where_it_stands(tmp_path: Path) -> None:
    words = ["Bill", "said", "``", "he", "''", "to", "her", "because", "he", "left", "."]
    text = winograd('Bill said "he" to her because he left.', words, 8, [("Bill", True), ("Tom", False)])
    text += winograd(
        'Bill said "he" to her because he ran.', [*words[:9], "ran", "."], 8, [("Bill", False), ("Tom", True)]
    )
    words = ["太郎は", "次郎を", "見た。", "彼", "は走った。"]
    text += winograd("太郎は次郎を見た。彼は走った。", words, 3, [("太郎", False), ("次郎", True)], "jp")
    words = ["Bill", "saw", "him."]
    text += winograd("Bill saw him.", words, 2, [("Bill", False), ("Tom", True)])
    path = tmp_path / "xwinograd.tsv"
    path.write_text(text, encoding="utf-8")
    first, second, third, last = XWinograd(path=str(path)).load()
    # The pronoun stands with its full stop in the file, which is scored.
    assert (last.contexts[0], last.continuations[0]) == ("Bill saw Bill", ".")
    assert first.contexts == ('Bill said "he" to her because Bill', 'Bill said "he" to her because Tom')
    assert first.continuations == (" left.", " left.")
    assert (first.gold, second.gold) == (0, 1)
    assert first.cluster == second.cluster != third.cluster
    assert (third.language, third.contexts[1], third.continuations[1]) == ("ja", "太郎は次郎を見た。次郎", "は走った。")
    assert [one.language for one in XWinograd(path=str(path), languages=["ja"]).load()] == ["ja"]


def test_what_is_no_xwinograd_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "xwinograd.tsv"
    names = [("Bill", True), ("Tom", True)]
    lines = [
        winograd("He left.", ["He", "left", "."], 0, names),
        winograd("They left.", ["He", "left", "."], 0, [("Bill", True), ("Tom", False)]),
        "en\toriginal\t?\tHe left.\t[]\t7\t[]\n",
        "en\toriginal\t?\tHe left.\t[\t7\t[]\n",
        "en\toriginal\n",
        winograd("He left", ["left", "He"], 1, [("Bill", True), ("Tom", False)]),
        winograd("left He", ["left", "He"], 1, [("Bill", True), ("Tom", False)]),
    ]
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        XWinograd(path=str(path), languages=["en", "zh"]).load()
    told = str(refused.value).splitlines()
    for number, part in enumerate(
        (
            "2 names are right; expected one",
            "the pronoun 'He' is not at its place",
            "its columns 4 to 6 are not XWinograd's",
            "column 4 holds no JSON: '['",
            "there is no column 3",
            "the pronoun 'He' is not at its place",
            "an option of which no text is scored",
        ),
        start=1,
    ):
        assert any(f"{path}:{number}: {part}" in line for line in told), part
    assert any("no line is in zh; expected some of: en" in line for line in told)


@pytest.mark.parametrize(
    ("label_is", "label"), [("index", 1), ("number", 2), ("letter", "b"), ("letter", "B"), ("text", "blue")]
)
def test_files_of_any_form(tmp_path: Path, label_is: Any, label: Any) -> None:
    rows = [{"q": "The {sky} is", "a": "red", "b": "blue", "all": ["red", "blue"], "label": label, "of": "sky"}]
    path, columns = write(tmp_path / "en.jsonl", rows), {"label_is": label_is, "cluster": "of", "template": "{of}: {q}"}
    for options in (["a", "b"], "all"):
        (found,) = ChoiceFiles(path=str(path), languages=["en"], options=options, **columns).load()
        # A brace in a column is only a brace.
        assert found == Choice("1", "en", ("sky: The {sky} is",) * 2, (" red", " blue"), ("red", "blue"), 1, "sky")


def test_gaps_templates_by_language_and_tables(tmp_path: Path) -> None:
    for code in ("en", "de"):
        text = 'sentence,one,two,answer\n"The cup fell, since the _ was wet.",cup,floor,2\n'
        (tmp_path / f"{code}.csv").write_text(text, encoding="utf-8")
    found = ChoiceFiles(
        path=f"{tmp_path}/{{language}}.csv",
        languages=["en", "de"],
        template="{sentence}",
        templates={"de": "Wahr: {0}"},
        options=[1, "two"],
        label="answer",
        label_is="number",
        gap="_",
        parallel=False,
    ).load()
    assert found[0].contexts == ("The cup fell, since the cup", "The cup fell, since the floor")
    assert (found[0].continuations, found[0].gold, found[0].id) == ((" was wet.",) * 2, 1, "en:1")
    assert found[1].contexts[0] == "Wahr: The cup fell, since the cup"


def test_questions_that_several_columns_name_are_the_same_in_any_order(tmp_path: Path) -> None:
    """As Belebele's, by passage and number: another language may have the rows in another order."""
    options = {"x": "1", "y": "2", "label": 0}
    rows = [{"link": link, "number": n, "prompt": f"{link} {n}", **options} for link in ("a", "b") for n in (1, 2)]
    write(tmp_path / "en.jsonl", rows)
    write(tmp_path / "de.jsonl", rows[::-1])
    about: dict[str, Any] = {"path": f"{tmp_path}/{{language}}.jsonl", "options": ["x", "y"], "id": ["link", "number"]}
    found = ChoiceFiles(languages=["en", "de"], cluster="link", **about).load()
    assert [(one.id, one.cluster) for one in found[:4]] == [("a 1", "a"), ("a 2", "a"), ("b 1", "b"), ("b 2", "b")]
    for code in ("en", "de"):
        assert {one.id: one.contexts[0] for one in found if one.language == code} == {
            f"{row['link']} {row['number']}": row["prompt"] for row in rows
        }
    with pytest.raises(InputError, match="there is no column 'lnk'"):
        ChoiceFiles(languages=["en"], **(about | {"id": ["lnk", "number"]})).load()
    with pytest.raises(InputError, match="id: a list of no columns; expected one or more"):
        ChoiceFiles(languages=["en"], **(about | {"id": []})).load()
    write(tmp_path / "en.jsonl", [rows[0], rows[0]])
    with pytest.raises(InputError, match="a 1"):
        ChoiceFiles(languages=["en"], **about).load()


def test_what_is_wrong_in_files_of_any_form_is_told_at_once(tmp_path: Path) -> None:
    row = {"prompt": "a _", "x": "1", "y": "2", "label": 0}
    rows = [row, {**row, "label": 3}, {**row, "prompt": "a"}, {**row, "y": None}]
    path = write(tmp_path / "en.jsonl", rows)
    with pytest.raises(InputError) as refused:
        ChoiceFiles(path=str(path), languages=["en"], options=["x", "y"], gap="_").load()
    told = str(refused.value)
    assert "en.jsonl:1: an option of which no text is scored" in told
    assert "en.jsonl:2: what is right is '3'; expected one of: 0, 1. Set label_is, which is index" in told
    assert "en.jsonl:3: the text has 0 times '_'; expected once" in told
    assert "en.jsonl:4: column 'y' holds NoneType" in told
    with pytest.raises(InputError, match="one file, 2 languages"):
        ChoiceFiles(path=str(path), languages=["en", "de"], options=["x", "y"]).load()
    with pytest.raises(InputError, match="templates: 'xx' is no language code"):
        ChoiceFiles(path=str(path), languages=["en"], options=["x", "y"], templates={"xx": "{prompt}"}).load()
    with pytest.raises(InputError, match="column 'x' holds no list of texts"):
        ChoiceFiles(path=str(path), languages=["en"], options="x").load()


def test_a_question_is_whole() -> None:
    with pytest.raises(InputError, match="question 'a': 1 options; expected two or more"):
        filled_in("x", " y", ["b"], 0, id="a", language="en")
    with pytest.raises(InputError, match="the right option is number 2; expected 0 to 1"):
        filled_in("x", " y", ["b", "c"], 2, id="a", language="en")
