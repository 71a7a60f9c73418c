"""Plain values that every channel speaks."""

import re
from dataclasses import dataclass, field
from typing import Any

MAX_TEXT_UNITS = 5000
"""LINE's limit of one text, in UTF-16 code units (LINE docs: text character count)."""


def utf16_units(text: str) -> int:
    """Length as LINE and a phone's editor count it: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with what no database can hold replaced by U+FFFD: NUL and lone surrogates."""
    return _UNSTORABLE.sub("�", text)


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One event of a platform, authenticated; decoded as far as it can be."""

    event_id: str
    """The platform's id; a redelivery repeats it. Without one, ``sha256:`` of the event."""
    raw: str
    """The event as JSON text, ASCII-escaped."""
    kind: str
    """message, button, follow, unfollow, unsend, ignored, unknown, malformed."""
    user: str = ""
    """The sender's id on the platform."""
    message_kind: str = ""
    """For ``message``: text, sticker, image, video, audio, file, location, unknown."""
    text: str = ""
    platform_id: str | None = None
    """The platform's message id."""
    reply_token: str | None = None
    timestamp_ms: int = 0
    """When it happened, not when it was delivered."""
    data: dict[str, Any] = field(default_factory=dict)
    """A button's payload."""
    note: str = ""
    """Why it is unknown or malformed."""


@dataclass(frozen=True, slots=True)
class Button:
    """A choice offered under a text."""

    label: str
    data: str
    """What comes back when it is pressed, at most 300 characters on LINE."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The platform took the message."""

    request_id: str
    message_id: str | None
    repeated: bool = False
    """The retry key was known already: an earlier try had arrived."""
