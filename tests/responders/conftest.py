"""Five throw-away articles, and an endpoint that fails like the real ones."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from responders.check_sources import Register
from responders.knowledge import Article, Passage, read_folder, split_passages, split_sentences
from responders.llm import Llm
from responders.retrieve import Index

ARTICLES = {
    "moving-in": (
        "転入届（みなと市に引っ越してきたとき）",
        "citizen_registry",
        """市外からみなと市に引っ越してきたときは、引っ越した日から14日以内に転入届を市民課に出してください。
転入届は、引っ越す前には出せません。
転入届には、転出証明書と本人確認書類が必要です。
代理の方が転入届を出す場合は、委任状もお持ちください。
転入届に手数料はかかりません。
市民課の窓口は、平日の午前8時30分から午後5時15分まで開いています。""",
    ),
    "certificate": (
        "住民票の写し",
        "citizen_registry",
        """住民票の写しは、市民課で請求できます。
住民票の写しの手数料は、窓口では1通300円、コンビニでは1通200円です。
本人と同じ世帯の方に限り、委任状なしで住民票の写しを請求できます。
住民票の写しは、郵送でも請求できます。
令和8年4月1日から、住民票の写しの窓口手数料が変わりました。""",
    ),
    "bulky-waste": (
        "粗大ごみの出し方",
        "waste_environment",
        """粗大ごみは、収集日の3日前までに粗大ごみ受付センターへ電話で申し込んでください。
粗大ごみ受付センターの電話番号は、0000-12-3908です。
粗大ごみの手数料は、1点につき400円です。
冷蔵庫とエアコンは、市では収集できません。
粗大ごみは、毎週水曜日に収集します。""",
    ),
    "nursery": (
        "保育所の申込み",
        "childcare",
        """4月からの保育所の利用は、前の年の11月15日までに子育て支援課へ申し込んでください。
保育所の申込みには、就労証明書が必要です。
保育料は、3歳以上の子どもは無料です。
市外の保育所を希望する場合は、締切日の2週間前までにご相談ください。""",
    ),
    "pothole": (
        "道路の穴を見つけたとき",
        "roads_parks",
        """道路に穴を見つけたときは、道路公園課へお知らせください。
夜間や休日は、市役所の代表電話0000-12-3100で受け付けます。
お知らせのときは、場所と穴の大きさを教えてください。""",
    ),
}


def write_article(
    folder: Path, article_id: str, title: str, department: str, text: str, extra: str = ""
) -> Path:
    file = folder / f"{article_id}.md"
    front = f"---\nid: {article_id}\ntitle: {title}\ndepartment: {department}\n{extra}---\n"
    file.write_text(front + text + "\n", "utf-8")
    return file


@pytest.fixture
def knowledge_folder(tmp_path: Path) -> Path:
    for article_id, (title, department, text) in ARTICLES.items():
        write_article(tmp_path, article_id, title, department, text)
    return tmp_path


@pytest.fixture
def articles(knowledge_folder: Path) -> list[Article]:
    return read_folder(knowledge_folder)


@pytest.fixture
def passages(articles: list[Article]) -> list[Passage]:
    return [passage for article in articles for passage in split_passages(article)]


@pytest.fixture
def index(passages: list[Passage]) -> Index:
    return Index(passages)


@pytest.fixture
def register() -> Register:
    return Register(
        city="みなと市",
        phones=frozenset({"0000-12-3101", "0000-12-3102"}),
        sections=frozenset({"市民課", "税務課", "環境課"}),
    )


class FakeEndpoint:
    """An OpenAI-compatible server in its failure modes; keeps the requests it was given."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []
        self.reply: Callable[[dict[str, object]], str] = lambda _: "はい。"
        self.mode = "answer"
        self.seconds_between = 0.0
        """Between two characters of a stream."""
        self.hung_up = False
        """The client left before a stream's end."""
        self.refused: set[str] = set()
        """Parameters that it refuses as unknown."""
        self.models: list[str] = []
        """What it says that it serves."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                endpoint.serve(self, body)

            def do_GET(self) -> None:
                about = {"object": "model", "created": 0, "owned_by": ""}
                listed = {"object": "list", "data": [{"id": name, **about} for name in endpoint.models]}
                endpoint._send(self, 200, json.dumps(listed).encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        failures = {
            "garbage": b"<html>oops</html>",
            "no_choices": b'{"choices": []}',
            "half": b'{"choices": [{"mes',
        }
        if self.refused & body.keys():
            self._send(handler, 422, b'{"detail": "unexpected fields"}')
        elif self.mode == "hang":
            time.sleep(3)
        elif self.mode == "trickle":
            self._stream(handler, b" ", seconds_between=0.1)
        elif self.mode == "endless":
            self._stream(handler, b" " * 65_536, seconds_between=0.001)
        elif self.mode.isdigit():
            self._send(handler, int(self.mode), b'{"error": {"message": "no"}}')
        elif self.mode in failures:
            self._send(handler, 200, failures[self.mode])
        elif body.get("stream"):
            self._stream_completion(handler, body)
        else:
            self._send(handler, 200, self._completion(body))

    def _completion(self, body: dict[str, object]) -> bytes:
        choice = {
            "index": 0,
            "finish_reason": "length" if self.mode == "length" else "stop",
            "message": {"role": "assistant", "content": self.reply(body)},
        }
        usage = {"prompt_tokens": 500, "completion_tokens": 40, "total_tokens": 540}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return json.dumps({**answer, "usage": usage}).encode()

    def _stream_completion(self, handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()

        def event(choices: list[object], **more: object) -> None:
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
            data = json.dumps({**chunk, "choices": choices, **more})
            handler.wfile.write(f"data: {data}\n\n".encode())
            handler.wfile.flush()

        try:
            for number, char in enumerate(self.reply(body)):
                if self.mode == "cut" and number == 5:
                    return
                if self.mode == "babble" and number == 5:
                    handler.wfile.write(b"data: {half an eve\n\n")
                event([{"index": 0, "delta": {"content": char}, "finish_reason": None}])
                time.sleep(self.seconds_between)
            end = "length" if self.mode == "length" else "stop"
            event([{"index": 0, "delta": {}, "finish_reason": end}])
            event([], usage={"prompt_tokens": 500, "completion_tokens": 40, "total_tokens": 540})
            handler.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.hung_up = True

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # the client hung up, as it should
            handler.wfile.write(body)

    @staticmethod
    def _stream(handler: BaseHTTPRequestHandler, chunk: bytes, seconds_between: float) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        deadline = time.monotonic() + 6
        with contextlib.suppress(OSError):  # the client hung up, as it should
            while time.monotonic() < deadline:
                handler.wfile.write(chunk)
                handler.wfile.flush()
                time.sleep(seconds_between)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def given_sentences(body: dict[str, object]) -> list[str]:
    """The sentences the endpoint was asked to join."""
    messages = body["messages"]
    assert isinstance(messages, list)
    return split_sentences(messages[-1]["content"])


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    endpoint = FakeEndpoint()
    endpoint.reply = lambda body: "".join(given_sentences(body))
    yield endpoint
    endpoint.close()


@pytest.fixture
def llm(endpoint: FakeEndpoint) -> Iterator[Llm]:
    llm = Llm(endpoint.url, "stand-in", "", timeout_seconds=1.0)
    yield llm
    llm.close()
