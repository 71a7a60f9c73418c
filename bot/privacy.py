"""Personal data in a citizen's words: found and masked before any other part reads them."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_DIGIT = r"[0-9０-９]"
_SEP = r"[-ー−‐―－ 　]?"
_MY_NUMBER = re.compile(rf"(?<!{_DIGIT})(?:{_DIGIT}{{4}}{_SEP}){{2}}{_DIGIT}{{4}}(?!{_DIGIT})")
_CARD = re.compile(rf"(?<!{_DIGIT})(?:{_DIGIT}{{4}}{_SEP}){{3}}{_DIGIT}{{4}}(?!{_DIGIT})")
_PHONE = re.compile(
    rf"(?<!{_DIGIT})[0０]{_DIGIT}{{1,4}}{_SEP}{_DIGIT}{{1,4}}{_SEP}{_DIGIT}{{3,4}}(?!{_DIGIT})"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)


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


def bare(personal: str) -> str:
    """An address or number in one comparable form."""
    return personal.lower() if "@" in personal else _digits(personal)


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
    ("phone", _PHONE, lambda found: 10 <= len(_digits(found)) <= 11),
)
