"""Starts every process, restarts what dies, stops all on Ctrl-C."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from bot.install import RASA_PYTHON, ROOT, rasa_model, say
from bot.settings import Settings

READY_SECONDS = 180
STOP_SECONDS = 15
CALM_SECONDS = 60
ASK_SECONDS = 5.0
"""Between two questions to a child that could hang."""
LLM_HANG_SECONDS = 20.0
RASA_PORT, LLM_PORT, PHONE_PORT = 8805, 8806, 8801


@dataclass
class Child:
    """One process to keep alive."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    ready_url: str = ""
    """Answers 200 when the process is ready; empty: ready when it runs."""
    hang_seconds: float = 0.0
    """Longest silence of a process that was ready before it is killed and started anew; 0: not watched."""
    needed: bool = True
    """Whether there is no product without it. Drafts stay verbatim without a model, and every message is an
    inquiry without Rasa."""
    answered_at: float = 0.0
    asked_at: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_seconds: float = 1.0

    def start(self, log_dir: Path) -> None:
        """Start the process in a session of its own, its output in a log file."""
        log_dir.mkdir(parents=True, exist_ok=True)
        with (log_dir / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  (our own programs)
                self.command,
                cwd=ROOT,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.started_at, self.answered_at = time.monotonic(), 0.0

    def is_hung(self) -> bool:
        """Whether it has answered once, lives, and has been silent for too long; asked every few seconds."""
        at = time.monotonic()
        if not self.hang_seconds or at - self.asked_at < min(ASK_SECONDS, self.hang_seconds):
            return False
        self.asked_at = at
        if self.is_ready():
            self.answered_at = time.monotonic()
        alive = self.process is not None and self.process.poll() is None
        return alive and bool(self.answered_at) and at - self.answered_at > self.hang_seconds

    def is_ready(self) -> bool:
        """Whether it answers."""
        if self.process is None or self.process.poll() is not None:
            return False
        return not self.ready_url or _answers(self.ready_url)

    def stop(self, how: signal.Signals) -> None:
        """Signal the whole group."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, how)


def _die_with_parent() -> None:
    """A killed supervisor leaves no orphans that hold its ports. Source: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (401, 404)  # it listens: Rasa answers so outside its channel
    except OSError:
        return False


def children(settings: Settings, *, demo: bool) -> list[Child]:
    """The processes of one machine, those replaced by an outside endpoint left out."""
    base = f"http://{settings.host}:{settings.port}"
    product: dict[str, str] = {}
    found: list[Child] = []
    if not settings.rasa_url and RASA_PYTHON.exists():
        found.append(_rasa(settings))
        product["MADOGUCHI_RASA_URL"] = f"http://127.0.0.1:{RASA_PORT}"
    if not settings.llm_base_url:
        found.append(_llm(settings))
        product["MADOGUCHI_LLM_BASE_URL"] = f"http://127.0.0.1:{LLM_PORT}/v1"
    if demo:
        phone = _phone(base)
        product |= phone.environment
        found.append(phone)
    cli = [sys.executable, "-m", "bot.cli", "serve"]
    found.append(Child("web", [*cli, "web"], product, f"{base}/readyz"))
    found.append(Child("worker", [*cli, "worker"], product))
    return found


def _rasa(settings: Settings) -> Child:
    command = [str(RASA_PYTHON), str(ROOT / "bot/dialogue/serve.py")]
    command += ["--port", str(RASA_PORT), "--model", str(rasa_model(settings))]
    database = (settings.data_dir / "rasa" / "tracker.db").resolve()
    return Child(
        "rasa",
        command,
        {"MADOGUCHI_RASA_DB": str(database)},
        f"http://127.0.0.1:{RASA_PORT}/webhooks/citizen/",
        needed=False,
    )


def _llm(settings: Settings) -> Child:
    from responders.fetch import default_model_path

    path = settings.llm_model_path or default_model_path()
    command = [sys.executable, "-m", "responders.serve", "--model", str(path), "--port", str(LLM_PORT)]
    health = f"http://127.0.0.1:{LLM_PORT}/health"
    return Child("llm", command, {}, health, LLM_HANG_SECONDS, needed=False)


def embedded_llm_url() -> str:
    """The embedded server's endpoint if it is running; else empty."""
    root = f"http://127.0.0.1:{LLM_PORT}"
    return f"{root}/v1" if _answers(f"{root}/health") else ""


def _phone(base: str) -> Child:
    """The demo's LINE: a secret and a token of its own, never those of a real channel."""
    environment = {
        "MADOGUCHI_LINE_CHANNEL_SECRET": os.urandom(16).hex(),
        "MADOGUCHI_LINE_CHANNEL_ACCESS_TOKEN": os.urandom(16).hex(),
        "MADOGUCHI_LINE_API_BASE": f"http://127.0.0.1:{PHONE_PORT}",
        "MADOGUCHI_STANDIN_WEBHOOK": f"{base}/webhooks/line",
        "MADOGUCHI_STANDIN_PORT": str(PHONE_PORT),
    }
    return Child(
        "line-stand-in",
        [sys.executable, "-m", "tests.platforms.line"],
        environment,
        f"http://127.0.0.1:{PHONE_PORT}/",
    )


class Supervisor:
    """Keeps children alive until told to stop."""

    def __init__(self, kept: list[Child], log_dir: Path) -> None:
        self._children, self._log_dir = kept, log_dir
        self._stop = threading.Event()

    def run(self, addresses: list[str]) -> int:
        """Start all, wait for readiness, print the addresses, then watch.

        Returns:
            0 after an orderly stop, 1 if something that is needed did not get ready in time.
        """
        for how in (signal.SIGINT, signal.SIGTERM):
            signal.signal(how, lambda *_: self._stop.set())
        try:
            for child in self._children:
                child.start(self._log_dir)
            if not self._wait_ready():
                return 0 if self._stop.is_set() else 1
            say("\n".join(["", "Ready.", *addresses, f"Logs: {self._log_dir}/   Stop: Ctrl-C", ""]))
            while not self._stop.wait(0.5):
                self.watch()
            return 0
        finally:
            self._stop_all()

    def watch(self) -> None:
        """Kill what hangs, start what died."""
        for child in self._children:
            if child.is_hung():
                say(f"{child.name} does not answer; ending it")
                child.stop(signal.SIGKILL)
        self._restart_dead()

    def _wait_ready(self) -> bool:
        deadline, waiting = time.monotonic() + READY_SECONDS, list(self._children)
        while waiting and time.monotonic() < deadline and not self._stop.wait(0.3):
            self._restart_dead()
            for child in [c for c in waiting if c.is_ready()]:
                say(f"  {child.name} is ready")
                waiting.remove(child)
        for child in waiting:
            say(f"{child.name} did not get ready: see {self._log_dir / (child.name + '.log')}")
        return not self._stop.is_set() and not any(child.needed for child in waiting)

    def _restart_dead(self) -> None:
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            if time.monotonic() - child.started_at < child.pause_seconds:
                continue
            say(f"{child.name} ended ({child.process.returncode}); starting it again")
            calm = time.monotonic() - child.started_at > CALM_SECONDS
            child.pause_seconds = 1.0 if calm else min(child.pause_seconds * 2, 60.0)
            child.start(self._log_dir)

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            child.stop(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.stop(signal.SIGKILL)


def addresses(settings: Settings, *, demo: bool) -> list[str]:
    """What a person opens."""
    base = f"http://{settings.host}:{settings.port}"
    lines = [
        f"  市民のチャット  {base}/chat",
        f"  職員の画面      {base}/desk",
        f"  全体の状況      {base}/supervise",
    ]
    return [*lines, f"  LINEの代わりの電話  http://127.0.0.1:{PHONE_PORT}/"] if demo else lines
