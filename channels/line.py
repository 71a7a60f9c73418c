"""LINE: verify and decode what comes in, send what goes out.

Intake never uses the SDK's WebhookParser: it raises for the whole body when one event is odd, and strips
unknown messages of their text. Each event is decoded from its own dict; the SDK is used for sending only.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from channels.errors import (
    InvalidReplyToken,
    InvalidSignature,
    NotAcceptedYet,
    PermanentChannelError,
    TemporaryChannelError,
)
from channels.message import Accepted, Button, InboundEvent, storable

_T = TypeVar("_T")
_MESSAGE_KINDS = frozenset({"text", "sticker", "image", "video", "audio", "file", "location"})
_QUIET_EVENTS = frozenset(
    [
        "join",
        "leave",
        "memberJoined",
        "memberLeft",
        "videoPlayComplete",
        "beacon",
        "accountLink",
        "membership",
        "delivery",
        "messageEdited",
        "module",
        "activated",
        "deactivated",
        "botSuspended",
        "botResumed",
    ]
)


def verify(body: bytes, signature: str | None, secrets: Sequence[str]) -> None:
    """Check ``x-line-signature`` over the raw bytes against every current secret.

    Raises:
        InvalidSignature: No secret fits; several are accepted while one is being replaced.

    Source: Messaging API reference, signature validation: base64(HMAC-SHA256(channel secret, raw body)).
    """
    given = (signature or "").encode("utf-8", "replace")
    for secret in secrets:
        expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
        if hmac.compare_digest(expected, given):
            return
    raise InvalidSignature("x-line-signature does not fit any channel secret")


def decode(body: bytes) -> list[InboundEvent]:
    """Every event of a webhook body, each on its own; never raises.

    A body that is no JSON object with an ``events`` list becomes one malformed event, so that it is kept.
    """
    try:
        events = json.loads(body)["events"]
        if not isinstance(events, list):
            raise TypeError("events is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as reason:
        raw = json.dumps({"undecodable": base64.b64encode(body).decode()})
        return [_broken(raw, f"body: {type(reason).__name__}: {reason}")]
    return [_decode_event(event) for event in events]


def _decode_event(event: Any) -> InboundEvent:  # noqa: ANN401
    raw = json.dumps(event, ensure_ascii=True)
    try:
        return _read_event(event, raw)
    except (KeyError, TypeError, AttributeError, ValueError) as reason:
        known_id = event.get("webhookEventId") if isinstance(event, dict) else None
        return _broken(raw, f"{type(reason).__name__}: {reason}", known_id)


def _broken(raw: str, note: str, event_id: object = None) -> InboundEvent:
    return InboundEvent(
        event_id=_event_id(event_id, raw), raw=raw, kind="malformed", note=storable(note)[:500]
    )


def _event_id(given: object, raw: str) -> str:
    if isinstance(given, str) and 0 < len(given) <= 100:
        return storable(given)
    return "sha256:" + hashlib.sha256(raw.encode()).hexdigest()


def _read_event(event: dict[str, Any], raw: str) -> InboundEvent:
    kind = event["type"]
    base: dict[str, Any] = {
        "event_id": _event_id(event.get("webhookEventId"), raw),
        "raw": raw,
        "timestamp_ms": _typed(event.get("timestamp"), int) or 0,
        "reply_token": _typed(event.get("replyToken"), str),
    }
    if event.get("mode") == "standby":
        return InboundEvent(**base, kind="ignored", note="standby: another module answers")
    if kind in _QUIET_EVENTS:
        return InboundEvent(**base, kind="ignored", note=kind)
    if kind not in {"message", "postback", "follow", "unfollow", "unsend"}:
        return InboundEvent(**base, kind="unknown", note=storable(f"event type {kind!r}")[:200])
    if event["source"]["type"] != "user":
        return InboundEvent(**base, kind="ignored", note="group or room")
    base["user"] = _text(event["source"]["userId"])
    return _read_known(kind, event, base)


def _read_known(kind: str, event: dict[str, Any], base: dict[str, Any]) -> InboundEvent:
    if kind == "message":
        return _read_message(event["message"], base)
    if kind == "postback":
        data = dict(parse_qsl(_text(event["postback"]["data"])))
        if "department" not in data:  # the city's rich menu, which tells us of every tap
            return InboundEvent(**base, kind="ignored", note="a button that is not ours")
        return InboundEvent(**base, kind="button", data=data, platform_id=base["event_id"])
    if kind == "unsend":
        return InboundEvent(**base, kind="unsend", platform_id=_text(event["unsend"]["messageId"]))
    return InboundEvent(**base, kind=kind)


def _read_message(message: dict[str, Any], base: dict[str, Any]) -> InboundEvent:
    kind = message["type"] if message["type"] in _MESSAGE_KINDS else "unknown"
    text = storable(_text(message["text"])) if kind == "text" else ""
    note = "" if kind != "unknown" else storable(f"message type {message['type']!r}")[:200]
    return InboundEvent(
        **base, kind="message", message_kind=kind, text=text, platform_id=_text(message["id"]), note=note
    )


def _typed(value: object, kind: type[_T]) -> _T | None:
    return value if isinstance(value, kind) else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string was expected, not {type(value).__name__}")
    return value


class LineClient:
    """Sends through the Messaging API with LINE's own SDK.

    Args:
        base_url: Root of the API; a stand-in's address in tests.
        access_token: Channel access token.
        timeout_seconds: Longest wait for one call; the SDK's own default is five minutes.
    """

    def __init__(self, base_url: str, access_token: str, timeout_seconds: float = 5.0) -> None:
        # Imported here: the SDK's package costs two seconds and 65 MB, which only the worker should pay.
        from linebot.v3 import messaging

        self._sdk = messaging
        configuration = messaging.Configuration(host=base_url.rstrip("/"), access_token=access_token)
        configuration.retries = 0  # urllib3 would take the time-out four times; our queue tries again
        self._api = messaging.MessagingApi(messaging.ApiClient(configuration))
        self._timeout = timeout_seconds

    def push(self, to: str, text: str, *, retry_key: str, buttons: Sequence[Button] = ()) -> Accepted:
        """Send one text to one citizen; a repeated ``retry_key`` within 24 hours is sent once.

        Raises:
            NotAcceptedYet: 429, 401 or 403: rate, monthly quota, expired token; or no connection. Try again
                later.
            TemporaryChannelError: No definite answer: try again with the same key.
            PermanentChannelError: Refused for good.

        Source: Messaging API reference, "Retrying an API request": 200 and 409 both mean accepted.
        """
        request = self._sdk.PushMessageRequest(to=to, messages=[self._message(text, buttons)])
        return self._call(
            lambda: self._api.push_message_with_http_info(
                request, x_line_retry_key=retry_key, _request_timeout=self._timeout
            )
        )

    def reply(self, reply_token: str, text: str, *, buttons: Sequence[Button] = ()) -> Accepted:
        """Answer an event with its one-use token. There is no retry key: never repeat an uncertain reply.

        Raises:
            InvalidReplyToken: Used or expired; nothing was sent.
            NotAcceptedYet, TemporaryChannelError, PermanentChannelError: As for ``push``.
        """
        request = self._sdk.ReplyMessageRequest(
            reply_token=reply_token, messages=[self._message(text, buttons)]
        )
        return self._call(
            lambda: self._api.reply_message_with_http_info(request, _request_timeout=self._timeout)
        )

    def _message(self, text: str, buttons: Sequence[Button]) -> Any:  # noqa: ANN401
        if not buttons:
            return self._sdk.TextMessage(text=text)
        items = [
            self._sdk.QuickReplyItem(
                action=self._sdk.PostbackAction(label=b.label[:20], data=b.data, display_text=b.label)
            )
            for b in buttons
        ]
        return self._sdk.TextMessage(text=text, quick_reply=self._sdk.QuickReply(items=items))

    def _call(self, send: Any) -> Accepted:  # noqa: ANN401
        from linebot.v3.messaging.exceptions import ApiException
        from urllib3.exceptions import ConnectTimeoutError  # also the base of a refused connection

        try:
            answer = send()
        except ApiException as refused:
            if refused.status == 409:
                return _accepted(refused.headers, refused.body, repeated=True)
            _raise(refused)
        except Exception as broken:
            reason = getattr(broken, "reason", None)
            if isinstance(reason, ConnectTimeoutError):
                raise NotAcceptedYet(type(reason).__name__) from broken
            # Also a 200 with a body that the SDK cannot read: LINE may have accepted it, and the key
            # makes a repeat safe.
            raise TemporaryChannelError(type(broken).__name__) from broken
        sent = answer.data.sent_messages[0] if answer.data and answer.data.sent_messages else None
        return Accepted(_request_id(answer.headers), str(sent.id) if sent else None)


def _raise(refused: Any) -> NoReturn:  # noqa: ANN401
    status, message = refused.status, _error_message(refused.body)
    if status in (401, 403, 429):
        raise NotAcceptedYet(f"{status} {message}") from refused
    if status >= 500 or status == 408:
        raise TemporaryChannelError(f"{status} {message}") from refused
    if status == 400 and "reply token" in message.lower():
        raise InvalidReplyToken(message) from refused
    raise PermanentChannelError(f"{status} {message}") from refused


def _error_message(body: object) -> str:
    try:
        return str(json.loads(str(body))["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no readable error message"


def _accepted(headers: Any, body: object, *, repeated: bool) -> Accepted:  # noqa: ANN401
    lower = {str(k).lower(): str(v) for k, v in dict(headers or {}).items()}
    try:
        message_id = str(json.loads(str(body))["sentMessages"][0]["id"])
    except (ValueError, KeyError, TypeError, IndexError):
        message_id = None
    return Accepted(lower.get("x-line-accepted-request-id", _request_id(headers)), message_id, repeated)


def _request_id(headers: Any) -> str:  # noqa: ANN401
    named = {str(k).lower(): str(v) for k, v in dict(headers or {}).items()}
    return named.get("x-line-request-id", "")
