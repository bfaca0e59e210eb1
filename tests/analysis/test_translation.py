"""Rows of translations: sacrebleu's own scores, and resamples put together as text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from scipy.stats import t

from alignlab.analysis.translation import METRICS, NAMES, translation_rows
from alignlab.errors import InputError
from alignlab.evaluation.translation import sentence_counts
from alignlab.recording.effects import BASELINE, Effects, Item

CLUSTERS = list("aabbccdd")
REFERENCES = {
    "de": [
        "Das Haus ist grün und alt.",
        "Anna kauft heute sieben Äpfel.",
        "Die Straße ist sehr lang.",
        "Alle Kinder schlafen.",
    ]
    * 2,
    "zh": ["房子是绿色的。", "小明买了七个苹果。", "街道非常长。", "孩子们睡着了。"] * 2,
}
# Two systems: each leaves something out of other sentences.
SYSTEMS = {
    code: [[text[: len(text) - (i * 3 + k * 5) % 7] for i, text in enumerate(texts)] for k in range(2)]
    for code, texts in REFERENCES.items()
}
TOKENIZERS = {"de": "13a", "zh": "zh"}
SIGNATURES = {(code, metric): f"{metric} in {code}" for code in REFERENCES for metric in METRICS.values()}


def record(system: int) -> Effects:
    values = [
        np.concatenate(
            [
                sentence_counts(metric, SYSTEMS[code][system], REFERENCES[code], language=code).counts
                for metric in METRICS.values()
            ],
            axis=1,
        )
        for code in REFERENCES
    ]
    items = [Item(str(i), code, CLUSTERS[i]) for code in REFERENCES for i in range(8)]
    # The first half of the answers is German, the last one's language cannot be told.
    told = torch.tensor([0] * 8 + [2] * 7 + [-1], dtype=torch.int16)
    return Effects(
        items=tuple(items),
        labels=(BASELINE,),
        languages=("de", "zh", "en"),
        output_language=told.unsqueeze(1),
        tokens=torch.full((16, 1), 7, dtype=torch.int32),
        ended=torch.ones(16, 1, dtype=torch.bool),
        values=torch.from_numpy(np.concatenate(values)).double().unsqueeze(1),
        measures=NAMES,
        trained_languages=("de",),
        clusters="letters",
        task="t",
    )


def rows_of(into: str | None = None) -> list[dict[str, object]]:
    found = translation_rows(record(1), record(0), into=into, signatures=SIGNATURES, label="two", since="one")
    return [{name: getattr(row, name) for name in row.__slots__} for row in found]


def scored(name: str, code: str, system: int, rows: list[int]) -> float:
    metric = CHRF(word_order=2) if name == "chrF++" else BLEU(tokenize=TOKENIZERS[code])
    texts, references = SYSTEMS[code][system], REFERENCES[code]
    return float(metric.corpus_score([texts[i] for i in rows], [[references[i] for i in rows]]).score)


@pytest.mark.parametrize("name", METRICS)
def test_scores_and_intervals_are_those_of_sacrebleu_on_resampled_texts(name: str) -> None:
    """A group is the mean of its languages on the same resamples; 1,000 resamples as `draw_clusters` has them."""
    found = rows_of()
    drawn = np.random.default_rng(0).multinomial(4, np.full(4, 1 / 4), size=1000)
    by_resample = {
        tuple(times): [i for i in range(8) for _ in range(times["abcd".index(CLUSTERS[i])])] for times in drawn.tolist()
    }
    of = {
        (code, system): np.array([scored(name, code, system, by_resample[tuple(times)]) for times in by_resample])
        for code in REFERENCES
        for system in (0, 1)
    }
    place = {times: number for number, times in enumerate(by_resample)}
    order = [place[tuple(times)] for times in drawn.tolist()]
    whole = {(code, system): scored(name, code, system, list(range(8))) for code in REFERENCES for system in (0, 1)}
    for codes, group, language in (
        (["de"], "language", "de"),
        (["zh"], "language", "zh"),
        (["de", "zh"], "all languages", ""),
    ):
        for change in (False, True):
            (row,) = (
                one
                for one in found
                if (one["measure"], one["group"], one["language"], bool(one["since"]))
                == (name, group, language, change)
            )
            value = np.mean([whole[code, 1] - (whole[code, 0] if change else 0) for code in codes])
            draws = np.mean([(of[code, 1] - (of[code, 0] if change else 0))[order] for code in codes], axis=0)
            half = t.ppf(0.975, 3) * math.sqrt(4 / 3) * np.std(draws, ddof=1)
            assert row["value"] == pytest.approx(value)
            assert row["low"] == pytest.approx(max(value - half, -100 if change else 0))
            assert row["high"] == pytest.approx(min(value + half, 100))
            assert (row["over"], row["denominator"]) == ("clusters", 8 * len(codes))
            metric = METRICS[name]
            assert row["unit"] == f"{name} {f'{metric} in {language}' if language else 'as of its languages'}"
            if change:
                assert (row["reference"], row["since"], row["family"] != "") == (0.0, "one", True)
    assert {one["group"] for one in found} == {"language", "trained", "unseen", "all languages"}


@pytest.mark.parametrize(("into", "de", "zh"), [(None, 1.0, 0.0), ("en", 0.0, 7 / 8)])
def test_answers_are_in_the_language_that_they_are_translated_into(into: str | None, de: float, zh: float) -> None:
    shares = {
        one["language"]: one["value"]
        for one in rows_of(into)
        if one["measure"] == "in language" and one["group"] == "language" and not one["since"]
    }
    assert shares == {"de": de, "zh": zh}


def test_other_sentences_are_refused() -> None:
    some = record(0)
    fewer = Effects(
        some.items[:15], some.labels, some.languages, None,
        *(some.measured(name)[:15] for name in ("output_language", "tokens", "ended")),
        values=some.measured("values")[:15], measures=NAMES,
    )  # fmt: skip
    with pytest.raises(
        InputError, match="other sentences in other languages; expected the same ones in every language"
    ):
        translation_rows(fewer, into=None, signatures=SIGNATURES, label="x")
    with pytest.raises(InputError, match="translations of other sentences than the first record's"):
        translation_rows(some, fewer, into=None, signatures=SIGNATURES, label="x")
