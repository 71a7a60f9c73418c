"""Personal data in a citizen's words: found and masked before any other part reads them."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from responders.japanese import tokens

_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("　"): " "}
"""Full-width letters, digits and signs to ASCII, one for one: places in a text stay where they are."""
_DIGIT = "[0-9]"
_DASH = "[-ー−‐―]"
_SEP = r"[-ー−‐―・.() ]{0,3}"
_MY_NUMBER = re.compile(rf"(?<!{_DIGIT})(?:{_DIGIT}{{4}}{_SEP}){{2}}{_DIGIT}{{4}}(?!{_DIGIT})")
_CARD = re.compile(rf"(?<!{_DIGIT})(?:{_DIGIT}{{4}}(?:{_DASH}| )?){{3}}{_DIGIT}{{4}}(?!{_DIGIT})")
_PHONE = re.compile(
    rf"(?:\+81{_SEP}|(?<!{_DIGIT})0){_DIGIT}{{1,4}}{_SEP}{_DIGIT}{{1,4}}{_SEP}{_DIGIT}{{3,4}}(?!{_DIGIT})"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)
_KANJI_NAME = re.compile(r"(?![〇一二三四五六七八九十百]+$)[㐀-鿿々]+")
_CALLED = re.compile(r"\s*(?:さん|さま|様|氏|君|くん|ちゃん|先生|です|と申|とい[いう])")
_NUMBER = r"[0-9０-９〇一二三四五六七八九十]+"
_WIDE_DASH = "[-ー−‐―－]"
_LOT = rf"{_NUMBER}(?:番地?)?(?:(?:{_WIDE_DASH}|の)?{_NUMBER}号?)?"
_NO_PLACE = "日時月年和成週第約"
"""Before two numbers with a dash these make a time or a year: 平日9-17時."""
_HOUSE = re.compile(
    rf"{_NUMBER}丁目{_LOT}|{_NUMBER}番地(?:の?{_NUMBER})?|{_NUMBER}番{_NUMBER}号|{_NUMBER}号室"
    rf"|(?<=[一-龥々])(?<![{_NO_PLACE}])[0-9０-９]{{1,4}}(?:{_WIDE_DASH}[0-9０-９]{{1,4}}){{1,3}}(?![0-9０-９時])"
)

_COUNT = "[0-9０-９〇一二三四五六七八九十元]{1,4}"
_BORN = re.compile(
    rf"(?:(?:明治|大正|昭和|平成|令和|[MTSHRＭＴＳＨＲ])\s?)?{_COUNT}[年./／．-]{_COUNT}[月./／．-]{_COUNT}日?"
    r"(?=\s?(?:生(?:ま?れ|[のでが、。)）]|$)|産まれ|うまれ))"
)
_REGISTERED = re.compile(rf"(?<![0-9０-９])[0-9０-９](?:{_WIDE_DASH}?[0-9０-９]){{5,}}(?![0-9０-９]|円|年)")
"""Six digits and more: a customer's, an account's, an insured person's number, a case's, a post code."""


@dataclass(frozen=True, slots=True)
class Place:
    """Personal data in a text."""

    kind: str
    """my_number, card, email or phone."""
    start: int
    end: int


def find(text: str) -> list[Place]:
    """Every place of personal data, in the text's order; none overlaps another."""
    found: list[Place] = []
    text = text.translate(_NARROW)
    for kind, pattern, accept in _KINDS:
        places = [Place(kind, *match.span()) for match in pattern.finditer(text) if accept(match[0])]
        for place in places:
            text = text[: place.start] + "〓" * (place.end - place.start) + text[place.end :]
        found += places
    return sorted(found, key=lambda place: place.start)


def mask(text: str, known: str = "") -> tuple[str, tuple[str, ...]]:
    """Replace personal data by a mark of its kind.

    Args:
        text: Anybody's words.
        known: What is public anyway, such as the city's own phone numbers: it stays.

    Returns:
        The masked text and the kinds found, of ``my_number, card, email, phone``.
    """
    public = {bare(known[place.start : place.end]) for place in find(known)}
    places = [place for place in find(text) if bare(text[place.start : place.end]) not in public]
    for place in reversed(places):
        text = text[: place.start] + MARKS[place.kind] + text[place.end :]
    return text, tuple(kind for kind, _, _ in _KINDS if kind in {place.kind for place in places})


def nameless(text: str) -> str:
    """Who it is about replaced by marks, for words that a model learns from.

    Persons' names in kanji, dates of birth, house numbers, and numbers long enough to be a person's own.

    A name counts beside another one or before a title (田中さん, 山田と申します). Names in kana are words as
    well (のぞみ) and stay: a person reads the text before it is used.
    """
    return _REGISTERED.sub("〔番号〕", _HOUSE.sub("〔番地〕", _BORN.sub("〔生年月日〕", _names(text))))


def _names(text: str) -> str:
    found = [
        (m.begin(), m.end())
        for m in tokens(text)
        if m.part_of_speech()[2] == "人名" and _KANJI_NAME.fullmatch(m.surface())
    ]
    starts, ends = {start for start, _ in found}, {end for _, end in found}
    for start, end in reversed(found):
        if end in starts or start in ends or _CALLED.match(text, end):
            text = text[:start] + ("" if start in ends else NAME) + text[end:]
    return text


def bare(personal: str) -> str:
    """An address or number in one comparable form."""
    plain = personal.translate(_NARROW)
    return plain.lower() if "@" in plain else _digits(plain)


def is_my_number(text: str) -> bool:
    """Whether twelve digits carry the check digit of an individual number.

    Source: 平成26年総務省令第85号第5条 (weights 2..7, 2..6 from the right, modulo 11).
    """
    digits = [int(d) for d in _digits(text)]
    if len(digits) != 12:
        return False
    weights = [6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]
    rest = sum(d * w for d, w in zip(digits[:11], weights, strict=True)) % 11
    return digits[11] == (0 if rest <= 1 else 11 - rest)


def _digits(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text) if c.isdigit())


NAME = "〔氏名〕"
MARKS = {
    "card": "〔カード番号〕",
    "my_number": "〔個人番号〕",
    "email": "〔メールアドレス〕",
    "phone": "〔電話番号〕",
}
_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("card", _CARD, lambda _: True),
    ("my_number", _MY_NUMBER, is_my_number),
    ("email", _EMAIL, lambda _: True),
    ("phone", _PHONE, lambda found: 10 <= len(_digits(found)) <= 12),
)
