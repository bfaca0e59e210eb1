"""The page of all types: written of results, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import transformers
from examining import OTHERS, Result
from tiny import VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_ALL = "all"
_PARTS = {
    "exact": (
        "Exact",
        "Type | Neurons at `mlp.act`, times what stands beside them | Other sites",
        "Other sites: those of `probe.site` that are exact too.",
    ),
    "exact at experts.act": (
        "Exact at experts.act",
        "Type | Neurons at `experts.act`, times what stands beside them | Other sites",
        "Mixtures of experts, refused at `mlp.act`. Counts, routed tokens and zeroing are compared as above, with the "
        "experts run by `eager` and by `grouped_mm`. Other sites: those that are exact too.",
    ),
    "refused": (
        "Refused",
        "Type | What is found | Other sites",
        "The sizes in the reasons are those of the tiny models. Other sites: those that alignlab finds in spite of it, "
        "which are not compared here.",
    ),
    "not built": ("Not built", "Type | Why", "What transformers says when the tiny model is built without a network."),
    "fault": ("Faults", "Type | What differs", "Where alignlab is wrong."),
}
_HEAD = """\
# Models

Every type that `AutoModelForCausalLM` of transformers {version} maps: {types} types and {variants} variants of
them, {told}.
Written by `python scripts/census`, which makes each from its default configuration with small sizes and random weights.

- *Exact*: activations and counts are those computed from the weights in double precision, by a path that shares nothing
  with alignlab (`scripts/census/oracle.py`), with LoRA on the MLP too; the loss is that of the logits; and zeroing
  neurons gives the logits of a model whose weights of them are zero.
- *Exact at experts.act*: counts of the routed experts of a mixture, the tokens sent to each, loss and zeroing are those
  of the stacked weights, expert after expert (`scripts/census/oracle_experts.py`); without LoRA.
- *Refused*: an `UnsupportedModelError` says so before anything is counted.

Real sizes and weights are not part of it: whether a model has such neurons is looked at each time that one is loaded.
"""


def written(results: Sequence[Result]) -> str:
    """The page, in Markdown."""
    numbers = {outcome: sum(one.outcome == outcome for one in results) for outcome in _PARTS}
    told = ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number)
    known = sum(one.model_type not in VARIANTS for one in results)
    lines = _HEAD.format(
        version=transformers.__version__, types=known, variants=len(results) - known, told=told
    ).splitlines()
    for outcome, (title, head, meaning) in _PARTS.items():
        rows = [one for one in results if one.outcome == outcome]
        if rows:
            columns = head.count("|") + 1
            lines += ["", f"## {title} ({len(rows)})", "", meaning, "", f"| {head} |", "|---" * columns + "|"]
            lines += [f"| {' | '.join(_cells(one)[:columns])} |" for one in rows]
    return "\n".join(lines) + "\n"


def _cells(one: Result) -> list[str]:
    every = tuple(name for name in OTHERS if not name.startswith("experts."))  # those of a dense MLP
    sites = _ALL if one.sites == every else ", ".join(one.sites)
    return [f"`{one.model_type}`", one.neurons or one.why, sites or "none"]


def read(text: str) -> dict[str, tuple[str, str]]:
    """Of a page, by type: the outcome, and the row of the table."""
    outcomes = {title: outcome for outcome, (title, _, _) in _PARTS.items()}
    outcome, rows = "", {}
    for line in text.splitlines():
        if line.startswith("## "):
            outcome = outcomes[line[3:].rpartition(" (")[0]]
        elif line.startswith("| `"):
            rows[line.split("`")[1]] = outcome, line
    return rows


def differing(results: Sequence[Result], text: str) -> list[str]:
    """Where results are not those of a page, a line each."""
    now, before = read(written(results)), read(text)
    return [
        f"{name}: {row[0]}, {row[1]}\n  in the table: {', '.join(before.get(name, ('not there',)))}"
        for name, row in now.items()
        if row != before.get(name)
    ]
