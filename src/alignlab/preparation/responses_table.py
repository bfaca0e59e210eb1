"""The table of a model's answers, as a file and for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from alignlab import console
from alignlab.preparation.answers import Tally
from alignlab.preparation.responses_folder import ResponsesFolder

_HEADER = ("language", "questions", "answers", "right", "tokens", "cut", "distinct")


def table_csv(tallies: Sequence[Tally]) -> str:
    """A line for each language; columns are the fields of `Tally`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Tally)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(tally) for tally in tallies)
    return text.getvalue()


def show_answers(folder: ResponsesFolder) -> None:
    """Print the table and what was written."""
    with folder.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    console.say()
    console.heading("Answers")
    console.table([_cells(row) for row in rows], _HEADER, "lrrrrrr")
    console.note(
        "right: share of answers whose last number is that of the source; - where it has none. tokens: mean of "
        "an answer. cut: share that no EOS ended. distinct: share but those that repeat another to the same question."
    )
    console.say()
    console.heading("Written")
    console.table([("answers", f"{folder.responses} (a line a question)"), ("table", str(folder.table))])
    console.say(f"\nNext: python -m alignlab.prepare preferences responses={folder.path}")


def _cells(row: dict[str, str]) -> list[str]:
    number = {name: int(value) for name, value in row.items() if name != "language"}
    right = f"{number['right'] / number['judged']:.1%}" if number["judged"] else "-"
    shares = [f"{number[name] / number['answers']:.1%}" for name in ("cut", "distinct")]
    mean = f"{number['tokens'] / number['answers']:.1f}"
    return [row["language"], f"{number['questions']:,}", f"{number['answers']:,}", right, mean, *shares]
