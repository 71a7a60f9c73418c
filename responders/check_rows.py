"""Which row or column a number of a draft belongs to: the fee of a child must not become an adult's."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from responders import check_words
from responders.check_numbers import same_value, without_workdays
from responders.check_sources import CARRIED, Check, Partial, Sources
from responders.facts import FREE, Fact, facts, normalise
from responders.knowledge import Passage
from responders.wording import ALIGNED, nouns, row_of, share_of_pairs, unit, words_before, wrong_rows

ROWS_ALIKE = 0.5
"""Share of one sentence's character pairs that another one holds where both are rows."""


def _check_rows(normal: str, sources: Sources) -> Iterator[Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    old = normalise(passage.text) if passage else ""
    own = without_workdays(normal, old)
    wrong = [
        *wrong_rows(normal, own, old, facts(old)),
        *_borrowed(normal, own, sources),
        *_of_another(normal, own, sources),
    ]
    for fact in dict.fromkeys(wrong):
        yield "wrong_row", fact, True, f"「{fact.surface}」は、記事では別の項目のものです。"


def _borrowed(normal: str, own: Sequence[Fact], sources: Sources) -> Iterator[Fact]:
    """Numbers and weekdays that a sentence's own passage does not hold: of other words in another one."""
    # Without them a sentence stays with the passage whose words it uses, whatever number stands in it.
    likeness = {p: share_of_pairs(_no_values(normal), _no_values(p.text)) for p in sources.passages}
    best = max(likeness.values(), default=0.0)
    if best < ALIGNED:
        return
    for fact in own:
        holders = [p for p in likeness if fact.kind != "section" and _holds(p, fact)]
        if not holders or any(likeness[p] == best for p in holders):
            continue
        nearest = next(p for p in likeness if likeness[p] == best)
        # Two sentences joined into one bring all numbers of both: none has taken another's place.
        if best < CARRIED and not _replaced(nearest, fact, own):
            continue
        words = _no_values(words_before(normal, fact))
        fit = {p: (share_of_pairs(words, _no_values(p.context)), likeness[p]) for p in likeness}
        if max(fit.values()) > max(fit[p] for p in holders):
            yield fact


def _holds(passage: Passage, fact: Fact) -> bool:
    held = facts(normalise(passage.context))
    return any(fact.kind == other.kind and same_value(fact, other) for other in held)


def _replaced(passage: Passage, fact: Fact, own: Sequence[Fact]) -> bool:
    """Whether the passage has a number of this unit that the sentence does not say."""
    said = {other.value for other in own}
    rivals = (other for other in facts(normalise(passage.text)) if other.kind == fact.kind)
    return any(unit(other) == unit(fact) and other.value not in said for other in rivals)


@lru_cache(maxsize=4_000)
def _no_values(text: str) -> str:
    return re.sub(r"\d+|[月火水木金土日]曜日?[と・]?", "", FREE.sub("無料", normalise(text)))


def _of_another(normal: str, own: Sequence[Fact], sources: Sources) -> Iterator[Fact]:
    """Amounts, hours and days whose words, however few, fit another one better than where they stand.

    The words may be a table's, of which each row is a passage: 「子どもの料金は500円です」.
    """
    named = [(passage, one, names) for passage in sources.passages for one, names in _named(passage)]
    for fact in (fact for fact in own if _has_row(normal, fact)):
        alike = [entry for entry in named if entry[1].kind == fact.kind]
        holders = [(passage, names) for passage, one, names in alike if same_value(fact, one)]
        others = [
            names
            for passage, one, names in alike
            if not same_value(fact, one)
            and (fact.kind == "number" or any(_parallel(passage, holder) for holder, _ in holders))
        ]
        # Each of 「大人も子どもも」 for itself.
        for words in check_words.TOO.split(_one_name(_words(normal, fact))) if holders else ():
            here = frozenset(nouns(words))
            if fact.kind != "number":
                here -= check_words.LIGHT_NOUNS  # 「時間は」「受付は」 may be said of each row.
            if any(all(names & here < rival & here for _, names in holders) for rival in others):
                yield fact


def _words(normal: str, fact: Fact) -> str:
    """What stands before a number, or before the beginning of the hours that it ends."""
    return words_before(normal, fact) or row_of(normal, fact)


def _has_row(normal: str, fact: Fact) -> bool:
    """Whether it is an amount, an hour or a day. 「1枚500円分」 tells what something is worth."""
    amount = unit(fact) == "円" and not normal.startswith("分", fact.end)
    return amount or fact.kind in ("time", "date", "weekday")


@lru_cache(maxsize=4_000)
def _parallel(one: Passage, other: Passage) -> bool:
    """Whether they say the same of two things, as rows do: two counters may keep hours of different kinds."""
    return share_of_pairs(_no_values(one.text), _no_values(other.text)) >= ROWS_ALIKE


@lru_cache(maxsize=4_000)
def _named(passage: Passage) -> tuple[tuple[Fact, frozenset[str]], ...]:
    """A passage's amounts, hours and days, each with the nouns that it belongs to: no other one's row."""
    normal = check_words.LISTED_DAYS.sub("と", normalise(passage.text))
    around = frozenset(nouns(_one_name(normalise(passage.context))))
    found = [fact for fact in facts(normal) if _has_row(normal, fact)]
    rows = dict[Fact, frozenset[str]]()
    for fact in found:
        before = next((rows[o] for o in reversed(rows) if o.kind == fact.kind), frozenset[str]())
        # 13時 of 「10時から12時までと13時から16時まで」 has the row before.
        rows[fact] = frozenset(nouns(_one_name(row_of(normal, fact)))) or before
    return tuple((fact, (around - _of_others(fact, rows)) | rows[fact]) for fact in found)


def _of_others(fact: Fact, rows: Mapping[Fact, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*(rows[o] for o in rows if o != fact and o.kind == fact.kind))


def _one_name(normal: str) -> str:
    """The same people and days by the same name: お子さま is 子ども, 土曜日 is 土曜."""
    for pattern, name in check_words.ONE_NAME:
        normal = pattern.sub(name, normal)
    return normal


def _check_alike(normal: str, sources: Sources) -> Iterator[Partial]:
    """「お子さまの料金は大人と同じです」 where the source has an amount for each."""
    same = check_words.SAME.search(normal)
    if same is None or same[0] in sources.text or any(unit(fact) == "円" for fact in facts(normal)):
        return
    said = frozenset(nouns(_one_name(normal)))
    amounts = (one for passage in sources.passages for one in _named(passage) if one[0].kind == "number")
    if check_words.COSTS.search(normal) and len({one.value for one, names in amounts if names & said}) > 1:
        yield (
            "wrong_row",
            same[0],
            True,
            f"記事では、金額が分かれています。「{same[0]}」とは書かれていません。",
        )


CHECKS: tuple[Check, ...] = (_check_rows, _check_alike)
