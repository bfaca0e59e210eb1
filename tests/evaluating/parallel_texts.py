"""Parallel lines in three languages, and a second model, for the tests of tasks that compare languages."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignlab.models.load import DEMO_FOLDER

LINES = {
    "de": ["Das Haus ist grün.", "Anna kauft 7 Äpfel.", "Die Straße ist {lang}.", "Die Kinder schlafen.", "Es regnet."],
    "en": ["The house is green.", "Anna buys 7 apples.", "The street is {long}.", "The children sleep.", "It rains."],
    "zh": ["房子是绿色的。", "安娜买了7个苹果。", "街道很{长}。", "孩子们睡着了。", "下雨了。"],
}
# As keys of a config: all but `tasks.NAME.source.`.
SOURCE = ["name=files", "path={language}.txt", "languages=[de,en,zh]"]


def source(task: str, *more: str) -> list[str]:
    return [f"tasks.{task}.source.{one}" for one in (*SOURCE, *more)]


def make(folder: Path) -> Path:
    """The files, and beside them `other`, the demo model with other weights."""
    for code, lines in LINES.items():
        (folder / f"{code}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    torch.manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one += 0.02 * torch.randn_like(one)
    model.save_pretrained(folder / "other")
    AutoTokenizer.from_pretrained(DEMO_FOLDER).save_pretrained(folder / "other")
    return folder
