"""Compare a draft with its sources: what stands there must have been written by the city.

`check` highlights for the caseworker and blocks one-click approval; `responders.gate` is stricter and decides
for the model. The citizen's message is never a source for either.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, permutations
from typing import Any

from responders import check_words
from responders.easy import easy
from responders.facts import Fact, facts, normalise, standing
from responders.japanese import official, tokens
from responders.knowledge import Passage
from responders.letters import control_token, odd_glyphs
from responders.wording import (
    ALIGNED,
    forbids,
    is_noun,
    lost_conditions,
    naming_words,
    negations,
    nouns,
    predicates,
    restrains,
    roles,
    share_of_pairs,
    turned,
    unit,
    words_before,
    wrong_rows,
)

MAX_UTF16_UNITS = 5_000
"""LINE's limit for one text message."""
UNSUPPORTED_BELOW = 0.35
CARRIED = 0.9
"""Above it a sentence holds one source sentence and hardly anything else."""
CONDITION_KEPT = 0.6
"""As in the gate, but people may word it more freely."""
DOCUMENT = -1
"""`Finding.sentence` of a finding about the whole text."""


@dataclass(frozen=True, slots=True)
class Register:
    """What the city says about itself everywhere; a draft may hold it without a citation."""

    city: str = ""
    """Name of the city, such as みなと市."""
    phones: frozenset[str] = frozenset()
    """Phone numbers in any notation."""
    sections: frozenset[str] = frozenset()
    """Names of sections and offices."""
    urls: frozenset[str] = frozenset()
    """The city's own pages."""

    @property
    def text(self) -> str:
        """Everything on one line."""
        return " ".join((self.city, *sorted(self.phones | self.sections | self.urls)))


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in a draft that its sources do not carry."""

    sentence: int
    """Index of the sentence from 0; `DOCUMENT` for the whole text."""
    kind: str
    """empty, too_long, phone, url, email, date, time, weekday, number, section, bound, wrong_row,
    municipality, name, noun, negation, condition, opposite, swapped, glyph, foreign_word, assertion,
    politeness, control_token, unsupported, partial."""
    text: str
    """The words in question."""
    hard: bool
    """A hard finding blocks one-click approval."""
    message_ja: str
    """For the caseworker."""
    nth: int = 0
    """Which of the places where the words stand in the sentence, from 0."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """The cited passages, prepared once."""

    passages: tuple[Passage, ...]
    facts: tuple[Fact, ...]
    text: str
    register: Register
    register_facts: tuple[Fact, ...]
    body: tuple[str, ...]
    """The draft's sentences, normalised: a condition may stand in the sentence before."""
    whole: str
    """All of them joined."""
    said: frozenset[tuple[str, str]]
    """Kind and value of the body's facts."""
    bounded: frozenset[tuple[str, str]]
    """Of those that have a limit."""
    nearest: Mapping[str, tuple[Passage | None, float]]
    """Of each of these sentences the passage that shares most with it, and how much."""
    groups: Mapping[Passage, str]
    """Of each passage all the draft's sentences that say it, joined: a word may have moved to another one."""

    @classmethod
    def of(cls, passages: Sequence[Passage], register: Register, body: Sequence[str]) -> "_Sources":
        text = normalise("\n".join(passage.context for passage in passages))
        own = facts(normalise(register.text))
        sentences = tuple(map(normalise, body))
        nearest = {sentence: _nearest(sentence, passages) for sentence in sentences}
        groups: dict[Passage, str] = {}
        for sentence in sentences:
            passage, share = nearest[sentence]
            if passage and share >= UNSUPPORTED_BELOW:
                groups[passage] = groups.get(passage, "") + sentence
        found = [fact for sentence in sentences for fact in _with_fractions(facts(sentence))]
        return cls(
            tuple(passages),
            _with_fractions(facts(text)),
            text,
            register,
            own,
            sentences,
            "".join(sentences),
            frozenset((fact.kind, fact.value) for fact in found),
            frozenset((fact.kind, fact.value) for fact in found if fact.bound in check_words.NEEDED_BOUNDS),
            nearest,
            groups,
        )

    def passage_of(self, sentence: str, least: float) -> Passage | None:
        """The passage that a sentence of the body says, if it shares at least so much with it."""
        passage, share = self.nearest[sentence]
        return passage if share >= least else None


def check(
    body_sentences: Sequence[str], citations_passages: Sequence[Passage], register: Register | None = None
) -> list[Finding]:
    """Check a draft, also one that a caseworker has edited, against its passages and the city's register.

    Args:
        body_sentences: The body without greeting and closing, one sentence each.
        citations_passages: Every passage that the draft cites, whichever sentence cites it.
        register: The city's own names and phones; None: nothing is known beyond the passages.

    Returns:
        In reading order, findings about the whole text first; empty when everything is carried.
    """
    sources = _Sources.of(citations_passages, register or Register(), body_sentences)
    found = list(_whole_text("".join(body_sentences)))
    for number, normal in enumerate(sources.body):
        for one_check in _CHECKS:
            found += (_finding(number, normal, *rest) for rest in one_check(normal, sources))
    return found


def _finding(number: int, normal: str, kind: str, words: str | Fact, hard: bool, message: str) -> Finding:
    if isinstance(words, str):
        return Finding(number, kind, words, hard, message)
    before = [at for at in standing(words.surface, normal) if at < words.start]
    return Finding(number, kind, words.surface, hard, message, len(before))


def support(sentence: str, passages: Sequence[Passage]) -> tuple[str, tuple[str, ...]]:
    """How far passages carry a sentence, by shared character pairs, and the ids of those that do.

    Returns:
        ``supported``, ``partial`` or ``unsupported``; ids best first, empty when unsupported.
    """
    share = {passage.id: share_of_pairs(sentence, passage.text) for passage in passages}
    citing = sorted((i for i in share if share[i] >= UNSUPPORTED_BELOW), key=lambda i: -share[i])
    if not citing:
        return "unsupported", ()
    best = share[citing[0]]
    cited = tuple(i for i in citing if share[i] >= best - 0.2)
    return ("supported" if best >= ALIGNED else "partial"), cited


def _nearest(normal: str, passages: Sequence[Passage]) -> tuple[Passage | None, float]:
    best = max(passages, key=lambda passage: share_of_pairs(normal, passage.text), default=None)
    return best, share_of_pairs(normal, best.text) if best else 0.0


def _whole_text(text: str) -> Iterator[Finding]:
    if not text.strip():
        yield Finding(DOCUMENT, "empty", "", True, "本文がありません。")
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units > MAX_UTF16_UNITS:
        yield Finding(
            DOCUMENT,
            "too_long",
            f"{units}",
            True,
            f"長すぎます({units}文字)。{MAX_UTF16_UNITS}文字以内にしてください。",
        )


_Partial = tuple[str, str | Fact, bool, str]
"""A finding without its sentence's number: kind, text or the fact that stands there, hard, message_ja."""
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


def _check_facts(normal: str, sources: _Sources) -> Iterator[_Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    workdays = check_words.WORKDAYS.finditer(normal) if "平日" in sources.text else ()
    known_days = [found.span() for found in workdays]
    for fact in facts(normal):
        if any(start <= fact.start < end for start, end in known_days):
            continue
        share = _as_fraction(fact)
        if share and _is_known(share, sources.facts) and not _is_known(fact, sources.facts):
            yield from _check_bound(normal, share, passage, sources)
        elif _is_known(fact, sources.facts):
            yield from _check_bound(normal, fact, passage, sources)
        elif _is_known(fact, sources.register_facts):
            message = f"{_KIND_JA[fact.kind]}「{fact.surface}」は市のものですが、根拠の記事にはありません。"
            yield fact.kind, fact, _takes_a_place(fact, passage, sources), message
        else:
            message = f"{_KIND_JA[fact.kind]}「{fact.surface}」が根拠の記事にありません。"
            yield fact.kind, fact, True, message


def _with_fractions(found: Sequence[Fact]) -> tuple[Fact, ...]:
    return (*found, *filter(None, map(_as_fraction, found)))


def _as_fraction(fact: Fact) -> Fact | None:
    """1/2, which is read as the second of January, as the half that it may be as well."""
    parts = check_words.SLASHED.fullmatch(fact.surface) if fact.kind == "date" else None
    if parts is None or int(parts["above"]) >= int(parts["below"]) or fact.bound in check_words.OF_DAYS:
        return None
    return replace(fact, kind="number", value=fact.surface)


def _takes_a_place(fact: Fact, passage: Passage | None, sources: _Sources) -> bool:
    """Whether the sentence's own passage names another section, or phone, that the draft no longer says."""
    if passage is None:
        return False
    said = facts(sources.groups[passage])
    meant = (other for other in facts(normalise(passage.text)) if other.kind == fact.kind)
    return any(not _is_known(other, said) for other in meant)


def _is_known(fact: Fact, known: Sequence[Fact]) -> bool:
    if any(fact.kind == other.kind and _same_value(fact, other) for other in known):
        return True
    # 「正午」 and a year alone are the same fact in another kind's clothes.
    return fact.kind == "number" and any(fact.value == other.value.lstrip("-") for other in known)


def _same_value(fact: Fact, other: Fact) -> bool:
    if fact.kind == "date":
        # Leaving the year out says less, not something else; leaving the month out does not.
        return fact.value in (other.value, check_words.YEAR.sub("", other.value))
    if fact.kind == "section":
        # A word in front may have stuck to the name: 本庁舎市民課.
        front = fact.value.removesuffix(other.value)
        return fact.value.endswith(other.value) and bool(check_words.BUILDING.fullmatch(front))
    return fact.value == other.value


_BLANKS = re.compile(r"\s*")


def _check_bound(normal: str, fact: Fact, passage: Passage | None, sources: _Sources) -> Iterator[_Partial]:
    bounds = {o.bound for o in sources.facts if o.kind == fact.kind and _same_value(fact, o)}
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


def _bound_of_another(normal: str, fact: Fact, sources: _Sources) -> str:
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
    return {o.bound for o in facts(normal) if o.bound and o.kind == fact.kind and _same_value(fact, o)}


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


def _adds_a_bound(fact: Fact, sources: _Sources) -> bool:
    """Whether a number becomes a beginning or an end that no word beside it in the source tells of."""
    side = next((i for i, group in enumerate(check_words.OPPOSITE) if fact.bound in group), None)
    if side is None:
        return False
    alike = [o for o in sources.facts if o.kind == fact.kind and _same_value(fact, o)]
    text = sources.text
    ranged = (
        check_words.TO.search(text, 0, o.start) if side == 0 else check_words.FROM.match(text, o.end)
        for o in alike
    )
    # A range's mark counts above: before its end, or behind its beginning.
    around = [re.sub("[~〜]", "", _around(text, other)) for other in alike]
    words = check_words.SIDES[side], check_words.DUE[side]
    return not (any(ranged) or any(pattern.search(one) for pattern in words for one in around))


def _check_lost_bound(normal: str, fact: Fact, passage: Passage, sources: _Sources) -> Iterator[_Partial]:
    """A bare number where the sentence's own passage bounds it: 65歳 for 65歳以上."""
    alike = [o for o in facts(normalise(passage.text)) if o.kind == fact.kind and _same_value(fact, o)]
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


def _check_lost_beginning(normal: str, fact: Fact, sources: _Sources) -> Iterator[_Partial]:
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


def _check_rows(normal: str, sources: _Sources) -> Iterator[_Partial]:
    own, passage = facts(normal), sources.passage_of(normal, ALIGNED)
    old = normalise(passage.text) if passage else ""
    for fact in dict.fromkeys([*wrong_rows(normal, own, old, facts(old)), *_borrowed(normal, own, sources)]):
        yield "wrong_row", fact, True, f"「{fact.surface}」は、記事では別の項目のものです。"


def _borrowed(normal: str, own: Sequence[Fact], sources: _Sources) -> Iterator[Fact]:
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
    return any(fact.kind == other.kind and _same_value(fact, other) for other in held)


def _replaced(passage: Passage, fact: Fact, own: Sequence[Fact]) -> bool:
    """Whether the passage has a number of this unit that the sentence does not say."""
    said = {other.value for other in own}
    rivals = (other for other in facts(normalise(passage.text)) if other.kind == fact.kind)
    return any(unit(other) == unit(fact) and other.value not in said for other in rivals)


@lru_cache(maxsize=4_000)
def _no_values(text: str) -> str:
    return re.sub(r"\d+|[月火水木金土日]曜日?[と・]?", "", normalise(text))


def _check_municipalities(normal: str, sources: _Sources) -> Iterator[_Partial]:
    for name in dict.fromkeys(_municipalities(tokens(normal))):
        if name not in sources.text and name not in sources.register.text:
            yield "municipality", name, True, f"ほかの自治体の名前「{name}」があります。"


def _municipalities(morphemes: Sequence[Any]) -> Iterator[str]:
    suffixes = [*(m.surface()[:1] for m in morphemes), ""]
    for morpheme, suffix in zip(morphemes, suffixes[1:], strict=True):
        name, kind = morpheme.surface(), morpheme.part_of_speech()
        if kind[1:3] != ("固有名詞", "地名"):
            continue
        if check_words.MUNICIPALITY.match(suffix):
            yield name + suffix
        elif check_words.MUNICIPALITY.match(name[-1]):
            yield name


def _check_names(normal: str, sources: _Sources) -> Iterator[_Partial]:
    """Proper nouns of no source; other cities and addresses have checks of their own.

    The small dictionary knows families, first names, places and a few firms. It does not see what is made of
    common words (みどり公園, スカイツリー, 厚生労働省), nor a family that is a word too (森, 原).
    """
    morphemes = tokens(check_words.ADDRESS.sub("", normal))
    known = " ".join([sources.text, sources.register.text, *_municipalities(morphemes)])
    runs = ((sort, "".join(m.surface() for m in run)) for sort, run in groupby(morphemes, _sort_of_name))
    for (what, hard), name in dict.fromkeys(runs):
        if what and name not in known and not name.isascii():
            yield "name", name, hard, f"{what}と思われる「{name}」が根拠の記事にありません。"


def _sort_of_name(morpheme: Any) -> tuple[str, bool]:  # noqa: ANN401
    """What to call it, and whether it is hard; empty when it is no proper noun."""
    kind = morpheme.part_of_speech()
    return check_words.NAMES_JA.get(kind[2:4], ("固有名詞", False)) if kind[1] == "固有名詞" else ("", False)


def _check_nouns(normal: str, sources: _Sources) -> Iterator[_Partial]:
    """Common nouns of no source in a sentence that otherwise says its passage: 戸籍謄本 for 住民票.

    Hard where they stand in another word's place; what is only added may be the officer's own knowledge.
    """
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    said = official(normal)
    known = _vocabulary(f"{sources.text} {normalise(sources.register.text)}")
    new = [noun for noun in _nouns_beside_facts(said) if noun.surface() not in known]
    new = [noun for noun in new if noun.normalized_form() not in known]
    plain = "".join(_in_plain_words(p.context) for p in sources.passages) if new else ""
    new = [noun for noun in new if noun.surface() not in plain]
    if not new:
        return
    group = official(sources.groups[passage])
    named = (
        word
        for word in naming_words(official(normalise(passage.text)))
        if word not in check_words.LIGHT_NOUNS
    )
    lost = next((word for word in named if word not in group), "")
    for word in dict.fromkeys(noun.surface() for noun in new):
        message = f"「{word}」は記事にない語です。" + (f"記事には「{lost}」とあります。" if lost else "")
        yield "noun", word, bool(lost), message


@lru_cache(maxsize=100)
def _vocabulary(text: str) -> str:
    """A text in the city's words, and the dictionary forms of its words: each keystroke asks for the same."""
    known = official(text)
    return f"{known} {' '.join(m.normalized_form() for m in tokens(known))}"


@lru_cache(maxsize=1_000)
def _in_plain_words(text: str) -> str:
    return easy(text).body.replace(" ", "")


def _nouns_beside_facts(normal: str) -> list[Any]:
    """Nouns that are no part of a number, a name of a section or an address, nor general words of letters."""
    taken = [(fact.start, fact.end) for fact in facts(normal)]
    return [
        m
        for m in tokens(normal)
        if is_noun(m)
        and m.part_of_speech()[1] == "普通名詞"
        and m.part_of_speech()[2] != "副詞可能"
        and len(m.surface()) > 1
        and m.surface() not in check_words.LIGHT_NOUNS
        and not any(start < m.end() and m.begin() < end for start, end in taken)
    ]


def _check_negation(normal: str, sources: _Sources) -> Iterator[_Partial]:
    passage = sources.passage_of(normal, ALIGNED) or _restraining(normal, sources)
    if passage is None:
        return
    old = normalise(passage.text)
    group = sources.groups[passage]
    # A polite restraint turns round words that a plain negation leaves as they are.
    word = "" if restrains(normal) or restrains(old) else turned(normal, old)
    if forbids(group) != forbids(old) or word:
        message = f"記事と肯定・否定が違うようです。記事: 「{passage.text}」"
        yield "negation", normal, True, message


def _restraining(normal: str, sources: _Sources) -> Passage | None:
    """Turning 「ご来庁はご遠慮ください」 round changes so many words that little stays to align."""
    passage = sources.passage_of(normal, UNSUPPORTED_BELOW)
    return passage if passage and restrains(normalise(passage.text)) else None


def _check_conditions(normal: str, sources: _Sources) -> Iterator[_Partial]:
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old = normalise(passage.text)
    before = sources.body[: sources.body.index(normal)][-1:]
    lost = list(lost_conditions([sources.groups[passage], *before], old, CONDITION_KEPT))
    limits = (
        fact
        for fact in (_as_fraction(fact) or fact for fact in facts(old))
        if fact.bound in check_words.LIMITS and (fact.kind, fact.value) not in sources.said
    )
    lost += (fact.surface + fact.bound for fact in limits)
    follows = (passage.article, passage.ordinal + 1)
    lost += (
        after.text
        for after in sources.passages
        if (after.article, after.ordinal) == follows and after.limits_previous and after not in sources.groups
    )
    for condition in lost:
        yield "condition", condition, True, f"記事にある条件「{condition}」が抜けています。"


def _check_restrictions(normal: str, sources: _Sources) -> Iterator[_Partial]:
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


def _lost_beside_a_number(old: str, group: str) -> Iterator[_Partial]:
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


def _check_opposites(normal: str, sources: _Sources) -> Iterator[_Partial]:
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


def _check_swapped(normal: str, sources: _Sources) -> Iterator[_Partial]:
    """What the source says of one thing said of another: 「本人は郵送で、代理人は窓口で」."""
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    meant, said = _by_topic(normalise(passage.text)), _by_topic(sources.groups[passage])
    both = [topic for topic in said if topic in meant]
    for one in both:
        for other in both:
            gained = (said[one] - meant[one]) & (meant[other] - said[other])
            lost = (meant[one] - said[one]) & (said[other] - meant[other])
            if one in normal and ("not" in gained or (gained and lost)):
                yield "swapped", one, True, f"「{one}」についての内容が、記事では「{other}」のものです。"


def _check_roles(normal: str, sources: _Sources) -> Iterator[_Partial]:
    """「市民が市に」 for 「市が市民に」, and 「市が負担します」 for 「所有者が負担します」."""
    passage = sources.passage_of(normal, ALIGNED)
    if passage is None:
        return
    old, group = normalise(passage.text), sources.groups[passage]
    meant, said = roles(old), roles(normal)
    for one, other in permutations([noun for noun in said if noun in meant], 2):
        gained = (said[one] - meant[one]) & (meant[other] - said[other])
        lost = (meant[one] - said[one]) & (said[other] - meant[other])
        if gained and lost:
            yield "swapped", one, True, f"「{one}」と「{other}」が、記事では逆です。"
    acting = [noun for noun in meant if "who" in meant[noun] and check_words.PERSON.search(noun)]
    replaced = next((noun for noun in acting if noun not in group), "")
    for noun in (noun for noun in said if replaced and noun in check_words.ACTORS):
        # 市 stands in みなと市 and 市民, too.
        if "who" in said[noun] and noun not in meant and (len(noun) == 1 or noun not in old):
            yield "swapped", noun, True, f"「{noun}」は、記事では「{replaced}」です。"


def _by_topic(normal: str) -> dict[str, set[str]]:
    """What a text says of each thing that it names with 「は」 or 「が」; "not" where it is denied."""
    found: dict[str, set[str]] = {}
    for match in check_words.TOPIC.finditer(normal):
        words = {*nouns(match["said"]), *predicates(match["said"])}
        words |= {"not"} if negations(match["said"]) else set()
        found.setdefault(match["topic"], set()).update(words)
    return found


def _check_letters(normal: str, sources: _Sources) -> Iterator[_Partial]:
    if odd := odd_glyphs(normal, sources.text):
        yield "glyph", odd, True, f"日本語で使わない文字「{odd}」があります。"
    if token := control_token(normal):
        yield "control_token", token, True, "モデルの制御記号が混ざっています。"
    for word in dict.fromkeys(check_words.LATIN.findall(check_words.ADDRESS.sub("", normal))):
        if word.lower() not in (sources.text + sources.register.text).lower():
            yield "foreign_word", word, False, f"英字の語「{word}」が根拠の記事にありません。"


def _check_assertions(normal: str, sources: _Sources) -> Iterator[_Partial]:
    said = [found[0] for found in check_words.ASSERTION.finditer(normal)]
    said += check_words.APOLOGY.findall(normal) if check_words.ADMITS.search(normal) else []
    for word in dict.fromkeys(said):
        alike = next((pair for pair in check_words.IN_KANA if word in pair), (word,))
        if not any(one in sources.text for one in alike):
            asked = "断定、約束、責任を認める言葉、法的な判断でないか確かめてください。"
            yield "assertion", word, True, f"記事にない言葉「{word}」があります。{asked}"


def _check_politeness(normal: str, _sources: _Sources) -> Iterator[_Partial]:
    """One style throughout and no honorific twice. Source: 文化審議会「敬語の指針」 2007."""
    if normal.endswith("。") and not check_words.POLITE_END.search(normal):
        yield "politeness", normal, False, "文末が「です・ます」の形ではありません。"
    if double := check_words.DOUBLE_HONORIFIC.search(normal):
        yield "politeness", double[0], False, f"敬語が重なっています「{double[0]}」。"


def _check_support(normal: str, sources: _Sources) -> Iterator[_Partial]:
    level, _ = support(normal, sources.passages)
    if level == "unsupported" and not _points_to_a_page(normal, sources):
        yield "unsupported", normal, True, "この文の根拠が記事に見つかりません。"
    elif level == "partial":
        yield "partial", normal, False, "この文は、一部しか記事で裏付けられません。"


def _points_to_a_page(normal: str, sources: _Sources) -> bool:
    """「詳しくは、市のホームページ(https://…)をご覧ください。」 with an address that is the city's own."""
    found = check_words.SEE.fullmatch(normal)
    if not found or not (addresses := [fact for fact in facts(normal) if fact.kind == "url"]):
        return False
    beside = check_words.SITE.sub("", check_words.ADDRESS.sub("", found["where"]))
    known = (*sources.facts, *sources.register_facts)
    return not beside and all(_is_known(address, known) for address in addresses)


_CHECKS: tuple[Callable[[str, _Sources], Iterator[_Partial]], ...] = (
    _check_facts,
    _check_rows,
    _check_municipalities,
    _check_names,
    _check_nouns,
    _check_negation,
    _check_conditions,
    _check_restrictions,
    _check_opposites,
    _check_swapped,
    _check_roles,
    _check_letters,
    _check_assertions,
    _check_politeness,
    _check_support,
)
