"""What several steps need to know about Japanese text: words, character pairs, clauses."""

import re
import threading
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from sudachipy import Dictionary, SplitMode

_CONTENT = ("名詞", "動詞", "形容詞", "形状詞", "接尾辞", "副詞", "代名詞")
_EMPTY = frozenset(
    re.findall(
        r"\S+",
        "為る 有る 居る 成る 出来る 知る 教える 聞く 言う 思う 下さる 頂く 願う 良い 無い "
        "事 物 所 時 方 何 どう 此れ 其れ 場合 私 御 いつ 幾ら 何処 誰 何時 幾つ 何れ 如何 大丈夫",
    )
)
_CLAUSE_END = re.compile(
    r"[。！？!?\n]+|(?<=[けがのでしらすたい])[、,](?=.{6})|(?:それと|あと|また|ちなみに|ついでに|それから)[、,]?"
)
_ASKS = re.compile(
    r"か$|教え|知りたい|どう|どこ|いつ|いくら|何|なに|だれ|誰|どれ|どの|たい|ほしい|欲しい|方法|可能|必要|手続"
)
_PLEASANTRY = re.compile(
    r"(?:こんにちは|こんばんは|おはようございます|はじめまして|初めまして|お世話に(?:なって(?:おり|い)ます|なります)|"
    r"お忙しいところ.{0,12}|すみません(?:が)?|失礼(?:し|いたし)ます|(?:どうぞ)?(?:よろしく|宜しく)(?:お願い(?:し|いたし|致し)ます)?|"
    r"ありがとうございます|お願い(?:し|いたし|致し)ます|教えて(?:下さい|ください|ほしいです)|質問です)[。、！!\s]*"
)
_BRACKET = re.compile(r"([()（）])")
_PAIR_RUN = re.compile(r"\w+")
_MOST_BYTES = 49_149
"""Sudachi refuses more, and a third more of its own normalised text."""
_MOST_BYTES_OF_ONE = 33
"""NFKC makes ﷺ eighteen letters, and nothing larger."""
_local = threading.local()


def tokens(text: str) -> list[Any]:
    """Morphemes of a text, or of as much of its beginning as Sudachi takes (smallest units)."""
    return list(_tokenizer().tokenize(_beginning(text)))


def long_tokens(text: str) -> list[Any]:
    """As `tokens`, longest units, so that their readings fit; joined surfaces are the text again."""
    # The dictionary takes 「書(はがき)」 for a word with its reading, so brackets are cut off first.
    parts = [part for part in _BRACKET.split(_beginning(text)) if part]
    return [m for part in parts for m in _tokenizer().tokenize(part, SplitMode.C)]


def _beginning(text: str) -> str:
    text = text[:_MOST_BYTES]
    if len(text) * _MOST_BYTES_OF_ONE <= _MOST_BYTES:
        return text
    return text[: bisect_right(list(accumulate(map(_bytes, text))), _MOST_BYTES)]


def _bytes(char: str) -> int:
    return max(len(char.encode()), len(unicodedata.normalize("NFKC", char.lower()).encode()))


def _tokenizer() -> Any:  # noqa: ANN401
    if not hasattr(_local, "tokenizer"):
        # A tokenizer may not be shared between threads.
        _local.tokenizer = Dictionary(dict="small").tokenizer(SplitMode.A)
    return _local.tokenizer


@lru_cache(maxsize=20_000)
def words(text: str) -> tuple[str, ...]:
    """Normalised content words: 引越し and 引っ越し are one; particles, しまう and 教える are none."""
    normal = unicodedata.normalize("NFKC", text)
    found = ((m.normalized_form(), m.part_of_speech()[0]) for m in tokens(normal))
    return tuple(word for word, kind in found if kind in _CONTENT and word not in _EMPTY)


def official(text: str) -> str:
    """The text with lay words put into the city's: 国保 becomes 国民健康保険 (``lay_words.yaml``)."""
    pattern, written = _lay_words()
    return pattern.sub(lambda found: written[found[0]], text)


@cache
def _lay_words() -> tuple[re.Pattern[str], Mapping[str, str]]:
    file = Path(__file__).with_name("lay_words.yaml")
    listed: Mapping[str, Sequence[str]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    # The city's own words stand in the pattern too, or 紙おむつ would become 紙紙おむつ.
    written = {lay: word for word, said in listed.items() for lay in said} | {word: word for word in listed}
    longest_first = sorted(written, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), written


@lru_cache(maxsize=4_000)
def pairs(text: str) -> frozenset[str]:
    """Adjacent character pairs of a text after NFKC, without blanks and punctuation."""
    runs = "".join(_PAIR_RUN.findall(unicodedata.normalize("NFKC", text)))
    return frozenset(runs[i : i + 2] for i in range(len(runs) - 1)) or frozenset(filter(None, [runs]))


def clauses(text: str, most: int = 8) -> list[str]:
    """The message's first ``most`` clauses, greetings left out; each is worth a sentence of an answer."""
    bare = _PLEASANTRY.sub("\n", text)
    found = (part.strip() for part in _CLAUSE_END.split(bare))
    return list(dict.fromkeys(part for part in found if words(part)))[:most]


def asks(clause: str) -> bool:
    """Whether a clause asks for something, rather than tell the story before the question."""
    return bool(_ASKS.search(clause))
