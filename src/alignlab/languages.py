"""Languages by ISO code. A new language is one line in `LANGUAGES`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from alignlab.errors import InputError, Problem


@dataclass(frozen=True)
class Language:
    """A language.

    code: ISO 639-1 where there is one, else ISO 639-3.
    name: in English.
    script: the one it is mostly written in, ISO 15924; `Hans` and `Jpan` where one code stands for a mixture.
    family: the group in which kinship shows. That is the branch in the great families (Indo-European: Germanic,
        Romance, Indo-Aryan ...; Sino-Tibetan: Sinitic ...; Afro-Asiatic: Semitic ...; Atlantic-Congo: Bantu ...) and
        the family itself in the others. A language alone in its family bears its own name; creoles are `Creole`.
    """

    code: str
    name: str
    script: str
    family: str


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("af", "Afrikaans", "Latn", "Germanic"),
        Language("am", "Amharic", "Ethi", "Semitic"),
        Language("ar", "Arabic", "Arab", "Semitic"),
        Language("as", "Assamese", "Beng", "Indo-Aryan"),
        Language("az", "Azerbaijani", "Latn", "Turkic"),
        Language("be", "Belarusian", "Cyrl", "Slavic"),
        Language("bg", "Bulgarian", "Cyrl", "Slavic"),
        Language("bn", "Bengali", "Beng", "Indo-Aryan"),
        Language("bo", "Tibetan", "Tibt", "Tibeto-Burman"),
        Language("br", "Breton", "Latn", "Celtic"),
        Language("bs", "Bosnian", "Latn", "Slavic"),
        Language("ca", "Catalan", "Latn", "Romance"),
        Language("ceb", "Cebuano", "Latn", "Austronesian"),
        Language("cs", "Czech", "Latn", "Slavic"),
        Language("cy", "Welsh", "Latn", "Celtic"),
        Language("da", "Danish", "Latn", "Germanic"),
        Language("de", "German", "Latn", "Germanic"),
        Language("el", "Greek", "Grek", "Hellenic"),
        Language("en", "English", "Latn", "Germanic"),
        Language("eo", "Esperanto", "Latn", "Constructed"),
        Language("es", "Spanish", "Latn", "Romance"),
        Language("et", "Estonian", "Latn", "Uralic"),
        Language("eu", "Basque", "Latn", "Basque"),
        Language("fa", "Persian", "Arab", "Iranian"),
        Language("fi", "Finnish", "Latn", "Uralic"),
        Language("fil", "Filipino", "Latn", "Austronesian"),
        Language("fr", "French", "Latn", "Romance"),
        Language("ga", "Irish", "Latn", "Celtic"),
        Language("gl", "Galician", "Latn", "Romance"),
        Language("gu", "Gujarati", "Gujr", "Indo-Aryan"),
        Language("ha", "Hausa", "Latn", "Chadic"),
        Language("he", "Hebrew", "Hebr", "Semitic"),
        Language("hi", "Hindi", "Deva", "Indo-Aryan"),
        Language("hr", "Croatian", "Latn", "Slavic"),
        Language("ht", "Haitian Creole", "Latn", "Creole"),
        Language("hu", "Hungarian", "Latn", "Uralic"),
        Language("hy", "Armenian", "Armn", "Armenian"),
        Language("id", "Indonesian", "Latn", "Austronesian"),
        Language("ig", "Igbo", "Latn", "Volta-Niger"),
        Language("is", "Icelandic", "Latn", "Germanic"),
        Language("it", "Italian", "Latn", "Romance"),
        Language("ja", "Japanese", "Jpan", "Japonic"),
        Language("jv", "Javanese", "Latn", "Austronesian"),
        Language("ka", "Georgian", "Geor", "Kartvelian"),
        Language("kk", "Kazakh", "Cyrl", "Turkic"),
        Language("km", "Khmer", "Khmr", "Austroasiatic"),
        Language("kn", "Kannada", "Knda", "Dravidian"),
        Language("ko", "Korean", "Kore", "Koreanic"),
        Language("ku", "Kurdish", "Latn", "Iranian"),
        Language("ky", "Kyrgyz", "Cyrl", "Turkic"),
        Language("la", "Latin", "Latn", "Italic"),
        Language("lb", "Luxembourgish", "Latn", "Germanic"),
        Language("lg", "Ganda", "Latn", "Bantu"),
        Language("lo", "Lao", "Laoo", "Kra-Dai"),
        Language("lt", "Lithuanian", "Latn", "Baltic"),
        Language("lv", "Latvian", "Latn", "Baltic"),
        Language("mg", "Malagasy", "Latn", "Austronesian"),
        Language("mi", "Maori", "Latn", "Austronesian"),
        Language("mk", "Macedonian", "Cyrl", "Slavic"),
        Language("ml", "Malayalam", "Mlym", "Dravidian"),
        Language("mn", "Mongolian", "Cyrl", "Mongolic"),
        Language("mr", "Marathi", "Deva", "Indo-Aryan"),
        Language("ms", "Malay", "Latn", "Austronesian"),
        Language("mt", "Maltese", "Latn", "Semitic"),
        Language("my", "Burmese", "Mymr", "Tibeto-Burman"),
        Language("nb", "Norwegian Bokmål", "Latn", "Germanic"),
        Language("ne", "Nepali", "Deva", "Indo-Aryan"),
        Language("nl", "Dutch", "Latn", "Germanic"),
        Language("nn", "Norwegian Nynorsk", "Latn", "Germanic"),
        Language("no", "Norwegian", "Latn", "Germanic"),
        Language("ny", "Chichewa", "Latn", "Bantu"),
        Language("oc", "Occitan", "Latn", "Romance"),
        Language("om", "Oromo", "Latn", "Cushitic"),
        Language("or", "Odia", "Orya", "Indo-Aryan"),
        Language("pa", "Punjabi", "Guru", "Indo-Aryan"),
        Language("pl", "Polish", "Latn", "Slavic"),
        Language("ps", "Pashto", "Arab", "Iranian"),
        Language("pt", "Portuguese", "Latn", "Romance"),
        Language("qu", "Quechua", "Latn", "Quechuan"),
        Language("ro", "Romanian", "Latn", "Romance"),
        Language("ru", "Russian", "Cyrl", "Slavic"),
        Language("rw", "Kinyarwanda", "Latn", "Bantu"),
        Language("sa", "Sanskrit", "Deva", "Indo-Aryan"),
        Language("sd", "Sindhi", "Arab", "Indo-Aryan"),
        Language("si", "Sinhala", "Sinh", "Indo-Aryan"),
        Language("sk", "Slovak", "Latn", "Slavic"),
        Language("sl", "Slovenian", "Latn", "Slavic"),
        Language("sn", "Shona", "Latn", "Bantu"),
        Language("so", "Somali", "Latn", "Cushitic"),
        Language("sq", "Albanian", "Latn", "Albanian"),
        Language("sr", "Serbian", "Cyrl", "Slavic"),
        Language("st", "Southern Sotho", "Latn", "Bantu"),
        Language("su", "Sundanese", "Latn", "Austronesian"),
        Language("sv", "Swedish", "Latn", "Germanic"),
        Language("sw", "Swahili", "Latn", "Bantu"),
        Language("ta", "Tamil", "Taml", "Dravidian"),
        Language("te", "Telugu", "Telu", "Dravidian"),
        Language("tg", "Tajik", "Cyrl", "Iranian"),
        Language("th", "Thai", "Thai", "Kra-Dai"),
        Language("ti", "Tigrinya", "Ethi", "Semitic"),
        Language("tk", "Turkmen", "Latn", "Turkic"),
        Language("tl", "Tagalog", "Latn", "Austronesian"),
        Language("tn", "Tswana", "Latn", "Bantu"),
        Language("tr", "Turkish", "Latn", "Turkic"),
        Language("tt", "Tatar", "Cyrl", "Turkic"),
        Language("ug", "Uyghur", "Arab", "Turkic"),
        Language("uk", "Ukrainian", "Cyrl", "Slavic"),
        Language("ur", "Urdu", "Arab", "Indo-Aryan"),
        Language("uz", "Uzbek", "Latn", "Turkic"),
        Language("vi", "Vietnamese", "Latn", "Austroasiatic"),
        Language("wo", "Wolof", "Latn", "Senegambian"),
        Language("xh", "Xhosa", "Latn", "Bantu"),
        Language("yi", "Yiddish", "Hebr", "Germanic"),
        Language("yo", "Yoruba", "Latn", "Volta-Niger"),
        Language("yue", "Cantonese", "Hant", "Sinitic"),
        Language("zh", "Chinese", "Hans", "Sinitic"),
        Language("zu", "Zulu", "Latn", "Bantu"),
    )
}

# What people write instead: country codes, ISO 639-3 codes, other names.
_INSTEAD = {
    other: code
    for code, others in {
        "ar": "ara arb",
        "bn": "ben bangla",
        "cs": "cz ces cze",
        "da": "dk dan",
        "de": "deu ger deutsch",
        "el": "gr ell gre",
        "en": "eng",
        "es": "spa castilian",
        "et": "est ekk",
        "fa": "fas pes farsi",
        "fi": "fin",
        "fr": "fra fre",
        "he": "heb iw",
        "hi": "hin",
        "ht": "hat",
        "hu": "hun",
        "id": "ind in",
        "it": "ita",
        "ja": "jp jpn",
        "ko": "kr kor",
        "nl": "nld dut",
        "no": "nor",
        "pl": "pol",
        "pt": "por",
        "qu": "que quy quz",
        "ro": "ron rum",
        "ru": "rus",
        "sv": "swe",
        "sw": "swa swh kiswahili",
        "ta": "tam",
        "te": "tel",
        "th": "tha",
        "tr": "tur",
        "uk": "ua ukr",
        "ur": "urd",
        "vi": "vn vie",
        "zh": "cn zho chi cmn mandarin",
    }.items()
    for other in others.split()
}
_EXPECTED = "ISO 639 codes such as de, sw, zh"


def is_code(code: str) -> bool:
    return code in LANGUAGES


def get(code: str, where: str = "language") -> Language:
    """The language of a code; `where` the code was found is named if there is none."""
    if code not in LANGUAGES:
        near = _nearest(code)
        fix = f"Did you mean {near!r}?" if near else ""
        raise InputError(Problem(where, f"{code!r} is not a known code", _EXPECTED, fix))
    return LANGUAGES[code]


def check_codes(codes: str | Iterable[str]) -> str | None:
    """What was expected of language codes (one, a list, or the keys of a mapping), or None: for `option(check=...)`."""
    codes = [codes] if isinstance(codes, str) else list(codes)
    unknown = [code for code in dict.fromkeys(codes) if code not in LANGUAGES]
    if unknown:
        return f"{_EXPECTED}, not " + ", ".join(map(_with_suggestion, unknown))
    twice = [code for code in dict.fromkeys(codes) if codes.count(code) > 1]
    return f"each language once, not {', '.join(map(repr, twice))} twice" if twice else None


def _with_suggestion(code: str) -> str:
    near = _nearest(code)
    return repr(code) + (f" (did you mean {near!r}?)" if near else "")


def _nearest(code: str) -> str:
    """The code that another code, a tag with a region or script, or a name stands for; else an empty string."""
    word = code.casefold().strip()
    for candidate in (word, word.replace("_", "-").partition("-")[0]):
        near = candidate if candidate in LANGUAGES else _INSTEAD.get(candidate)
        if near:
            return near
    by_name = {language.name.casefold(): language.code for language in LANGUAGES.values()}
    names = difflib.get_close_matches(word, by_name, n=1, cutoff=0.75)
    return by_name[names[0]] if names else ""
