"""The strict gate: may a model's rewrite replace the city's sentences?

`responders.checks` looks at what a person writes; here everything that may say something else is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from responders.facts import facts, normalise
from responders.japanese import pairs, tokens
from responders.knowledge import Passage, split_sentences
from responders.letters import foul
from responders.tense import told
from responders.wording import (
    ALIGNED,
    UNCERTAIN,
    is_noun,
    is_predicate,
    lost_conditions,
    negation_places,
    negations,
    nouns,
    predicates,
    share_of_pairs,
    without_courtesy,
    wrong_rows,
)

CONDITION_KEPT = 0.75
"""Share of a condition's character pairs that a rewrite must still hold."""
_WEIGHTY = re.compile(
    r"まで|から|以[上下内外前後降]|未満|(?P<only>のみ|だけ|しか|に限)|"
    rf"(?P<may>{UNCERTAIN})|"
    r"(?P<or>または|又は|もしくは|あるいは)|かつ|原則|[前後]|[未非無不再否]|"
    r"(?P<about>(?<![一-龥])約(?!束)|およそ|だいたい|大体|ほど|[くぐ]らい|程度)|(?P<each>各|ずつ|それぞれ)|(?P<etc>など|等)|全(?=\d)"
)
"""Small words whose place among the nouns decides what is said."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a rewrite says exactly what its sentences say."""

    passed: bool
    reason: str
    """Empty when passed; else a kind and the words in question, such as ``number: 500円``."""


def strict_gate(text: str, selected: Sequence[Passage]) -> GateResult:
    """Decide whether a rewrite says the selected sentences, all of them and nothing else.

    Each sentence of the rewrite must align with one selected sentence, bring no noun, number or negation of
    its own, and keep the condition and the order of its words; each selected sentence must be there, once.
    Strict on purpose: a false rejection only costs a rewording, for the verbatim sentences stay.
    """
    if not text.strip():
        return GateResult(False, "empty")
    if odd := foul(text, "".join(passage.text for passage in selected)):
        return GateResult(False, f"glyph: {odd}")
    groups: dict[int, list[str]] = {}
    for sentence in split_sentences(text):
        shares = [share_of_pairs(sentence, passage.text) for passage in selected]
        best = max(range(len(selected)), key=lambda i: shares[i], default=-1)
        if best < 0 or shares[best] < ALIGNED:
            return GateResult(False, f"unaligned: {sentence[:40]}")
        groups.setdefault(best, []).append(sentence)
    for i, passage in enumerate(selected):
        if i not in groups:
            return GateResult(False, f"lost sentence: {passage.text[:40]}")
        if reason := _differs("".join(groups[i]), passage.text):
            return GateResult(False, reason)
    return GateResult(True, "")


def _differs(draft: str, source: str) -> str:
    """What keeps a draft from saying the same as one source sentence; empty when nothing does."""
    new, old = without_courtesy(normalise(draft)), without_courtesy(normalise(source))
    new_facts, old_facts = facts(new), facts(old)
    said = [(fact.kind, fact.value, fact.bound) for fact in new_facts]
    meant = [(fact.kind, fact.value, fact.bound) for fact in old_facts]
    if said != meant:
        odd = next((a for a, b in zip([*said, None], [*meant, None], strict=False) if a != b), None)
        return f"number: {''.join(odd[1:]) if odd else 'lost'}"
    if row := next(wrong_rows(new, new_facts, old, old_facts), None):
        return f"wrong row: {row.surface}"
    if negations(new) != negations(old):
        return "negation"
    if lost := next(lost_conditions([new], old, CONDITION_KEPT), ""):
        return f"condition: {lost}"
    return _differing_verb(new, old) or _differing_noun(new, old) or _differing_order(new, old)


def _differing_verb(new: str, old: str) -> str:
    """A verb, adjective or adverb of one side only: 「お持ちください」 must not become 「お控えください」."""
    said, meant = predicates(new), predicates(old)
    if foreign := next((word for word in said if word not in meant), ""):
        return f"foreign verb: {foreign}"
    if lost := next((word for word in meant if word not in said), ""):
        return f"lost verb: {lost}"
    return ""


def _differing_noun(new: str, old: str) -> str:
    # Substrings rather than sets: the same compound may be cut differently in another sentence.
    if foreign := next((noun for noun in nouns(new) if noun not in old), ""):
        return f"foreign noun: {foreign}"
    if lost := next((noun for noun in nouns(old) if noun not in new), ""):
        return f"lost noun: {lost}"
    repeated = len(pairs(new)) < 0.6 * max(len(new) - 1, 1) and len(new) > 1.5 * len(old)
    return "repeat" if repeated else ""


def _differing_order(new: str, old: str) -> str:
    """Where the same words stand in another order: who goes where, or what is not needed, may be swapped."""
    said, meant = _in_order(new), _in_order(old)
    # Joined, because the same compound may be cut differently in another sentence.
    if "".join(said) == "".join(meant):
        return ""
    return f"order: {next((a for a, b in zip(said, meant, strict=False) if a != b), 'lost')}"


def _in_order(normal: str) -> list[str]:
    """Nouns, predicates, negations, what is past and small weighty words as they follow each other."""
    found = [(at, "not") for at in negation_places(normal)]
    found += [(m.start(), m.lastgroup or m[0]) for m in _WEIGHTY.finditer(normal)]
    found += [(one.start, one.when) for one in told(normal) if one.when != "present"]
    for morpheme in tokens(normal):
        if is_noun(morpheme):
            found.append((morpheme.begin(), morpheme.surface()))
        elif is_predicate(morpheme):
            found.append((morpheme.begin(), morpheme.normalized_form()))
    return [word for _, word in sorted(found, key=lambda one: one[0])]
