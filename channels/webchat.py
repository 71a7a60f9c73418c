"""The city's own web chat, as a channel like any other."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from channels.message import Accepted, Button, InboundEvent, storable


def decode(citizen: str, posted: dict[str, Any]) -> InboundEvent:
    """One utterance of the chat page.

    Args:
        citizen: Random id of the conversation, from its signed token.
        posted: ``client_id`` with ``text`` or ``command``.
    """
    command = {storable(k): storable(v) for k, v in (posted["command"] or {}).items()}
    return InboundEvent(
        event_id=hashlib.sha256(f"{citizen}:{posted['client_id']}".encode()).hexdigest(),
        raw=json.dumps(posted, ensure_ascii=True),
        kind="button" if command else "message",
        user=citizen,
        message_kind="text",
        text=storable(posted["text"]),
        platform_id=posted["client_id"],
        data=command,
    )


class WebChatSender:
    """The web chat reads the thread itself, so recording the text as accepted is the delivery."""

    def push(self, to: str, text: str, *, retry_key: str, buttons: Sequence[Button] = ()) -> Accepted:
        """Accept; the row that shows the text is unique per ``retry_key``."""
        return Accepted(request_id=retry_key, message_id=None)

    def reply(self, reply_token: str, text: str, *, buttons: Sequence[Button] = ()) -> Accepted:
        """Never used: the web chat has no reply tokens.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError
