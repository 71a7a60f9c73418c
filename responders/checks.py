"""Compare a draft with its sources: what stands there must have been written by the city.

`check` highlights for the caseworker and blocks one-click approval; `responders.gate` is stricter and decides
for the model. The citizen's message is never a source for either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from responders import check_meaning, check_names, check_numbers, check_rows, check_words
from responders.check_numbers import is_known
from responders.check_sources import UNSUPPORTED_BELOW, Check, Partial, Register, Sources, divided
from responders.facts import Fact, facts, normalise, standing
from responders.knowledge import Passage
from responders.letters import control_token, odd_glyphs
from responders.wording import ALIGNED, share_of_pairs

MAX_UTF16_UNITS = 5_000
"""LINE's limit for one text message."""
DOCUMENT = -1
"""`Finding.sentence` of a finding about the whole text."""


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
    repeat: int = 0
    """Which of several equal sentences it stands in, from 0."""


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
    parts = [
        (number, part)
        for number, sentence in enumerate(body_sentences)
        for part in _places(divided(normalise(sentence), citations_passages))
    ]
    sources = Sources.of(citations_passages, register or Register(), [text for _, (_, text) in parts])
    found = list(_whole_text("".join(body_sentences)))
    for number, (at, part) in parts:
        for one_check in _CHECKS:
            found += (_finding(number, body_sentences, at, *rest) for rest in one_check(part, sources))
    # Two parts of a sentence may have one fault: the same words in the same place.
    return list(dict.fromkeys(found))


def _places(parts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each part with its place in the whole."""
    at = 0
    for part in parts:
        yield at, part
        at += len(part)


def _finding(
    number: int, body: Sequence[str], at: int, kind: str, words: str | Fact, hard: bool, message: str
) -> Finding:
    repeat = body[:number].count(body[number])
    if isinstance(words, str):
        return Finding(number, kind, words, hard, message, repeat=repeat)
    places = standing(words.surface, normalise(body[number]))
    before = [place for place in places if place < at + words.start]
    return Finding(number, kind, words.surface, hard, message, len(before), repeat)


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


def _check_letters(normal: str, sources: Sources) -> Iterator[Partial]:
    if odd := odd_glyphs(normal, sources.text):
        yield "glyph", odd, True, f"日本語で使わない文字「{odd}」があります。"
    if token := control_token(normal):
        yield "control_token", token, True, "モデルの制御記号が混ざっています。"
    for word in dict.fromkeys(check_words.LATIN.findall(check_words.ADDRESS.sub("", normal))):
        if word.lower() not in (sources.text + sources.register.text).lower():
            yield "foreign_word", word, False, f"英字の語「{word}」が根拠の記事にありません。"


def _check_assertions(normal: str, sources: Sources) -> Iterator[Partial]:
    said = [found[0] for found in check_words.ASSERTION.finditer(normal)]
    said += check_words.APOLOGY.findall(normal) if check_words.ADMITS.search(normal) else []
    for word in dict.fromkeys(said):
        alike = next((pair for pair in check_words.IN_KANA if word in pair), (word,))
        if not any(one in sources.text for one in alike):
            asked = "断定、約束、責任を認める言葉、法的な判断でないか確かめてください。"
            yield "assertion", word, True, f"記事にない言葉「{word}」があります。{asked}"


def _check_politeness(normal: str, _sources: Sources) -> Iterator[Partial]:
    """One style throughout and no honorific twice. Source: 文化審議会「敬語の指針」 2007."""
    if normal.endswith("。") and not check_words.POLITE_END.search(normal):
        yield "politeness", normal, False, "文末が「です・ます」の形ではありません。"
    if double := check_words.DOUBLE_HONORIFIC.search(normal):
        yield "politeness", double[0], False, f"敬語が重なっています「{double[0]}」。"


def _check_support(normal: str, sources: Sources) -> Iterator[Partial]:
    level, _ = support(normal, sources.passages)
    if level == "unsupported" and not _points_to_a_page(normal, sources):
        yield "unsupported", normal, True, "この文の根拠が記事に見つかりません。"
    elif level == "partial":
        yield "partial", normal, False, "この文は、一部しか記事で裏付けられません。"


def _points_to_a_page(normal: str, sources: Sources) -> bool:
    """「詳しくは、市のホームページ(https://…)をご覧ください。」 with an address that is the city's own."""
    found = check_words.SEE.fullmatch(normal)
    if not found or not (addresses := [fact for fact in facts(normal) if fact.kind == "url"]):
        return False
    beside = check_words.SITE.sub("", check_words.ADDRESS.sub("", found["where"]))
    known = (*sources.facts, *sources.register_facts)
    return not beside and all(is_known(address, known) for address in addresses)


_CHECKS: tuple[Check, ...] = (
    *check_numbers.CHECKS,
    *check_rows.CHECKS,
    *check_names.CHECKS,
    *check_meaning.CHECKS,
    _check_letters,
    _check_assertions,
    _check_politeness,
    _check_support,
)
