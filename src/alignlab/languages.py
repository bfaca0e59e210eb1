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
    """

    code: str
    name: str
    script: str = ""
    family: str = ""
    own_name: str = ""
    resource: float | None = None
    typology: Mapping[str, str] = field(default_factory=dict)
    spoken: str = ""


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("af", "Afrikaans", "Latn", "Germanic", "Afrikaans"),
        Language("am", "Amharic", "Ethi", "Semitic", "አማርኛ"),
        Language("ar", "Arabic", "Arab", "Semitic", "العربية"),
        Language("as", "Assamese", "Beng", "Indo-Aryan", "অসমীয়া"),
        Language("az", "Azerbaijani", "Latn", "Turkic", "azərbaycan"),
        Language("be", "Belarusian", "Cyrl", "Slavic", "беларуская"),
        Language("bg", "Bulgarian", "Cyrl", "Slavic", "български"),
        Language("bn", "Bengali", "Beng", "Indo-Aryan", "বাংলা"),
        Language("bo", "Tibetan", "Tibt", "Tibeto-Burman", "བོད་སྐད་"),
        Language("br", "Breton", "Latn", "Celtic", "brezhoneg"),
        Language("bs", "Bosnian", "Latn", "Slavic", "bosanski"),
        Language("ca", "Catalan", "Latn", "Romance", "català"),
        Language("ceb", "Cebuano", "Latn", "Austronesian", "Cebuano"),
        Language("cs", "Czech", "Latn", "Slavic", "čeština"),
        Language("cy", "Welsh", "Latn", "Celtic", "Cymraeg"),
        Language("da", "Danish", "Latn", "Germanic", "dansk"),
        Language("de", "German", "Latn", "Germanic", "Deutsch"),
        Language("el", "Greek", "Grek", "Hellenic", "Ελληνικά"),
        Language("en", "English", "Latn", "Germanic", "English"),
        Language("eo", "Esperanto", "Latn", "Constructed", "Esperanto"),
        Language("es", "Spanish", "Latn", "Romance", "español"),
        Language("et", "Estonian", "Latn", "Uralic", "eesti"),
        Language("eu", "Basque", "Latn", "Basque", "euskara"),
        Language("fa", "Persian", "Arab", "Iranian", "فارسی"),
        Language("fi", "Finnish", "Latn", "Uralic", "suomi"),
        Language("fil", "Filipino", "Latn", "Austronesian", "Filipino"),
        Language("fr", "French", "Latn", "Romance", "français"),
        Language("ga", "Irish", "Latn", "Celtic", "Gaeilge"),
        Language("gl", "Galician", "Latn", "Romance", "galego"),
        Language("gu", "Gujarati", "Gujr", "Indo-Aryan", "ગુજરાતી"),
        Language("ha", "Hausa", "Latn", "Chadic", "Hausa"),
        Language("he", "Hebrew", "Hebr", "Semitic", "עברית"),
        Language("hi", "Hindi", "Deva", "Indo-Aryan", "हिन्दी"),
        Language("hr", "Croatian", "Latn", "Slavic", "hrvatski"),
        Language("ht", "Haitian Creole", "Latn", "Creole", "Kreyòl Ayisyen"),
        Language("hu", "Hungarian", "Latn", "Uralic", "magyar"),
        Language("hy", "Armenian", "Armn", "Armenian", "հայերեն"),
        Language("id", "Indonesian", "Latn", "Austronesian", "Indonesia"),
        Language("ig", "Igbo", "Latn", "Volta-Niger", "Igbo"),
        Language("is", "Icelandic", "Latn", "Germanic", "íslenska"),
        Language("it", "Italian", "Latn", "Romance", "italiano"),
        Language("ja", "Japanese", "Jpan", "Japonic", "日本語"),
        Language("jv", "Javanese", "Latn", "Austronesian", "Jawa"),
        Language("ka", "Georgian", "Geor", "Kartvelian", "ქართული"),
        Language("kk", "Kazakh", "Cyrl", "Turkic", "қазақ тілі"),
        Language("km", "Khmer", "Khmr", "Austroasiatic", "ខ្មែរ"),
        Language("kn", "Kannada", "Knda", "Dravidian", "ಕನ್ನಡ"),
        Language("ko", "Korean", "Kore", "Koreanic", "한국어"),
        Language("ku", "Kurdish", "Latn", "Iranian", "kurdî (kurmancî)"),
        Language("ky", "Kyrgyz", "Cyrl", "Turkic", "кыргызча"),
        Language("la", "Latin", "Latn", "Italic", "Latina"),
        Language("lb", "Luxembourgish", "Latn", "Germanic", "Lëtzebuergesch"),
        Language("lg", "Ganda", "Latn", "Bantu", "Luganda"),
        Language("lo", "Lao", "Laoo", "Kra-Dai", "ລາວ"),
        Language("lt", "Lithuanian", "Latn", "Baltic", "lietuvių"),
        Language("lv", "Latvian", "Latn", "Baltic", "latviešu"),
        Language("mg", "Malagasy", "Latn", "Austronesian", "Malagasy"),
        Language("mi", "Maori", "Latn", "Austronesian", "Māori"),
        Language("mk", "Macedonian", "Cyrl", "Slavic", "македонски"),
        Language("ml", "Malayalam", "Mlym", "Dravidian", "മലയാളം"),
        Language("mn", "Mongolian", "Cyrl", "Mongolic", "монгол"),
        Language("mr", "Marathi", "Deva", "Indo-Aryan", "मराठी"),
        Language("ms", "Malay", "Latn", "Austronesian", "Melayu"),
        Language("mt", "Maltese", "Latn", "Semitic", "Malti"),
        Language("my", "Burmese", "Mymr", "Tibeto-Burman", "မြန်မာ"),
        Language("nb", "Norwegian Bokmål", "Latn", "Germanic", "norsk bokmål"),
        Language("ne", "Nepali", "Deva", "Indo-Aryan", "नेपाली"),
        Language("nl", "Dutch", "Latn", "Germanic", "Nederlands"),
        Language("nn", "Norwegian Nynorsk", "Latn", "Germanic", "norsk nynorsk"),
        Language("no", "Norwegian", "Latn", "Germanic", "norsk"),
        Language("ny", "Chichewa", "Latn", "Bantu", "Nyanja"),
        Language("oc", "Occitan", "Latn", "Romance", "occitan"),
        Language("om", "Oromo", "Latn", "Cushitic", "Oromoo"),
        Language("or", "Odia", "Orya", "Indo-Aryan", "ଓଡ଼ିଆ"),
        Language("pa", "Punjabi", "Guru", "Indo-Aryan", "ਪੰਜਾਬੀ"),
        Language("pl", "Polish", "Latn", "Slavic", "polski"),
        Language("ps", "Pashto", "Arab", "Iranian", "پښتو"),
        Language("pt", "Portuguese", "Latn", "Romance", "português"),
        Language("qu", "Quechua", "Latn", "Quechuan", "Runasimi"),
        Language("ro", "Romanian", "Latn", "Romance", "română"),
        Language("ru", "Russian", "Cyrl", "Slavic", "русский"),
        Language("rw", "Kinyarwanda", "Latn", "Bantu", "Ikinyarwanda"),
        Language("sa", "Sanskrit", "Deva", "Indo-Aryan", "संस्कृत भाषा"),
        Language("sd", "Sindhi", "Arab", "Indo-Aryan", "سنڌي"),
        Language("si", "Sinhala", "Sinh", "Indo-Aryan", "සිංහල"),
        Language("sk", "Slovak", "Latn", "Slavic", "slovenčina"),
        Language("sl", "Slovenian", "Latn", "Slavic", "slovenščina"),
        Language("sn", "Shona", "Latn", "Bantu", "chiShona"),
        Language("so", "Somali", "Latn", "Cushitic", "Soomaali"),
        Language("sq", "Albanian", "Latn", "Albanian", "shqip"),
        Language("sr", "Serbian", "Cyrl", "Slavic", "српски"),
        Language("st", "Southern Sotho", "Latn", "Bantu", "Sesotho"),
        Language("su", "Sundanese", "Latn", "Austronesian", "Basa Sunda"),
        Language("sv", "Swedish", "Latn", "Germanic", "svenska"),
        Language("sw", "Swahili", "Latn", "Bantu", "Kiswahili"),
        Language("ta", "Tamil", "Taml", "Dravidian", "தமிழ்"),
        Language("te", "Telugu", "Telu", "Dravidian", "తెలుగు"),
        Language("tg", "Tajik", "Cyrl", "Iranian", "тоҷикӣ"),
        Language("th", "Thai", "Thai", "Kra-Dai", "ไทย"),
        Language("ti", "Tigrinya", "Ethi", "Semitic", "ትግርኛ"),
        Language("tk", "Turkmen", "Latn", "Turkic", "türkmen dili"),
        Language("tl", "Tagalog", "Latn", "Austronesian", "Filipino"),
        Language("tn", "Tswana", "Latn", "Bantu", "Setswana"),
        Language("tr", "Turkish", "Latn", "Turkic", "Türkçe"),
        Language("tt", "Tatar", "Cyrl", "Turkic", "татар"),
        Language("ug", "Uyghur", "Arab", "Turkic", "ئۇيغۇرچە"),
        Language("uk", "Ukrainian", "Cyrl", "Slavic", "українська"),
        Language("ur", "Urdu", "Arab", "Indo-Aryan", "اردو"),
        Language("uz", "Uzbek", "Latn", "Turkic", "o‘zbek"),
        Language("vi", "Vietnamese", "Latn", "Austroasiatic", "Tiếng Việt"),
        Language("wo", "Wolof", "Latn", "Senegambian", "Wolof"),
        Language("xh", "Xhosa", "Latn", "Bantu", "IsiXhosa"),
        Language("yi", "Yiddish", "Hebr", "Germanic", "ייִדיש"),
        Language("yo", "Yoruba", "Latn", "Volta-Niger", "Èdè Yorùbá"),
        Language("yue", "Cantonese", "Hant", "Sinitic", "粵語"),
        Language("zh", "Chinese", "Hans", "Sinitic", "中文"),
        Language("zu", "Zulu", "Latn", "Bantu", "isiZulu"),
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
