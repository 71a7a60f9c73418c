"""Measurements on this machine; ratios against a named reference of the same run, for machines are noisy.

``channels`` and ``chaos`` run the real web application and the real worker process against the LINE stand-in
of ``tests/platforms``, so they need the source tree.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn
from sqlalchemy import Engine
from sqlmodel import select

from bot import auth, city, inquiries
from bot.app import create_app
from bot.db import make_engine, migrate, now, reading, transaction
from bot.models import Inquiry, InquiryStatus, Message, Role, Staff
from bot.settings import Settings
from classifiers.dataset import load_file
from classifiers.department import DepartmentClassifier
from responders.llm import Llm

WAIT_SECONDS = 300
ROOT = Path(__file__).resolve().parent.parent


def routing(settings: Settings) -> dict[str, Any]:
    """The served classifier beside the same network in torch (eager, fp32) in the same run.

    One message: one thread each. 256 messages of mixed length in arrival order: two cores each, torch in
    batches of 32. ``label_changes`` counts messages whose label depends on their neighbours.
    """
    classifier = DepartmentClassifier(settings.effective_classifier_dir)
    texts = _mixed_messages(settings.city_dir / "inquiries" / "test.jsonl", classifier.labels)
    reference = _EagerTorch(settings)
    alone = [_timed(lambda text=text: classifier.predict(text)) for text in texts]  # type: ignore[misc]
    eager_alone = [_timed(lambda text=text: reference.run([text], threads=1)) for text in texts[:64]]  # type: ignore[misc]
    together: list[Any] = []
    seconds = _timed(lambda: together.extend(classifier.predict_many(texts)))
    batches = [texts[i : i + 32] for i in range(0, len(texts), 32)]
    eager_seconds = sum(_timed(lambda batch=batch: reference.run(batch, threads=2)) for batch in batches)  # type: ignore[misc]
    tops = [next(iter(p.probabilities)) for p in together]
    changes = sum(
        next(iter(classifier.predict(t).probabilities)) != top for t, top in zip(texts, tops, strict=True)
    )
    return {
        "messages": len(texts),
        "one_p50_ms": round(median(alone) * 1000, 2),
        "one_p99_ms": round(sorted(alone)[int(len(alone) * 0.99) - 1] * 1000, 2),
        "eager_one_p50_ms": round(median(eager_alone) * 1000, 2),
        "one_ratio": round(median(alone[:64]) / median(eager_alone), 3),
        "many_per_s": round(len(texts) / seconds, 1),
        "eager_many_per_s": round(len(texts) / eager_seconds, 1),
        "many_speedup": round(eager_seconds / seconds, 2),
        "label_changes": changes,
        **_serving_cost(settings.effective_classifier_dir),
    }


def _mixed_messages(path: Path, labels: Sequence[str]) -> list[str]:
    """256 messages in a fixed shuffle; every eighth is four in one, as long complaints are."""
    import random

    texts = [e.text for e in load_file(path, labels)]
    random.Random(1).shuffle(texts)  # noqa: S311  (an order, not a secret)
    return ["。".join(texts[i : i + 4]) if i % 8 == 0 else texts[i] for i in range(256)]


class _EagerTorch:
    """The reference: the encoder and a head of the same width, as transformers runs them."""

    def __init__(self, settings: Settings) -> None:
        import torch
        from transformers import AutoModel

        from classifiers.backbone import fetch_backbone
        from classifiers.dataset import load_labels
        from classifiers.router import Router
        from classifiers.tokens import load_tokenizer

        folder = fetch_backbone(settings.backbone)
        encoder = AutoModel.from_pretrained(folder, dtype=torch.float32)
        self._model = Router(
            encoder, encoder.config.hidden_size, len(load_labels(settings.city_dir).all)
        ).eval()
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")

    def run(self, texts: Sequence[str], threads: int) -> None:
        import torch

        from classifiers.router import pad
        from classifiers.tokens import encode

        torch.set_num_threads(threads)
        with torch.no_grad():
            self._model(*pad([encode(self._tokenizer, text, 256) for text in texts]))


def _serving_cost(folder: Path) -> dict[str, Any]:
    """Start and memory of a process that only routes, measured from inside a fresh one."""
    code = (
        "import json, sys, time; began = time.perf_counter()\n"
        "from pathlib import Path; from classifiers.department import DepartmentClassifier\n"
        f"model = DepartmentClassifier(Path({str(folder.resolve())!r}))\n"
        "model.predict('ごみの日はいつですか')\n"
        "ready = time.perf_counter() - began\n"
        "for text in ('住民票', '税金' * 60) * 100: model.predict(text)\n"
        "rss = next(l for l in open('/proc/self/status') if l.startswith('VmRSS'))\n"
        "print(json.dumps({'ready_s': round(ready, 3), 'serving_rss_mb': int(rss.split()[1]) // 1024,"
        " 'imports_torch': 'torch' in sys.modules}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)  # noqa: S603  (all ours)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def drafts(settings: Settings, questions: int = 30) -> dict[str, Any]:
    """The drafting pipeline beside the raw model server, on questions of the authored evaluation set.

    ``overhead`` is what the pipeline adds to the server's own time for the same request; ``first_token_s``
    is measured on a stream of the same request.
    """
    from bot import evaluation
    from responders.draft import draft, reword, to_join
    from responders.evaluate import load_cases
    from responders.fetch import default_model_path
    from responders.serve import SLOTS, EmbeddedServer

    cases = load_cases(settings.city_dir / "evaluation" / "drafts.jsonl")
    texts = [c.text for c in cases if c.answerable][:questions]
    _, index = evaluation.city_index(settings)
    today = now().date()
    results: list[Any] = []
    template = [
        _timed(lambda text=text: results.append(draft(text, index=index, today=today)))  # type: ignore[misc]
        for text in texts
    ]
    drafted = [r for r in results if r.status == "drafted"]
    server = EmbeddedServer(default_model_path())
    server.start()
    try:
        llm = server.client(60.0)
        for slot in range(SLOTS):
            llm.warm(slot)  # the server does so by itself; its first drafts would be measured meanwhile
        began = time.perf_counter()
        reworded = [reword(result, llm) for result in drafted]
        wall = time.perf_counter() - began
        first = [_first_piece_seconds(llm, to_join(r.passages)) for r in drafted[:20] if to_join(r.passages)]
    finally:
        server.stop()
    model = sorted(float(r.model["seconds"]) for r in reworded if r.model.get("seconds"))
    return {
        "questions": len(texts),
        "drafted": len(drafted),
        "template_p50_ms": round(median(template) * 1000, 1),
        "template_p95_ms": round(_p95(template) * 1000, 1),
        "rewrite_p50_s": round(median(model), 2),
        "rewrite_p95_s": round(_p95(model), 2),
        "first_token_p50_s": round(median(first), 2),
        "overhead": round(wall / sum(model) - 1, 4),
        "reworded": sum(r.origin == "model" for r in reworded),
        **_search_at_scale(settings, 2_000, texts),
    }


def _first_piece_seconds(llm: Llm, sentences: Sequence[str]) -> float:
    started = time.monotonic()
    with closing(llm.stream(sentences)) as pieces:
        next(pieces)
    return time.monotonic() - started


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]


def _search_at_scale(settings: Settings, articles: int, texts: Sequence[str]) -> dict[str, Any]:
    """Search time over many articles: the city's own, repeated under other ids, with their real vectors."""
    from dataclasses import replace

    import numpy as np

    from bot import evaluation, services
    from responders.retrieve import Index

    passages, small = evaluation.city_index(settings)
    copies = -(-articles // len(small.articles))
    many = [replace(p, article=f"{p.article}-{i}") for i in range(copies) for p in passages]
    assert small.vectors is not None  # noqa: S101  (the bench needs the encoder)
    index = Index(many, np.concatenate([small.vectors] * copies), services.load_embed(settings))
    times = [_timed(lambda text=text: index.search(text, today=now().date())) for text in texts]  # type: ignore[misc]
    return {
        "articles": len(index.articles),
        "passages": len(many),
        "search_p95_ms": round(_p95(times) * 1000, 1),
    }


@dataclass
class Rig:
    """The product on a database of its own, with the LINE stand-in before it."""

    engine: Engine
    line: Any
    environment: dict[str, str]
    worker: subprocess.Popen[bytes] | None = None

    def start_worker(self, worker_id: str = "worker-1") -> None:
        """A worker process, as the supervisor starts it."""
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", "serve", "worker"],
            env=os.environ | self.environment | {"MADOGUCHI_WORKER_ID": worker_id},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_worker(self) -> None:
        """SIGKILL, as a machine does it."""
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()


@contextmanager
def rig(database_url: str = "") -> Iterator[Rig]:
    """Bring the product up; the worker is the caller's to start.

    Args:
        database_url: Default: a SQLite file that ends with the rig.
    """
    sys.path.append(str(ROOT))  # the console script does not start in the source tree's path
    from tests.conftest import free_port
    from tests.platforms.line import Line, serve

    with tempfile.TemporaryDirectory(prefix="madoguchi-bench-") as folder:
        line, api_port, web_port = Line("bench-secret", "bench-token"), free_port(), free_port()
        environment = {
            "MADOGUCHI_DATA_DIR": folder,
            "MADOGUCHI_DATABASE_URL": database_url or f"sqlite:///{folder}/bench.db",
            "MADOGUCHI_LINE_CHANNEL_SECRET": line.secret,
            "MADOGUCHI_LINE_CHANNEL_ACCESS_TOKEN": line.token,
            "MADOGUCHI_LINE_API_BASE": f"http://127.0.0.1:{api_port}",
            "MADOGUCHI_SECRET_KEY": "bench" * 8,
            "MADOGUCHI_CLASSIFIER_DIR": str(ROOT / "var/classifier"),
            "MADOGUCHI_RASA_URL": "",
            "MADOGUCHI_LLM_BASE_URL": "",
        }
        migrate(environment["MADOGUCHI_DATABASE_URL"])
        engine = make_engine(environment["MADOGUCHI_DATABASE_URL"])
        with transaction(engine) as session:
            city.load(session, ROOT / "data")
        api = serve(line, api_port)
        web = _serve_web(environment, engine, web_port)
        line.webhook_url = f"http://127.0.0.1:{web_port}/webhooks/line"
        opened = Rig(engine, line, environment)
        try:
            yield opened
        finally:
            opened.kill_worker()
            web.should_exit = api.should_exit = True
            engine.dispose()


def _serve_web(environment: dict[str, str], engine: Engine, port: int) -> uvicorn.Server:
    values = {k.removeprefix("MADOGUCHI_").lower(): v for k, v in environment.items()}
    app = create_app(Settings(**values), engine)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    return server


def channels(messages: int) -> dict[str, Any]:
    """LINE messages, each also redelivered: how fast acknowledged, how many lost or doubled."""
    with rig() as opened:
        bodies = _bodies(opened.line, messages)
        times = [_timed(lambda body=body: opened.line.post(body)) for body in bodies for _ in range(2)]  # type: ignore[misc]
        with reading(opened.engine) as session:
            stored = len(session.exec(select(Message.id).where(Message.direction == "in")).all())
        return {
            "messages": messages,
            "lost": max(0, messages - stored),
            "doubled": max(0, stored - messages),
            "ack_p50_ms": round(median(times) * 1000, 1),
            "ack_p99_ms": round(sorted(times)[max(0, int(len(times) * 0.99) - 1)] * 1000, 1),
        }


def _bodies(line: Any, count: int) -> list[bytes]:  # noqa: ANN401
    return [
        line.body(line.text(f"U{i % 20:032x}", f"{i}番目の質問です。ごみの日はいつですか?"))
        for i in range(count)
    ]


def chaos(kills: int) -> dict[str, Any]:
    """Kill the worker at random moments while citizens write and people approve; count what went wrong.

    The stand-in accepts and then fails at times, so repeats with the same key do happen.
    """
    with rig() as opened:
        opened.line.faults.extend(["500_after", "", "500_before", "", "", "rate"] * (kills * 2))
        opened.start_worker()
        approved: dict[str, list[str]] = {}
        for kill in range(kills):
            _one_round(opened, kill, approved)
            opened.kill_worker()
            opened.start_worker()
        _settle(opened, lambda: _all_out(opened, approved))
        return {"kills": kills, **_verdict(opened, approved)}


def _one_round(opened: Rig, number: int, approved: dict[str, list[str]]) -> None:
    users = [f"U{number:04x}{i:028x}" for i in range(3)]
    for user in users:
        opened.line.post(opened.line.body(opened.line.text(user, "ごみの日はいつですか?")))
    _settle(opened, lambda: len(open_cases(opened.engine)) >= len(users))
    for inquiry in open_cases(opened.engine):
        for part in (1, 2):
            text = f"{inquiry.receipt_number} の返事その{part}です。"
            answer(opened.engine, inquiry, text)
            approved.setdefault(inquiry.receipt_number, []).append(text)
    time.sleep(0.3 * (number % 4))


def open_cases(engine: Engine) -> list[Inquiry]:
    """Cases that nobody has answered yet."""
    done = (InquiryStatus.answered, InquiryStatus.closed, InquiryStatus.clarifying)
    with reading(engine) as session:
        return [i for i in session.exec(select(Inquiry)).all() if i.status not in done]


def answer(engine: Engine, inquiry: Inquiry, text: str) -> None:
    """A person writes a reply and approves it."""
    person = _person(engine)
    with transaction(engine) as session:
        current = session.get_one(Inquiry, inquiry.id)
        inquiries.write_by_hand(
            session,
            inquiry.id,
            staff=person,
            text=text,
            seen_version=current.version,
            screen="bench",
            check=lambda _text, _draft: [],
            keep_open=False,
        )


def _person(engine: Engine) -> Staff:
    """Who answers; signed up apart, for who has written the audit log must not wait for a case."""
    with transaction(engine) as session:
        return session.exec(select(Staff)).first() or auth.create_staff(
            session,
            login="bench",
            name="bench",
            role=Role.supervisor,
            department_id="front_desk",
            password=os.urandom(8).hex(),
            actor="bench",
        )


def _settle(opened: Rig, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done() and time.monotonic() < deadline:
        if opened.worker is not None and opened.worker.poll() is not None:
            opened.start_worker()
        time.sleep(0.2)


def _all_out(opened: Rig, approved: dict[str, list[str]]) -> bool:
    out = {d["text"] for d in opened.line.delivered}
    return all(text in out for texts in approved.values() for text in texts)


def _verdict(opened: Rig, approved: dict[str, list[str]]) -> dict[str, int]:
    out = [d["text"] for d in opened.line.delivered]
    wanted = [text for texts in approved.values() for text in texts]
    return {
        "approved": len(wanted),
        "lost": sum(text not in out for text in wanted),
        "doubled": sum(out.count(text) - 1 for text in wanted if text in out),
        "out_of_order": sum(
            out.index(first) > out.index(second)
            for first, second in approved.values()
            if first in out and second in out
        ),
        "repeats_answered_409": sum(c["status"] == 409 for c in opened.line.calls),
    }
