"""Names of places, people and things in a draft that no source holds."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from responders import check_words
from responders.check_sources import Check, Partial, Sources
from responders.easy import easy
from responders.facts import facts, normalise
from responders.japanese import official, tokens
from responders.wording import ALIGNED, is_noun, naming_words


def _check_municipalities(normal: str, sources: Sources) -> Iterator[Partial]:
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


def _check_names(normal: str, sources: Sources) -> Iterator[Partial]:
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


def _check_nouns(normal: str, sources: Sources) -> Iterator[Partial]:
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


CHECKS: tuple[Check, ...] = (_check_municipalities, _check_names, _check_nouns)
