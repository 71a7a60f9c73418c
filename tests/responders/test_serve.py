"""The embedded server: clear refusals without the weights, one real run with them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from responders import serve
from responders.draft import compose, reword
from responders.errors import BadModelFile, PortTaken, ServeError
from responders.fetch import default_model_path, read_manifest
from responders.retrieve import Index
from responders.serve import EmbeddedServer, check_model_file, check_port


def child(*arguments: str, key: str = "secret") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "responders.serve", *arguments]
    environment = {**os.environ, serve.KEY_VARIABLE: key}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def test_a_missing_or_wrong_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match=r"responders\.fetch"):
        check_model_file(tmp_path / "none.gguf")
    other = tmp_path / "model.gguf"
    other.write_bytes(b"PK\x03\x04")
    with pytest.raises(BadModelFile, match="no GGUF file"):
        check_model_file(other)
    truncated = tmp_path / read_manifest().name
    truncated.write_bytes(b"GGUF....")
    with pytest.raises(BadModelFile, match="8 bytes instead of"):
        check_model_file(truncated)


def test_a_taken_port_is_refused_in_one_line() -> None:
    with socket.socket() as other:
        other.bind((serve.HOST, 0))
        other.listen()
        with pytest.raises(PortTaken, match="not free"):
            check_port(other.getsockname()[1])


def test_the_child_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    done = child("--model", str(tmp_path / "none.gguf"), "--port", "0")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no model file" in done.stderr
    assert serve.KEY_VARIABLE in child("--model", "x", "--port", "0", key="").stderr


def test_a_file_that_llama_cpp_cannot_read_is_an_error_not_a_hang(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x00" * 100)
    server = EmbeddedServer(broken)
    with pytest.raises(ServeError, match="ended while loading"):
        server.start()
    assert server.process_id is None


def test_restarting_stops_after_three_failures(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "none.gguf")
    assert [server.ensure_running() for _ in range(5)] == [False] * 5
    assert len(server._starts) == serve.RESTARTS


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    if not default_model_path().exists():
        pytest.skip("the model file is not here: python -m responders.fetch")
    server = EmbeddedServer(default_model_path())
    server.start()
    yield server
    server.stop()


@pytest.mark.llm
def test_the_real_model_joins_sentences_and_passes_the_gate(server: EmbeddedServer, index: Index) -> None:
    llm = server.client(timeout_seconds=180)
    ticked = [index.passage(f"moving-in#{n}") for n in (1, 3, 5)]
    result = reword(compose(ticked), llm)
    assert result.origin == "model", result.flags
    assert result.ready
    assert result.model["prompt_tokens"] > 200
    llm.close()


@pytest.mark.llm
def test_the_server_wants_its_key_dies_with_its_parent_and_comes_back(
    server: EmbeddedServer, index: Index
) -> None:
    stranger = type(server.client(5))(server.base_url, "x", "wrong", 5)
    ticked = [index.passage(f"moving-in#{n}") for n in (1, 3)]
    assert "model_unavailable" in reword(compose(ticked), stranger).flags
    first = server.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    while server.process_id is not None:
        time.sleep(0.02)
    assert server.ensure_running()
    second = server.process_id
    assert second not in (None, first)
    assert server._process is not None
    assert server._process.stdin is not None
    server._process.stdin.close()
    assert server._process.wait(10) == 0
    assert second is not None
    assert not psutil.pid_exists(second)
