"""Two different servers that really run: llama.cpp with the embedded model, and transformers on torch.

The weights behind `transformers serve` are a few kilobytes that say one thing (`tests/platforms/tiny_model`):
tested is how a server talks, not how well its model writes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
import pytest

from responders import llm as llm_module
from responders.draft import DraftResult, compose, reword, take
from responders.errors import BadCompletion, DraftTimeout, ModelError, ModelUnavailable
from responders.fetch import default_model_path, read_manifest
from responders.knowledge import Article, Passage, split_passages
from responders.llm import Llm, Rewrite, Served
from responders.serve import EmbeddedServer
from tests.conftest import free_port
from tests.platforms.tiny_model import write_model

pytestmark = pytest.mark.llm

WORDS = ("市民課の窓口は", "平日に", "開いています。", "住民票の写しは", "郵送でも", "請求できます。")
SENTENCES = ["".join(WORDS[:3]), "".join(WORDS[3:])]
LONG = [
    f"{n}番の窓口では、住民票の写しと印鑑登録証明書を、平日の午後5時まで受け付けます。" for n in range(1, 9)
]


@dataclass
class Server:
    """One of the two, ready to be asked."""

    llm: Llm
    """Knows the right model."""
    endless: Llm
    """Writes for seconds."""
    wrong: Llm
    """Asks for a model that the server does not have."""
    process_id: Callable[[], int]
    restart: Callable[[], object]


@pytest.fixture(scope="module")
def llama() -> Iterator[Server]:
    if not default_model_path().exists():
        pytest.skip("the model file is not here: python -m responders.fetch")
    embedded = EmbeddedServer(default_model_path())
    embedded.start()
    client = embedded.client(180.0)
    wrong = Llm(embedded.base_url, "no-such-model", embedded.api_key, 180.0)
    yield Server(client, client, wrong, lambda: embedded.process_id or 0, embedded.start)
    embedded.stop()


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tiny")
    model = write_model(folder / "model", WORDS)
    endless = write_model(folder / "endless", WORDS, endless=True, layers=24)
    running: list[subprocess.Popen[bytes]] = []
    port = free_port()

    def start() -> None:
        if running:
            running[-1].wait()
        command = [str(Path(sys.executable).with_name("transformers")), "serve", "--device", "cpu"]
        (folder / "cache").mkdir(exist_ok=True)
        offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        with (folder / "log").open("ab") as log:
            running.append(
                subprocess.Popen(
                    [*command, "--port", str(port)], env=os.environ | offline, stdout=log, stderr=log
                )
            )
        assert client.is_back(60), (folder / "log").read_text()[-2000:]

    def client_of(name: str) -> Llm:
        return Llm(f"http://127.0.0.1:{port}/v1", name, "", 180.0)

    client = client_of(str(model))
    start()
    client.rewrite(SENTENCES)  # it loads a model when it is asked for it
    yield Server(client, client_of(str(endless)), client_of("no-such-model"), lambda: running[-1].pid, start)
    running[-1].kill()
    running[-1].wait()


@pytest.fixture(params=["llama", "transformers"])
def server(request: pytest.FixtureRequest) -> Server:
    return cast("Server", request.getfixturevalue(request.param))


@pytest.fixture
def passages() -> list[Passage]:
    return [
        p
        for p in split_passages(Article("a", "窓口", "citizen_registry", "\n".join(SENTENCES)))
        if p.quotable
    ]


def _drain(llm: Llm, sentences: Sequence[str]) -> Rewrite:
    pieces = llm.stream(sentences)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return cast("Rewrite", end.value)


def test_a_rewording_passes_the_gate(server: Server, passages: list[Passage]) -> None:
    _assert_let_through(reword(compose(passages), server.llm))


def test_a_streamed_rewording_passes_the_gate_and_reads_as_the_whole(
    llama: Server, passages: list[Passage]
) -> None:
    verbatim = compose(passages)
    streamed = take(verbatim, llama.llm, _drain(llama.llm, SENTENCES))
    _assert_let_through(streamed)
    assert streamed.body == reword(verbatim, llama.llm).body


def test_a_stream_joins_the_answers_to_its_two_requests(transformers: Server) -> None:
    whole = transformers.llm.rewrite(SENTENCES[:1])
    streamed = _drain(transformers.llm, SENTENCES)  # the tiny model says one thing whatever it is asked
    assert (streamed.text, streamed.finish_reason) == (whole.text * 2, "stop")
    assert streamed.completion_tokens == whole.completion_tokens * 2


def _assert_let_through(result: DraftResult) -> None:
    assert (result.origin, result.ready) == ("model", True), result.flags
    assert result.model["prompt_tokens"] > 200
    assert result.model["completion_tokens"] > 5


def test_the_record_names_the_model_as_far_as_the_server_tells(
    llama: Server, transformers: Server, passages: list[Passage]
) -> None:
    manifest = read_manifest()
    assert llama.wrong.served() == Served(manifest.name, manifest.sha256)
    assert reword(compose(passages), llama.wrong).model["sha256"] == manifest.sha256
    assert transformers.llm.served() == Served(), "it lists the hub's cache, not the folder it serves"


def test_a_wrong_model_name_is_an_error_or_the_servers_only_model(server: Server) -> None:
    for ask in (Llm.rewrite, _drain):
        with contextlib.suppress(ModelUnavailable, BadCompletion):
            assert ask(server.wrong, SENTENCES).text == "".join(SENTENCES)
            assert server.wrong.served().model, "it answers under whatever name, and says which model it is"


def test_too_long_a_prompt_is_a_bad_completion(
    server: Server, llama: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ask in (Llm.rewrite, _drain):
        with pytest.raises(BadCompletion, match="too long"):
            ask(server.llm, LONG * 10)
    monkeypatch.setattr(llm_module, "MAX_SOURCE_CHARS", 10**6)
    for ask in (Llm.rewrite, _drain):
        with pytest.raises(BadCompletion, match="400"):
            ask(llama.llm, LONG * 20)


def test_a_stream_that_is_closed_lets_the_server_rest(server: Server) -> None:
    pieces = server.endless.stream(LONG)
    next(pieces)
    pieces.close()
    process = psutil.Process(server.process_id())
    deadline = time.monotonic() + 30
    while _busy_seconds(process, 0.5) > 0.1 and time.monotonic() < deadline:
        pass
    assert _busy_seconds(process, 0.5) <= 0.1, "it goes on for nobody"
    assert server.llm.rewrite(SENTENCES).finish_reason == "stop"


def _busy_seconds(process: psutil.Process, seconds: float) -> float:
    before = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return float(sum(process.cpu_times()[:2]) - before)


def test_a_server_that_hangs_times_out(server: Server) -> None:
    hasty = Llm(str(server.llm._client.base_url), server.llm.model, server.llm._client.api_key, 1.0)
    os.kill(server.process_id(), signal.SIGSTOP)
    try:
        for ask in (Llm.rewrite, _drain):
            with pytest.raises(DraftTimeout):
                ask(hasty, SENTENCES)
        assert hasty.served() == Served()
    finally:
        os.kill(server.process_id(), signal.SIGCONT)
    assert server.llm.rewrite(SENTENCES).text


def test_a_server_that_is_killed_while_it_writes_is_unavailable_and_comes_back(server: Server) -> None:
    pieces = server.endless.stream(LONG)
    next(pieces)
    os.kill(server.process_id(), signal.SIGKILL)
    with pytest.raises(ModelUnavailable):
        for _ in pieces:
            pass
    with pytest.raises(ModelUnavailable):
        server.llm.rewrite(SENTENCES)
    assert not server.llm.is_back(0.1)
    server.restart()
    assert server.llm.is_back(30)
    assert server.llm.rewrite(SENTENCES).text == "".join(SENTENCES)


def test_every_error_of_a_server_is_one_of_ours(server: Server) -> None:
    stranger = Llm(str(server.llm._client.base_url) + "nowhere", server.llm.model, "wrong key", 10.0)
    with pytest.raises(ModelError):
        stranger.rewrite(SENTENCES)
