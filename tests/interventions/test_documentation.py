"""What is written of interventions runs: the lines of the README, and the examples of docstrings."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch

import alignlab.interventions
from alignlab.interventions import Intervention
from alignlab.models.load import ModelConfig
from alignlab.neurons import ActivationCounts
from alignlab.recording.means import record_means

README = Path(__file__).parents[2] / "README.md"


EXAMPLES = (Intervention.of, record_means, *(getattr(alignlab.interventions, name) for name in (
    "Intervention", "export_model", "intervene", "layer_mask", "select_neurons")))  # fmt: skip


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: str(entry.__qualname__))
def test_the_example_of_a_docstring_runs(entry: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(entry, "example", globs={})
    assert test.examples
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert not told, "".join(told)


def test_the_lines_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"<!-- intervene -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    firings = torch.randint(0, 400, (2, 1, 4, 640), generator=torch.Generator().manual_seed(0))
    firings[1, :, 1:3, :60] = 900 + torch.arange(60)  # of Chinese alone
    firings[0, :, 1:3, :60] = 0
    tokens = torch.full((2, 1), 1000)
    counts = ActivationCounts(("en", "zh"), firings, tokens, tokens, "mlp.act", "all", step=0)
    counts.save("runs/demo/neurons/step-000000.safetensors")
    demo = ModelConfig(source="builtin:demo")
    model, tokenizer = demo.build(), demo.build_tokenizer()
    names = {"model": model, "tokenizer": tokenizer}
    exec(compile(block, str(README), "exec"), names)  # noqa: S102
    off = names["off"]
    assert isinstance(off, Intervention)
    assert int(off.neurons.sum()) > 10
    asked = tokenizer("小明有3个苹果，又买了4个。", return_tensors="pt")
    plain = model.generate(**asked, max_new_tokens=20)  # type: ignore[operator]
    assert not torch.equal(names["answer"], plain)
