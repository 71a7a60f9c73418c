"""The command line. Files or ``-`` in, JSON Lines out on stdout, messages on stderr.

Exit codes: 0 done, 1 some lines or checks failed, 2 wrong use, 3 something needed is missing or unusable.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click
from pydantic import ValidationError

from bot.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

MISSING = 3
_FILE = click.argument("file", type=click.File("rb"), metavar="FILE")


def _settings() -> Settings:
    from bot.install import load_secrets

    try:
        load_secrets(Path(os.environ.get("MADOGUCHI_DATA_DIR", "var")))
        return Settings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as wrong:
        names = ", ".join(f"MADOGUCHI_{str(e['loc'][0]).upper()}" for e in wrong.errors())
        _fail(f"wrong or missing setting: {names}")


def _fail(why: str) -> NoReturn:
    click.echo(f"madoguchi: {why}", err=True)
    raise SystemExit(MISSING)


class _Commands(click.Group):
    """Each of our own errors says in one line what a person must mend; a traceback would hide it."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        from bot.city import BadCityFile
        from bot.errors import BotError
        from classifiers.errors import ClassifierError
        from responders.errors import ResponderError

        try:
            return super().invoke(ctx)
        except (BadCityFile, BotError, ClassifierError, ResponderError) as reason:
            _fail(f"中止しました。{_in_one_line(reason)}")


def _in_one_line(reason: Exception) -> str:
    """A parser's complaint in it may have several."""
    said = getattr(reason, "message_ja", "")
    detail = " ".join(str(reason).split())
    return f"{said}({detail})" if said and said != detail else detail


@click.group(cls=_Commands)
@click.version_option(package_name="madoguchi")
def main() -> None:
    """Madoguchi (窓口): a city hall answers its citizens; a person approves every reply."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpx2", "alembic", "dbos"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@main.command()
@click.option("--demo", is_flag=True, help="Also create the demo city's staff accounts.")
def setup(demo: bool) -> None:
    """Prepare models, database and city; every step is skipped when it is done.

    Example: madoguchi setup --demo
    """
    from bot.install import install

    logging.getLogger().setLevel(logging.WARNING)
    install(_settings(), demo=demo)


@main.command()
@click.argument("part", type=click.Choice(["all", "web", "worker"]), default="all")
@click.option("--demo", is_flag=True, help="With a LINE stand-in phone.")
def serve(part: str, demo: bool) -> None:
    """Run everything under one supervisor, or one part of it.

    Example: madoguchi serve --demo
    """
    settings = _settings()
    if part == "all":
        from bot.supervisor import Supervisor, addresses, children

        kept = Supervisor(children(settings, demo=demo), settings.data_dir / "logs")
        raise SystemExit(kept.run(addresses(settings, demo=demo)))
    _serve_web(settings) if part == "web" else _serve_worker(settings)


def _serve_web(settings: Settings) -> None:
    import uvicorn

    from bot.app import create_app
    from bot.db import make_engine
    from bot.services import load_knowledge, load_llm

    engine = make_engine(settings.effective_database_url)
    app = create_app(settings, engine, load_llm(settings), load_knowledge(settings, engine))
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=3)


def _serve_worker(settings: Settings) -> None:
    import signal

    from bot.db import make_engine
    from bot.services import build
    from bot.workflow import Worker

    services = build(settings, make_engine(settings.effective_database_url))
    worker = Worker(settings.effective_database_url, settings.worker_id, services)
    worker.start()
    for how in (signal.SIGINT, signal.SIGTERM):
        signal.signal(how, lambda *_: worker.ask_to_stop())
    worker.run()
    worker.stop()


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the trained model; default: the one in use."
)
@click.option("--from-cases", is_flag=True, help="Make a challenger that also learns from released cases.")
def train(out: Path | None, from_cases: bool) -> None:
    """Fine-tune the routing classifier on data/inquiries.

    With --from-cases the result predicts silently until a supervisor promotes it on /supervise/routing.

    Example: madoguchi train --from-cases
    """
    from classifiers.train import train as run

    settings = _settings()
    if from_cases:
        from bot.learning import train_challenger

        row = train_challenger(settings, _engine(settings))
        click.echo(json.dumps({"model": row.folder, "examples": row.examples, **row.metrics}))
        return
    folder = run(out or settings.effective_classifier_dir, settings.city_dir, settings.backbone)
    click.echo((folder / "metrics.json").read_text())


def _routing(settings: Settings) -> tuple[Path, dict[str, str]]:
    """The model that routes (a promoted one, or the set-up's), and who took over departments that ended."""
    from sqlalchemy.exc import DBAPIError

    from bot.db import reading
    from bot.learning import champion_folder, successors_today

    try:
        with reading(_engine(settings)) as session:
            return champion_folder(session, settings), successors_today(session)
    except DBAPIError:  # not set up yet, or another machine's database
        return settings.effective_classifier_dir, {}


@main.command()
@_FILE
def route(file: IO[bytes]) -> None:
    """Route messages: {"id","text"} lines to {"id","department","confidence","set","abstained","flags"}.

    Example: echo '{"id":1,"text":"住民票がほしい"}' | madoguchi route -
    """
    from bot.jsonl import answer_each
    from classifiers import language, safety
    from classifiers.alarm import raises_alarm
    from classifiers.department import DepartmentClassifier
    from classifiers.errors import ClassifierError

    settings = _settings()
    champion, successors = _routing(settings)
    try:
        classifier = DepartmentClassifier(champion, coverage=settings.routing_coverage)
    except ClassifierError as reason:
        _fail(f"no usable classifier ({reason}): run `madoguchi setup`")

    def answer(text: str) -> dict[str, Any]:
        found = classifier.predict(text).as_of_today(successors)
        flag = safety.check(text)
        alarm = raises_alarm(flag, found)
        flags = [f"emergency:{flag.kind if flag else 'model'}"] if alarm else []
        if found.also:
            flags.append(f"also:{found.also}")
        if (spoken := language.detect(text)) != "ja":
            flags.append(f"language:{spoken}")
        return {
            "department": found.department,
            "confidence": round(found.confidence, 4),
            "set": list(found.set),
            "abstained": found.abstained,
            "flags": flags,
        }

    raise SystemExit(1 if answer_each(file, answer) else 0)


@main.command()
@_FILE
@click.option("--top", default=10, show_default=True, type=click.IntRange(1, 100), help="How many articles.")
@click.option("--department", help="Id of a department: only its articles.")
def search(file: IO[bytes], top: int, department: str | None) -> None:
    """Search the knowledge: {"id","text"} lines to {"id","hits":[{"article","passage","score"}]}.

    Example: echo '{"id":1,"text":"粗大ごみの出し方"}' | madoguchi search - --top 3
    """
    from bot.jsonl import answer_each

    writer = _writer()
    index = writer.knowledge.index()
    if department and department not in {p.department for p in index.passages}:
        raise click.UsageError(f"no article belongs to department {department!r}")
    today = datetime.now(UTC).astimezone(writer.zone).date()

    def answer(text: str) -> dict[str, Any]:
        hits = index.search(text, top=top, today=today, department=department)
        return {"hits": [{"article": h.article, "passage": h.passage_id, "score": h.score} for h in hits]}

    raise SystemExit(1 if answer_each(file, answer) else 0)


@main.command()
@_FILE
def draft(file: IO[bytes]) -> None:
    """Draft replies: {"id","text"} lines to {"id","status","body","sentences","flags"}. Nothing is sent.

    Example: echo '{"id":1,"text":"粗大ごみの出し方"}' | madoguchi draft -
    """
    from dataclasses import asdict

    from bot.jsonl import answer_each
    from bot.services import load_routed
    from responders.draft import draft as run

    writer = _writer()
    index = writer.knowledge.index()
    today = datetime.now(UTC).astimezone(writer.zone).date()
    settings = _settings()
    routed = load_routed(settings, *_routing(settings))

    def answer(text: str) -> dict[str, Any]:
        departments = routed(text) if routed else None
        result = run(text, index=index, llm=writer.llm, departments=departments, today=today)
        return {
            "status": result.status,
            "body": result.body,
            "sentences": [asdict(s) for s in result.sentences],
            "flags": list(result.flags),
        }

    raise SystemExit(1 if answer_each(file, answer) else 0)


def _engine(settings: Settings) -> "Engine":
    """The database of a command, until the command ends."""
    from bot.db import make_engine

    engine = make_engine(settings.effective_database_url)
    click.get_current_context().call_on_close(engine.dispose)
    return engine


def _writer() -> Any:  # noqa: ANN401
    from bot.services import load_writer

    settings = _with_embedded_model(_settings())
    return load_writer(settings, _engine(settings))


def _with_embedded_model(settings: Settings) -> Settings:
    """The running product's own model, when no other endpoint is named."""
    from bot.supervisor import embedded_llm_url

    if not settings.llm_base_url and (url := embedded_llm_url()):
        return settings.model_copy(update={"llm_base_url": url})
    return settings


@main.group()
def knowledge() -> None:
    """The city's articles."""


@knowledge.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--keep-missing", is_flag=True, help="Do not retire articles that are not in PATH.")
def knowledge_import(path: Path, keep_missing: bool) -> None:
    """Import a folder of Markdown or a JSONL file; a repeat updates, versions and retires.

    What cannot be read is said line by line and left out; then nothing is retired, and the exit code is 1.

    Example: madoguchi knowledge import data/knowledge
    """
    from dataclasses import asdict

    from bot import services
    from bot.knowledge import import_articles, troubles_ja
    from responders.errors import BadArticle
    from responders.knowledge import read_file, read_folder

    bad: list[BadArticle] = []
    articles = (read_folder if path.is_dir() else read_file)(path, bad.append)
    settings = _settings()
    embed = services.load_embed(settings, "passage")
    retire_missing = bool(articles) and not (keep_missing or bad)
    engine = _engine(settings)
    report = import_articles(engine, articles, actor="system:cli", embed=embed, retire_missing=retire_missing)
    troubles = troubles_ja(bad, report)
    for trouble in troubles:
        click.echo(trouble, err=True)
    click.echo(json.dumps({**asdict(report), "bad": len(bad)}, ensure_ascii=False))
    raise SystemExit(1 if troubles else 0)


@knowledge.command("ticks")
def knowledge_ticks() -> None:
    """Bring the city's evaluation/tuning.jsonl up to date with what a supervisor released for learning.

    These are sentences that caseworkers ticked, by question; only those that stand in the articles of the
    city's folder: `python -m bot.evaluation` learns over these. What was exported before and is not released
    any more, because the citizen took the words back, goes out of the file.

    Example: madoguchi knowledge ticks && python -m bot.evaluation
    """
    from bot import audit, ticks
    from bot.db import transaction
    from responders.knowledge import read_folder, split_passages

    settings = _settings()
    articles = read_folder(settings.city_dir / "knowledge")
    standing = {(p.article, p.text) for article in articles for p in split_passages(article)}
    with transaction(_engine(settings)) as session:
        rows = list(ticks.export(session, standing))
        left_out = ticks.put(settings.city_dir / "evaluation" / "tuning.jsonl", rows)
        audit.record(
            session, actor="system:cli", action="export_ticks", subject="search", screen="cli",
            rows=len(rows), left_out=left_out,
        )  # fmt: skip
    click.echo(f"{len(rows)} questions of cases; {left_out} exported before are left out", err=True)


@main.group()
def staff() -> None:
    """Accounts of the people who work here."""


@staff.command("add")
@click.argument("login")
@click.option("--name", required=True, help="Shown on screens.")
@click.option("--role", required=True, type=click.Choice(["caseworker", "supervisor", "admin", "auditor"]))
@click.option("--department", default="front_desk", show_default=True)
def staff_add(login: str, name: str, role: str, department: str) -> None:
    """Create an account and print its random password once.

    Example: madoguchi staff add sato --name 佐藤 --role caseworker --department tax
    """
    import secrets

    from bot import auth
    from bot.db import transaction
    from bot.models import Department, Role

    password = secrets.token_urlsafe(9)
    with transaction(_engine(_settings())) as session:
        if session.get(Department, department) is None:
            raise click.UsageError(f"no department {department!r}")
        auth.create_staff(
            session,
            login=login,
            name=name,
            role=Role(role),
            department_id=department,
            password=password,
            actor="system:cli",
        )
    click.echo(json.dumps({"login": login, "password": password}))


@staff.command("password")
@click.argument("login")
def staff_password(login: str) -> None:
    """Give an account a new random password and end its sessions.

    Example: madoguchi staff password sato
    """
    import secrets

    from sqlmodel import select

    from bot import auth
    from bot.db import transaction
    from bot.models import Staff

    password = secrets.token_urlsafe(9)
    with transaction(_engine(_settings())) as session:
        person = session.exec(select(Staff).where(Staff.login == login)).first()
        if person is None:
            raise click.UsageError(f"no account {login!r}")
        auth.set_password(session, person, password, actor="system:cli")
    click.echo(json.dumps({"login": login, "password": password}))


@main.group()
def audit() -> None:
    """The audit log."""


@audit.command()
def verify() -> None:
    """Recompute the hash chain; exit 1 where it is broken.

    Example: madoguchi audit verify
    """
    from dataclasses import asdict

    from bot import audit as log
    from bot.db import reading

    with reading(_engine(_settings())) as session:
        verdict = log.verify(session)
    click.echo(json.dumps(asdict(verdict)))
    raise SystemExit(1 if verdict.broken_at else 0)


@main.command()
def doctor() -> None:
    """Check what the product needs, one line each; exit 1 if something is missing.

    Example: madoguchi doctor
    """
    from bot.doctor import examine

    findings = examine(_settings())
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.detail}")
    raise SystemExit(0 if all(f.ok for f in findings) else 1)


@main.group()
def evaluate() -> None:
    """Quality on labelled sets; each prints one JSON object.

    Example: madoguchi evaluate routing
    """


@evaluate.command("routing")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), help="Labelled JSONL; default: the frozen test."
)
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for the curves as SVG.")
def evaluate_routing(data: Path | None, pictures: Path | None) -> None:
    """Measure the routing on labelled messages.

    Example: madoguchi evaluate routing --pictures /tmp/curves
    """
    from bot.services import plain_encoder_dir
    from classifiers.curves import coverage_svg, reliability_svg
    from classifiers.evaluate import evaluate as run

    settings = _settings()
    path = data or settings.city_dir / "inquiries" / "test.jsonl"
    frozen = plain_encoder_dir(settings)
    champion, successors = _routing(settings)
    report = run(
        champion,
        path,
        backbone=frozen if frozen.exists() else None,
        coverage=settings.routing_coverage,
        successors=successors,
    )
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / "reliability.svg").write_text(reliability_svg(report["curves"]["reliability"]))
        (pictures / "coverage.svg").write_text(coverage_svg(report["curves"]["coverage_accuracy"]))
    click.echo(json.dumps(report, ensure_ascii=False))


@evaluate.command("search")
@click.option("--queries", type=click.Path(exists=True, path_type=Path), help='{"text","relevance"} lines.')
@click.option(
    "--knowledge", type=click.Path(exists=True, path_type=Path), help="Folder or JSONL of articles."
)
def evaluate_search(queries: Path | None, knowledge: Path | None) -> None:
    """Measure the search beside character BM25 and the plain encoder.

    Example: madoguchi evaluate search
    """
    from bot.evaluation import search as run

    settings = _settings()
    found = run(settings, queries, knowledge, *_routing(settings))
    click.echo(json.dumps(found, ensure_ascii=False))


@evaluate.command("drafts")
@click.option("--template", is_flag=True, help="Without the model: the verbatim sentences.")
@click.option("--sample", is_flag=True, help="Print only the twenty drafts to read.")
@click.option("--mode", type=click.Choice(["rewrite", "answer"]), default="rewrite", show_default=True)
@click.option("--limit", type=click.IntRange(1, 149), help="answer: so many questions; nothing is stored.")
def evaluate_drafts(template: bool, sample: bool, mode: str, limit: int | None) -> None:
    """Measure selection, abstention, facts, gate and cost on data/evaluation/drafts.jsonl.

    With --mode answer the model reads the questions, and the attacks of attacks.jsonl: the verdict is stored,
    and only a model that passed can be switched to this mode on the console; exit 1 if it did not pass.

    Example: madoguchi evaluate drafts --template
    """
    from bot.calendar import load_calendar
    from bot.evaluation import answers, keep_answers
    from bot.evaluation import drafts as run

    settings = _settings() if template else _with_embedded_model(_settings())
    if template:
        settings = settings.model_copy(update={"llm_base_url": ""})
    zone = load_calendar(settings.city_dir / "calendar.yaml").zone
    today = datetime.now(UTC).astimezone(zone).date()
    _, successors = _routing(settings)
    if mode == "answer":
        try:
            found = answers(settings, today, successors, limit)
        except LookupError as reason:
            _fail(str(reason))
        click.echo(json.dumps(found, ensure_ascii=False))
        raise SystemExit(0 if limit or keep_answers(settings, found) else 1)
    if not template and not settings.llm_base_url:
        _fail("no model answers: start the product, set MADOGUCHI_LLM_BASE_URL, or measure with --template")
    report = run(settings, today, successors)
    shown = report["sample"] if sample else report
    click.echo(json.dumps(shown, ensure_ascii=False, indent=1 if sample else None))


@main.command()
@click.argument("name", type=click.Choice(["routing", "drafts", "channels", "chaos"]))
@click.option("--kills", default=5, show_default=True, help="chaos: how often the worker is killed.")
@click.option("--messages", default=200, show_default=True, help="channels: how many messages.")
@click.option("--json", "_json", is_flag=True, help="One JSON object as the last line (always so).")
def bench(name: str, kills: int, messages: int, _json: bool) -> None:
    """Measure speed, loss and doubling on this machine; the last line is one JSON object.

    Example: madoguchi bench chaos --kills 10 --json
    """
    from bot import bench as benches

    result = {
        "routing": lambda: benches.routing(_settings()),
        "drafts": lambda: benches.drafts(_settings()),
        "channels": lambda: benches.channels(messages),
        "chaos": lambda: benches.chaos(kills),
    }[name]()
    click.echo(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
