"""A folder laid out as the configs `evaluate_real` and `evaluate_translation` expect, a few lines in every file."""

from __future__ import annotations

import json
from pathlib import Path

from alignlab.data.sources.choices import CONNECTORS

PREMISE = {
    "premise": "The man fell.",
    "choice1": "He slipped.",
    "choice2": "He slept.",
    "question": "cause",
    "label": 0,
}
WORDS = ["Anna", "thanked", "Maria", "because", "she", "had", "helped", "."]
PRONOUN = ["she", [4, 5], ["she"]]
NAMES = [["Anna", [0, 1], ["Anna"], False], ["Maria", [2, 3], ["Maria"], True]]
NTREX = (
    "ar",
    "bn",
    "de",
    "en",
    "es",
    "fi",
    "fr",
    "he",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "nl",
    "ru",
    "sv",
    "sw",
    "ta",
    "te",
    "th",
    "tr",
    "ur",
    "vi",
    "zh",
)


def make(root: Path) -> Path:
    (root / "xcopa").mkdir(parents=True)
    for code in [code for code in CONNECTORS if code != "en"]:
        lines = [json.dumps({**PREMISE, "idx": number, "label": number % 2}) for number in range(3)]
        (root / f"xcopa/test.{code}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = ["original", "?", "Anna thanked Maria because she had helped.", *map(json.dumps, (WORDS, PRONOUN, NAMES))]
    lines = ["\t".join([code, *columns]) for code in ("en", "fr", "jp", "pt", "ru", "zh")]
    (root / "xwinograd.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("mgsm", "msvamp"):
        (root / name).mkdir()
    for code in ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"):
        (root / f"mgsm/{code}.tsv").write_text(f"What is 2 and 1 in {code}?\t3\nAnd 2 and 2?\t4\n", encoding="utf-8")
        lines = [
            json.dumps({"m_query": f"What is {number} and 1 in {code}?", "response": number + 1}) for number in (3, 4)
        ]
        if code != "te":
            (root / f"msvamp/{code}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "ntrex").mkdir()
    for code in NTREX:
        text = "".join(f"Sentence {number} is said in {code}.\n" for number in range(1, 6))
        (root / f"ntrex/{code}.txt").write_text(text, encoding="utf-8")
    return root
