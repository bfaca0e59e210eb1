"""What the page says of evaluations: tables and figures against the rows of their folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignlab.errors import InputError
from alignlab.evaluating.folder import EvaluationFolder
from alignlab.evaluating.task import Measured
from alignlab.neurons.table import Row, write_csv
from alignlab.recording.effects import BASELINE, Effects, Item
from alignlab.reporting.page import render
from alignlab.reporting.page.evaluations import PageEvaluation, PageTask, lines_of, show_tasks, under_lines
from alignlab.reporting.page_evaluations import read_evaluations
from alignlab.reporting.wandb_media import evaluation_media

from .page_data import LANGUAGES, page_run

EVIL = "<img src=x onerror=alert(1)>{{ 7 * 7 }}</script>"
CODES = ("en", "de", "zh")


def level(record: str, step: int | None, language: str, value: float, **more: object) -> Row:
    group = {"group": "language", "language": language} if language in CODES else {"group": language}
    columns = {"analysis": "multiple choice", "task": "copa", "measure": "right", "unit": "share", "reference": 0.5}
    ends = {"low": value - 0.1, "high": value + 0.1, "over": "documents", "denominator": 40}
    return Row(record=record, step=step, value=value, **(columns | ends | group | more))  # type: ignore[arg-type]


def rows(steps: tuple[int, ...] = (0, 50, 100)) -> list[Row]:
    found = []
    for step in steps:
        for place, code in enumerate((*CODES, "trained", "reference", "unseen", "all languages")):
            found.append(level(f"step {step}", step, code, 0.4 + 0.05 * place + step / 1000, beyond_noise=code == "zh"))
            if step:
                found.append(level(f"step {step}", step, code, step / 1000, since="step 0", reference=0.0,
                                   beyond_noise=code == "de"))  # fmt: skip
    under = {"set": "off", "operation": "zero", "label": "apart from what the neurons were found on"}
    last = f"step {steps[-1]}"
    for code in (*CODES, "all languages"):
        found.append(level(last, steps[-1], code, 0.3, **under))
        found.append(level(last, steps[-1], code, -0.2, since=last, reference=0.0, beyond_noise=True, **under))
        found.append(level(last, steps[-1], code, -0.01, since=last, reference=0.0, control="matched", **under))
        found.append(level(last, steps[-1], code, -0.19, since=last, reference=0.0, control="matched",
                           **(under | {"measure": "right over control"}), beyond_control=code == "zh"))  # fmt: skip
    return found


def task(of: list[Row] | None = None, name: str = "copa") -> PageTask:
    return PageTask(name, rows() if of is None else of, [one for one in LANGUAGES if one.code in CODES])


def evaluation(*tasks: PageTask) -> PageEvaluation:
    return PageEvaluation("mine", "runs/demo/evaluations/mine/table.csv", tasks or (task(),))


def write_folder(run: Path, of: list[Row], name: str = "mine") -> EvaluationFolder:
    """A folder as the command leaves it: a record that says whose languages are in training, and a table."""
    folder = EvaluationFolder(run / "evaluations" / name)
    folder.path.mkdir(parents=True)
    folder.begin()
    items = tuple(Item("0", code, "0", "0") for code in CODES)
    tokens = torch.ones((3, 2), dtype=torch.int64)
    effects = Effects(items, (BASELINE,), option_nats=torch.ones((3, 1, 2), dtype=torch.float64), option_tokens=tokens,
                      option_characters=tokens, task="copa", trained_languages=("zh",))  # fmt: skip
    folder.save("a" * 24, Measured(effects))
    write_csv(folder.table, of)
    folder.end("name: mine\n", [("step 0", "copa", "", "a" * 24), ("step 0", "copa", "off", "a" * 24)])
    return folder


def test_a_table_has_every_model_with_its_interval_chance_and_change() -> None:
    [shown] = show_tasks([[evaluation()]])
    models, under = shown.tables
    assert models.header == ["step 0", "step 50", "step 100", "chance", "change"]
    lines = dict(models.lines)
    assert list(lines) == ["trained", "reference", "unseen", "all languages", *CODES]
    assert [(cell.text, cell.small) for cell in lines["zh"]] == [
        ("0.500", "0.400 to 0.600"), ("0.550", "0.450 to 0.650"), ("0.600", "0.500 to 0.700"),
        ("0.500", "beyond noise"), ("+0.100", "+0.000 to +0.200, within noise"),
    ]  # fmt: skip
    assert lines["de"][3:] == [("0.500", "not told from it"), ("+0.100", "+0.000 to +0.200, beyond noise")]
    assert under.header == ["right", "change", "over matched"]
    lines = dict(under.lines)
    assert [cell.text for cell in lines["off, zh"]] == ["0.300", "−0.200", "−0.190"]
    assert lines["off, zh"][2].small.endswith("beyond control")
    assert lines["off, de"][2].small.endswith("within control")
    assert "apart from what the neurons were found on" in under.caption


def test_the_figure_has_the_groups_over_the_steps() -> None:
    [shown] = show_tasks([[evaluation()]])
    assert shown.card is not None
    traces = {trace["name"]: trace for trace in shown.card.variants["0"][0].data if trace.get("name")}
    assert set(traces) == {"trained", "reference", "unseen"}
    assert traces["unseen"]["x"] == [0, 50, 100]
    assert traces["unseen"]["y"] == pytest.approx([0.65, 0.7, 0.75])
    assert "trained 0.650" in shown.card.labels["0"]


def test_models_that_are_no_steps_have_a_table_and_no_figure() -> None:
    apart = [replace(row, step=None, record=row.record.replace("step", "model")) for row in rows()]
    [shown] = show_tasks([[evaluation(task(apart))]])
    assert shown.card is None
    assert shown.tables[0].header[:3] == ["model 0", "model 50", "model 100"]
    assert "Copa (mine): right" in render([replace(page_run(), evaluations=[evaluation(task(apart))])])


def test_of_many_checkpoints_some_have_columns_and_it_is_said() -> None:
    [shown] = show_tasks([[evaluation(task(rows(tuple(range(0, 1000, 10)))))]])
    assert len(shown.tables[0].header) == 6 + 2
    assert "94 models between them are in runs/demo/evaluations/mine/table.csv" in shown.tables[0].caption
    assert shown.card is not None
    (line, *_) = [trace for trace in shown.card.variants["0"][0].data if trace.get("name") == "trained"]
    assert len(line["x"]) == 100


def test_many_interventions_are_shown_by_groups_alone_and_it_is_said() -> None:
    more = [replace(row, set=f"off{n}") for row in rows() if row.set for n in range(100)]
    [shown] = show_tasks([[evaluation(task([row for row in rows() if not row.set] + more))]])
    assert len(shown.tables[1].lines) == 100
    assert "Languages are in runs/demo/evaluations/mine/table.csv" in shown.tables[1].caption


def test_folders_of_a_run_are_read_and_unfinished_ones_named(tmp_path: Path) -> None:
    write_folder(tmp_path, rows())
    begun = EvaluationFolder(tmp_path / "evaluations" / "begun")
    begun.path.mkdir()
    begun.begin()
    (tmp_path / "evaluations" / "somebody's").mkdir()
    [found], notes = read_evaluations(tmp_path)
    assert notes == ["Evaluation begun is not shown: it is not finished."]
    assert (found.name, [one.name for one in found.tasks]) == ("mine", ["copa"])
    assert {one.code: one.group for one in found.tasks[0].languages} == {
        "en": "reference",
        "de": "unseen",
        "zh": "trained",
    }
    assert list(found.tasks[0].rows) == rows()


@pytest.mark.parametrize("file", ["table.csv", "records.json", f"records/{'a' * 24}.safetensors"])
def test_damaged_folders_are_refused_by_name(tmp_path: Path, file: str) -> None:
    folder = write_folder(tmp_path, rows())
    path = folder.path / file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="mine"):
        read_evaluations(tmp_path)


def test_a_page_without_evaluations_says_nothing_of_them() -> None:
    page = render([page_run()])
    assert 'id="tasks"' not in page
    assert 'href="#tasks"' not in page
    assert 'href="#tasks"' in render([replace(page_run(), evaluations=[evaluation()])])


def test_names_are_text() -> None:
    evil = [replace(row, record=EVIL, step=None, set=EVIL if row.set else "") for row in rows()]
    one = PageEvaluation(EVIL, EVIL, [task(evil, EVIL)])
    page = render([replace(page_run(), evaluations=[one])])
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}" in page
    assert "&lt;img src=x" in page


def test_wandb_gets_the_same_tables() -> None:
    one = evaluation()
    media = evaluation_media([one])
    assert set(media) == {f"evaluations/mine/copa/{name}" for name in ("table", "figure", "interventions")}
    table = media["evaluations/mine/copa/table"]
    lines = list(lines_of(one.tasks[0]))
    # Of groups every step and change; of languages the first step, and the last with its changes.
    assert len(table.data) == len(lines) == (3 + 2) * 4 + (1 + 2) * 3
    columns, under = under_lines(one.tasks[0])
    shown = media["evaluations/mine/copa/interventions"]
    assert len(shown.data) == len(under) == 16
    assert [json.dumps(cell) for cell in shown.data[0][:3]] == ['"step 100"', '"off"', '"zero"']
    assert "beyond_control" in columns
