"""Asks Rasa what to do with a citizen's message. Rasa never owns a message: it may be dead, slow or wrong."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx


class DialogueUnavailable(Exception):
    """No usable answer from Rasa; the message goes to triage without it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What Rasa decided about one message: fixed texts to send and steps to take, in order."""

    steps: tuple[dict[str, Any], ...]
    """Each ``{"fixed_text": key}`` or ``{"step": name, …}``; Rasa has no text of its own."""
    intent: str = ""
    confidence: float = 0.0
    entities: dict[str, str] = field(default_factory=dict)


class DialogueClient:
    """One Rasa server behind its custom channel, with a breaker.

    Args:
        base_url: Root of the Rasa server on loopback.
        secret: Shared secret of the custom channel.
        timeout_seconds: Longest wait for a turn.
    """

    FAILURES, OPEN_SECONDS = 3, 10.0

    def __init__(self, base_url: str, secret: str, timeout_seconds: float) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"X-Channel-Secret": secret},
            timeout=httpx.Timeout(timeout_seconds, connect=0.5),
            trust_env=False,
        )
        self._failures = 0
        self._closed_until = 0.0

    def turn(
        self, sender: str, *, text: str, command: dict[str, Any] | None, message_id: str, abstained: bool
    ) -> Turn:
        """One dialogue turn.

        Args:
            sender: Random id of the conversation, not a platform's user id.
            text: Masked words of the citizen.
            command: A button's payload instead of words.
            message_id: Lets Rasa drop a repeated turn.
            abstained: The routing is unsure, so Rasa may ask.

        Raises:
            DialogueUnavailable: Dead, slow, an error inside Rasa, or an empty answer.
        """
        if time.monotonic() < self._closed_until:
            raise DialogueUnavailable("breaker open")
        body: dict[str, Any] = {
            "sender": sender,
            "metadata": {"message_id": message_id, "abstained": abstained},
        }
        body |= {"command": command} if command else {"text": text[:2000]}
        try:
            answer = self._http.post("/webhooks/citizen/webhook", json=body)
            answer.raise_for_status()
            turn = _read(answer.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as reason:
            if not _refuses(reason):
                self._count_failure()
            raise DialogueUnavailable(type(reason).__name__) from reason
        self._failures = 0
        return turn

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= self.FAILURES:
            self._closed_until = time.monotonic() + self.OPEN_SECONDS


def _refuses(reason: Exception) -> bool:
    """Rasa is well and takes no such message; one citizen must not switch the dialogue off for everybody."""
    return isinstance(reason, httpx.HTTPStatusError) and reason.response.status_code in (413, 422)


def _read(answer: dict[str, Any]) -> Turn:
    if answer["errors"] or not answer["messages"]:
        raise ValueError("Rasa answered with an error or nothing")
    turn = answer["turn"]
    return Turn(
        steps=tuple(answer["messages"]),
        intent=str(turn.get("intent") or ""),
        confidence=float(turn.get("confidence") or 0.0),
        entities={str(k): str(v) for k, v in (turn.get("entities") or {}).items()},
    )
