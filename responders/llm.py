"""The writer: any OpenAI-compatible endpoint, asked to join given sentences or to answer from them."""

import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk

from responders.errors import BadCompletion, DraftTimeout, ModelError, ModelUnavailable
from responders.letters import strip_control_tokens

Mode = Literal["rewrite", "answer"]
"""``rewrite``: the model sees the city's sentences only; ``answer``: the citizen's message as well."""
PROMPT_FILES: dict[Mode, Path] = {
    mode: Path(__file__).parent / "prompts" / f"{mode}.txt" for mode in ("rewrite", "answer")
}
TRANSLATE_FILE = PROMPT_FILES["rewrite"].with_name("translate.txt")
PARAMETERS: dict[str, Any] = {"temperature": 0, "stop": ["\n\n"]}
"""No repetition penalty of any kind: measured, they corrupt phone numbers and dates while copying."""
MAX_SOURCE_CHARS = 1_500
"""Of all sentences together: with prompt and answer more would overflow 4,096 tokens, and each server says so
in its own way or not at all."""
MIN_TOKENS, TOKENS_PER_CHAR = 40, 1.5
"""A Japanese character costs 0.7 tokens in Qwen's vocabulary, up to 1.5 in one made for English."""
MODELS_SECONDS = 2.0
LOADING = 503
"""What llama.cpp's server answers while it loads."""
HASH_MARK = "@sha256:"
"""Between name and hash in the id that the embedded server gives its model."""
MAX_ANSWER_BYTES = 1_000_000
MAX_TEXT_CHARS = 5_000
"""Of a longer text the rest is not read: no rewrite is as long, and the gate refuses what is cut."""
_FOREIGN = (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError, AttributeError)
"""What a call may raise, the client's own stumbling over garbage included."""
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
    parameters: Mapping[str, Any]
    """What the request asked for beside the messages."""


def record_of(
    llm: "Llm", mode: Mode | Literal["translate"], written: Sequence[Rewrite], reason: str
) -> dict[str, Any]:
    """What is kept about the requests behind one text.

    Args:
        llm: The model.
        mode: What it was asked to do.
        written: Its answers; of several, such as a translation's sentences, the sums and the largest limit.
        reason: Why the text is not used; empty: the gate let it through.
    """
    served = llm.served()
    return {
        "mode": mode,
        "name": llm.model,
        "served": served.model,
        "sha256": served.sha256,
        "prompt_version": llm.translate_version if mode == "translate" else llm.prompt_versions[mode],
        "parameters": max((dict(one.parameters) for one in written), key=_room, default=PARAMETERS),
        "prompt_tokens": sum(one.prompt_tokens for one in written),
        "completion_tokens": sum(one.completion_tokens for one in written),
        "seconds": round(sum(one.seconds for one in written), 3) if written else None,
        "gate": {"passed": not reason, "reason": reason},
        "text": "\n".join(one.text for one in written).encode("utf-8", "replace").decode(),
    }


def _room(parameters: Mapping[str, Any]) -> int:
    return int(parameters["max_tokens"])


@dataclass(frozen=True, slots=True)
class Served:
    """Which model an endpoint says that it serves."""

    model: str = ""
    """Its id at the server; empty when the server does not tell."""
    sha256: str = ""
    """Of the model's file; only the embedded server tells it."""


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
        prompts = {mode: load_prompt(path) for mode, path in PROMPT_FILES.items()}
        self._fixed = {mode: messages for mode, (messages, _) in prompts.items()}
        self.prompt_versions = {mode: version for mode, (_, version) in prompts.items()}
        self._translating, self.translate_version = load_prompt(TRANSLATE_FILE)
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=0,
            http_client=httpx2.Client(
                transport=_PatientTransport(timeout_seconds), timeout=timeout_seconds, trust_env=False
            ),
        )

    def served(self) -> Served:
        """Ask the endpoint which model it serves; never raises, for a draft must not fail by its record."""
        try:
            ids = [str(one.id) for one in self._client.models.list(timeout=MODELS_SECONDS).data]
        except _FOREIGN:
            return Served()
        told = self.model if self.model in ids else ids[0] if len(ids) == 1 else ""
        name, _, sha256 = told.partition(HASH_MARK)
        return Served(name, sha256)

    def rewrite(self, sentences: Sequence[str]) -> Rewrite:
        """Ask the model to join sentences; it sees them and the fixed examples, never a citizen's words.

        Raises:
            ModelUnavailable: No connection, refused key, 404, 429 or 5xx.
            DraftTimeout: No whole answer within ``timeout_seconds``.
            BadCompletion: An answer without text, no completion at all, sentences too long for any model
                here, or a request the server refuses (400: the context overflows, another model is pinned).
        """
        return self._ask(self._messages("rewrite", _in_a_row(sentences)), _parameters(sentences))

    def translate(self, sentence: str, language: str) -> Rewrite:
        """Ask the model to translate one Japanese sentence of the city.

        Args:
            sentence: Never a citizen's words.
            language: Its English name, such as ``Vietnamese``.

        Raises:
            ModelError: As `rewrite`.
        """
        fixed = [{**m, "content": m["content"].replace("{language}", language)} for m in self._translating]
        return self._ask(
            [*fixed, {"role": "user", "content": strip_control_tokens(sentence)}], _parameters([sentence])
        )

    def answer(self, message: str, sentences: Sequence[str]) -> Rewrite:
        """Let the model read a citizen's message and answer it from numbered sentences, citing each as [n].

        Args:
            message: Personal data masked, as `responders.draft.sanitise` leaves it.
            sentences: The only source; what the answer takes from elsewhere is the caller's to refuse.

        Raises:
            ModelError: As `rewrite`.
        """
        return self._ask(self._messages("answer", _question(message, sentences)), _parameters(sentences))

    def warm(self, slot: int) -> None:
        """Let a slot of llama.cpp's server read the prompt's fixed part, so that no draft need wait for it.

        Raises:
            ModelError: As `rewrite`.
        """
        parameters = {**PARAMETERS, "max_tokens": 1, "extra_body": {"id_slot": slot}}
        self._ask(self._messages("rewrite", _in_a_row(["窓口は平日に開いています。"])), parameters)

    def is_back(self, seconds: float) -> bool:
        """Wait until a server that went away answers again, at most so long."""
        deadline = time.monotonic() + seconds
        while not self._answers():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def stream(self, sentences: Sequence[str]) -> Generator[str, None, Rewrite]:
        """As `rewrite`, piece by piece; closing the generator ends the request and frees the server's slot.

        Someone watches: the first sentence is asked for by itself and the others after it, so that the first
        word comes when one sentence has been read (docs/decisions/0013). Each may take ``timeout_seconds``.

        Yields:
            What the model wrote since the last piece, as it wrote it; the returned `Rewrite` is the whole,
            cleaned.

        Raises:
            ModelError: As `rewrite`, also in the middle.
        """
        parameters = _parameters(sentences)
        parts: list[Rewrite] = []
        for part in filter(None, (sentences[:1], sentences[1:])):
            parts.append((yield from self._stream_part(part, parameters)))
            if parts[-1].finish_reason != "stop":
                break
        return Rewrite(
            text="".join(part.text for part in parts),
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            seconds=sum(part.seconds for part in parts),
            finish_reason=parts[-1].finish_reason,
            parameters=parameters,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _answers(self) -> bool:
        try:
            self._client.models.list(timeout=MODELS_SECONDS)
        except openai.APIStatusError as error:
            return error.status_code != LOADING  # it has no list of models, and that is an answer
        except _FOREIGN:
            return False
        return True

    def _stream_part(
        self, sentences: Sequence[str], parameters: dict[str, Any]
    ) -> Generator[str, None, Rewrite]:
        started, text, finish_reason, usage = time.monotonic(), "", "", None
        try:
            with self._open(_in_a_row(sentences), parameters) as chunks:
                for chunk in chunks:
                    usage = chunk.usage or usage
                    for choice in chunk.choices:
                        finish_reason = choice.finish_reason or finish_reason
                        if piece := choice.delta.content:
                            text += piece
                            yield piece
        except _FOREIGN as error:
            raise _translated(error) from error
        return _rewrite(text, finish_reason, usage, time.monotonic() - started, parameters)

    def _open(self, content: str, parameters: dict[str, Any]) -> openai.Stream[ChatCompletionChunk]:
        """A stream with token counts, or without them where a server refuses to be asked for counts."""
        request: Any = {"model": self.model, "messages": self._messages("rewrite", content), **parameters}
        opening: Callable[..., Any] = partial(self._client.chat.completions.create, stream=True, **request)
        stream: openai.Stream[ChatCompletionChunk]
        try:
            stream = opening(stream_options={"include_usage": True})
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            stream = opening()
        return stream

    def _messages(self, mode: Mode, content: str) -> Any:  # noqa: ANN401  (the client's own message type)
        return [*self._fixed[mode], {"role": "user", "content": content}]

    def _ask(self, messages: Any, parameters: dict[str, Any]) -> Rewrite:  # noqa: ANN401
        started = time.monotonic()
        try:
            answer = self._client.chat.completions.create(model=self.model, messages=messages, **parameters)
        except _FOREIGN as error:
            raise _translated(error) from error
        return _read(answer, time.monotonic() - started, parameters)


def _parameters(sentences: Sequence[str]) -> dict[str, Any]:
    """What a request asks for: room for as many tokens as the sentences may need, and not for a long loop.

    Raises:
        BadCompletion: No model's context is sure to hold them.
    """
    chars = sum(map(len, sentences))
    if chars > MAX_SOURCE_CHARS:
        raise BadCompletion(f"the sentences are too long for a model ({chars} characters)")
    return {**PARAMETERS, "max_tokens": MIN_TOKENS + int(TOKENS_PER_CHAR * chars)}


def _in_a_row(sentences: Sequence[str]) -> str:
    """As a rewording that changes nothing writes them, so that llama.cpp can guess ahead past their ends."""
    return "".join(map(strip_control_tokens, sentences))


def _question(message: str, sentences: Sequence[str]) -> str:
    """Sources and message; each line of the message is quoted, so that none of it can end the quotation."""
    numbered = (f"[{n}] {strip_control_tokens(s)}" for n, s in enumerate(sentences, start=1))
    quoted = (f"> {line}" for line in strip_control_tokens(message).splitlines())
    return "\n".join(["資料:", *numbered, "", "市民の質問:", *quoted])


def load_prompt(path: Path) -> tuple[tuple[dict[str, str], ...], str]:
    """Read a prompt file of ``### role`` blocks: its messages, and its version (12 hex digits of SHA-256)."""
    text = path.read_text("utf-8")
    _, *blocks = _ROLE.split(text)
    messages = tuple(
        {"role": role, "content": body.strip()} for role, body in zip(blocks[::2], blocks[1::2], strict=True)
    )
    return messages, hashlib.sha256(text.encode()).hexdigest()[:12]


def _translated(error: Exception) -> ModelError:
    """A foreign error in our words; in a stream's middle the client does not wrap what the wire raises."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _TooMuch):
            return BadCompletion("the endpoint answers without end")
        cause = cause.__cause__
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return DraftTimeout("the endpoint did not answer in time")
    if isinstance(error, openai.APIStatusError):
        kind = BadCompletion if error.status_code in (400, 413, 422) else ModelUnavailable
        return kind(f"the endpoint answered {error.status_code}")
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        return ModelUnavailable(f"no connection to the endpoint: {error.__cause__ or error}")
    return BadCompletion(f"the endpoint answered garbage: {type(error).__name__}")


def _read(answer: Any, seconds: float, parameters: dict[str, Any]) -> Rewrite:  # noqa: ANN401  a foreign server's answer may be anything
    try:
        choice = answer.choices[0]
        return _rewrite(choice.message.content, str(choice.finish_reason), answer.usage, seconds, parameters)
    except (AttributeError, IndexError, TypeError) as error:
        raise BadCompletion("the answer holds no text") from error


def _rewrite(
    text: str, finish_reason: str, usage: object, seconds: float, parameters: dict[str, Any]
) -> Rewrite:
    cleaned = strip_control_tokens(text[:MAX_TEXT_CHARS]).strip()
    if not cleaned:
        raise BadCompletion("the answer is empty")
    return Rewrite(
        text=cleaned,
        prompt_tokens=_count(getattr(usage, "prompt_tokens", 0)),
        completion_tokens=_count(getattr(usage, "completion_tokens", 0)),
        seconds=seconds,
        finish_reason=finish_reason,
        parameters=parameters,
    )


def _count(value: object) -> int:
    """A foreign server's token count; 0 for anything that is none."""
    return value if isinstance(value, int) else 0


class _TooMuch(httpx2.ReadError):
    """More bytes than any rewrite has."""


class _PatientTransport(httpx2.HTTPTransport):
    """HTTP whose time limit counts for the whole answer: a server that trickles bytes resets a read limit."""

    def __init__(self, seconds: float) -> None:
        # No connection is kept: a server that restarted has closed it, and a POST finds out too late.
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=0))
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
