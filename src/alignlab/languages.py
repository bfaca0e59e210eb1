"""Languages by ISO code, and labels declared in their place. A new language is one line in `LANGUAGES`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from alignlab.errors import InputError, Problem, some_of


@dataclass(frozen=True)
class Language:
    """A language, or another label in its place: a culture, a programming language, a domain, a script.

    code: ISO 639-1 where there is one, else ISO 639-3; of another label any that `is_label` takes.
    name: in English.
    script: the one it is mostly written in, ISO 15924; `Hans` and `Jpan` where one code stands for a mixture. Of other
        labels any text, or "".
    family: the group in which kinship shows. That is the branch in the great families (Indo-European: Germanic,
        Romance, Indo-Aryan ...; Sino-Tibetan: Sinitic ...; Afro-Asiatic: Semitic ...; Atlantic-Congo: Bantu ...) and
        the family itself in the others. A language alone in its family bears its own name; creoles are `Creole`. Of
        other labels any text, or "".
    own_name: in the language itself, as Unicode's CLDR has it; "" of other labels.
    resource: how much text of it models have seen, on any scale that rises; None where nobody has said.
    typology: further properties by name, such as its word order.
    spoken: of a culture its language; "" where it is the label itself.
    nllb: how NLLB-200 and other translation models of Meta name it, as FLORES-200 does; "" where they have it not.
    """

    code: str
    name: str
    script: str = ""
    family: str = ""
    own_name: str = ""
    resource: float | None = None
    typology: Mapping[str, str] = field(default_factory=dict)
    spoken: str = ""
    nllb: str = ""


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("af", "Afrikaans", "Latn", "Germanic", "Afrikaans", nllb="afr_Latn"),
        Language("am", "Amharic", "Ethi", "Semitic", "አማርኛ", nllb="amh_Ethi"),
        Language("ar", "Arabic", "Arab", "Semitic", "العربية", nllb="arb_Arab"),
        Language("as", "Assamese", "Beng", "Indo-Aryan", "অসমীয়া", nllb="asm_Beng"),
        Language("az", "Azerbaijani", "Latn", "Turkic", "azərbaycan", nllb="azj_Latn"),
        Language("be", "Belarusian", "Cyrl", "Slavic", "беларуская", nllb="bel_Cyrl"),
        Language("bg", "Bulgarian", "Cyrl", "Slavic", "български", nllb="bul_Cyrl"),
        Language("bn", "Bengali", "Beng", "Indo-Aryan", "বাংলা", nllb="ben_Beng"),
        Language("bo", "Tibetan", "Tibt", "Tibeto-Burman", "བོད་སྐད་", nllb="bod_Tibt"),
        Language("br", "Breton", "Latn", "Celtic", "brezhoneg"),
        Language("bs", "Bosnian", "Latn", "Slavic", "bosanski", nllb="bos_Latn"),
        Language("ca", "Catalan", "Latn", "Romance", "català", nllb="cat_Latn"),
        Language("ceb", "Cebuano", "Latn", "Austronesian", "Cebuano", nllb="ceb_Latn"),
        Language("cs", "Czech", "Latn", "Slavic", "čeština", nllb="ces_Latn"),
        Language("cy", "Welsh", "Latn", "Celtic", "Cymraeg", nllb="cym_Latn"),
        Language("da", "Danish", "Latn", "Germanic", "dansk", nllb="dan_Latn"),
        Language("de", "German", "Latn", "Germanic", "Deutsch", nllb="deu_Latn"),
        Language("el", "Greek", "Grek", "Hellenic", "Ελληνικά", nllb="ell_Grek"),
        Language("en", "English", "Latn", "Germanic", "English", nllb="eng_Latn"),
        Language("eo", "Esperanto", "Latn", "Constructed", "Esperanto", nllb="epo_Latn"),
        Language("es", "Spanish", "Latn", "Romance", "español", nllb="spa_Latn"),
        Language("et", "Estonian", "Latn", "Uralic", "eesti", nllb="est_Latn"),
        Language("eu", "Basque", "Latn", "Basque", "euskara", nllb="eus_Latn"),
        Language("fa", "Persian", "Arab", "Iranian", "فارسی", nllb="pes_Arab"),
        Language("fi", "Finnish", "Latn", "Uralic", "suomi", nllb="fin_Latn"),
        Language("fil", "Filipino", "Latn", "Austronesian", "Filipino", nllb="tgl_Latn"),
        Language("fr", "French", "Latn", "Romance", "français", nllb="fra_Latn"),
        Language("ga", "Irish", "Latn", "Celtic", "Gaeilge", nllb="gle_Latn"),
        Language("gl", "Galician", "Latn", "Romance", "galego", nllb="glg_Latn"),
        Language("gu", "Gujarati", "Gujr", "Indo-Aryan", "ગુજરાતી", nllb="guj_Gujr"),
        Language("ha", "Hausa", "Latn", "Chadic", "Hausa", nllb="hau_Latn"),
        Language("he", "Hebrew", "Hebr", "Semitic", "עברית", nllb="heb_Hebr"),
        Language("hi", "Hindi", "Deva", "Indo-Aryan", "हिन्दी", nllb="hin_Deva"),
        Language("hr", "Croatian", "Latn", "Slavic", "hrvatski", nllb="hrv_Latn"),
        Language("ht", "Haitian Creole", "Latn", "Creole", "Kreyòl Ayisyen", nllb="hat_Latn"),
        Language("hu", "Hungarian", "Latn", "Uralic", "magyar", nllb="hun_Latn"),
        Language("hy", "Armenian", "Armn", "Armenian", "հայերեն", nllb="hye_Armn"),
        Language("id", "Indonesian", "Latn", "Austronesian", "Indonesia", nllb="ind_Latn"),
        Language("ig", "Igbo", "Latn", "Volta-Niger", "Igbo", nllb="ibo_Latn"),
        Language("is", "Icelandic", "Latn", "Germanic", "íslenska", nllb="isl_Latn"),
        Language("it", "Italian", "Latn", "Romance", "italiano", nllb="ita_Latn"),
        Language("ja", "Japanese", "Jpan", "Japonic", "日本語", nllb="jpn_Jpan"),
        Language("jv", "Javanese", "Latn", "Austronesian", "Jawa", nllb="jav_Latn"),
        Language("ka", "Georgian", "Geor", "Kartvelian", "ქართული", nllb="kat_Geor"),
        Language("kk", "Kazakh", "Cyrl", "Turkic", "қазақ тілі", nllb="kaz_Cyrl"),
        Language("km", "Khmer", "Khmr", "Austroasiatic", "ខ្មែរ", nllb="khm_Khmr"),
        Language("kn", "Kannada", "Knda", "Dravidian", "ಕನ್ನಡ", nllb="kan_Knda"),
        Language("ko", "Korean", "Kore", "Koreanic", "한국어", nllb="kor_Hang"),
        Language("ku", "Kurdish", "Latn", "Iranian", "kurdî (kurmancî)", nllb="kmr_Latn"),
        Language("ky", "Kyrgyz", "Cyrl", "Turkic", "кыргызча", nllb="kir_Cyrl"),
        Language("la", "Latin", "Latn", "Italic", "Latina"),
        Language("lb", "Luxembourgish", "Latn", "Germanic", "Lëtzebuergesch", nllb="ltz_Latn"),
        Language("lg", "Ganda", "Latn", "Bantu", "Luganda", nllb="lug_Latn"),
        Language("lo", "Lao", "Laoo", "Kra-Dai", "ລາວ", nllb="lao_Laoo"),
        Language("lt", "Lithuanian", "Latn", "Baltic", "lietuvių", nllb="lit_Latn"),
        Language("lv", "Latvian", "Latn", "Baltic", "latviešu", nllb="lvs_Latn"),
        Language("mg", "Malagasy", "Latn", "Austronesian", "Malagasy", nllb="plt_Latn"),
        Language("mi", "Maori", "Latn", "Austronesian", "Māori", nllb="mri_Latn"),
        Language("mk", "Macedonian", "Cyrl", "Slavic", "македонски", nllb="mkd_Cyrl"),
        Language("ml", "Malayalam", "Mlym", "Dravidian", "മലയാളം", nllb="mal_Mlym"),
        Language("mn", "Mongolian", "Cyrl", "Mongolic", "монгол", nllb="khk_Cyrl"),
        Language("mr", "Marathi", "Deva", "Indo-Aryan", "मराठी", nllb="mar_Deva"),
        Language("ms", "Malay", "Latn", "Austronesian", "Melayu", nllb="zsm_Latn"),
        Language("mt", "Maltese", "Latn", "Semitic", "Malti", nllb="mlt_Latn"),
        Language("my", "Burmese", "Mymr", "Tibeto-Burman", "မြန်မာ", nllb="mya_Mymr"),
        Language("nb", "Norwegian Bokmål", "Latn", "Germanic", "norsk bokmål", nllb="nob_Latn"),
        Language("ne", "Nepali", "Deva", "Indo-Aryan", "नेपाली", nllb="npi_Deva"),
        Language("nl", "Dutch", "Latn", "Germanic", "Nederlands", nllb="nld_Latn"),
        Language("nn", "Norwegian Nynorsk", "Latn", "Germanic", "norsk nynorsk", nllb="nno_Latn"),
        Language("no", "Norwegian", "Latn", "Germanic", "norsk", nllb="nob_Latn"),
        Language("ny", "Chichewa", "Latn", "Bantu", "Nyanja", nllb="nya_Latn"),
        Language("oc", "Occitan", "Latn", "Romance", "occitan", nllb="oci_Latn"),
        Language("om", "Oromo", "Latn", "Cushitic", "Oromoo", nllb="gaz_Latn"),
        Language("or", "Odia", "Orya", "Indo-Aryan", "ଓଡ଼ିଆ", nllb="ory_Orya"),
        Language("pa", "Punjabi", "Guru", "Indo-Aryan", "ਪੰਜਾਬੀ", nllb="pan_Guru"),
        Language("pl", "Polish", "Latn", "Slavic", "polski", nllb="pol_Latn"),
        Language("ps", "Pashto", "Arab", "Iranian", "پښتو", nllb="pbt_Arab"),
        Language("pt", "Portuguese", "Latn", "Romance", "português", nllb="por_Latn"),
        Language("qu", "Quechua", "Latn", "Quechuan", "Runasimi", nllb="quy_Latn"),
        Language("ro", "Romanian", "Latn", "Romance", "română", nllb="ron_Latn"),
        Language("ru", "Russian", "Cyrl", "Slavic", "русский", nllb="rus_Cyrl"),
        Language("rw", "Kinyarwanda", "Latn", "Bantu", "Ikinyarwanda", nllb="kin_Latn"),
        Language("sa", "Sanskrit", "Deva", "Indo-Aryan", "संस्कृत भाषा", nllb="san_Deva"),
        Language("sd", "Sindhi", "Arab", "Indo-Aryan", "سنڌي", nllb="snd_Arab"),
        Language("si", "Sinhala", "Sinh", "Indo-Aryan", "සිංහල", nllb="sin_Sinh"),
        Language("sk", "Slovak", "Latn", "Slavic", "slovenčina", nllb="slk_Latn"),
        Language("sl", "Slovenian", "Latn", "Slavic", "slovenščina", nllb="slv_Latn"),
        Language("sn", "Shona", "Latn", "Bantu", "chiShona", nllb="sna_Latn"),
        Language("so", "Somali", "Latn", "Cushitic", "Soomaali", nllb="som_Latn"),
        Language("sq", "Albanian", "Latn", "Albanian", "shqip", nllb="als_Latn"),
        Language("sr", "Serbian", "Cyrl", "Slavic", "српски", nllb="srp_Cyrl"),
        Language("st", "Southern Sotho", "Latn", "Bantu", "Sesotho", nllb="sot_Latn"),
        Language("su", "Sundanese", "Latn", "Austronesian", "Basa Sunda", nllb="sun_Latn"),
        Language("sv", "Swedish", "Latn", "Germanic", "svenska", nllb="swe_Latn"),
        Language("sw", "Swahili", "Latn", "Bantu", "Kiswahili", nllb="swh_Latn"),
        Language("ta", "Tamil", "Taml", "Dravidian", "தமிழ்", nllb="tam_Taml"),
        Language("te", "Telugu", "Telu", "Dravidian", "తెలుగు", nllb="tel_Telu"),
        Language("tg", "Tajik", "Cyrl", "Iranian", "тоҷикӣ", nllb="tgk_Cyrl"),
        Language("th", "Thai", "Thai", "Kra-Dai", "ไทย", nllb="tha_Thai"),
        Language("ti", "Tigrinya", "Ethi", "Semitic", "ትግርኛ", nllb="tir_Ethi"),
        Language("tk", "Turkmen", "Latn", "Turkic", "türkmen dili", nllb="tuk_Latn"),
        Language("tl", "Tagalog", "Latn", "Austronesian", "Filipino", nllb="tgl_Latn"),
        Language("tn", "Tswana", "Latn", "Bantu", "Setswana", nllb="tsn_Latn"),
        Language("tr", "Turkish", "Latn", "Turkic", "Türkçe", nllb="tur_Latn"),
        Language("tt", "Tatar", "Cyrl", "Turkic", "татар", nllb="tat_Cyrl"),
        Language("ug", "Uyghur", "Arab", "Turkic", "ئۇيغۇرچە", nllb="uig_Arab"),
        Language("uk", "Ukrainian", "Cyrl", "Slavic", "українська", nllb="ukr_Cyrl"),
        Language("ur", "Urdu", "Arab", "Indo-Aryan", "اردو", nllb="urd_Arab"),
        Language("uz", "Uzbek", "Latn", "Turkic", "o‘zbek", nllb="uzn_Latn"),
        Language("vi", "Vietnamese", "Latn", "Austroasiatic", "Tiếng Việt", nllb="vie_Latn"),
        Language("wo", "Wolof", "Latn", "Senegambian", "Wolof", nllb="wol_Latn"),
        Language("xh", "Xhosa", "Latn", "Bantu", "IsiXhosa", nllb="xho_Latn"),
        Language("yi", "Yiddish", "Hebr", "Germanic", "ייִדיש", nllb="ydd_Hebr"),
        Language("yo", "Yoruba", "Latn", "Volta-Niger", "Èdè Yorùbá", nllb="yor_Latn"),
        Language("yue", "Cantonese", "Hant", "Sinitic", "粵語", nllb="yue_Hant"),
        Language("zh", "Chinese", "Hans", "Sinitic", "中文", nllb="zho_Hans"),
        Language("zu", "Zulu", "Latn", "Bantu", "isiZulu", nllb="zul_Latn"),
    )
}

# Languages that write 1.234,5 or 1 234,5 for what others write 1,234.5, by CLDR.
_WITH_COMMA = (
    "af az be bg br bs ca cs da de el eo es et eu fi fr gl hr ht hu hy id is it jv ka kk ku ky lb lo lt lv mk "
    "nb nl nn no pl ps pt ro ru rw sk sl sq sr su sv tg tk tr tt uk uz vi wo"
)
DECIMAL_COMMA = frozenset(_WITH_COMMA.split())

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
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
LABEL_FORM = "1 to 40 letters (a-z, A-Z), digits, - and _, a letter first"
# What a config has declared beside them, by code. One process runs one command, with one table at a time.
_declared: Mapping[str, Language] = {}


@contextmanager
def declared(labels: Iterable[Language]) -> Iterator[None]:
    """Within it these labels are known as languages are; before languages of the same code.

    Labels that an outer `declared` knows are unknown within. Not for threads that declare different ones.

        >>> from alignlab.languages import Language, declared, get
        >>> with declared([Language("python", "Python", family="scripting")]):
        ...     get("python").name
        'Python'
    """
    global _declared
    before, _declared = _declared, {label.code: label for label in labels}
    try:
        yield
    finally:
        _declared = before


def find(code: str) -> Language | None:
    """The language or label of a code; None where there is none."""
    return _declared.get(code) or LANGUAGES.get(code)


def is_code(code: str) -> bool:
    """Whether it is the code of a language, or a declared label."""
    return find(code) is not None


def is_label(code: str) -> bool:
    """Whether a label may be written so, declared or not: it stands in tables, in W&B's keys and in expressions."""
    return _LABEL.fullmatch(code) is not None


def get(code: str, where: str = "language") -> Language:
    """The language or label of a code; `where` the code was found is named if there is none."""
    found = find(code)
    if found is None:
        near = _nearest(code)
        fix = f"Did you mean {near!r}?" if near else _DECLARE
        raise InputError(Problem(where, f"{code!r} is not a known code", _expected(), fix))
    return found


def check_codes(codes: str | Iterable[str]) -> str | None:
    """What was expected of language codes (one, a list, or the keys of a mapping), or None: for `option(check=...)`."""
    codes = [codes] if isinstance(codes, str) else list(codes)
    unknown = [code for code in dict.fromkeys(codes) if not is_code(code)]
    if unknown:
        told = f"{_expected()}, not {', '.join(map(_with_suggestion, unknown))}"
        return told if all(map(_nearest, unknown)) else f"{told}. {_DECLARE}"
    twice = [code for code in dict.fromkeys(codes) if codes.count(code) > 1]
    return f"each language once, not {', '.join(map(repr, twice))} twice" if twice else None


_DECLARE = "Labels that are no languages are declared in labels.table."


def _expected() -> str:
    return f"{_EXPECTED}, or of labels.table ({some_of(list(_declared), 5)})" if _declared else _EXPECTED


def _with_suggestion(code: str) -> str:
    near = _nearest(code)
    return repr(code) + (f" (did you mean {near!r}?)" if near else "")


def _nearest(code: str) -> str:
    """The code that another code, a tag with a region or script, or a name stands for; else an empty string."""
    word = code.casefold().strip()
    labels = {label.casefold(): label for label in _declared}
    for candidate in (word, word.replace("_", "-").partition("-")[0]):
        near = labels.get(candidate) or (candidate if candidate in LANGUAGES else _INSTEAD.get(candidate))
        if near:
            return near
    languages = [*_declared.values(), *LANGUAGES.values()]
    by_name = {language.name.casefold(): language.code for language in languages} | labels
    names = difflib.get_close_matches(word, by_name, n=1, cutoff=0.75)
    return by_name[names[0]] if names else ""
