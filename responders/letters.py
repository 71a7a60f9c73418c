"""Letters and marks that no honest Japanese draft holds."""

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs"})
_MARKS = frozenset("、。，．・（）()「」『』：:；;〜～％%?？!！,.-ー–—/／ 　\n")
"""Punctuation that joining may bring; any other symbol must stand in the source."""
_ODD_LETTER = re.compile(r"[\uac00-\ud7af\u1100-\u11ff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f]")
_NESTED = 8
_CONTROL_TOKEN = re.compile(r"<\|[^|<>\s]{0,60}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>", re.IGNORECASE)


def strip_control_tokens(text: str) -> str:
    """Remove what a model's tokenizer could read as a control token, also nested and full-width ones."""
    text = text.replace("＜｜", "<|").replace("｜＞", "|>")
    for _ in range(_NESTED):
        if not control_token(text):
            return text
        text = _CONTROL_TOKEN.sub("", text)
    # Nested deeper than any honest text: without brackets there is no token left to read.
    return re.sub(r"[<>\[\]]", "", text)


def control_token(text: str) -> str:
    """The first thing in a text that a tokenizer could read as a control token; empty when there is none."""
    found = _CONTROL_TOKEN.search(text)
    return found[0] if found else ""


def foul(text: str, known: str) -> str:
    """Characters that no honest rewrite holds; empty when there are none.

    What nobody sees, or no encoding can write, comes first: it must not reach a comparison or a screen.
    """
    if unseen := next((c for c in text if c != "\n" and unicodedata.category(c) in _UNSEEN), ""):
        return f"U+{ord(unseen):04X}"
    if control_token(text):
        return "control token"
    return odd_glyphs(text, known) or _new_symbols(text, known)


def odd_glyphs(text: str, known: str) -> str:
    """Letters that Japanese does not use: simplified Chinese, Hangul, Cyrillic and others."""
    return "".join(dict.fromkeys(c for c in text if c not in known and _is_odd(c)))


def _new_symbols(text: str, known: str) -> str:
    """Symbols and marks that no source holds: bold stars, emoji, circled letters."""
    return "".join(
        dict.fromkeys(
            c for c in text if unicodedata.category(c)[0] in "SP" and c not in _MARKS and c not in known
        )
    )


def _is_odd(char: str) -> bool:
    if _ODD_LETTER.match(char):
        return True
    if not unicodedata.name(char, "").startswith("CJK UNIFIED"):
        return False
    try:
        # The Japanese standard character sets leave out what only simplified Chinese writes.
        char.encode("cp932")
    except UnicodeEncodeError:
        return True
    return False
