"""Whether a sentence tells of what has happened, or of what is and will be."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from responders.japanese import tokens
from responders.wording import is_noun, is_predicate

_CHANGES = frozenset(
    re.findall(
        r"\S+",
        "始まる 終わる 終える 変わる 変える 無くなる 移る 決まる 開始 終了 廃止 中止 休止 停止 再開 "
        "変更 改正 改定 閉鎖 完了 移転 統合 解除 失効 満了 成立 施行",
    )
)
"""What has happened once it lasts: 「廃止しています」 says 「廃止しました」, and not 「廃止します」."""
_LASTS = frozenset(["居る", "おる"])
_DOES = frozenset(["為る", "致す", "出来る"])
_LIGHT = frozenset([*_DOES, *_LASTS, "成る", "有る", "御座る", "です", "だ"])
_POLITE = frozenset(["ます", "です"])
_HEADS = ("名詞", "接尾辞", "補助記号")
"""What carries 「です」 too, though it says little itself: 「…の方です」「…(月額)です」."""
_DENIED = frozenset(["ず", "無い"])


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a text says."""

    word: str
    """In its dictionary form; the light verb behind a noun tells 500円になる from 500円です."""
    text: str
    """The word as it is written, with what bends it."""
    start: int
    """Place in the text."""
    when: str
    """``past``, ``lasting`` in the past, or ``present``, which is the future too."""
    polite: bool
    """It is what a sentence says, and no mere name: 「引っ越しました」, not 「引っ越した方」."""


@lru_cache(maxsize=4_000)
def told(normal: str) -> tuple[Told, ...]:
    """When what a text says happens, in its order."""
    morphemes = tokens(normal)
    found = (_told(normal, morphemes, at) for at in range(len(morphemes)))
    return tuple(one for one in found if one)


def mistold(new: str, old: str) -> Iterator[tuple[str, str]]:
    """What one text says of the past and the other does not: 「廃止します」 for 「廃止しました」."""
    said, meant = ([one for one in told(text) if one.polite or one.word in _CHANGES] for text in (new, old))
    for word in dict.fromkeys(one.word for one in said if one.word):
        here, there = ([one for one in side if one.word == word] for side in (said, meant))
        if there and {one.when for one in here}.isdisjoint({one.when for one in there}):
            yield here[0].text, there[0].text


def _told(normal: str, morphemes: Sequence[Any], at: int) -> Told | None:
    head = morphemes[at]
    kind = head.part_of_speech()[0]
    content = is_noun(head) or is_predicate(head)
    behind = _behind(morphemes, at) if content or kind in _HEADS else []
    forms = [one.normalized_form() for one in behind]
    light = next((form for form in forms if form in _LIGHT), "")
    bends = content and kind in ("動詞", "形容詞")
    if not (light or bends):
        return None
    word = head.normalized_form() if content else ""
    name = word if bends or light in _DOES or light in _LASTS else word + light
    text = normal[head.begin() : behind[-1].end() if behind else head.end()]
    return Told(name, text, head.begin(), _when(word, behind, forms), not _POLITE.isdisjoint(forms))


def _behind(morphemes: Sequence[Any], at: int) -> list[Any]:
    """What follows a word and bends it: nothing beyond a mark, a noun or another verb."""
    found = list[Any]()
    for one in morphemes[at + 1 :]:
        if one.part_of_speech()[0] in ("補助記号", "名詞") or is_predicate(one):
            break
        found.append(one)
    return found


def _when(word: str, behind: Sequence[Any], forms: Sequence[str]) -> str:
    past = any(map(_is_past, behind))
    lasts = word in _CHANGES and not _LASTS.isdisjoint(forms) and _DENIED.isdisjoint(forms)
    if lasts:
        return "lasting" if past else "past"
    return "past" if past else "present"


def _is_past(morpheme: Any) -> bool:  # noqa: ANN401
    ends = morpheme.part_of_speech()[5].startswith(("終止形", "連体形"))
    return bool(morpheme.normalized_form() == "た" and ends)
