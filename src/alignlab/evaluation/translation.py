"""Corpus BLEU and chrF++ of translations, with intervals and paired changes over clusters of documents.

The scores are sacrebleu's (Post 2018), and so are the counts of each sentence; resamples of clusters add these up and
score them as sacrebleu does. Its signature stands with each score.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
from sacrebleu.utils import SACREBLEU_DIR

from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.evaluation.estimates import Estimate
from alignlab.languages import get
from alignlab.neurons.interval_methods import intervals

MetricName = Literal["bleu", "chrf++"]

# Written without spaces between words, so that words cannot be told without a dictionary; Korean has spaces, but its
# words carry their particles, and sacrebleu's own choice for it takes them apart.
_BY_CHARACTER = ("bo", "ja", "km", "ko", "lo", "my", "th")
_DICTIONARIES = {"ja-mecab": ("MeCab", "sacrebleu[ja]"), "ko-mecab": ("mecab_ko", "sacrebleu[ko]")}


@dataclass(frozen=True)
class TranslationScore:
    """metric: `bleu` or `chrf++`, 0 to 100.  signature: of sacrebleu, with which others can repeat it."""

    metric: MetricName
    signature: str
    estimate: Estimate


def tokenizer_of(language: str) -> str:
    """The name of sacrebleu's tokenizer by which BLEU in a language is counted.

    `zh` for Chinese; `char` where words are not written apart, and for Korean; else `13a`. sacrebleu's own choice for
    Japanese and Korean, `ja-mecab` and `ko-mecab`, needs dictionaries, and so does not depend on what is installed
    here: it has to be asked for.
    """
    if get(language).code == "zh":
        return "zh"
    return "char" if language in _BY_CHARACTER else "13a"


def translation_score(
    metric: MetricName,
    translations: Sequence[str],
    references: Sequence[str],
    clusters: Sequence[str],
    *,
    language: str,
    tokenizer: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> TranslationScore:
    """The score of a corpus of n translations into a language, with its interval over clusters.

    clusters: (n,) names, those of one are not independent.  tokenizer: of BLEU, in place of `tokenizer_of(language)`.
    The interval is t of the number of clusters less one, with the spread of the resamples (METHODS: bootstrap).

    Raises InputError for lists of different lengths, and a tokenizer that is not there.
    """
    counted, statistics = _statistics(metric, [translations], references, clusters, language, tokenizer)
    return _score(metric, counted, statistics, clusters, resamples, seed)


def change_of_score(
    metric: MetricName,
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[str],
    clusters: Sequence[str],
    *,
    language: str,
    tokenizer: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> TranslationScore:
    """How much the score changes between two translations of the same corpus, on the same resamples (Koehn 2004).

    Arguments and errors are those of `translation_score`; `p` is two-sided, of no change.
    """
    counted, statistics = _statistics(metric, [before, after], references, clusters, language, tokenizer)
    return _score(metric, counted, statistics, clusters, resamples, seed)


def translated(answer: str) -> str:
    """What of an answer is the translation: its first line that is not empty, since models go on with more."""
    return next((line.strip() for line in answer.splitlines() if line.strip()), "")


def _statistics(
    metric: MetricName,
    systems: Sequence[Sequence[str]],
    references: Sequence[str],
    clusters: Sequence[str],
    language: str,
    tokenizer: str | None,
) -> tuple[Any, npt.NDArray[np.int64]]:
    """sacrebleu's metric, and its counts of each sentence under each system: (A, n, K)."""
    n = len(clusters)
    sizes = {"references": len(references)} | {f"translations {i + 1}": len(texts) for i, texts in enumerate(systems)}
    problems = [Problem("clusters", "none", "a name for each of one or more documents")] if not n else []
    problems += [
        Problem(name, f"{size} texts", f"{n}, one for each of `clusters`") for name, size in sizes.items() if size != n
    ]
    refuse_any(problems)
    counted = _metric(metric, language, tokenizer)
    return counted, np.array(
        [counted._extract_corpus_statistics(list(texts), [list(references)]) for texts in systems], dtype=np.int64
    )


def _metric(name: MetricName, language: str, tokenizer: str | None) -> Any:
    if name == "chrf++":
        return CHRF(word_order=2)
    if name != "bleu":
        raise InputError.of("metric", f"{name!r}", "bleu or chrf++", did_you_mean(name, ["bleu", "chrf++"]))
    chosen = tokenizer or tokenizer_of(language)
    if chosen not in BLEU.TOKENIZERS:
        expected = f"one of sacrebleu's: {', '.join(BLEU.TOKENIZERS)}"
        raise InputError.of("tokenizer", f"{chosen!r}", expected, did_you_mean(chosen, BLEU.TOKENIZERS))
    refuse_any(_not_there(chosen))
    return BLEU(tokenize=chosen, force=True)


def _not_there(tokenizer: str) -> list[Problem]:
    """What a tokenizer needs and has not: sacrebleu would stop within it, or go to the network."""
    if tokenizer in _DICTIONARIES:
        module, extra = _DICTIONARIES[tokenizer]
        if importlib.util.find_spec(module) is None:
            fix = f"pip install '{extra}', or take the tokenizer char."
            return [Problem("tokenizer", f"{tokenizer!r}, whose dictionary is not installed", "it installed", fix)]
    if tokenizer in SPM_MODELS:
        model = Path(SACREBLEU_DIR, "models", Path(SPM_MODELS[tokenizer]["url"]).name)
        if importlib.util.find_spec("sentencepiece") is None:
            found, fix = f"{tokenizer!r}, and sentencepiece is not installed", "pip install sentencepiece"
            return [Problem("tokenizer", found, "it installed", fix)]
        if not model.is_file():
            fix = f"Fetch it from {SPM_MODELS[tokenizer]['url']}."
            return [
                Problem("tokenizer", f"{tokenizer!r}, whose model is not on this machine", f"the file {model}", fix)
            ]
    return []


def _score(
    name: MetricName,
    metric: Any,
    statistics: npt.NDArray[np.int64],
    clusters: Sequence[str],
    resamples: int,
    seed: int,
) -> TranslationScore:
    """The score of one system, or the change from the first to the second. statistics: (A, n, K)."""
    systems, n, width = statistics.shape
    _, of_cluster = np.unique(np.asarray(clusters), return_inverse=True)
    m = int(of_cluster.max()) + 1
    by_cluster = np.zeros((systems, m, width), dtype=np.int64)
    for system in range(systems):
        np.add.at(by_cluster[system], of_cluster, statistics[system])

    def scores(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Of (A, R, K) sums: (R,), the score, or the change of it."""
        each = [[float(metric._compute_score_from_stats(row.tolist()).score) for row in rows] for rows in sums]
        return np.array(each[-1]) - (np.array(each[0]) if systems > 1 else 0)

    value = scores(statistics.sum(axis=1, keepdims=True))
    unknown = Estimate(float(value[0]), np.nan, np.nan, np.nan, n, m)
    signature = str(metric.get_signature())
    if m < 2:
        return TranslationScore(name, signature, unknown)
    # How often each cluster is drawn: (R, m).
    drawn = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=resamples)
    change = systems > 1
    found = intervals(
        value,
        scores(np.einsum("rm,amk->ark", drawn, by_cluster))[:, None],
        m,
        references=np.array([0.0 if change else np.nan]),
        steps=np.zeros(1),
        least=np.array([-100.0 if change else 0.0]),
        most=np.array([100.0]),
        small=np.array([True]),
    )
    p = float(found.p[0])
    return TranslationScore(
        name, signature, Estimate(float(value[0]), float(found.low[0]), float(found.high[0]), p, n, m)
    )
