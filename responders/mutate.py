"""Errors planted into true sentences, one at a time: what the checks must notice."""

import re
from collections.abc import Callable, Iterator, Sequence

_DIGIT = re.compile(r"\d")
_FEE = re.compile(r"(\d[\d,]*)円")
_PHONE = re.compile(r"\d{2,4}-\d{2,4}-\d{4}")
_DATE = re.compile(r"(\d{1,2})月(\d{1,2})日")
_AMOUNT = re.compile(r"\d[\d,]*(?P<unit>円|日|か月|年|人|歳|回|点|枚|時|分|%)|\d{2,4}-\d{2,4}-\d{4}")
_SECTION = re.compile(r"[一-鿿]{2,6}課")
_CONDITION = re.compile(r"[^、。]{4,30}(?:場合|とき|方)(?:に限り|のみ|は|に)[、]")
_NEGATIONS = (
    ("利用できません", "利用できます"),
    ("できません", "できます"),
    ("ありません", "あります"),
    ("不要です", "必要です"),
    ("必要です", "必要ありません"),
    ("できます", "できません"),
    ("ください", "ないでください"),
)
_OTHER_SECTION = "収納管理課"


def mutations(sentences: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Every kind of error once, where the sentences offer a place for it.

    Args:
        sentences: A true draft.

    Yields:
        Kind (digit, fee, phone, date, department, negation, dropped_condition, wrong_row, other_sentence) and
        the draft with exactly one error.
    """
    for kind, spoil in _KINDS.items():
        for i, sentence in enumerate(sentences):
            spoilt = spoil(sentence)
            if spoilt is not None and spoilt != sentence:
                yield kind, [*sentences[:i], spoilt, *sentences[i + 1 :]]
                break
    yield from _wrong_row(sentences)
    yield from _other_sentence(sentences)


def _digit(sentence: str) -> str | None:
    found = _DIGIT.search(sentence)
    if found is None:
        return None
    other = str((int(found.group()) + 3) % 10)
    return sentence[: found.start()] + other + sentence[found.end() :]


def _fee(sentence: str) -> str | None:
    found = _FEE.search(sentence)
    if found is None:
        return None
    return (
        sentence[: found.start()]
        + f"{int(found.group(1).replace(',', '')) + 200}円"
        + sentence[found.end() :]
    )


def _phone(sentence: str) -> str | None:
    found = _PHONE.search(sentence)
    if found is None:
        return None
    last = str((int(found.group()[-1]) + 1) % 10)
    return sentence[: found.end() - 1] + last + sentence[found.end() :]


def _date(sentence: str) -> str | None:
    found = _DATE.search(sentence)
    if found is None:
        return None
    day = int(found.group(2)) % 28 + 1
    return sentence[: found.start()] + f"{found.group(1)}月{day}日" + sentence[found.end() :]


def _section(sentence: str) -> str | None:
    found = _SECTION.search(sentence)
    return sentence[: found.start()] + _OTHER_SECTION + sentence[found.end() :] if found else None


def _negation(sentence: str) -> str | None:
    for before, after in _NEGATIONS:
        if before in sentence:
            return sentence.replace(before, after, 1)
    return None


def _condition(sentence: str) -> str | None:
    found = _CONDITION.search(sentence)
    return sentence[: found.start()] + sentence[found.end() :] if found else None


def _wrong_row(sentences: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """A right number in the wrong place: two fees of the draft, or of one sentence, change places."""
    fees = [(i, m) for i, sentence in enumerate(sentences) for m in _FEE.finditer(sentence)]
    for i, first in fees:
        for j, second in fees:
            if (i, first.start()) < (j, second.start()) and first.group() != second.group():
                spoilt = list(sentences)
                if i == j:
                    s = sentences[i]
                    spoilt[i] = (
                        s[: first.start()] + second.group() + s[first.end() : second.start()]
                        + first.group() + s[second.end() :]
                    )  # fmt: skip
                else:
                    spoilt[i] = _put(sentences[i], first, second.group())
                    spoilt[j] = _put(sentences[j], second, first.group())
                yield "wrong_row", spoilt
                return


def _other_sentence(sentences: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """A right number in the wrong sentence: another one's of the same unit stands there instead."""
    found = [(i, m) for i, sentence in enumerate(sentences) for m in _AMOUNT.finditer(sentence)]
    for i, here in found:
        for j, there in found:
            if i != j and here["unit"] == there["unit"] and there.group() not in sentences[i]:
                spoilt = _put(sentences[i], here, there.group())
                yield "other_sentence", [*sentences[:i], spoilt, *sentences[i + 1 :]]
                return


def _put(sentence: str, place: re.Match[str], text: str) -> str:
    return sentence[: place.start()] + text + sentence[place.end() :]


_KINDS: dict[str, Callable[[str], str | None]] = {
    "digit": _digit,
    "fee": _fee,
    "phone": _phone,
    "date": _date,
    "department": _section,
    "negation": _negation,
    "dropped_condition": _condition,
}
