"""The embedded model server: llama.cpp in a process of its own, started and stopped by the product.

A crash in native code must not take the product along, so the server is never loaded into it. The child is
``python -m responders.serve --model PATH --port N`` with its key in ``MADOGUCHI_LLM_API_KEY``.
"""

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from responders.errors import BadModelFile, ModelError, PortTaken, ServeError
from responders.fetch import file_sha256, read_manifest
from responders.llm import HASH_MARK, Llm

HOST = "127.0.0.1"
CONTEXT_TOKENS = 4096
"""For each slot."""
SLOTS = 2
"""Drafts at once: the worker's, and one before a caseworker's eyes. More would only slow each other."""
MEMORY_BESIDE_FILE = 2 << 30
"""Bytes of its own that the server may have beyond as many as its file has: llama.cpp copies the weights into
a faster layout, the rest is context, prompt cache and Python. The mapped file itself does not count."""
CACHE_MIB = 256
"""Prompt cache beside the slot's own; llama.cpp would take up to 8 GB."""
START_SECONDS = 60.0
STOP_SECONDS = 5.0
RESTARTS, RESTART_WINDOW_SECONDS = 3, 300.0
KEY_VARIABLE = "MADOGUCHI_LLM_API_KEY"
_PR_SET_PDEATHSIG = 1


class EmbeddedServer:
    """Starts, watches and stops one server process; safe to call from any thread.

    Args:
        model: GGUF file; checked against ``models.json`` when it bears that file's name.
        port: Port on 127.0.0.1; 0: a free one.
        threads: 1 or 2; generation is bound by memory, so more does not help.
    """

    def __init__(self, model: Path, port: int = 0, threads: int = 2) -> None:
        self.model = model
        self.port = port or _free_port()
        self.api_key = secrets.token_urlsafe(32)
        self.base_url = f"http://{HOST}:{self.port}/v1"
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._starts: list[float] = []
        self._lock = threading.Lock()

    @property
    def process_id(self) -> int | None:
        """Of the running server."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def healthy(self) -> bool:
        """Whether the server has loaded its model and answers."""
        return self.process_id is not None and is_healthy(self.port)

    def start(self) -> None:
        """Check the file and the port, start the server, wait until it completes (it warms itself).

        Raises:
            BadModelFile: Missing, truncated, or another file than the manifest says.
            PortTaken: Something else listens there.
            ServeError: It died or did not answer within 60 seconds.
        """
        with self._lock:
            if not self.healthy():
                self._start()

    def ensure_running(self) -> bool:
        """Restart a dead or hanging server, at most 3 times in 5 minutes.

        Returns:
            Whether it answers now. False means: leave the drafts verbatim.
        """
        with self._lock:
            if self.healthy():
                return True
            now = time.monotonic()
            self._starts = [at for at in self._starts if now - at < RESTART_WINDOW_SECONDS]
            if len(self._starts) >= RESTARTS:
                return False
            with contextlib.suppress(ServeError):
                self._start()
            return self.healthy()

    def stop(self) -> None:
        """End the server; no error when there is none."""
        with self._lock:
            self._stop()

    def client(self, timeout_seconds: float) -> Llm:
        """A writer that talks to this server."""
        return Llm(self.base_url, self.model.stem, self.api_key, timeout_seconds)

    def _start(self) -> None:
        self._stop()
        self._starts.append(time.monotonic())
        check_model_file(self.model)
        check_port(self.port)
        command = [sys.executable, "-m", "responders.serve", "--model", str(self.model)]
        command += ["--port", str(self.port), "--threads", str(self._threads), "--until-stdin-closes"]
        self._process = subprocess.Popen(  # noqa: S603  our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, KEY_VARIABLE: self.api_key},
            cwd=Path(__file__).parent.parent,
        )
        try:
            self._wait_until_healthy()
        except BaseException:
            self._stop()
            raise

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_healthy(self.port):
            if self.process_id is None:
                raise ServeError("the model server ended while loading: not a model that llama.cpp can read?")
            if time.monotonic() > deadline:
                raise ServeError(f"the model server did not answer within {START_SECONDS:.0f} seconds")
            time.sleep(0.1)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def check_model_file(path: Path) -> str:
    """Refuse a file that cannot be the model; a known name must have the manifest's SHA-256.

    Returns:
        The file's SHA-256, remembered beside it as long as its size and time stay the same.

    Raises:
        BadModelFile: With one line that says what to do.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        hint = "fetch it with: python -m responders.fetch"
        raise BadModelFile(f"no model file {path} ({error.strerror}); {hint}") from error
    if magic != b"GGUF":
        raise BadModelFile(f"{path} is no GGUF file")
    manifest = read_manifest()
    known = path.name == manifest.name
    if known and size != manifest.size_bytes:
        raise BadModelFile(f"{path} has {size} bytes instead of {manifest.size_bytes}: fetch it again")
    sha256 = _remembered(path) or file_sha256(path)
    if known and sha256 != manifest.sha256:
        raise BadModelFile(f"{path} has another SHA-256 than models.json says: fetch it again")
    _remember(path, sha256)
    return sha256


def check_port(port: int) -> None:
    """Refuse a port that somebody uses.

    Raises:
        PortTaken: With one line that names it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise PortTaken(f"port {port} on {HOST} is not free: {error}") from error


def is_healthy(port: int, timeout_seconds: float = 2.0) -> bool:
    """Whether a llama.cpp server on this port has loaded its model."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    """The child: check, tie its life to the parent's, serve until told to stop."""
    options = _arguments()
    key = os.environ.get(KEY_VARIABLE, "")
    try:
        if not key:
            raise ServeError(f"{KEY_VARIABLE} is empty: the server needs a key")
        sha256 = check_model_file(options.model)
        check_port(options.port)
        _die_with_parent(options.until_stdin_closes)
        _bound_memory(options.model)
        _serve(options, key, f"{options.model.name}{HASH_MARK}{sha256}")
    except (ServeError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m responders.serve", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--port", type=int, required=True, help=f"port on {HOST}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=SLOTS, help="drafts at once")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input closes, not with the parent",
    )
    return parser.parse_args()


def _bound_memory(model: Path) -> None:
    """Let the kernel refuse what a leak would ask for, so that this process ends and not its neighbours.

    RLIMIT_DATA counts private writable memory; RLIMIT_AS would count the mapped file as well, and with it
    memory that the kernel takes back whenever it wants. Source: getrlimit(2).
    """
    limit = model.stat().st_size + MEMORY_BESIDE_FILE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _serve(options: argparse.Namespace, key: str, name: str) -> None:
    # Waiting threads must sleep: spinning, one busy neighbour slows generation five-fold. The library reads
    # this while it loads.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with contextlib.suppress(OSError):
        os.nice(5)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(options.model), {name}
    params.hostnames, params.port, params.api_keys = [HOST], options.port, [key]
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS * options.slots, options.slots
    params.ctx_shift = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib, params.ui = CACHE_MIB, False
    params.cors_origins = f"http://{HOST}:{options.port}"
    # A rewording repeats its sentences: after four tokens that stood there, all that follow are tried at
    # once. So many rows are computed as fast as a prompt is read, and the prompt's end bounds the guess
    # (docs/decisions/0013).
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = 4, 160
    params.endpoint_slots, params.offline, params.n_gpu_layers = False, True, 0
    server = xllamacpp.Server(params)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=_warm_slots, args=(options.port, key, options.slots), daemon=True).start()
    stopped.wait()
    del server
    # The library's own threads may still be decoding: leave without waiting for them.
    os._exit(0)


def _warm_slots(port: int, key: str, slots: int) -> None:
    """Let one slot after the other read the fixed part of the prompt, at the first start and after a restart.

    A failure is left to the first draft to find.
    """
    llm = Llm(f"http://{HOST}:{port}/v1", "", key, START_SECONDS)
    with contextlib.suppress(ModelError):
        for slot in range(slots):
            llm.warm(slot)
    llm.close()


def _die_with_parent(until_stdin_closes: bool) -> None:
    if until_stdin_closes:
        # The kernel's signal comes when the parent *thread* ends, and a worker's threads come and go.
        threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _stamp(path: Path) -> dict[str, object]:
    stat = path.stat()
    return {"size": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".verified.json")


def _remembered(path: Path) -> str:
    try:
        note = json.loads(_note(path).read_text("utf-8"))
        sha256 = str(note.pop("sha256"))
    except (OSError, ValueError, AttributeError, KeyError):
        return ""
    return sha256 if note == _stamp(path) else ""


def _remember(path: Path, sha256: str) -> None:
    # A read-only folder only costs the next start a second.
    with contextlib.suppress(OSError):
        _note(path).write_text(json.dumps({**_stamp(path), "sha256": sha256}), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
