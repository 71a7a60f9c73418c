"""What a draft is compared with: the passages that it cites, prepared once, and the city's own words."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from responders import check_words
from responders.facts import Fact, facts, normalise
from responders.knowledge import Passage
from responders.wording import share_of_pairs

UNSUPPORTED_BELOW = 0.35
CARRIED = 0.9
"""Above it a sentence holds one source sentence and hardly anything else."""
_WHOLE = 0.8
"""Of two sentences that say the same: their length, and the character pairs of each that the other holds."""
_SHORTENED = 0.4
"""So much of one that is joined to a whole one must be left."""
_LONGEST_JOINED = 600
_JOINT = re.compile("[がでしてりぎちにびみえけせねべめれ]、")
"""How a sentence ends that goes on."""

Partial = tuple[str, str | Fact, bool, str]
"""A finding without its sentence's number: kind, text or the fact that stands there, hard, message_ja."""


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
class Sources:
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
    bounded: frozenset[tuple[str, str]]
    """Kind and value of the body's facts that have a limit."""
    nearest: Mapping[str, tuple[Passage | None, float]]
    """Of each of these sentences the passage that shares most with it, and how much."""
    groups: Mapping[Passage, str]
    """Of each passage all the draft's sentences that say it, joined: a word may have moved to another one."""

    @classmethod
    def of(cls, passages: Sequence[Passage], register: Register, body: Sequence[str]) -> "Sources":
        """Prepare the passages, and find for each sentence of the draft which of them it says."""
        text = normalise("\n".join(passage.context for passage in passages))
        own = facts(normalise(register.text))
        sentences = tuple(map(normalise, body))
        nearest = {sentence: _nearest(sentence, passages) for sentence in sentences}
        groups: dict[Passage, str] = {}
        for sentence in sentences:
            passage, share = nearest[sentence]
            if passage and share >= UNSUPPORTED_BELOW:
                groups[passage] = groups.get(passage, "") + sentence
        found = [fact for sentence in sentences for fact in with_fractions(facts(sentence))]
        return cls(
            tuple(passages),
            (*with_fractions(facts(text)), *_every(text)),
            text,
            register,
            own,
            sentences,
            "".join(sentences),
            frozenset((fact.kind, fact.value) for fact in found if fact.bound in check_words.NEEDED_BOUNDS),
            nearest,
            groups,
        )

    def passage_of(self, sentence: str, least: float) -> Passage | None:
        """The passage that a sentence of the body says, if it shares at least so much with it."""
        passage, share = self.nearest[sentence]
        return passage if share >= least else None


Check = Callable[[str, Sources], Iterator[Partial]]
"""One kind of comparison of a normalised sentence."""


def divided(normal: str, passages: Sequence[Passage]) -> list[str]:
    """A sentence in the parts in which it says one source sentence after the other; mostly itself alone.

    People join two sentences into one. Whoever compares the whole with one of them misses half.
    """
    if len(normal) > _LONGEST_JOINED or _likeness(normal, passages) >= _WHOLE:
        return [normal]
    cuts = [found.end() for found in _JOINT.finditer(normal)]
    parts, at, likest = list[str](), 0, 0.0
    while ahead := [(_likeness(normal[at:cut], passages), cut) for cut in [*cuts, len(normal)] if cut > at]:
        likeness, cut = max(ahead)
        if likeness < _SHORTENED:
            return [normal]
        parts.append(normal[at:cut])
        at, likest = cut, max(likest, likeness)
    return parts if likest >= _WHOLE else [normal]


def _likeness(part: str, passages: Sequence[Passage]) -> float:
    """How much of one source sentence it says, if it says hardly anything else."""
    return max(
        (
            min(share, share_of_pairs(passage.text, part))
            for passage in passages
            if len(part) * _WHOLE <= len(passage.text)
            and (share := share_of_pairs(part, passage.text)) >= _WHOLE
        ),
        default=0.0,
    )


def _nearest(normal: str, passages: Sequence[Passage]) -> tuple[Passage | None, float]:
    best = max(passages, key=lambda passage: share_of_pairs(normal, passage.text), default=None)
    if best is None:
        return None, 0.0
    share = share_of_pairs(normal, best.text)
    # A short sentence may stand within several: it says the one of which it leaves least out.
    alike = (passage for passage in passages if share_of_pairs(normal, passage.text) == share)
    return max(alike, key=lambda passage: share_of_pairs(passage.text, normal)), share


def _every(normal: str) -> Iterator[Fact]:
    """The one year in which something happens that happens 年2回."""
    for found in check_words.EVERY.finditer(normal):
        for value in check_words.ONE_OF[found["what"]]:
            yield Fact("number", value, "", *found.span(), found[0])


def with_fractions(found: Sequence[Fact]) -> tuple[Fact, ...]:
    """Facts, and the shares that some of them may be as well."""
    return (*found, *filter(None, map(as_fraction, found)))


def as_fraction(fact: Fact) -> Fact | None:
    """1/2, which is read as the second of January, as the half that it may be as well."""
    parts = check_words.SLASHED.fullmatch(fact.surface) if fact.kind == "date" else None
    if parts is None or int(parts["above"]) >= int(parts["below"]) or fact.bound in check_words.OF_DAYS:
        return None
    return replace(fact, kind="number", value=fact.surface)
