"""Corpus BLEU and chrF++ of translations, with intervals and paired changes over clusters of documents.

The scores are sacrebleu's (Post 2018), and so are the counts of each sentence; resamples of clusters add these up and
score them as sacrebleu does. Its signature stands with each score.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
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
from alignlab.evaluation.resampling import Resampled, draw_clusters
from alignlab.languages import get

MetricName = Literal["bleu", "chrf++"]
MOST = 100.0

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
    The interval is t of the number of clusters less one, with the spread of the resamples (METHODS: bootstrap); BLEU
    has none where fewer than 10 4-grams are right.

    Raises InputError for lists of different lengths, and a tokenizer that is not there.
    """
    _check_sizes(references, clusters, {"translations 1": translations})
    found = sentence_counts(metric, translations, references, language=language, tokenizer=tokenizer)
    scores = resampled_scores(metric, found.counts, clusters, resamples, seed)
    return TranslationScore(metric, found.signature, scores.estimate(most=MOST))


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
    _check_sizes(references, clusters, {"translations 1": before, "translations 2": after})
    first, second = (
        sentence_counts(metric, texts, references, language=language, tokenizer=tokenizer) for texts in (before, after)
    )
    old, new = (resampled_scores(metric, one.counts, clusters, resamples, seed) for one in (first, second))
    return TranslationScore(metric, second.signature, new.since(old).estimate(most=MOST, change=True))


def translated(answer: str) -> str:
    """What of an answer is the translation: its first line that is not empty, since models go on with more."""
    return next((line.strip() for line in answer.splitlines() if line.strip()), "")


@dataclass(frozen=True)
class SentenceCounts:
    """What sacrebleu counts in each of n sentences, which add up to a corpus.

    signature: of sacrebleu.  counts: (n, K) int64; K is 10 of BLEU (lengths, and n-grams that are right and that there
        are) and 24 of chrF++.
    """

    metric: MetricName
    signature: str
    counts: npt.NDArray[np.int64]


def sentence_counts(
    metric: MetricName,
    translations: Sequence[str],
    references: Sequence[str],
    *,
    language: str,
    tokenizer: str | None = None,
) -> SentenceCounts:
    """The counts of each of n translations into a language. Raises InputError as `translation_score` does."""
    if len(translations) != len(references):
        raise InputError.of("references", f"{len(references)} texts", f"{len(translations)}, one a translation")
    counted = _metric(metric, language, tokenizer)
    counts = counted._extract_corpus_statistics(list(translations), [list(references)])
    return SentenceCounts(metric, str(counted.get_signature()), np.array(counts, dtype=np.int64))


def signature(metric: MetricName, language: str, tokenizer: str | None = None) -> str:
    """With which others can repeat a score. Raises InputError for a tokenizer that is not there."""
    counted = _metric(metric, language, tokenizer)
    # Of a corpus without a sentence there is none.
    counted._extract_corpus_statistics([""], [[""]])
    return str(counted.get_signature())


def corpus_scores(metric: MetricName, sums: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The scores of corpora, (R,), 0 to 100, from the summed counts of their sentences, (R, K)."""
    scorer: Any = CHRF(word_order=2) if metric == "chrf++" else BLEU(force=True)
    return np.array([float(scorer._compute_score_from_stats(row.tolist()).score) for row in sums])


def resampled_scores(
    metric: MetricName, counts: npt.NDArray[np.int64], clusters: Sequence[str], resamples: int = 1000, seed: int = 0
) -> Resampled:
    """The score of n sentences, and of resamples of their clusters; the same ones for the same clusters and seed.

    counts: (n, K).
    """
    drawn = draw_clusters(clusters, resamples, seed)
    sums = drawn.sums(counts)
    # Behind two lengths and three shorter n-grams: with few 4-grams that are right BLEU is what its smoothing makes it.
    right = float(counts[:, 5].sum()) if metric == "bleu" else np.inf
    return Resampled(
        float(corpus_scores(metric, counts.sum(axis=0, keepdims=True))[0]),
        corpus_scores(metric, drawn.counts @ sums),
        len(clusters),
        drawn.clusters,
        right,
    )


def _check_sizes(references: Sequence[str], clusters: Sequence[str], systems: Mapping[str, Sequence[str]]) -> None:
    n = len(clusters)
    problems = [Problem("clusters", "none", "a name for each of one or more documents")] if not n else []
    sizes = {"references": len(references)} | {name: len(texts) for name, texts in systems.items()}
    problems += [
        Problem(name, f"{size} texts", f"{n}, one for each of `clusters`") for name, size in sizes.items() if size != n
    ]
    refuse_any(problems)


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
