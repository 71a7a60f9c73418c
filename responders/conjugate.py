"""Forms of a Japanese verb, enough to put one verb in another's place."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from responders.japanese import long_tokens

_I = dict(zip("うくぐすつぬぶむる", "いきぎしちにびみり", strict=True))
_A = dict(zip("うくぐすつぬぶむる", "わかがさたなばまら", strict=True))
_E = dict(zip("うくぐすつぬぶむる", "えけげせてねべめれ", strict=True))
_TE = {
    **dict.fromkeys("うつる", "って"), **dict.fromkeys("むぶぬ", "んで"),
    "く": "いて", "ぐ": "いで", "す": "して",
}  # fmt: skip


@cache
def _kind(verb: str) -> str:
    """``godan``, ``ichidan``, ``suru`` or ``kuru`` of a dictionary form; phrases count by their last verb."""
    if verb.endswith("する"):
        return "suru"
    if verb.endswith(("来る", "くる")):
        return "kuru"
    conjugation = long_tokens(verb)[-1].part_of_speech()[4]
    return "ichidan" if "一段" in conjugation else "godan"


def te_form(verb: str) -> str:
    """出す → 出して, 申し込む → 申し込んで, 来る → 来て, 連絡する → 連絡して."""
    kind, stem, last = _kind(verb), verb[:-1], verb[-1]
    if kind == "suru":
        return verb[:-2] + "して"
    if kind in ("kuru", "ichidan"):
        return stem + "て"
    return verb[:-1] + "って" if verb.endswith("行く") else stem + _TE[last]


def polite_stem(verb: str) -> str:
    """The part before ます: 出す → 出し."""
    kind = _kind(verb)
    if kind == "suru":
        return verb[:-2] + "し"
    return verb[:-1] if kind in ("kuru", "ichidan") else verb[:-1] + _I[verb[-1]]


def _negative_stem(verb: str) -> str:
    kind = _kind(verb)
    if kind == "suru":
        return verb[:-2] + "し"
    return verb[:-1] if kind in ("kuru", "ichidan") else verb[:-1] + _A[verb[-1]]


def _conditional(verb: str) -> str:
    kind = _kind(verb)
    if kind == "suru":
        return verb[:-2] + "すれ"
    return verb[:-1] + "れ" if kind in ("kuru", "ichidan") else verb[:-1] + _E[verb[-1]]


def inflected(verb: str, tokens: Sequence[Any], at: int, stem: int) -> tuple[int, str] | None:
    """``verb`` in the form in which another verb stands.

    Args:
        verb: Dictionary form of the new verb.
        tokens: The sentence's morphemes.
        at: Where the old verb begins.
        stem: Morphemes before its する or できる; 0: the verb itself stands at ``at``.

    Returns:
        How many morphemes the new words replace, and the words; None when the form has no sure counterpart.
    """
    old = tokens[at + stem]
    after = tokens[at + stem + 1] if at + stem + 1 < len(tokens) else None
    following = after.surface() if after else ""
    if stem and old.dictionary_form() == "できる":
        return stem + 1, verb + "ことが" + old.surface()
    form = old.part_of_speech()[5]
    if form.startswith(("終止形", "連体形")):
        return stem + 1, verb
    if form.startswith("仮定形"):
        return stem + 1, _conditional(verb)
    if form.startswith("未然形"):
        return (stem + 1, _negative_stem(verb)) if following in ("ない", "なかっ", "なけれ", "なく") else None
    if form.startswith("連用形"):
        if following in ("て", "で", "た", "だ", "たら", "だら", "たり"):
            te = te_form(verb)
            voiced = te.endswith("で")
            if following in ("て", "で"):
                return stem + 2, te
            return stem + 2, te[:-1] + ("だ" if voiced else "た") + following[1:]
        joined = _joined(verb) if following == "、" else polite_stem(verb)
        return (stem + 1, joined) if joined else None
    return None


def _joined(verb: str) -> str:
    """The form before a comma: nobody says 「紙を見、」, and 「無料でして、」 is 「無料です」."""
    if verb == "する":
        return ""
    short = _kind(verb) == "kuru" or len(polite_stem(verb)) == 1
    return te_form(verb) if short else polite_stem(verb)
