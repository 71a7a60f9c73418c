"""What a sentence says beside its facts: negations, conditions, which words a number belongs to.

Texts are normalised by `responders.facts.normalise`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from responders.facts import FREE, Fact, facts, normalise
from responders.japanese import pairs, tokens

ALIGNED = 0.6
"""Share of a sentence's character pairs that must stand in one source sentence."""
UNCERTAIN = "(?:場合|(?<!た)こと|とき|おそれ|恐れ|可能性)[がも](?:(?:あり|ござい)ま(?!した)|ある)|かもしれ"
"""Without it what the city may do becomes a promise: 「免除される場合があります」."""
_OBLIGATION = re.compile(
    r"(?:なければ|なくては)(?:なり|いけ|な[らり]|だめ)(?:ません|ない)?|"
    r"ないと(?:(?:なり|いけ)ません|(?:なら|いけ)ない|だめ)|なく(?:なっ|なり|なる)"
)
_DENIES = (
    r"ません|ませず|ない(?:で(?:くだ|下)さい)?|なかっ|なく(?!な)|なけれ|せず|れず|わず|(?<!かな)らず|ずに|"
    r"かね(?=ます|る)"
)
_NEGATION = re.compile(
    rf"{_DENIES}|不要|不可|禁止|除[きく]|除外|対象外|以外|無効|未(?!満|来|成年|就学)|非課税|認められません"
)
_RESTRAINT = re.compile(r"遠慮(?!な)|(?:[をはお]|差し?)控え(?![をがはの室])")
"""Asks politely not to do something, as 「…しないでください」 does plainly."""
_CONDITION = re.compile(
    r"(?:場合|とき|際)(?:に限り|のみ|だけ|には|は|に|も)?$|"
    r"(?:に限り|に限って|に限る|のみ|だけ|を除き|を除いて|除く|以外は)$|"
    r"(?:うえで|上で|(?:未満|以上|以下|以内|超)で)$|"
    r"(?:方|(?<!大)人|者|世帯)(?:に限り|のみ|は|が|で)$|^ただし|(?:れば|なら|たら)$"
)
_WHEN = re.compile("場合|(?<=[のるた])際")
_ROLES = {
    "が": "who",
    "は": "who",
    "も": "who",
    "に": "to",
    "へ": "to",
    "から": "from",
    "より": "from",
    "を": "what",
}
"""What a particle says of the noun before it."""
_NAMING = ("名詞", "接頭辞", "接尾辞", "代名詞")
_SEGMENT_END = re.compile(r"[、。，,！？!?\n]")
_NOUN_KINDS = ("普通名詞", "固有名詞")
_PREDICATE_KINDS = ("動詞", "形容詞", "形状詞", "副詞", "感動詞", "代名詞")
_LIGHT_VERBS = frozenset(["為る", "有る", "居る", "成る", "御座る", "致す", "そう"])
"""They join sentences and say nothing of their own; できる and ください are not among them."""
_NO_CONTENT = frozenset(
    re.findall(r"\S+", "とき 場合 方 もの 物 こと 事 ため 為 際 よう 様 お ご 御 うち ほか 他 等 など 人")
)
_VERBAL_NEGATION = re.compile(_DENIES)
_DENIED_IN_ONE_WORD = (
    (re.compile(r"不要(?!不急)"), "必要でない"),
    (re.compile(r"対象外"), "対象でない"),
    (re.compile(r"(?:不可|禁止)(?=です|で、|とな|とし|され|して)"), "できない"),
    (re.compile(r"を(?:お持ちで|持ってい?)な"), "がな"),
    (re.compile(r"(?<!\w[はが])(?:なし|無し)(?=[でに])"), "がない"),
)
"""Other ways to say what a negated verb says; they leave the word before them to be denied."""
_AUXILIARY = frozenset(["出来る", "無い"])
_RANGE = re.compile(r"\s*(?:から|より|[~〜-])\s*")
_PER = re.compile(r"(?:につき|あたり|当たり)$")
_ITS_COST = re.compile(r"の(?:[手数利使用通行]+料|料金|費用|代金|自?己?負担額?|金額)$")
_IN_BRACKETS = re.compile(r"\(([^()\d]{1,12})\)")
_COURTESY = re.compile(r"(?<=くださ)いますようお願いいたします")
"""Says no more than 「い」."""
_NO_NEED = re.compile(r"不要で(?:す|(?=、))|(?:[い要]り|必要[はが]?(?:あり|ござい))ません")


def without_courtesy(normal: str) -> str:
    """A normalised text in plain words: 「ください」 for longer ways to ask, one way to say 「不要です」."""
    return _NO_NEED.sub("必要ありません", _COURTESY.sub("い", normal))


def share_of_pairs(sentence: str, source: str) -> float:
    """Share of a sentence's character pairs that stand in another text, 0 to 1."""
    own = _plain_pairs(sentence)
    return len(own & _plain_pairs(source)) / len(own) if own else 0.0


@lru_cache(maxsize=4_000)
def _plain_pairs(text: str) -> frozenset[str]:
    return pairs(without_courtesy(normalise(text)))


def negations(normal: str) -> int:
    """How many negations stand in it; an obligation (「なければなりません」) is none."""
    return len(negation_places(normal))


def negation_places(normal: str, words: re.Pattern[str] = _NEGATION) -> list[int]:
    """Where its negations begin."""
    bare = _OBLIGATION.sub(lambda m: "要".ljust(len(m[0]), "□"), normal)
    return [found.start() for found in words.finditer(bare)]


def restrains(normal: str) -> bool:
    """Whether it asks politely not to do something."""
    return bool(_RESTRAINT.search(normal))


def forbids(normal: str) -> bool:
    """Whether a sentence says no, plainly or by a polite restraint; both together take each other back."""
    return bool(negations(normal)) != restrains(normal)


def lost_conditions(sentences: Sequence[str], old: str, least: float) -> Iterator[str]:
    """Conditional clauses of the source of which no sentence holds at least this share."""
    kept = [pairs(_WHEN.sub("とき", sentence)) for sentence in sentences]
    for segment in _SEGMENT_END.split(old.replace("(", "、").replace(")", "、")):
        own = pairs(_WHEN.sub("とき", segment))
        conditional = own and _CONDITION.search(segment.strip())
        if conditional and all(len(own & one) / len(own) < least for one in kept):
            yield segment.strip()


def turned(new: str, old: str) -> str:
    """A word that one text denies and the other does not; empty when there is none.

    Counting negations does not see one of two taken back, and people may add or leave out whole clauses.
    """
    said, meant = _denied(new), _denied(old)
    return next((word for word in said if word in meant and _opposed(said[word], meant[word])), "")


def _opposed(said: Sequence[bool], meant: Sequence[bool]) -> bool:
    return set(said).isdisjoint(meant) or (len(said) == len(meant) and sorted(said) != sorted(meant))


def _denied(normal: str) -> dict[str, list[bool]]:
    """Of each noun and predicate, in its dictionary form: does a negation follow before the next one?"""
    plain = normal
    for words, denial in _DENIED_IN_ONE_WORD:
        plain = words.sub(denial, plain)
    content = [
        m for m in tokens(plain) if (is_noun(m) or is_predicate(m)) and m.normalized_form() not in _AUXILIARY
    ]
    places, found = negation_places(plain, _VERBAL_NEGATION), dict[str, list[bool]]()
    ends = [*(m.begin() for m in content), len(plain) + 1][1:]
    for morpheme, after in zip(content, ends, strict=False):
        denied = any(morpheme.begin() < at < after for at in places)
        found.setdefault(morpheme.normalized_form(), []).append(denied)
    return found


def wrong_rows(new: str, new_facts: Sequence[Fact], old: str, old_facts: Sequence[Fact]) -> Iterator[Fact]:
    """Numbers that the source holds, but beside other words than here (大人500円 for 子ども500円)."""
    for fact in new_facts:
        rivals = [other for other in old_facts if other.kind == fact.kind and unit(other) == unit(fact)]
        if fact.kind == "section" or len({other.value for other in rivals}) < 2:
            continue
        rows = {other: row_of(old, other) for other in rivals}
        this, another = _rows_named(row_of(new, fact), fact, rows)
        if another > this:
            yield fact
        if another != this:
            continue
        here = words_before(new, fact)
        near = {id(other): _overlap(here, words_before(old, other)) for other in rivals}
        own = max((near[id(other)] for other in rivals if other.value == fact.value), default=0.0)
        if here and max(near.values()) >= max(own + 0.34, ALIGNED):
            yield fact


def unit(fact: Fact) -> str:
    """What a fact counts: 円 of 500円; empty for a phone number, one for all weekdays."""
    return "曜" if fact.kind == "weekday" else fact.value.lstrip("第0123456789.:-")


@lru_cache(maxsize=20_000)
def words_before(normal: str, fact: Fact) -> str:
    """The words a number belongs to: back to the last number of its unit, at most 14 characters."""
    least = max(fact.start - 14, 0)
    alike = (other.end for other in _facts_before(normal, fact, least) if unit(other) == unit(fact))
    # 利用料 of 「車いすの利用料はかかりません」, which is all the amount, names it too.
    free = FREE.match(normal, fact.start) if normal.endswith("の", 0, fact.start) else None
    words = normal[max([*alike, least]) : free.end("cost") if free and free["cost"] else fact.start]
    words = re.split(r"[。\n]", words)[-1]
    return re.sub(r"^日?(?:円|で|、|・|,|\s|は|が|から|まで)+|[はがをの、:：\s(]+$", "", words)


def _facts_before(normal: str, fact: Fact, least: int = 0) -> Iterator[Fact]:
    """The facts in front of one, from the last to the first that does not end before a place."""
    found = facts(normal)
    for other in reversed(found[: bisect_right(found, fact.start, key=lambda one: one.end)]):
        if other.end < least:
            return
        yield other


def row_of(normal: str, fact: Fact) -> str:
    """What names the row of a number: たんす of 「手数料は、いすが300円、たんすが1,200円」.

    What follows in brackets names it too, and the end of a range has the row of its beginning. Empty where
    nothing does.
    """
    named, begins = _own_row(normal, fact)
    return _own_row(normal, begins)[0] if begins else named


@lru_cache(maxsize=20_000)
def _own_row(normal: str, fact: Fact) -> tuple[str, Fact | None]:
    """What names a number, or the beginning of the range that it ends."""
    if after := _IN_BRACKETS.match(normal, fact.end):
        return after[1], None
    words = _PER.sub("", words_before(normal, fact))
    beside = _facts_before(normal, fact)
    while (last := next(beside, None)) and words.endswith(last.surface):  # 1通 of 「窓口では1通300円」
        words = words.removesuffix(last.surface)
    named, part = "", ""
    for morpheme in [*tokens(words), None]:
        if morpheme is None or _parts(morpheme):
            part = _ITS_COST.sub("", part)
            named, part = (part if len(part) > 1 and nouns(part) else named), ""
        else:
            part += morpheme.surface()
    left = [] if named or last is None else [last, *beside]
    begins = next((o for o in left if o.kind == fact.kind and unit(o) == unit(fact)), None)
    ends_range = begins is not None and _RANGE.fullmatch(normal, begins.end, fact.start)
    return named, begins if ends_range else None


def _parts(morpheme: Any) -> bool:  # noqa: ANN401
    kind = morpheme.part_of_speech()[0]
    return kind == "補助記号" or (kind == "助詞" and morpheme.surface() in ("は", "が", "も", "で", "に"))


def _rows_named(row: str, fact: Fact, rows: Mapping[Fact, str]) -> tuple[int, int]:
    """How many characters of it name a row in which the source has this number, and one where it has another.

    Both 0 when the source does not name all of its rows.
    """
    if not all(rows.values()):
        return 0, 0
    own = [len(name) for other, name in rows.items() if other.value == fact.value and name in row]
    another = [len(name) for other, name in rows.items() if other.value != fact.value and name in row]
    return max(own, default=0), max(another, default=0)


def _overlap(one: str, other: str) -> float:
    mine, theirs = set(one), set(other)
    return len(mine & theirs) / len(mine | theirs) if mine and theirs else 0.0


def nouns(normal: str) -> list[str]:
    """Its nouns as they are written, without those that carry little."""
    return [morpheme.surface() for morpheme in tokens(normal) if is_noun(morpheme)]


def roles(normal: str) -> dict[str, set[str]]:
    """Of each noun, compounds whole, what it is in the sentence: who, to, from, what."""
    found: dict[str, set[str]] = {}
    noun = ""
    for morpheme in tokens(normal):
        if morpheme.part_of_speech()[0] in _NAMING:
            noun += morpheme.surface() if morpheme.surface() not in ("お", "ご") else ""
            continue
        if noun and morpheme.part_of_speech()[0] == "助詞" and morpheme.surface() in _ROLES:
            found.setdefault(noun, set()).add(_ROLES[morpheme.surface()])
        noun = ""
    return found


def naming_words(normal: str) -> list[str]:
    """Its nouns, and the verbs and adjectives that stand before one: 燃える of 「燃えるごみ」."""
    found = tokens(normal)
    return [
        morpheme.surface()
        for morpheme, after in zip(found, [*found[1:], None], strict=True)
        if is_noun(morpheme) or (after is not None and is_noun(after) and is_predicate(morpheme))
    ]


def is_noun(morpheme: Any) -> bool:  # noqa: ANN401
    """Whether a morpheme is one of them."""
    kind, sub = morpheme.part_of_speech()[:2]
    return kind == "名詞" and sub in _NOUN_KINDS and morpheme.surface() not in _NO_CONTENT


def predicates(normal: str) -> list[str]:
    """Its verbs, adjectives and adverbs in their dictionary forms."""
    return [morpheme.normalized_form() for morpheme in tokens(normal) if is_predicate(morpheme)]


def is_predicate(morpheme: Any) -> bool:  # noqa: ANN401
    """Whether a morpheme is one of them."""
    return morpheme.part_of_speech()[0] in _PREDICATE_KINDS and morpheme.normalized_form() not in _LIGHT_VERBS
