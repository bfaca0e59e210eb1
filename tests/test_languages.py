from __future__ import annotations

import re

import pytest
from babel import Locale

from alignlab.errors import InputError
from alignlab.languages import _INSTEAD, LANGUAGES, check_codes, get, is_code

# The languages of the data that acceptance uses: GSM8K, MGSM, MSVAMP, NTREX, XCOPA, XWinograd.
IN_DATA = re.findall(r"\w+", "ar bn de en es et fi fr he hi ht id it ja ko nl pt qu ru sv sw ta te th tr ur vi zh")
ISO_15924 = set(
    re.findall(
        r"\w+",
        "Arab Armn Beng Cyrl Deva Ethi Geor Grek Gujr Guru Hans Hant Hebr Jpan Khmr Knda Kore Laoo Latn Mlym Mymr Orya "
        "Sinh Taml Telu Thai Tibt",
    )
)
DECLARE = "Labels that are no languages are declared in labels.table."


def test_the_table():
    assert len(LANGUAGES) >= 100
    assert [code for code in IN_DATA if code not in LANGUAGES] == []
    for code, language in LANGUAGES.items():
        assert code == language.code
        assert re.fullmatch("[a-z]{2,3}", code)
        assert language.script in ISO_15924, language
        assert re.fullmatch("[A-Z][a-z]+(-[A-Z][a-z]+)?", language.family), language
    assert len({language.name for language in LANGUAGES.values()}) == len(LANGUAGES)
    assert list(LANGUAGES) == sorted(LANGUAGES)


def test_own_names_are_those_of_cldr():
    for code, language in LANGUAGES.items():
        assert language.own_name == Locale.parse(code).get_language_name(code)


@pytest.mark.parametrize(
    ("code", "name", "script", "family"),
    [
        ("de", "German", "Latn", "Germanic"),
        ("zh", "Chinese", "Hans", "Sinitic"),
        ("ja", "Japanese", "Jpan", "Japonic"),
        ("sw", "Swahili", "Latn", "Bantu"),
        ("th", "Thai", "Thai", "Kra-Dai"),
        ("te", "Telugu", "Telu", "Dravidian"),
        ("no", "Norwegian", "Latn", "Germanic"),
    ],
)
def test_get(code, name, script, family):
    language = get(code)
    assert (language.name, language.script, language.family) == (name, script, family)
    assert is_code(code)
    assert check_codes(code) is None


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("jp", "ja"),
        ("cn", "zh"),
        ("german", "de"),
        ("German", "de"),
        ("swahilli", "sw"),
        ("DE", "de"),
        ("zh-CN", "zh"),
        ("deu_Latn", "de"),
        ("mandarin", "zh"),
    ],
)
def test_a_wrong_code_is_told_the_right_one(code, near):
    assert not is_code(code)
    with pytest.raises(InputError) as caught:
        get(code, where="a.tsv:3")
    expected = "expected ISO 639 codes such as de, sw, zh"
    assert str(caught.value) == f"a.tsv:3: {code!r} is not a known code; {expected}. Did you mean {near!r}?"
    assert check_codes([code]) == f"ISO 639 codes such as de, sw, zh, not {code!r} (did you mean {near!r}?)"


def test_a_code_that_is_near_to_nothing():
    with pytest.raises(InputError) as caught:
        get("x7q")
    expected = "expected ISO 639 codes such as de, sw, zh"
    assert str(caught.value) == f"language: 'x7q' is not a known code; {expected}. {DECLARE}"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["de", "zh"], None),
        ([], None),
        ({"de": 0.5, "sw": 1}, None),
        (["xx", "de", "jp"], "ISO 639 codes such as de, sw, zh, not 'xx', 'jp' (did you mean 'ja'?). " + DECLARE),
        (["de", "sw", "de", "sw", "de"], "each language once, not 'de', 'sw' twice"),
    ],
)
def test_check_codes(codes, expected):
    assert check_codes(codes) == expected


def test_what_people_write_instead_leads_to_languages_of_the_table():
    assert not set(_INSTEAD) & set(LANGUAGES)
    assert set(_INSTEAD.values()) <= set(LANGUAGES)
