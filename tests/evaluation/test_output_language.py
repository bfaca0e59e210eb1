"""The language of answers: sentences written for this test, the demo's worked answers, and what must be left open."""

from __future__ import annotations

import random
import socket

import numpy as np
import pytest

from alignlab.data.wordproblems import LANGUAGES as PROBLEM_LANGUAGES
from alignlab.data.wordproblems import generate
from alignlab.errors import InputError
from alignlab.evaluation import output_language
from alignlab.evaluation.output_language import cannot_be_told, language_of
from alignlab.languages import LANGUAGES

SENTENCES = {
    "ar": "ذهب الأولاد إلى السوق واشتروا عشر تفاحات لأمهم.",
    "bn": "ছেলেরা বাজারে গিয়ে তাদের মায়ের জন্য দশটি আপেল কিনল।",
    "de": "Die Jungen gingen zum Markt und kauften zehn Äpfel für ihre Mutter.",
    "en": "The boys went to the market and bought ten apples for their mother.",
    "es": "Los niños fueron al mercado y compraron diez manzanas para su madre.",
    "fi": "Pojat menivät torille ja ostivat äidilleen kymmenen omenaa.",
    "fr": "Les garçons sont allés au marché et ont acheté dix pommes pour leur mère.",
    "he": "הילדים הלכו לשוק וקנו עשרה תפוחים לאמא שלהם.",
    "hi": "लड़के बाज़ार गए और अपनी माँ के लिए दस सेब खरीदे।",
    "id": "Anak-anak itu pergi ke pasar dan membeli sepuluh apel untuk ibu mereka.",
    "it": "I ragazzi andarono al mercato e comprarono dieci mele per la loro madre.",
    "ja": "男の子たちは市場へ行って、お母さんのためにりんごを十個買いました。",
    "ko": "소년들은 시장에 가서 어머니를 위해 사과 열 개를 샀습니다.",
    "nl": "De jongens gingen naar de markt en kochten tien appels voor hun moeder.",
    "ru": "Мальчики пошли на рынок и купили для своей мамы десять яблок.",
    "sv": "Pojkarna gick till marknaden och köpte tio äpplen till sin mamma.",
    "sw": "Wavulana walienda sokoni na kununua matufaha kumi kwa ajili ya mama yao.",
    "ta": "சிறுவர்கள் சந்தைக்குச் சென்று தங்கள் அம்மாவுக்குப் பத்து ஆப்பிள்கள் வாங்கினார்கள்.",
    "te": "అబ్బాయిలు బజారుకు వెళ్లి తమ అమ్మ కోసం పది ఆపిల్స్ కొన్నారు.",
    "th": "เด็กผู้ชายไปตลาดและซื้อแอปเปิลสิบลูกให้แม่ของพวกเขา",
    "tr": "Çocuklar pazara gitti ve anneleri için on elma aldı.",
    "ur": "لڑکے بازار گئے اور اپنی ماں کے لیے دس سیب خریدے۔",
    "vi": "Các cậu bé đi chợ và mua mười quả táo cho mẹ của họ.",
    "zh": "男孩们去市场给他们的妈妈买了十个苹果。",
}


def test_a_sentence_of_each_language_among_all_of_them() -> None:
    assert language_of(SENTENCES.values(), list(SENTENCES)) == list(SENTENCES)


def test_the_order_of_texts_and_languages_changes_nothing() -> None:
    rng = random.Random(0)
    codes, texts = list(SENTENCES), list(SENTENCES)
    rng.shuffle(codes)
    rng.shuffle(texts)
    assert language_of([SENTENCES[code] for code in texts], codes) == texts
    assert [language_of([SENTENCES[code]], codes)[0] for code in texts] == texts


def test_worked_answers_of_the_demo() -> None:
    records = generate(PROBLEM_LANGUAGES, 100, "test")
    found = language_of([record.answer for record in records], PROBLEM_LANGUAGES)
    wrong = [record for record, code in zip(records, found, strict=True) if code not in (record.language, None)]
    right = sum(record.language == code for record, code in zip(records, found, strict=True))
    assert wrong == []
    assert right / len(records) >= 0.995


@pytest.mark.parametrize(
    "text", ["", "18", "  \n", "#### 18", "= 5 + 3", "18 m", "$\\frac{1}{2}$", "١٨", "🍎🍎🍎🍎", "???", "个"]
)
def test_too_little_text_has_no_language(text: str) -> None:
    assert language_of([text], list(SENTENCES)) == [None]


def test_digits_formulas_and_punctuation_are_left_out() -> None:
    worked = "31 × 14 = 434, $\\frac{31}{14} \\times \\text{}$ <<31*14=434>> (434) #### 434 "
    plain = language_of(SENTENCES.values(), list(SENTENCES))
    assert language_of([worked + text + worked for text in SENTENCES.values()], list(SENTENCES)) == plain
    assert language_of([worked], list(SENTENCES)) == [None]


@pytest.mark.parametrize("asked", [["en", "de", "zh", "th"], ["en", "fr"], ["zh", "sw"], ["th"], ["ru", "ar"]])
def test_a_script_that_no_language_at_hand_has_is_none_of_them(asked: list[str]) -> None:
    # The naive Bayes model alone takes Arabic for English and Korean for Chinese, with a confidence of 1.
    scripts = {LANGUAGES[code].script for code in asked}
    others = [code for code in SENTENCES if LANGUAGES[code].script not in scripts]
    assert others
    assert language_of([SENTENCES[code] for code in others], asked) == [None] * len(others)


def test_units_and_names_in_latin_letters_leave_a_text_its_language() -> None:
    texts = ["Tom 有 18 kg 苹果，他又买了 5 kg。", "Jennifer は 18 km 走りました。", "Jennifer มีเงิน 18 USD"]
    assert language_of(texts, list(SENTENCES)) == ["zh", "ja", "th"]


@pytest.mark.parametrize(
    ("text", "languages"),
    [("Han har en god hund.", ["da", "nb"]), ("Han spiser en is.", ["da", "nb"]), ("Anna, Maria", ["de", "it", "sv"])],
)
def test_what_is_the_same_in_two_languages_is_in_none(text: str, languages: list[str]) -> None:
    assert language_of([text], languages) == [None]
    assert language_of([text], [*languages[:1], "en", "zh"]) == languages[:1]


def test_codes_are_ours_where_py3langid_has_others() -> None:
    texts = [
        "Guttene gikk til markedet og kjøpte ti epler til moren sin.",
        "Bumili ng sampung mansanas ang mga bata sa palengke.",
    ]
    assert language_of(texts, ["nb", "fil", "en", "sv"]) == ["nb", "fil"]
    assert language_of(texts, ["no", "tl", "en", "sv"]) == ["no", "tl"]


def test_languages_that_cannot_be_told_are_refused_together() -> None:
    assert cannot_be_told(["en", "bo", "nb", "mi"]) == ["bo", "mi"]
    with pytest.raises(InputError) as refused:
        language_of(["text"], ["en", "bo", "mi", "no", "nb"])
    assert [problem.found for problem in refused.value.problems] == [
        "'bo', which py3langid has not learnt",
        "'mi', which py3langid has not learnt",
        "'no', 'nb'",
    ]
    with pytest.raises(InputError, match="none; expected one or more"):
        language_of(["text"], [])
    with pytest.raises(InputError, match="Did you mean 'de'"):
        language_of(["text"], ["en", "ger"])


def test_most_languages_can_be_told() -> None:
    assert len(cannot_be_told(LANGUAGES)) <= 10


def test_the_model_is_read_without_unpickling_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    loads = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **kwargs: (loads.append(kwargs), load(*args, **kwargs))[1])
    output_language._identifier.cache_clear()
    output_language._restricted_to.cache_clear()
    assert language_of([SENTENCES["de"]], ["de", "en"]) == ["de"]
    assert loads == [{"allow_pickle": False}]
