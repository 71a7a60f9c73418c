"""A stand-in for the LINE platform at the wire: a phone on one side, the Messaging API on the other.

It enforces what LINE enforces (one-use reply tokens with expiry, retry keys, limits in UTF-16 units) and
fails as LINE fails. ``make run`` serves it as a demo phone; tests run it in a thread or as a process.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

FAULTS = (
    "500_before",  # LINE failed before it took the message
    "500_after",  # LINE took it, then answered 500
    "hang_after",  # LINE took it, the answer never came
    "rate",  # 429, rate
    "quota",  # 429, monthly limit
    "401",  # the token has expired
    "400",  # refused for good
    "garbage_after",  # LINE took it and answered 200 with something unreadable
)


@dataclass
class Line:
    """The platform's state; every field may be looked at by a test."""

    secret: str
    token: str
    webhook_url: str = ""
    api_base: str = ""
    reply_token_seconds: float = 60.0
    delivered: list[dict[str, Any]] = field(default_factory=list)
    """What the citizens' phones show: to, text, quickReply, how, key."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Every call to the API: path, key, status."""
    faults: deque[str] = field(default_factory=deque)
    """Faults for the next calls, first in first out; an empty string lets a call pass."""
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _keys: dict[str, tuple[str, list[dict[str, str]], str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def event(self, user: str, message: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:  # noqa: ANN401
        """An event as LINE sends it, with a fresh reply token."""
        event: dict[str, Any] = {
            "type": "message" if message else extra.pop("type"),
            "mode": "active",
            "timestamp": int(time.time() * 1000),
            "source": {"type": "user", "userId": user},
            "webhookEventId": secrets.token_hex(13).upper(),
            "deliveryContext": {"isRedelivery": False},
        }
        if event["type"] in {"message", "postback", "follow"}:
            event["replyToken"] = self.new_reply_token(user)
        if message:
            event["message"] = message
        return event | extra

    def text(self, user: str, text: str) -> dict[str, Any]:
        """A text message event."""
        return self.event(
            user,
            {
                "id": str(secrets.randbits(58)),
                "type": "text",
                "quoteToken": secrets.token_hex(8),
                "text": text,
            },
        )

    def new_reply_token(self, user: str) -> str:
        """A token usable once, for about a minute."""
        token = secrets.token_hex(16)
        self._tokens[token] = (user, time.monotonic())
        return token

    def body(self, *events: Any) -> bytes:  # noqa: ANN401
        """A webhook body with these events."""
        return json.dumps({"destination": "U" + "0" * 32, "events": list(events)}, ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )

    def sign(self, body: bytes) -> str:
        """The header ``x-line-signature``."""
        return base64.b64encode(hmac.new(self.secret.encode(), body, hashlib.sha256).digest()).decode()

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers of a webhook call."""
        return {"x-line-signature": self.sign(body), "content-type": "application/json; charset=utf-8"}

    def post(self, body: bytes) -> int:
        """Call the product's webhook as the platform does.

        Returns:
            The status code; 0 when nobody answered within LINE's two seconds.
        """
        try:
            return httpx.post(
                self.webhook_url, content=body, headers=self.headers(body), timeout=2.0, trust_env=False
            ).status_code
        except httpx.HTTPError:
            return 0

    def texts(self, user: str) -> list[str]:
        """What one citizen's phone shows."""
        return [d["text"] for d in self.delivered if d["to"] == user]

    # --- the Messaging API

    def push(self, call: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any], dict[str, str]]:
        """``POST /v2/bot/message/push``."""
        digest = hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()
        with self._lock:
            if key and key in self._keys:
                request_id, sent, first = self._keys[key]
                assert first == digest, "the same retry key came with another body"
                answer = {"message": "The retry key is already accepted", "sentMessages": sent}
                return 409, answer, {"x-line-accepted-request-id": request_id}
            return self._take(call["to"], call["messages"], key, digest, "push")

    def reply(self, call: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any], dict[str, str]]:
        """``POST /v2/bot/message/reply``."""
        if key:
            return 400, {"message": "The retry key is not supported"}, {}
        with self._lock:
            user, issued = self._tokens.pop(call["replyToken"], ("", 0.0))
            if not user or time.monotonic() - issued > self.reply_token_seconds:
                return 400, {"message": "Invalid reply token"}, {}
            return self._take(user, call["messages"], None, "", "reply")

    def _take(
        self, to: str, messages: list[dict[str, Any]], key: str | None, digest: str, how: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        if problem := _problem(messages):
            return 400, {"message": problem}, {}
        sent = [{"id": str(secrets.randbits(58)), "quoteToken": secrets.token_hex(6)} for _ in messages]
        request_id = str(uuid.uuid4())
        for message in messages:
            self.delivered.append(
                {
                    "to": to,
                    "text": message["text"],
                    "quickReply": message.get("quickReply"),
                    "how": how,
                    "key": key,
                    "at": time.time(),
                }
            )
        if key:
            self._keys[key] = (request_id, sent, digest)
        return 200, {"sentMessages": sent}, {}


def _problem(messages: list[dict[str, Any]]) -> str:
    if not 1 <= len(messages) <= 5:
        return "Size must be between 1 and 5"
    for message in messages:
        if not message.get("text"):
            return "May not be empty"
        if len(message["text"].encode("utf-16-le")) // 2 > 5000:
            return "Length must be between 0 and 5000"
    return ""


def create_app(line: Line) -> Starlette:  # noqa: C901  (a table of small handlers)
    """The platform as an ASGI application."""

    async def message_api(request: Request) -> Response:
        path, key = request.url.path, request.headers.get("x-line-retry-key")
        fault = line.faults.popleft() if line.faults else ""
        status, answer, headers = await run_in_threadpool(
            _message_call, line, request, await request.json(), fault
        )
        line.calls.append({"path": path, "key": key, "status": status, "fault": fault})
        if fault == "hang_after":
            await run_in_threadpool(time.sleep, 30)
        if fault == "garbage_after":
            return Response("<html>", 200, {"x-line-request-id": "x"}, "text/html")
        headers = {"x-line-request-id": str(uuid.uuid4()), **headers}
        return JSONResponse(answer, status, headers)

    async def say(request: Request) -> Response:
        return JSONResponse({"status": await run_in_threadpool(_say, line, await request.json())})

    async def seen(request: Request) -> Response:
        user = request.query_params["user"]
        return JSONResponse([d for d in line.delivered if d["to"] == user])

    async def faults(request: Request) -> Response:
        line.faults.extend(await request.json())
        return JSONResponse(list(line.faults))

    async def state(_request: Request) -> Response:
        return JSONResponse({"delivered": line.delivered, "calls": line.calls})

    async def phone(_request: Request) -> Response:
        return FileResponse(Path(__file__).parent / "phone.html")

    return Starlette(
        routes=[
            Route("/", phone),
            Route("/phone/say", say, methods=["POST"]),
            Route("/phone/seen", seen),
            Route("/phone/faults", faults, methods=["POST"]),
            Route("/phone/state", state),
            Route("/v2/bot/message/push", message_api, methods=["POST"]),
            Route("/v2/bot/message/reply", message_api, methods=["POST"]),
        ]
    )


def _message_call(
    line: Line, request: Request, call: dict[str, Any], fault: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    if request.headers.get("authorization") != f"Bearer {line.token}" or fault == "401":
        return 401, {"message": "Authentication failed due to the expired access token"}, {}
    refusals = {
        "500_before": (500, "Internal error"),
        "rate": (429, "The API rate limit has been exceeded. Try again later."),
        "quota": (429, "You have reached your monthly limit."),
        "400": (400, "Failed to send messages"),
    }
    if fault in refusals:
        return refusals[fault][0], {"message": refusals[fault][1]}, {}
    take = line.push if request.url.path.endswith("push") else line.reply
    answer = take(call, request.headers.get("x-line-retry-key"))
    return (500, {"message": "Internal error"}, {}) if fault == "500_after" else answer


def _say(line: Line, said: dict[str, Any]) -> int:
    user = said["user"]
    if said.get("follow"):
        event = line.event(user, type="follow", follow={"isUnblocked": False})
    elif said.get("postback"):
        event = line.event(user, type="postback", postback={"data": said["postback"]})
    else:
        event = line.text(user, said["text"])
    return line.post(line.body(event))


def serve(line: Line, port: int) -> uvicorn.Server:
    """Serve the platform in a thread; ``server.should_exit = True`` ends it."""
    server = uvicorn.Server(uvicorn.Config(create_app(line), "127.0.0.1", port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    return server


def main() -> None:
    """The demo's phone: settings from the environment of ``make run``."""
    line = Line(
        secret=os.environ["MADOGUCHI_LINE_CHANNEL_SECRET"].split(",")[0],
        token=os.environ["MADOGUCHI_LINE_CHANNEL_ACCESS_TOKEN"],
        webhook_url=os.environ["MADOGUCHI_STANDIN_WEBHOOK"],
    )
    port = int(os.environ["MADOGUCHI_STANDIN_PORT"])
    uvicorn.run(create_app(line), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
