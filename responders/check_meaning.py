"""What a draft says of its words: negation, conditions, opposites, and who does what to whom."""

import re
from collections.abc import Iterator, Mapping
from itertools import permutations

from responders import check_words
from responders.check_sources import UNSUPPORTED_BELOW, Check, Partial, Sources
from responders.facts import FREE, facts, normalise
from responders.knowledge import Passage
from responders.tense import mistold
from responders.wording import (
    ALIGNED,
    forbids,
    lost_conditions,
    negations,
    nouns,
    predicates,
    restrains,
    roles,
    turned,
)

CONDITION_KEPT = 0.6
"""As in the gate, but people may word it more freely."""


def _check_negation(normal: str, sources: Sources) -> Iterator[Partial]:
    passage = sources.passage_of(normal, ALIGNED) or _restraining(normal, sources)
    if passage is None:
        return
    texts = normal, sources.groups[passage], normalise(passage.text)
    # 「無料です」 denies as little as 「手数料はかかりません」.
    same = all(map(FREE.search, texts)) and not _denies(*(FREE.sub("無料", text) for text in texts))
    if _denies(*texts) and not same:
        message = f"記事と肯定・否定が違うようです。記事: 「{passage.text}」"
        yield "negation", normal, True, message


def _denies(normal: str, group: str, old: str) -> bool:
    """Whether a sentence, or all that say its passage, deny what the passage says, or the other way round."""
    # A polite restraint turns round words that a plain negation leaves as they are.
    word = "" if restrains(normal) or restrains(old) else turned(normal, old)
    return forbids(group) != forbids(old) or bool(word)


def _restraining(normal: str, sources: Sources) -> Passage | None:
    """Turning 「ご来庁はご遠慮ください」 round changes so many words that little stays to align."""
    passage = sources.passage_of(normal, UNSUPPORTED_BELOW)
    return passage if passage and restrains(normalise(passage.text)) else None


def _check_conditions(normal: str, sources: Sources) -> Iterator[Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old = normalise(passage.text)
    before = sources.body[: sources.body.index(normal)][-1:]
    lost = list(lost_conditions([sources.groups[passage], *before], old, CONDITION_KEPT))
    follows = (passage.article, passage.ordinal + 1)
    lost += (
        after.text
        for after in sources.passages
        if (after.article, after.ordinal) == follows and after.limits_previous and after not in sources.groups
    )
    for condition in lost:
        yield "condition", condition, True, f"記事にある条件「{condition}」が抜けています。"


def _check_restrictions(normal: str, sources: Sources) -> Iterator[Partial]:
    """「のみ」「原則」 and bounds that follow no number."""
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old, group = normalise(passage.text), sources.groups[passage]
    for words in check_words.RESTRICTIONS:
        if (lost := words.search(old)) and not words.search(group):
            yield "condition", lost[0], True, f"記事にある条件「{lost[0]}」が抜けています。"
        if (new := words.search(normal)) and not words.search(sources.text):
            yield "condition", new[0], True, f"記事にない条件「{new[0]}」があります。"
    if (days := check_words.ON_WORKDAYS.search(old)) and not (
        check_words.OTHER_DAYS.search(old) or check_words.ON_WORKDAYS.search(group)
    ):
        yield "condition", days[0], True, f"記事にある条件「{days[0]}」が抜けています。"
    yield from _lost_beside_a_number(old, group)
    of_facts = {fact.end for fact in facts(old)}
    for limit in (found for found in check_words.BARE_LIMIT.finditer(old) if found.start() not in of_facts):
        side = next(
            w for w, names in zip(check_words.SIDES, check_words.OPPOSITE, strict=True) if limit[0] in names
        )
        if not side.search(group):
            yield "bound", limit[0], True, f"記事にある「{limit[0]}」が抜けています。"


def _lost_beside_a_number(old: str, group: str) -> Iterator[Partial]:
    """The ordinals of a weekday, and what an amount is for."""
    for found in check_words.ORDINAL_DAY.finditer(old):
        numbers = re.findall(r"\d", found[0])
        kept = all(re.search(rf"[第・、と]{number}(?!\d)", group) for number in numbers)
        if not kept and found["day"] in group and old.count(found["day"]) == 1:
            yield "condition", found[0], True, f"記事では「{found[0]}」です。第何週かが抜けています。"
    for found in check_words.PER.finditer(old):
        what = found["what"]
        if not re.search(rf"(?<!\d)1{what}|{what}(?:ごと|毎)|各{what}|ひとり", group):
            yield "condition", found[0], True, f"記事にある「{found[0]}」が抜けています。"


def _check_opposites(normal: str, sources: Sources) -> Iterator[Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    # A title may name both: 「転入届・転出届」.
    old, known = normalise(passage.text), normalise(passage.said)
    group = sources.groups[passage]
    wrong_words = [
        *_exchanged(normal, group, old, known),
        *_joined(normal, group, old),
        *_obliged(normal, group, old),
        *mistold(normal, old),
    ]
    for wrong, right in dict.fromkeys([*wrong_words, *_turned(normal, group, old)]):
        yield "opposite", wrong, True, f"「{wrong}」は、記事では「{right}」です。"


def _exchanged(normal: str, group: str, old: str, known: str) -> Iterator[tuple[str, str]]:
    """Words that the sentence's own source does not hold where it has another one of their row."""
    for row in check_words.EXCLUSIVE:
        lost = next((m[0] for word in row if (m := word.search(old)) and not word.search(group)), "")
        new = next((m[0] for word in row if (m := word.search(normal)) and not word.search(known)), "")
        if lost and new:
            yield new, lost


def _joined(normal: str, group: str, old: str) -> Iterator[tuple[str, str]]:
    """「または」 for 「と」, or the other way round."""
    for one, other in ((check_words.EITHER, check_words.BOTH), (check_words.BOTH, check_words.EITHER)):
        lost, new = one.search(old), other.search(normal)
        if lost and new and not one.search(group) and not other.search(old):
            yield new[0], lost[0]


def _obliged(normal: str, group: str, old: str) -> Iterator[tuple[str, str]]:
    """「できます」 for 「しなければなりません」, or the other way round."""
    must, may = check_words.MUST, check_words.MAY
    for one, other, free in ((must, may, group), (may, must, old)):
        lost, new = one.search(old), other.search(normal)
        kept = one.search(group) or other.search(old) or check_words.ASKS.search(free)
        if lost and new and not kept:
            yield new[0], lost[0]


def _turned(normal: str, group: str, old: str) -> Iterator[tuple[str, str]]:
    """就学児 for 未就学児 or the other way round, and 引っ越し前 for 引っ越し後."""
    for one, other, here in ((old, group, False), (normal, old, True)):
        for found in check_words.PREFIXED.finditer(one):
            bare = rf"(?<![{check_words.PREFIXES}]){found['stem']}"
            if found[0] not in other and re.search(bare, other) and not re.search(bare, one):
                yield (found[0], found["stem"]) if here else (found["stem"], found[0])
    meant = {(m["what"], m["side"]): m[0] for m in check_words.SIDE_OF.finditer(old)}
    for said in check_words.SIDE_OF.finditer(normal):
        turned = meant.get((said["what"], "後" if said["side"] == "前" else "前"))
        if turned and (said["what"], said["side"]) not in meant:
            yield said[0], turned


def _check_swapped(normal: str, sources: Sources) -> Iterator[Partial]:
    """What the source says of one thing said of another: 「本人は郵送で、代理人は窓口で」."""
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    meant, said = _by_topic(normalise(passage.text)), _by_topic(sources.groups[passage])
    for one, other, gained, lost in _exchanges(meant, said):
        if one in normal and ("not" in gained or (gained and lost)):
            yield "swapped", one, True, f"「{one}」についての内容が、記事では「{other}」のものです。"


def _check_roles(normal: str, sources: Sources) -> Iterator[Partial]:
    """「市民が市に」 for 「市が市民に」, and 「市が負担します」 for 「所有者が負担します」."""
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old, group = normalise(passage.text), sources.groups[passage]
    meant, said = roles(old), roles(normal)
    for one, other, gained, lost in _exchanges(meant, said):
        if gained and lost:
            yield "swapped", one, True, f"「{one}」と「{other}」が、記事では逆です。"
    acting = [noun for noun in meant if "who" in meant[noun] and check_words.PERSON.search(noun)]
    replaced = next((noun for noun in acting if noun not in group), "")
    for noun in (noun for noun in said if replaced and noun in check_words.ACTORS):
        # 市 stands in みなと市 and 市民, too.
        if "who" in said[noun] and noun not in meant and (len(noun) == 1 or noun not in old):
            yield "swapped", noun, True, f"「{noun}」は、記事では「{replaced}」です。"


def _exchanges(
    meant: Mapping[str, set[str]], said: Mapping[str, set[str]]
) -> Iterator[tuple[str, str, set[str], set[str]]]:
    """Of two things that both texts speak of, what the first has gained of the second, and lost to it."""
    for one, other in permutations([name for name in said if name in meant], 2):
        gained = (said[one] - meant[one]) & (meant[other] - said[other])
        yield one, other, gained, (meant[one] - said[one]) & (said[other] - meant[other])


def _by_topic(normal: str) -> dict[str, set[str]]:
    """What a text says of each thing that it names with 「は」 or 「が」; "not" where it is denied."""
    found: dict[str, set[str]] = {}
    for match in check_words.TOPIC.finditer(normal):
        words = {*nouns(match["said"]), *predicates(match["said"])}
        words |= {"not"} if negations(match["said"]) else set()
        found.setdefault(match["topic"], set()).update(words)
    return found


CHECKS: tuple[Check, ...] = (
    _check_negation,
    _check_conditions,
    _check_restrictions,
    _check_opposites,
    _check_swapped,
    _check_roles,
)
