"""The writer: any OpenAI-compatible endpoint, asked to join given sentences and nothing else."""

import hashlib
import re
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai

from responders.checks import strip_control_tokens
from responders.errors import BadCompletion, DraftTimeout, ModelError, ModelUnavailable

PROMPT_FILE = Path(__file__).parent / "prompts" / "rewrite.txt"
TRANSLATE_FILE = PROMPT_FILE.with_name("translate.txt")
PARAMETERS: dict[str, Any] = {"temperature": 0, "max_tokens": 200, "stop": ["\n\n"]}
"""No repetition penalty of any kind: measured, they corrupt phone numbers and dates while copying."""
MAX_ANSWER_BYTES = 1_000_000
MAX_TEXT_CHARS = 5_000
"""Of a longer text the rest is not read: no rewrite is as long, and the gate refuses what is cut."""
_ROLE = re.compile(r"^### (system|user|assistant)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the model wrote, control tokens removed."""

    text: str
    """Never empty."""
    prompt_tokens: int
    """0 when the server does not count."""
    completion_tokens: int
    """0 when the server does not count."""
    seconds: float
    """Wall time of the call."""
    finish_reason: str
    """``stop``; anything else, ``length`` above all, means that the text is not whole."""


class Llm:
    """One model behind one OpenAI-compatible endpoint; safe to share between threads.

    Args:
        base_url: Root of the API, such as ``http://127.0.0.1:8811/v1``.
        model: Name the endpoint knows it by.
        api_key: Bearer key; empty for servers that want none.
        timeout_seconds: Longest wait for the whole answer, slow trickles included.
    """

    def __init__(self, base_url: str, model: str, api_key: str, timeout_seconds: float) -> None:
        self.model = model
        self.timeout_seconds = timeout_seconds
        self._messages, self.prompt_version = load_prompt(PROMPT_FILE)
        self._translating, self.translate_version = load_prompt(TRANSLATE_FILE)
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=0,
            http_client=httpx2.Client(
                transport=_PatientTransport(timeout_seconds), timeout=timeout_seconds, trust_env=False
            ),
        )

    def rewrite(self, sentences: Sequence[str]) -> Rewrite:
        """Ask the model to join sentences; it sees them and the fixed examples, never a citizen's words.

        Raises:
            ModelUnavailable: No connection, refused key, 404, 429 or 5xx.
            DraftTimeout: No whole answer within ``timeout_seconds``.
            BadCompletion: An answer without text, no completion at all, or a request the server refuses
                (400: the context overflows).
        """
        return self._ask(self._asking(sentences), PARAMETERS)

    def translate(self, sentence: str, language: str) -> Rewrite:
        """Ask the model to translate one Japanese sentence of the city.

        Args:
            sentence: Never a citizen's words.
            language: Its English name, such as ``Vietnamese``.

        Raises:
            ModelError: As `rewrite`.
        """
        fixed = [{**m, "content": m["content"].replace("{language}", language)} for m in self._translating]
        return self._ask([*fixed, {"role": "user", "content": strip_control_tokens(sentence)}], PARAMETERS)

    def warm(self) -> None:
        """Let the server read the fixed part of the prompt, so that the first draft need not wait for it.

        Raises:
            ModelError: As `rewrite`.
        """
        self._ask(self._asking(["窓口は平日に開いています。"]), {**PARAMETERS, "max_tokens": 1})

    def stream(self, sentences: Sequence[str]) -> Generator[str, None, Rewrite]:
        """As `rewrite`, piece by piece; closing the generator ends the request and frees the server's slot.

        Yields:
            What the model wrote since the last piece, as it wrote it; the returned `Rewrite` is the whole,
            cleaned.

        Raises:
            ModelError: As `rewrite`, also in the middle.
        """
        started = time.monotonic()
        text, finish_reason, usage = "", "", None
        try:
            with self._client.chat.completions.create(
                model=self.model,
                messages=self._asking(sentences),
                stream=True,
                stream_options={"include_usage": True},
                **PARAMETERS,
            ) as chunks:
                for chunk in chunks:
                    usage = chunk.usage or usage
                    for choice in chunk.choices:
                        finish_reason = choice.finish_reason or finish_reason
                        if piece := choice.delta.content:
                            text += piece
                            yield piece
        except openai.OpenAIError as error:
            raise _translated(error) from error
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise BadCompletion(f"the endpoint answered garbage: {type(error).__name__}") from error
        return _rewrite(text, finish_reason, usage, time.monotonic() - started)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asking(self, sentences: Sequence[str]) -> Any:  # noqa: ANN401  (the client's own message type)
        lines = "\n".join(f"・{strip_control_tokens(sentence)}" for sentence in sentences)
        return [*self._messages, {"role": "user", "content": lines}]

    def _ask(self, messages: Any, parameters: dict[str, Any]) -> Rewrite:  # noqa: ANN401
        started = time.monotonic()
        try:
            answer = self._client.chat.completions.create(model=self.model, messages=messages, **parameters)
        except openai.OpenAIError as error:
            raise _translated(error) from error
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise BadCompletion(f"the endpoint answered garbage: {type(error).__name__}") from error
        return _read(answer, time.monotonic() - started)


def load_prompt(path: Path) -> tuple[tuple[dict[str, str], ...], str]:
    """Read a prompt file of ``### role`` blocks: its messages, and its version (12 hex digits of SHA-256)."""
    text = path.read_text("utf-8")
    _, *blocks = _ROLE.split(text)
    messages = tuple(
        {"role": role, "content": body.strip()} for role, body in zip(blocks[::2], blocks[1::2], strict=True)
    )
    return messages, hashlib.sha256(text.encode()).hexdigest()[:12]


def _translated(error: openai.OpenAIError) -> ModelError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _TooMuch):
            return BadCompletion("the endpoint answers without end")
        cause = cause.__cause__
    if isinstance(error, openai.APITimeoutError):
        return DraftTimeout("the endpoint did not answer in time")
    if isinstance(error, openai.APIStatusError):
        kind = BadCompletion if error.status_code in (400, 413, 422) else ModelUnavailable
        return kind(f"the endpoint answered {error.status_code}")
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailable(f"no connection to the endpoint: {error.__cause__ or error}")
    return BadCompletion(f"the endpoint answered garbage: {type(error).__name__}")


def _read(answer: Any, seconds: float) -> Rewrite:  # noqa: ANN401  a foreign server's answer may be anything
    try:
        choice = answer.choices[0]
        return _rewrite(choice.message.content, str(choice.finish_reason), answer.usage, seconds)
    except (AttributeError, IndexError, TypeError) as error:
        raise BadCompletion("the answer holds no text") from error


def _rewrite(text: str, finish_reason: str, usage: object, seconds: float) -> Rewrite:
    cleaned = strip_control_tokens(text[:MAX_TEXT_CHARS]).strip()
    if not cleaned:
        raise BadCompletion("the answer is empty")
    return Rewrite(
        text=cleaned,
        prompt_tokens=_count(getattr(usage, "prompt_tokens", 0)),
        completion_tokens=_count(getattr(usage, "completion_tokens", 0)),
        seconds=seconds,
        finish_reason=finish_reason,
    )


def _count(value: object) -> int:
    """A foreign server's token count; 0 for anything that is none."""
    return value if isinstance(value, int) else 0


class _TooMuch(httpx2.ReadError):
    """More bytes than any rewrite has."""


class _PatientTransport(httpx2.HTTPTransport):
    """HTTP whose time limit counts for the whole answer: a server that trickles bytes resets a read limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = time.monotonic() + self._seconds
        response = super().handle_request(request)
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _BoundedStream(response.stream, deadline)
        return response


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise _TooMuch("too many bytes")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the whole answer took too long")
            yield chunk

    def close(self) -> None:
        self._stream.close()
