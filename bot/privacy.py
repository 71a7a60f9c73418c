"""Personal data in a citizen's words: found and masked before any other part reads them."""

import re
import unicodedata

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


def mask(text: str) -> tuple[str, tuple[str, ...]]:
    """Replace personal data by a mark of its kind.

    Returns:
        The masked text and the kinds found, of ``my_number, card, email, phone``.
    """
    found: list[str] = []

    def replace(kind: str, mark: str, pattern: re.Pattern[str], accept: object = None) -> None:
        nonlocal text

        def one(match: re.Match[str]) -> str:
            if callable(accept) and not accept(match.group()):
                return match.group()
            found.append(kind)
            return mark

        text = pattern.sub(one, text)

    replace("card", "〔カード番号〕", _CARD)
    replace("my_number", "〔個人番号〕", _MY_NUMBER, is_my_number)
    replace("email", "〔メールアドレス〕", _EMAIL)
    replace("phone", "〔電話番号〕", _PHONE, lambda s: 10 <= len(_digits(s)) <= 11)
    return text, tuple(dict.fromkeys(found))


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
