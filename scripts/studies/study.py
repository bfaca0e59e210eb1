"""What the studies share: their languages and templates, a model's answers to problems, numbers over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from alignlab.atomic import write_text
from alignlab.data.wordproblems import LANGUAGES, TEMPLATES, generate
from alignlab.evaluation.answering import answer
from alignlab.evaluation.tasks import build_task
from alignlab.models.adapters import ModelLoader
from alignlab.models.load import ModelConfig
from alignlab.recording.counting import Origin

TRAINED = ("zh", "de")
GROUPS = {
    "trained (zh, de)": TRAINED,
    "unseen": tuple(code for code in LANGUAGES if code not in (*TRAINED, "en")),
    "English": ("en",),
}
# As the demo's configs have it: every fourth template is not in training.
NEW_TEMPLATES = TEMPLATES[3::4]

Floats = NDArray[np.float64]


def ended(status: int) -> None:
    """End where a command has not ended well."""
    if status:
        raise SystemExit(status)


def measure(base: str, source: str, folder: Path, *, split: str, problems: int, step: int) -> None:
    """Let a model answer the problems of a split; the record and the answers lie in the folder, made once.

    base: below an adapter, and whose tokenizer it has.  problems: of each language.  step: of its training.
    """
    if (folder / "effects.safetensors").exists():
        return
    below = ModelConfig(source=base)
    records = generate(LANGUAGES, problems, split=split)
    task = build_task(records, below.build_tokenizer(), max_texts=problems, max_new_tokens=128)
    answered = answer(ModelLoader(below, True).load(source), task, origin=Origin(source, "", step, TRAINED))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "answers.jsonl", answered.text)
    answered.effects.save(folder / "effects.safetensors")
    right = answered.effects.right[:, 0].numpy()
    of = np.array([item.language for item in answered.effects.items])
    print(folder, {code: round(float(right[of == code].mean()), 3) for code in LANGUAGES}, flush=True)


def over_seeds(values: Floats, digits: int = 3) -> str:
    """Mean of the seeds with Student's interval; the mean alone of one."""
    mean = f"{values.mean():+.{digits}f}"
    if len(values) < 2:
        return mean
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean} [{values.mean() - half:+.{digits}f}, {values.mean() + half:+.{digits}f}]"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])
