"""BLEU and chrF++ against sacrebleu's own scores, bootstrap and tokenisers."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest
from scipy.stats import t

from alignlab.data.sources import Translation
from alignlab.errors import InputError
from alignlab.evaluation.translation import change_of_score, tokenizer_of, translated, translation_score

WORDS = ("the", "house", "street", "is", "green", "long", "and", "Anna", "buys", "seven", "apples", "more", "asleep")


def corpus(count: int = 80, seed: int = 0) -> tuple[list[str], list[str], list[str]]:
    """References, translations with one word in eight changed, and others with one in five."""
    random = np.random.default_rng(seed)
    references = [list(random.choice(WORDS, random.integers(6, 20))) for _ in range(count)]

    def other(word: str, share: float) -> str:
        return str(random.choice(WORDS)) if random.random() < share else word

    def spoilt(share: float) -> list[str]:
        return [" ".join(other(word, share) for word in words) + "." for words in references]

    return [" ".join(words) + "." for words in references], spoilt(1 / 8), spoilt(1 / 5)


@pytest.mark.parametrize("language", ["de", "zh", "ja", "th"])
def test_scores_are_sacrebleus(language: str) -> None:
    chinese = ["小明有12个苹果。", "又买了7个，很好。", "他现在有多少个苹果？", "房子是绿色的。"]
    references, texts = (chinese, [*chinese[1:], chinese[0]]) if language != "de" else corpus()[:2]
    texts[0] = references[0]
    names = [str(i) for i in range(len(texts))]
    tokenizer = {"de": "13a", "zh": "zh", "ja": "char", "th": "char"}[language]
    assert tokenizer_of(language) == tokenizer
    found = translation_score("bleu", texts, references, names, language=language)
    expected = BLEU(tokenize=tokenizer)
    assert found.estimate.value == expected.corpus_score(texts, [references]).score
    assert found.signature == str(expected.get_signature())
    assert f"tok:{tokenizer}" in found.signature
    chrf = translation_score("chrf++", texts, references, names, language=language)
    assert chrf.estimate.value == sacrebleu.corpus_chrf(texts, [references], word_order=2).score
    assert "nw:2" in chrf.signature


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU()), ("chrf++", CHRF(word_order=2))])
def test_the_interval_is_that_of_sacrebleus_bootstrap(name: str, metric: BLEU | CHRF) -> None:
    """Of 80 single sentences; ours is t with 79 degrees of freedom about the score, theirs the percentiles."""
    references, texts, _ = corpus()
    names = [str(i) for i in range(80)]
    found = translation_score(name, texts, references, names, language="en", resamples=2000).estimate  # type: ignore[arg-type]
    theirs = metric.corpus_score(texts, [references], n_bootstrap=2000)
    assert (found.high - found.low) / 2 == pytest.approx(theirs._ci, rel=0.1)
    assert found.low < theirs._mean < found.high


def test_clusters_are_drawn_whole() -> None:
    """Each sentence four times: of one cluster the spread is that of the single ones, else half of it."""
    references, texts, _ = corpus(40)
    single = translation_score("bleu", texts, references, [str(i) for i in range(40)], language="en").estimate
    four = translation_score("bleu", texts * 4, references * 4, [str(i) for i in range(40)] * 4, language="en").estimate
    loose = translation_score("bleu", texts * 4, references * 4, [str(i) for i in range(160)], language="en").estimate
    assert (four.value, four.low, four.high) == pytest.approx((single.value, single.low, single.high))
    assert (loose.high - loose.low) / (four.high - four.low) == pytest.approx(0.5, abs=0.06)
    assert (four.documents, four.clusters) == (160, 40)


def test_resamples_are_corpora_of_whole_clusters() -> None:
    """Five clusters of one to four sentences: each resample put together as text, and scored by sacrebleu."""
    references, texts, others = corpus(12, seed=3)
    clusters = list("abbcccddddee")
    drawn = np.random.default_rng(7).multinomial(5, np.full(5, 1 / 5), size=50)
    for change in (False, True):
        scores = []
        for times in drawn:
            rows = [i for i in range(12) for _ in range(times["abcde".index(clusters[i])])]
            goal = [[references[i] for i in rows]]
            one, two = (BLEU().corpus_score([some[i] for i in rows], goal).score for some in (texts, others))
            scores.append(two - one if change else one)
        score = partial(change_of_score, "bleu", texts, others) if change else partial(translation_score, "bleu", texts)
        found = score(references, clusters, language="en", resamples=50, seed=7).estimate
        half = t.ppf(0.975, 4) * math.sqrt(5 / 4) * np.std(scores, ddof=1)
        assert found.low == pytest.approx(max(found.value - half, -100 if change else 0))
        assert found.high == pytest.approx(min(found.value + half, 100))


def test_a_change_is_judged_as_by_sacrebleus_paired_bootstrap() -> None:
    references, better, worse = corpus(60)
    names = [str(i) for i in range(60)]
    for before, after in ((better, worse), (worse, better), (better, better[:57] + worse[57:])):
        found = change_of_score("bleu", before, after, references, names, language="en").estimate
        scores = [BLEU().corpus_score(texts, [references]).score for texts in (before, after)]
        assert found.value == pytest.approx(scores[1] - scores[0])
        _, table = PairedTest([("a", before), ("b", after)], {"BLEU": BLEU()}, [references], "bs", 1000)()
        theirs = table["BLEU"][1].p_value
        assert (found.p < 0.05) == (theirs < 0.05)
        assert found.low <= found.value <= found.high
    same = change_of_score("bleu", better, better, references, names, language="en").estimate
    assert same.value == 0
    assert math.isnan(same.p)


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"translations 1: 1 texts; expected 2"):
        translation_score("bleu", ["a"], ["a", "b"], ["1", "2"], language="en")
    with pytest.raises(InputError, match=r"metric: 'chrf'; expected bleu or chrf\+\+. Did you mean 'chrf\+\+'"):
        translation_score("chrf", ["a"], ["a"], ["1"], language="en")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"tokenizer: '13b'; expected one of sacrebleu's: .* Did you mean '13a'"):
        translation_score("bleu", ["a"], ["a"], ["1"], language="en", tokenizer="13b")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"'ja-mecab', whose dictionary is not installed.*sacrebleu\[ja\]"):
        translation_score("bleu", ["a"], ["a"], ["1"], language="ja", tokenizer="ja-mecab")
    with pytest.raises(InputError, match="'flores200', and sentencepiece is not installed"):
        translation_score("bleu", ["a"], ["a"], ["1"], language="ja", tokenizer="flores200")
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: "there")
    monkeypatch.setattr("alignlab.evaluation.translation.SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(InputError, match="'flores200', whose model is not on this machine"):
        translation_score("bleu", ["a"], ["a"], ["1"], language="ja", tokenizer="flores200")


def test_of_one_cluster_there_is_no_interval() -> None:
    found = translation_score("bleu", ["a b c d"], ["a b c d"], ["1"], language="en").estimate
    assert found.value == pytest.approx(100)
    assert math.isnan(found.low)


def test_bleu_with_few_right_4_grams_has_no_interval() -> None:
    """In simulation that of 5 or 10 translations of a BLEU of 5 held it in .74 to .80 of runs."""
    words = ["the", "cat", "sat", "on", "a", "mat", "by", "the", "door", "of", "our", "old", "house", "in", "town"]
    references = [" ".join(words)] * 4  # a line has 12 4-grams
    poor = [" ".join([*words[:5], *words[:0:-1]])] * 4  # and 2 of them here
    for translations, few in ((poor, True), (references[:1] + poor[1:], False)):
        right = [
            sum(line.split()[i : i + 4] == words[i : i + 4] for i in range(len(words) - 3)) for line in translations
        ]
        assert (sum(right) < 10) == few
        found = translation_score("bleu", translations, references, list("abcd"), language="en").estimate
        assert math.isnan(found.low) == math.isnan(found.high) == few
        assert translation_score("chrf++", translations, references, list("abcd"), language="en").estimate.value > 0
    # Where one of the two has enough, their difference is told.
    better = change_of_score("bleu", poor, references[:1] + poor[1:], references, list("abcd"), language="en").estimate
    assert better.low < better.value < better.high
    assert math.isnan(change_of_score("bleu", poor, poor[::-1], references, list("abcd"), language="en").estimate.p)


def test_the_translation_is_the_first_line() -> None:
    assert translated("\n  The house. \nGerman: Das") == "The house."
    assert translated(" \n") == ""


def test_requests_out_of_parallel_files(tmp_path: Path) -> None:
    for code, lines in (("de", "Haus {text}\nStraße\n"), ("en", "house\nstreet\n"), ("fr", "maison\nrue\n")):
        (tmp_path / f"{code}.txt").write_text(lines, encoding="utf-8")
    source = Translation(path=f"{tmp_path}/{{language}}.txt", pairs=["de-en", "en-de", "de-fr"])
    records = source.load()
    assert len(records) == 6
    assert (records[0].id, records[0].language, records[0].answer, records[0].cluster) == (
        "de:1",
        "en",
        "house",
        "line 1",
    )
    # A brace in a text is only a brace.
    asked = "Translate the following sentence from German to English.\nGerman: Haus {text}\nEnglish:"
    assert records[0].prompt == asked
    assert (records[5].id, records[5].language, records[5].prompt.splitlines()[-1]) == ("de:2", "fr", "French:")
    some = Translation(path=source.path, pairs=["de-en"], first_line=2, limit=5, cluster_lines=2).load()
    assert [(one.id, one.cluster) for one in some] == [("de:2", "lines 1-2")]


def test_parallel_files_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    for code, lines in (("de", "Haus\n\nTür\n"), ("en", "house\nstreet\n"), ("fr", "maison\n")):
        (tmp_path / f"{code}.txt").write_text(lines, encoding="utf-8")
    path = f"{tmp_path}/{{language}}.txt"
    with pytest.raises(InputError) as refused:
        Translation(path=path, pairs=["de-es"]).load()
    assert "de.txt:2: the line is empty" in str(refused.value)
    assert "es.txt: there is no such file" in str(refused.value)
    with pytest.raises(InputError, match="different lengths in lines: en 2, fr 1"):
        Translation(path=path, pairs=["en-fr"]).load()
    (tmp_path / "fr.txt").write_text("maison\nrue\n", encoding="utf-8")
    with pytest.raises(InputError, match="first_line: 3; expected one of the 2 lines"):
        Translation(path=path, pairs=["en-fr"], first_line=3).load()
    for pairs in (["en"], ["en-en"], ["en-xx"], [], ["en-fr", "en-fr"]):
        with pytest.raises(ValueError, match="pairs of two language codes"):
            Translation(path=path, pairs=pairs)
    with pytest.raises(ValueError, match=r"a text with \{text\} in it"):
        Translation(path=path, pairs=["en-fr"], template="{prompt}")
