"""The only way into Rasa: one JSON request per message, with a shared secret.

No word of a citizen stays here: the text is read, and only its intent and receipt number are stored. The answer is
read back from the store, so that what is answered is what was kept, and a repeated message gets the same answer.
"""

import hmac
import logging
import re
from asyncio import Lock
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Dict, List, Optional
from weakref import WeakValueDictionary

from rasa.core.agent import Agent
from rasa.core.channels.channel import InputChannel, UserMessage
from rasa.shared.core.events import BotUttered, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, json

from components.guard import OWN_LOGGER, turn_errors
from components.plain_text import MAX_CHARACTERS, plain

log = logging.getLogger(OWN_LOGGER)

_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_COMMANDS = {"choose_department": {"department": re.compile(r"[a-z][a-z_]{0,39}")}}
_WAITS_FOR = {"utter_clarify": "clarification", "utter_ask_receipt_number": "receipt_number"}


class Refused(Exception):
    """The request breaks the contract; ``status`` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Incoming:
    """A request that keeps the contract."""

    sender: str
    message_id: str
    abstained: bool
    text: str
    """Normalised words; empty for a command."""
    command: Optional[Dict[str, str]]
    """``{"command": intent, entity: value}``, or None for words."""

    @classmethod
    def read(cls, body: Any) -> "Incoming":
        """Check a decoded body.

        Raises:
            Refused: 413 for too many characters, 422 for anything else.
        """
        _require(isinstance(body, dict), "body")
        metadata = body.get("metadata")
        _require(isinstance(metadata, dict), "metadata")
        _require(_is_id(body.get("sender")), "sender")
        _require(_is_id(metadata.get("message_id")), "message_id")
        _require(isinstance(metadata.get("abstained", False), bool), "abstained")
        _require(("text" in body) != ("command" in body), "text or command")
        return cls(
            sender=body["sender"],
            message_id=metadata["message_id"],
            abstained=metadata.get("abstained", False),
            text=_read_text(body["text"]) if "text" in body else "",
            command=_read_command(body["command"]) if "command" in body else None,
        )


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise Refused(422, what)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _read_text(value: Any) -> str:
    _require(isinstance(value, str), "text")
    if len(value) > MAX_CHARACTERS:
        raise Refused(413, "text")
    text = plain(value)
    _require(bool(text), "text")
    return text


def _read_command(value: Any) -> Dict[str, str]:
    _require(isinstance(value, dict) and isinstance(value.get("command"), str), "command")
    fields = _COMMANDS.get(value["command"])
    _require(fields is not None and value.keys() == {"command", *fields}, "command")
    for name, pattern in fields.items():
        _require(isinstance(value[name], str) and pattern.fullmatch(value[name]) is not None, name)
    return value


class CitizenChannel(InputChannel):
    """``POST /webhooks/citizen/webhook`` and a health check."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("MADOGUCHI_RASA_SECRET is empty")
        self._secret = secret.encode()
        self._locks: "WeakValueDictionary[str, Lock]" = WeakValueDictionary()

    @classmethod
    def name(cls) -> str:
        """Part of the URL."""
        return "citizen"

    @classmethod
    def from_credentials(cls, credentials: Optional[Dict[str, Any]]) -> "CitizenChannel":
        """Built by Rasa from credentials.yml."""
        return cls(str((credentials or {}).get("secret") or ""))

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The two routes."""
        routes = Blueprint("citizen")

        @routes.get("/")
        async def health(request: Request) -> HTTPResponse:
            ready = request.app.ctx.agent.is_ready()
            return json({"ready": ready}, 200 if ready else 503)

        @routes.post("/webhook")
        async def webhook(request: Request) -> HTTPResponse:
            if not self._knows(request):
                return _failure(401, "secret")
            try:
                incoming = Incoming.read(request.json)
            except Refused as reason:
                return _failure(reason.status, str(reason))
            # Rasa's own lock polls once a second and keeps no order.
            lock = self._locks.setdefault(incoming.sender, Lock())
            async with lock:
                return await _answer(request.app.ctx.agent, on_new_message, incoming)

        return routes

    def _knows(self, request: Request) -> bool:
        given = request.headers.get("X-Channel-Secret", "")
        return hmac.compare_digest(given.encode(), self._secret)


def _failure(status: int, *errors: str) -> HTTPResponse:
    return json({"messages": [], "turn": {}, "errors": list(errors)}, status)


async def _answer(
    agent: Agent, on_new_message: Callable[[UserMessage], Awaitable[Any]], incoming: Incoming
) -> HTTPResponse:
    errors: List[str] = []
    turn_errors.set(errors)
    reply = None
    try:
        reply = await _stored_reply(agent, incoming)
        if reply is None:
            await on_new_message(await _understood(agent, incoming))
            reply = await _stored_reply(agent, incoming)
    except Exception as error:
        log.error("turn failed: %s", type(error).__name__)
        errors.append(type(error).__name__)
    if reply is None or not reply["messages"]:
        errors.append("no answer")
    return _failure(502, *errors) if errors else json({**reply, "errors": []})


async def _understood(agent: Agent, incoming: Incoming) -> UserMessage:
    """The message with its meaning instead of its words."""
    if incoming.command:
        fields = {k: v for k, v in incoming.command.items() if k != "command"}
        intent = {"name": incoming.command["command"], "confidence": 1.0}
        entities = [{"entity": k, "value": v} for k, v in fields.items()]
    else:
        spoken = UserMessage(incoming.text, metadata={"abstained": incoming.abstained})
        parsed = await agent.processor.parse_message(spoken)
        intent = {k: parsed["intent"][k] for k in ("name", "confidence")}
        entities = [{k: e[k] for k in ("entity", "value")} for e in parsed["entities"]]
    return UserMessage(
        sender_id=incoming.sender,
        message_id=incoming.message_id,
        input_channel=CitizenChannel.name(),
        parse_data={"text": None, "intent": intent, "entities": entities},
    )


async def _stored_reply(agent: Agent, incoming: Incoming) -> Optional[Dict[str, Any]]:
    tracker = await agent.tracker_store.retrieve(incoming.sender)
    return reply_of(tracker, incoming.message_id) if tracker else None


def reply_of(tracker: DialogueStateTracker, message_id: str) -> Optional[Dict[str, Any]]:
    """What the conversation says was answered to a message; None if the message never came."""
    turn = _events_of_turn(tracker, message_id)
    if not turn:
        return None
    user, said = turn[0], [event for event in turn if isinstance(event, BotUttered)]
    waits_for = [_WAITS_FOR.get(event.metadata.get("utter_action", "")) for event in said]
    entities: Dict[str, str] = {}
    for entity in user.entities:
        entities.setdefault(entity["entity"], str(entity["value"]))
    return {
        "messages": [event.data["custom"] for event in said if event.data.get("custom")],
        "turn": {
            "intent": user.intent_name,
            "confidence": user.intent.get("confidence"),
            "entities": entities,
            "active_loop": next(filter(None, waits_for), None),
        },
    }


def _events_of_turn(tracker: DialogueStateTracker, message_id: str) -> List[Any]:
    turn: List[Any] = []
    for event in tracker.events:
        if isinstance(event, UserUttered):
            if turn:
                break
            if event.message_id == message_id:
                turn = [event]
        elif turn:
            turn.append(event)
    return turn
