"""How a message looks when somebody writes it without kanji: children, old people, foreign residents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from sudachipy import Dictionary, SplitMode

from classifiers.dataset import Example

_KANJI = re.compile(r"[一-鿿]")
_SMALL = ("助詞", "助動詞", "接尾辞", "補助記号", "空白")


def kana_copies(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """A share of the Japanese messages again, in hiragana with spaces between phrases.

    Args:
        examples: The training set.
        share: Of the Japanese messages with kanji, 0 to 1.
        seed: Which ones.

    Returns:
        Only the copies.
    """
    tokenizer = Dictionary(dict="small").tokenizer(SplitMode.C)
    rng = Random(seed)  # noqa: S311  (a choice, not a secret)
    copies = []
    for example in examples:
        if example.language == "ja" and _KANJI.search(example.text) and rng.random() < share:
            spaced = "".join(
                (" " if i and m.part_of_speech()[0] not in _SMALL else "") + _hiragana(m)
                for i, m in enumerate(tokenizer.tokenize(example.text))
            )
            copies.append(replace(example, id=f"{example.id}-kana", text=spaced, language="ja-easy"))
    return copies


def _hiragana(morpheme: object) -> str:
    """The reading; katakana words stay as they are, for nobody writes ごみ as ゴミ by reading."""
    surface: str = morpheme.surface()  # type: ignore[attr-defined]
    if not _KANJI.search(surface):
        return surface
    reading: str = morpheme.reading_form()  # type: ignore[attr-defined]
    return "".join(chr(ord(c) - 0x60) if "ァ" <= c <= "ヶ" else c for c in reading)
