"""Numbers, dates, phones and sections of a draft, and their limits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from responders import check_words
from responders.check_sources import CARRIED, Check, Partial, Sources, as_fraction, with_fractions
from responders.facts import Fact, facts, normalise
from responders.knowledge import Passage
from responders.wording import ALIGNED, share_of_pairs, unit

_KIND_JA = {
    "phone": "電話番号",
    "url": "URL",
    "email": "メールアドレス",
    "date": "日付",
    "time": "時刻",
    "weekday": "曜日",
    "number": "数字",
    "section": "課・施設の名前",
}


def _check_facts(normal: str, sources: Sources) -> Iterator[Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    for fact in without_workdays(normal, sources.text):
        share = as_fraction(fact)
        if share and is_known(share, sources.facts) and not is_known(fact, sources.facts):
            yield from _check_bound(normal, share, passage, sources)
        elif is_known(fact, sources.facts):
            yield from _check_bound(normal, fact, passage, sources)
        elif is_known(fact, sources.register_facts):
            message = f"{_kind_ja(fact)}「{fact.surface}」は市のものですが、根拠の記事にはありません。"
            yield fact.kind, fact, _takes_a_place(fact, passage, sources), message
        else:
            message = f"{_kind_ja(fact)}「{fact.surface}」が根拠の記事にありません。"
            yield fact.kind, fact, True, message


def _kind_ja(fact: Fact) -> str:
    return "金額" if unit(fact) == "円" else _KIND_JA[fact.kind]


def without_workdays(normal: str, source: str) -> list[Fact]:
    """The facts of a sentence, without 月曜日から金曜日 where its source says 平日."""
    workdays = check_words.WORKDAYS.finditer(normal) if "平日" in source else ()
    known = [found.span() for found in workdays]
    return [fact for fact in facts(normal) if not any(start <= fact.start < end for start, end in known)]


def _takes_a_place(fact: Fact, passage: Passage | None, sources: Sources) -> bool:
    """Whether the sentence's own passage names another section, or phone, that the draft no longer says."""
    if passage is None:
        return False
    said = facts(sources.groups[passage])
    meant = (other for other in facts(normalise(passage.text)) if other.kind == fact.kind)
    return any(not is_known(other, said) for other in meant)


def is_known(fact: Fact, known: Sequence[Fact]) -> bool:
    """Whether one of the facts says the same: limits aside, and a date may leave its year out."""
    if any(fact.kind == other.kind and same_value(fact, other) for other in known):
        return True
    # 「正午」 and a year alone are the same fact in another kind's clothes.
    return fact.kind == "number" and any(fact.value == other.value.lstrip("-") for other in known)


def same_value(fact: Fact, other: Fact) -> bool:
    """Whether two facts of one kind say the same: a date may leave its year out."""
    if fact.kind == "date":
        # Leaving the year out says less, not something else; leaving the month out does not.
        return fact.value in (other.value, check_words.YEAR.sub("", other.value))
    if fact.kind == "section":
        # A word in front may have stuck to the name: 本庁舎市民課.
        front = fact.value.removesuffix(other.value)
        return fact.value.endswith(other.value) and bool(check_words.BUILDING.fullmatch(front))
    return fact.value == other.value


_BLANKS = re.compile(r"\s*")


def _check_bound(normal: str, fact: Fact, passage: Passage | None, sources: Sources) -> Iterator[Partial]:
    bounds = {o.bound for o in sources.facts if o.kind == fact.kind and same_value(fact, o)}
    if not fact.bound:
        if passage:
            yield from _check_lost_bound(normal, fact, passage, sources)
        return
    if fact.bound in bounds:
        if own := _bound_of_another(normal, fact, sources):
            yield "wrong_row", _with_bound(fact), True, f"記事では「{fact.surface}{own}」のことです。"
        return
    side = next((group for group in check_words.OPPOSITE if fact.bound in group), set())
    included = (fact.bound in check_words.WITH_ITSELF) in {
        bound in check_words.WITH_ITSELF for bound in bounds & side
    }
    hard = bool(side) and not included if bounds - {""} else _adds_a_bound(fact, sources)
    words = _with_bound(fact)
    message = f"「{words.surface}」は、記事では「{fact.surface}{'・'.join(sorted(bounds))}」です。"
    yield "bound", words, hard, message


def _with_bound(fact: Fact) -> Fact:
    return replace(fact, surface=fact.surface + fact.bound)


def _bound_of_another(normal: str, fact: Fact, sources: Sources) -> str:
    """The bound of this number in the passage whose words a sentence uses: 以上 for 「3歳未満は無料です」.

    Empty where the passage has this one too, does not bound the number, or is said with its own as well.
    """
    best, likest = _likest(_no_limits(normal), sources.passages)
    if best < ALIGNED:
        return ""
    side = next((group for group in check_words.OPPOSITE if fact.bound in group), set())
    held = [_bounds_in(normalise(p.text), fact) for p in likest]
    said = _bounds_in(sources.whole if best < CARRIED else normal, fact)
    if not side or any(not bounds or bounds & (side | said) for bounds in held):
        return ""
    return "・".join(sorted(held[0]))


@lru_cache(maxsize=100)
def _likest(words: str, passages: tuple[Passage, ...]) -> tuple[float, list[Passage]]:
    """How much of the words the likest passages hold, and which they are; limits do not count."""
    likeness = {p: share_of_pairs(words, _no_limits(p.text)) for p in passages}
    best = max(likeness.values(), default=0.0)
    return best, [p for p in passages if likeness[p] == best]


def _bounds_in(normal: str, fact: Fact) -> set[str]:
    return {o.bound for o in facts(normal) if o.bound and o.kind == fact.kind and same_value(fact, o)}


@lru_cache(maxsize=4_000)
def _no_limits(text: str) -> str:
    """A text without its bounded numbers."""
    normal = normalise(text)
    parts, at = list[str](), 0
    for fact in (fact for fact in facts(normal) if fact.bound):
        parts.append(normal[at : fact.start])
        blanks = _BLANKS.match(normal, fact.end)
        at = blanks.end() if blanks else fact.end
        at += len(fact.bound) if normal.startswith(fact.bound, at) else 0
    return "".join([*parts, normal[at:]])


def _adds_a_bound(fact: Fact, sources: Sources) -> bool:
    """Whether a number becomes a beginning or an end that no word beside it in the source tells of."""
    side = next((i for i, group in enumerate(check_words.OPPOSITE) if fact.bound in group), None)
    if side is None:
        return False
    alike = [o for o in sources.facts if o.kind == fact.kind and same_value(fact, o)]
    text = sources.text
    ranged = (
        check_words.TO.search(text, 0, o.start) if side == 0 else check_words.FROM.match(text, o.end)
        for o in alike
    )
    # A range's mark counts above: before its end, or behind its beginning.
    around = [re.sub("[~〜]", "", _around(text, other)) for other in alike]
    words = check_words.SIDES[side], check_words.DUE[side]
    return not (any(ranged) or any(pattern.search(one) for pattern in words for one in around))


def _check_lost_bound(normal: str, fact: Fact, passage: Passage, sources: Sources) -> Iterator[Partial]:
    """A bare number where the sentence's own passage bounds it: 65歳 for 65歳以上."""
    alike = [o for o in facts(normalise(passage.text)) if o.kind == fact.kind and same_value(fact, o)]
    if alike and {o.bound for o in alike} == {"から"}:
        yield from _check_lost_beginning(normal, fact, sources)
    if not alike or any(o.bound not in check_words.NEEDED_BOUNDS for o in alike):
        return
    bound = alike[0].bound
    side = next(
        words for words, group in zip(check_words.SIDES, check_words.OPPOSITE, strict=True) if bound in group
    )
    if (fact.kind, fact.value) in sources.bounded:
        return
    if not side.search(_around(normal, fact)):
        message = f"記事では「{fact.surface}{bound}」です。「{bound}」が抜けています。"
        yield "bound", fact, True, message


def _check_lost_beginning(normal: str, fact: Fact, sources: Sources) -> Iterator[Partial]:
    """「4月1日に受け付けます」 for 「4月1日から受け付けます」."""
    on_it = fact.kind in ("date", "time") and normal.startswith("に", fact.end)
    if not on_it or check_words.BEGINS.search(normal) or "から" in _bounds_in(sources.whole, fact):
        return
    message = f"記事では「{fact.surface}から」です。「から」が抜けています。"
    yield "bound", fact, True, message


def _around(normal: str, fact: Fact) -> str:
    """The words on both sides of a fact, as far as the next fact."""
    own = facts(normal)
    before = max([fact.start - 8, 0, *(o.end + len(o.bound) for o in own if o.end <= fact.start)])
    after = min([fact.end + 10, *(o.start for o in own if o.start >= fact.end)])
    return normal[before:after]


def _check_lost(normal: str, sources: Sources) -> Iterator[Partial]:
    """A deadline, a limit or a period of the passage that the draft leaves out, though it says the rest.

    Hard for what costs a citizen something: 「5月31日までに」「14日以内」. A beginning, a day or the hours of
    a counter are only named.
    """
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old, group = normalise(passage.text), with_fractions(facts(sources.groups[passage]))
    meant = [as_fraction(fact) or fact for fact in facts(old)]
    lost = [fact for fact in meant if not any(is_known(said, [fact]) for said in group)]
    if not lost or normal != _first_to_say(passage, sources):
        return
    for fact in lost:
        if (limit := _limit(old, fact)) is None or _said_elsewhere(fact, passage, sources):
            continue
        words = fact.surface + limit
        hard = bool(check_words.BINDING.search(limit)) and not _ends_hours(old, fact, limit)
        yield "condition", words, hard, f"記事にある「{words}」が抜けています。"


def _first_to_say(passage: Passage, sources: Sources) -> str:
    """Of the sentences that say a passage the first: what all of them leave out is missed once."""
    return next(one for one in sources.body if sources.passage_of(one, ALIGNED) == passage)


def _said_elsewhere(fact: Fact, passage: Passage, sources: Sources) -> bool:
    """Whether another sentence of the draft holds it, and not only because it quotes a passage that does."""
    for sentence in sources.body:
        if not any(is_known(said, [fact]) for said in with_fractions(facts(sentence))):
            continue
        other = sources.passage_of(sentence, CARRIED)
        quoted = other and other != passage and share_of_pairs(other.text, sentence) >= CARRIED
        if not (other and quoted and is_known(fact, facts(normalise(other.text)))):
            return True
    return False


def _limit(old: str, fact: Fact) -> str | None:
    """What stands behind a number and makes it a limit: 「前までに」; None where it is none."""
    behind = check_words.LIMIT_BEHIND.match(old, fact.end)
    if behind and behind[0]:
        return behind[0]
    return "" if fact.kind in ("date", "time") else None


def _ends_hours(old: str, fact: Fact, limit: str) -> bool:
    """Whether it is 17時 of 「9時から17時まで」, which says when a counter is open."""
    begins = (other for other in facts(old) if other.kind == "time" and other.end <= fact.start)
    return fact.kind == "time" and not limit.endswith("に") and any(o.bound == "から" for o in begins)


CHECKS: tuple[Check, ...] = (_check_facts, _check_lost)
