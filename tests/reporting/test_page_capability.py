"""What the page says of a model's answers: the sentence, the figure, the samples; their text never becomes markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alignlab.errors import InputError
from alignlab.neurons.table import csv_text
from alignlab.reporting.page import render
from alignlab.reporting.page.capability import helped
from alignlab.reporting.page_capability import read_capability

from .page_capability_data import write_run
from .page_data import bare_run


def test_the_first_sentence_answers_whether_it_helped(tmp_path: Path) -> None:
    write_run(tmp_path)
    said = helped(read_capability(tmp_path))
    assert said.startswith("Did it help? Share of right answers, trained languages (de): yes, it rose, 0.")
    assert "; unseen languages (sw): no, it fell, 0." in said
    assert "; English (en): no change beyond noise, 0." in said
    assert said.count("95 % interval") == 3
    write_run(tmp_path / "one", steps=(40,))
    assert helped(read_capability(tmp_path / "one")).startswith("Share of right answers at step 40, trained languages")
    assert helped(None) == ""
    assert read_capability(tmp_path / "none") is None


def test_an_interval_that_leaves_out_zero_beside_a_verdict_of_noise_is_explained(tmp_path: Path) -> None:
    """Intervals are of one number each, verdicts of all that are asked together: in one run of ten they differ."""
    write_run(tmp_path)
    capability = read_capability(tmp_path)
    assert capability is not None
    said = []
    for p in (0.03, 0.3):
        doubtful = {"p": p, "p_adjusted": 4 * p, "beyond_noise": False}
        rows = [replace(row, **doubtful) if row.p is not None else row for row in capability.rows]
        said.append(helped(replace(capability, rows=rows)))
    assert said[0].count("no change beyond noise, corrected for the groups asked together, 0.") == 3
    assert said[1].count("no change beyond noise, 0.") == 3


def test_text_of_models_is_text_on_the_page(tmp_path: Path) -> None:
    write_run(tmp_path)
    capability = read_capability(tmp_path)
    assert capability is not None
    page = render([replace(bare_run(), capability=capability)])
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    lead = page[page.index('<p class="lead">') :]
    assert lead.startswith('<p class="lead">Did it help?')
    assert 'id="figure-capability"' in page
    # Those whose answer became right or wrong come first.
    assert all(
        sample.said[0].right != sample.said[-1].right for sample in capability.samples if sample.language == "de"
    )
    assert 'id="figure-capability"' not in render([bare_run()])


def test_damaged_answers_are_refused_by_line(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "evaluation/step-000040.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"expected": "7"', '"expected": "8"', 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"step-000040\.jsonl, line 1: its checksum does not fit"):
        read_capability(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"step-000040\.jsonl: it cannot be read"):
        read_capability(tmp_path)
    (tmp_path / "evaluation.csv").write_text(csv_text([]), encoding="utf-8")
    (tmp_path / "evaluation.csv").unlink()
    with pytest.raises(InputError, match=r"evaluation\.csv: there is no such file"):
        read_capability(tmp_path)
