"""Names of languages in tokenizers of transformers, and the tokens that texts get under them."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.languages import LANGUAGES
from alignlab.preparation.translator_names import names_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_translators import make_nllb


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return transformers.AutoTokenizer.from_pretrained(make_nllb(tmp_path_factory.mktemp("nllb")))


def test_every_language_is_named_as_nllb_names_it() -> None:
    named = {code: language.nllb for code, language in LANGUAGES.items() if language.nllb}
    assert set(LANGUAGES) - set(named) == {"br", "la"}  # of which it has no data
    assert set(named.values()) <= set(FAIRSEQ_LANGUAGE_CODES)
    for code, name in named.items():
        script = {"Kore": "Hang"}.get(LANGUAGES[code].script, LANGUAGES[code].script)
        assert name.endswith(f"_{script}")
    twice = {name for name in named.values() if list(named.values()).count(name) > 1}
    assert twice == {"nob_Latn", "tgl_Latn"}  # no and nb, tl and fil
    assert (named["ja"], named["sw"], named["zh"], named["th"]) == ("jpn_Jpan", "swh_Latn", "zho_Hans", "tha_Thai")


def test_nllb_is_told_both_languages(nllb: Any) -> None:
    names = names_of(nllb, ["ja", "en", "ja"], {}, "rule.codes")
    assert names.spelled == {"ja": "jpn_Jpan", "en": "eng_Latn"}
    expected = transformers.NllbTokenizer.from_pretrained(nllb.name_or_path, src_lang="jpn_Jpan", tgt_lang="eng_Latn")
    given = expected("りんごが12個", text_target="Anna has 12 apples.")
    for code, text, target, kind in (
        ("ja", "りんごが12個", False, "input_ids"), ("en", "Anna has 12 apples.", True, "labels"),
    ):  # fmt: skip
        (tokens,), cut = names.encode([text], code, target=target, most=50)
        assert (tokens.tolist(), cut) == (given[kind], 0)
    assert nllb.convert_ids_to_tokens(given["input_ids"])[0] == "jpn_Jpan"


def test_longer_texts_are_cut_with_their_special_tokens(nllb: Any) -> None:
    names = names_of(nllb, ["de", "en"], {}, "rule.codes")
    (whole, short), cut = names.encode(["Anna hat 12 Äpfel " * 20, "12"], "de", target=False, most=10)
    assert (len(whole), cut) == (10, 1)
    assert nllb.convert_ids_to_tokens([whole[0], whole[-1]]) == ["deu_Latn", "</s>"]
    assert len(short) < 10


def test_mbart_has_names_with_countries() -> None:
    tokenizer = transformers.MBart50Tokenizer()
    names = names_of(tokenizer, ["de", "en", "ja", "zh", "sw"], {}, "rule.codes")
    assert names.spelled == {"de": "de_DE", "en": "en_XX", "ja": "ja_XX", "zh": "zh_CN", "sw": "sw_KE"}
    for target in (False, True):
        (tokens,), _ = names.encode(["1"], "sw", target=target, most=16)
        assert tokenizer.convert_ids_to_tokens(tokens.tolist())[0] == "sw_KE"


def test_a_name_that_is_given_stands_before_those_found(nllb: Any) -> None:
    assert names_of(nllb, ["zh"], {"zh": "zho_Hant"}, "rule.codes").spelled == {"zh": "zho_Hant"}
    with pytest.raises(InputError) as refused:
        names_of(nllb, ["la", "zh"], {"zh": "apples"}, "rule.codes")  # a token, but none of a language
    assert len(refused.value.problems) == 2
    assert "rule.codes.zh: Chinese: the tokenizer has no token 'apples'; expected one that it knows." in str(
        refused.value
    )


def test_a_tokenizer_that_does_not_put_the_token_into_texts_is_refused(nllb: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(nllb.name_or_path)
    tokenizer.add_tokens(["__xy__"], special_tokens=True)
    with pytest.raises(InputError, match="NllbTokenizer puts no token of xy into a source text"):
        names_of(tokenizer, ["de"], {"de": "xy"}, "rule.codes")


@pytest.mark.parametrize("given", [{}, {"de": "<2de>"}])
@pytest.mark.parametrize("word", [">>deu<<", "<2de>", "<2zh_Latn>"])
def test_a_tokenizer_that_wants_the_language_as_a_word_is_refused(
    word: str, given: dict[str, str], tokenizer: Any
) -> None:
    """Marian's of several languages, and MADLAD-400's: without the word they translate into any language."""
    other = copy.deepcopy(tokenizer)
    other.add_tokens([word])
    with pytest.raises(UnsupportedModelError, match=f"as a word in the text, such as {word}"):
        names_of(other, ["de", "en"], given, "rule.codes")


def test_a_tokenizer_without_names_needs_none(tokenizer: Any) -> None:
    names = names_of(tokenizer, ["de", "en"], {}, "rule.codes")
    assert names.spelled == {}
    (tokens,), _ = names.encode(["Anna hat"], "de", target=True, most=16)
    assert tokens.tolist() == tokenizer("Anna hat")["input_ids"]
