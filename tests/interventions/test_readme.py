"""The lines of the README, on the demo model and a run of two languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from alignlab.interventions import Intervention
from alignlab.models.load import ModelConfig
from alignlab.neurons import ActivationCounts

README = Path(__file__).parents[2] / "README.md"


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
