"""A citizen's words as Rasa may see them."""

import re
import unicodedata

MAX_CHARACTERS = 2000

_DASH = r"\s*[-‐‑‒–—―−ー]\s*"
_RECEIPT_NUMBER = re.compile(rf"(?<!\d)(20\d\d)(?:{_DASH})?(\d{{5}})(?!\d)")


def plain(text: str) -> str:
    """Full-width digits and every dash of a receipt number as ASCII, and no command.

    Rasa takes words that start with "/" as an intent, so a first slash becomes full-width again, last of all:
    the normalisation would otherwise make a slash of a full-width one.

    Returns:
        At most ``MAX_CHARACTERS`` characters, stripped; may be empty.
    """
    text = unicodedata.normalize("NFKC", text).strip()[:MAX_CHARACTERS]
    text = _RECEIPT_NUMBER.sub(r"\1-\2", text)
    return "／" + text[1:] if text.startswith("/") else text
