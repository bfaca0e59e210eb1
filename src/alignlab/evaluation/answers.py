r"""The number that an answer ends with, and whether it is right; `docs/evaluation.md` says how it was tried.

An answer that says which number it is, on a line `#### 18` (GSM8K) or in `\boxed{18}`, is read there; of any other the
last number counts, wherever it stands: a date and a list are numbers like others. Number words are no numbers.

- Digits of every script count (Unicode's Nd).
- Digits are grouped by points, commas, apostrophes and no-break spaces, in threes or as in India; by plain spaces in
  languages with a decimal comma only. Arabic marks mean what they are.
- A single point or comma is a decimal mark, unless exactly three digits follow. Then a comma groups digits in every
  language, because models and translated data write English marks everywhere; a point groups them in languages with a
  decimal comma (CLDR's) and is a decimal point in others. So 1.234 is 1234 in German.
- A minus is a sign where it does not follow a number, a closing bracket or a letter of a script with spaces.
- 3/4 and 1 1/2 are fractions, 25 % is 25, and 3万, 3 million, elfu 3 and 3e4 are multiplied out.
- Exponents of units, as in cm², are not numbers.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import cache

from alignlab.languages import DECIMAL_COMMA, get

TOLERANCE = Fraction(1, 1000)
# Characters. Longer is no answer, and Python reads no integers of over 4,300 digits.
LONGEST = 1000

# What three digits may follow, and still be a decimal mark.
_ALL_MARKS = ".,"

_MINUSES = str.maketrans("−–﹣－．／⁄∕", "----.///")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_VULGAR = {
    chr(code): unicodedata.normalize("NFKC", chr(code)).replace("⁄", "/")
    for code in (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F), 0x2189)
}
_MINUS_WORDS = (
    r"minus|(?<!\bau )(?<!\bdu )moins|(?<!\bal )(?<!\blo )menos|минус|hasi|マイナス|负|負|ลบ|মাইনাস|ঋণাত্মক|माइनस|ऋणात्मक"
    r"|మైనస్|سالب|ناقص"
)
_CURRENCY = r"(?:[A-Z]{0,3}\\?[$€£¥￥₹৳₽฿₩]\s?)?"
# Scripts written without spaces: a letter before a minus does not join it to a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"

_HAN = {
    **dict.fromkeys("十", 10), **dict.fromkeys("百백", 100), **dict.fromkeys("千천", 10**3),
    **dict.fromkeys("万萬만", 10**4), **dict.fromkeys("億亿억", 10**8), **dict.fromkeys("兆조", 10**12),
}  # fmt: skip
_HAN_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2, "兩": 2}
# Not the kilo- of 千克, nor the mega- of 兆赫, nor 百分.
_HAN_UNIT = r"(?:百(?!分)|千(?![克米瓦卡赫焦帕])|[万萬億亿백천만억]|兆(?![赫瓦帕字])|조)"

# By language; as whole words, but in Thai.
_SCALES: dict[str, dict[str, int]] = {
    "ar": {"ألف": 10**3, "آلاف": 10**3, "مليون": 10**6, "ملايين": 10**6, "مليار": 10**9},
    "bn": {"হাজার": 10**3, "লাখ": 10**5, "লক্ষ": 10**5, "কোটি": 10**7, "মিলিয়ন": 10**6},
    "de": {"Tausend": 10**3, "tausend": 10**3, "Million": 10**6, "Millionen": 10**6, "Mio.": 10**6,
           "Milliarde": 10**9, "Milliarden": 10**9},
    "en": {"k": 10**3, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
           "lakh": 10**5, "crore": 10**7},
    "es": {"mil": 10**3, "millón": 10**6, "millones": 10**6},
    "fr": {"mille": 10**3, "million": 10**6, "millions": 10**6, "milliard": 10**9, "milliards": 10**9},
    "hi": {"हज़ार": 10**3, "हजार": 10**3, "लाख": 10**5, "करोड़": 10**7},
    "ru": {"тысяча": 10**3, "тысячи": 10**3, "тысяч": 10**3, "тыс.": 10**3, "миллион": 10**6, "миллиона": 10**6,
           "миллионов": 10**6, "млн": 10**6, "миллиард": 10**9, "миллиарда": 10**9, "миллиардов": 10**9, "млрд": 10**9},
    "sw": {"elfu": 10**3, "laki": 10**5, "milioni": 10**6, "bilioni": 10**9},
    "te": {"వేలు": 10**3, "వేల": 10**3, "లక్షలు": 10**5, "లక్షల": 10**5, "కోట్లు": 10**7, "కోట్ల": 10**7},
    "th": {"พันล้าน": 10**9, "พัน": 10**3, "หมื่น": 10**4, "แสน": 10**5, "ล้าน": 10**6},
}  # fmt: skip


def last_number(text: str, language: str) -> Fraction | None:
    """The number that an answer ends with, exact; None where it has none.

    text: an answer, of any length and content.
    language: ISO 639 code of the language it is read in, which decides what grouping and decimal marks mean.

    Raises InputError for a language that is not known. A number of over 1,000 characters is no answer.
    """
    return _read(text, language, "" if language in DECIMAL_COMMA else ".")


def is_right(text: str, expected: int | float | Fraction, language: str) -> bool:
    """Whether the number that an answer ends with is less than .001 from the expected one; no number is wrong.

    In languages with a decimal comma a single mark before three digits is taken in either way, 1.234 as 1234 and as
    1.234: these are a factor of 1,000 apart, so that what the text means decides only whether it is understood.
    """
    goal = Fraction(expected)
    found = [last_number(text, language)]
    if language in DECIMAL_COMMA:
        found.append(_read(text, language, _ALL_MARKS))
    return any(number is not None and abs(number - goal) < TOLERANCE for number in found)


def _read(text: str, language: str, marks: str) -> Fraction | None:
    """`marks`: which single marks are decimal ones where three digits follow."""
    get(language)
    plain = _plain(text)
    pattern = _number_in(language)
    for part in (*reversed(_said(plain)), plain):
        matches = list(pattern.finditer(part))
        if matches:
            return _value(matches[-1], language, marks)
    return _han_numeral(plain)


def _said(text: str) -> list[str]:
    """What stands where an answer says which number it is, in order. `#### 1. First ...` is a heading."""
    marked = re.compile(
        rf"^[ \t]*####[ \t]*(?=-?{_CURRENCY}-?\.?\d)(?!\d+[.)]\s+\S)(?P<line>.*)"
        r"|\\boxed\s*\{(?P<boxed>(?:[^{}]|\{[^{}]*\})*)\}",
        re.MULTILINE,
    )
    return [match["boxed"] if match["line"] is None else match["line"] for match in marked.finditer(text)]


def _plain(text: str) -> str:
    """One way to write everything that numbers are made of: ASCII digits and signs, no LaTeX."""
    text = re.sub("[⁰¹²³⁴-⁹⁻]+", lambda match: "^" + match[0].translate(_SUPERSCRIPTS), text.translate(_MINUSES))
    text = re.sub("[¼-¾⅐-⅞↉]", lambda match: " " + _VULGAR[match[0]], text)
    text = re.sub(r"[^\D0-9]", lambda match: str(unicodedata.decimal(match[0])), text)
    text = re.sub(r"(?<=\d)，(?=\d{3}(?!\d))|\{,\}", ",", text)
    text = re.sub(r"(?<=\d)\\[,;: ](?=\d)", "\u202f", text)
    text = re.sub(r"(?<=\d)(?=\\[dtc]?frac\b)", " ", text)
    text = re.sub(r"\\[dtc]?frac ?\{([^{}]*+)\} ?\{([^{}]*+)\}", lambda m: f"{m[1].strip()}/{m[2].strip()}", text)
    text = re.sub(r" ?(?:×|\\times|\\cdot|[x*·]) ?10 ?\^ ?\{?(-?\d{1,2})\}?(?!\d)", r"e\1", text)
    # Exponents of units: m^2, \text{cm}^{3}, m2.
    text = re.sub(r"(?<=[^\W\d_]|\})\^\{?-?\d\}?", "", text)
    text = re.sub(r"(?<![^\W\d_])((?:[cdkm]?m|ft|in|yd|mi))[23](?![0-9A-Za-z])", r"\1", text)
    text = re.sub(r"(?<=[=≈(])(\s*)-\s+(?=\W?\d)", r"\1-", text)
    # The word is a sign where no number goes before it, in its sentence or since the last sign of equality.
    return re.sub(
        rf"((?:^|[=:.!?。।\n(])[^\d=:.!?。।\n(]*?)(?:{_MINUS_WORDS})\s*(?={_CURRENCY}\d)",
        r"\1 -",
        text,
        flags=re.IGNORECASE,
    )


@cache
def _number_in(language: str) -> re.Pattern[str]:
    """A number with its sign, fraction and unit of counting."""
    space = "[ \u00a0\u202f\u2009]" if language in DECIMAL_COMMA else "[\u00a0\u202f\u2009]"
    number = rf"\d++(?:{space}\d{{3}}(?!\d)|[.,'’٫٬]\d++)*+"
    scales = _SCALES.get(language, {})
    words = "|".join(map(re.escape, sorted(scales, key=len, reverse=True))) or "(?!)"
    end = "(?!ธ)" if language == "th" else r"(?!\w)"
    before = rf"(?:\b(?P<before>{words})\s+)?" if language == "sw" else "(?P<before>(?!))?"
    return re.compile(
        rf"""{before}
        (?P<sign>(?:(?<![\w)\]}}%-])|(?<=[{_UNSPACED}]))-{_CURRENCY.replace(" ", "[ ]")})?
        (?:(?P<han>(?:{number}\s?{_HAN_UNIT}+\s?)+(?:(?<!\s){number})?)
        |(?:(?P<whole>\d++)[ \u00a0]++(?=\d{{1,2}}/\d))?
        (?P<number>{number}|(?<![\w)\].,])\.\d++)
        (?P<over>(?:/{number})*+)
        (?:[eE](?P<ten>[-+]?\d{{1,2}})(?!\w))?
        (?:\^\{{?(?P<power>-?\d{{1,2}})\}}?(?!\d))?
        (?:[\s-]?(?P<scale>{words}){end})?)""",
        re.VERBOSE,
    )


def _value(match: re.Match[str], language: str, marks: str) -> Fraction | None:
    if len(match[0]) > LONGEST:
        return None
    if match["han"] is not None:
        value = _han_value(re.findall(rf"([\d.,'’٫٬]+)?\s?({_HAN_UNIT})?", match["han"]), marks)
    else:
        value = _fraction(match, marks)
        if match["power"] is not None and (value or not match["power"].startswith("-")):
            value **= int(match["power"])
        value *= Fraction(10) ** int(match["ten"] or 0)
        scales = _SCALES.get(language, {})
        value *= scales.get(match["scale"] or match["before"], 1)
    return -value if match["sign"] else value


def _fraction(match: re.Match[str], marks: str) -> Fraction:
    """The value of 3, 3/4 or 1 1/2; of 3/0 and of 12/5/2024 the last part."""
    parts = [_decimal(part, marks) for part in (match["number"] + match["over"]).split("/")]
    if len(parts) != 2 or not parts[1]:
        return parts[-1]
    value = parts[0] / parts[1]
    return value + int(match["whole"]) if match["whole"] and value < 1 else value


def _decimal(token: str, marks: str) -> Fraction:
    """The value of digits with marks between them."""
    token = re.sub("[\\s'’٬]", "_", token).replace("٫", ";")
    grouped = re.fullmatch(
        r"(\d{1,3}(?:(?:_\d{3})+|(?:,\d{3})+|(?:\.\d{3})+)|\d{1,2}(?:,\d\d)+,\d{3})(?:([.,;])(\d+))?", token
    )
    if grouped and (grouped[2] is None or grouped[2] not in grouped[1]):
        digits, mark, rest = grouped.groups()
        single = mark is None and re.fullmatch(r"\d+([.,])\d{3}", digits)
        if not (single and (digits.startswith("0") or single[1] in marks)):
            return Fraction(re.sub(r"\D", "", digits) + (f".{rest}" if rest else ""))
    if re.fullmatch(r"\d*[.,;]?\d+", token):
        return Fraction(re.sub("[,;]", ".", token))
    # Several numbers: 1,2,3 and 12.5.2024, or 2.5,3.5, where the last mark is the decimal one.
    used = re.findall(r"\D", token)
    other = next((mark for mark in used if mark != used[-1]), used[-1])
    return _decimal(token.rpartition(other)[2], marks)


def _han_value(parts: list[tuple[str, str]], marks: str) -> Fraction:
    """The value of numbers, each with a unit: 1億 2000万 5. A unit alone multiplies what is before it: 3千 万."""
    total = section = Fraction(0)
    for number, unit in parts:
        value = _decimal(number, marks) if number else None
        if _HAN.get(unit, 1) >= 10**4:
            total += (section + (value or 0)) * _HAN[unit]
            section = Fraction(0)
        elif value is not None or unit:
            section += (1 if value is None else value) * _HAN.get(unit, 1)
    return total + section


def _han_numeral(text: str) -> Fraction | None:
    """Of an answer without digits the last numeral in Chinese characters of two or more, with a unit, such as 三十.

    One character alone is mostly part of a word: 一共, 一起, 十分.
    """
    digit = "[" + "".join(_HAN_DIGITS) + "]"
    numerals = re.findall(rf"(?:{digit}|[十百千]{digit})[{''.join(_HAN_DIGITS)}十百千万萬億亿]*", text)
    numerals = [numeral for numeral in numerals if len(numeral) > 1 and set(numeral) & set(_HAN)]
    if not numerals or len(numerals[-1]) > LONGEST:
        return None
    pairs = re.findall(rf"({digit})?([十百千万萬億亿])?", numerals[-1])
    return _han_value([(str(_HAN_DIGITS[number]) if number else "", unit) for number, unit in pairs], "")
