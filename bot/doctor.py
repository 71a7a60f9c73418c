"""What an engineer asks first: is everything there, and does it answer?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from sqlmodel import Session, select

from bot import audit, city, learning, monitoring, services
from bot.calendar import load_calendar
from bot.db import make_engine, now, reading
from bot.install import RASA_PYTHON, rasa_model
from bot.models import Department, KnowledgeArticle
from bot.settings import Settings
from bot.supervisor import RASA_PORT, embedded_llm_url
from classifiers.department import DepartmentClassifier
from responders.fetch import default_model_path

HOLIDAYS_AHEAD = timedelta(days=60)
ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    what: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Every check; one that raises has failed."""
    checks: dict[str, Callable[[Settings], str]] = {
        "database": _database,
        "audit chain": _audit_chain,
        "knowledge": _knowledge,
        "classifier": _classifier,
        "organisation": _organisation,
        "holidays": _holidays,
        "encoder": _encoder,
        "language model": _llm,
        "dialogue": _dialogue,
        "LINE settings": _line,
    }
    return [_run(what, check, settings) for what, check in checks.items()]


def _run(what: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(what, True, check(settings))
    except Exception as reason:  # a doctor reports every kind of illness
        return Finding(what, False, f"{type(reason).__name__}: {str(reason).splitlines()[0][:200]}")


@contextmanager
def _reading(settings: Settings) -> Iterator[Session]:
    engine = make_engine(settings.effective_database_url)
    try:
        with reading(engine) as session:
            yield session
    finally:
        engine.dispose()


def _database(settings: Settings) -> str:
    with _reading(settings) as session:
        count = len(session.exec(select(Department.id)).all())
    if not count:
        raise LookupError("no departments: run `madoguchi setup`")
    return f"{count} departments"


def _audit_chain(settings: Settings) -> str:
    with _reading(settings) as session:
        verdict = audit.verify(session)
    if verdict.broken_at:
        raise ValueError(f"broken at entry {verdict.broken_at}")
    return f"{verdict.entries} entries hold"


def _knowledge(settings: Settings) -> str:
    with _reading(settings) as session:
        count = len(session.exec(select(KnowledgeArticle.id)).all())
    if not count:
        raise LookupError("no articles: run `madoguchi knowledge import PATH`")
    return f"{count} article versions"


def _classifier(settings: Settings) -> str:
    """The champion itself: where it cannot be loaded the first model routes, and nothing stops."""
    with _reading(settings) as session:
        folder = learning.champion_folder(session, settings)
    return f"model {DepartmentClassifier(folder, coverage=settings.routing_coverage).name}"


def _organisation(settings: Settings) -> str:
    """The model must know the departments of today, and no other."""
    today = now().astimezone(load_calendar(settings.city_dir / "calendar.yaml").zone).date()
    with _reading(settings) as session:
        departments = {d.id: d for d in city.departments(session)}
        facts = monitoring.model_facts(session, settings)
    if troubles := monitoring.misfits(facts, departments, today):
        raise ValueError(" ".join(troubles))
    return "model and departments fit"


def _holidays(settings: Settings) -> str:
    """After the last one of the list every holiday would count as a business day."""
    calendar = load_calendar(settings.city_dir / "calendar.yaml")
    if not calendar.holidays:
        raise ValueError("calendar.yamlに祝日がありません。祝日を書き加えてください。")
    last, today = max(calendar.holidays), now().astimezone(calendar.zone).date()
    if last - today < HOLIDAYS_AHEAD:
        how = "を過ぎています" if last < today else "でもうすぐ終わります"
        raise ValueError(f"calendar.yamlの祝日の一覧は、{last}{how}。その先の祝日を書き加えてください。")
    return f"{last}まで"


def _encoder(settings: Settings) -> str:
    if services.load_embed(settings) is None:
        raise LookupError("run `madoguchi setup`")
    reader = "with reader" if services.load_reader(settings) else "no reader"
    return f"{services.encoder_dir(settings)}, {reader}"


def _llm(settings: Settings) -> str:
    """Away, drafts stay verbatim."""
    if url := settings.llm_base_url or embedded_llm_url():
        key = settings.llm_api_key.get_secret_value() or "none"
        _ask("GET", f"{url.rstrip('/')}/models", {"Authorization": f"Bearer {key}"})
        return "reachable"
    return _not_running(settings.llm_model_path or default_model_path())


def _dialogue(settings: Settings) -> str:
    """Away, every message is an inquiry."""
    if not settings.rasa_url and not RASA_PYTHON.exists():
        return "Rasa is off"
    secret = {"X-Channel-Secret": settings.rasa_secret.get_secret_value()}
    channel = f"{(settings.rasa_url or f'http://127.0.0.1:{RASA_PORT}').rstrip('/')}/webhooks/citizen"
    try:
        if _ask("GET", f"{channel}/", secret) != 200:
            raise ConnectionError("reachable, but it is not our Rasa")
    except ConnectionError:
        if settings.rasa_url:
            raise
        return _not_running(rasa_model(settings))
    # A turn of nothing: refused after the secret was looked at, and stored nowhere.
    _ask("POST", f"{channel}/webhook", secret)
    return "reachable"


def _not_running(file: Path) -> str:
    if not file.exists():
        raise LookupError("run `madoguchi setup`")
    return "not running; `madoguchi serve` starts it"


def _ask(method: str, url: str, headers: dict[str, str]) -> int:
    """The error's own words could hold the address and the secret."""
    try:
        with httpx.stream(method, url, headers=headers, timeout=ASK_SECONDS, trust_env=False) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as reason:
        raise ConnectionError(f"not reachable ({type(reason).__name__})") from None
    if status in (401, 403):
        raise PermissionError("reachable, but it refuses our secret")
    if status >= 500:
        raise ConnectionError(f"not ready (HTTP {status})")
    return status


def _line(settings: Settings) -> str:
    if bool(settings.line_secrets) != bool(settings.line_channel_access_token.get_secret_value()):
        raise ValueError(
            "set both MADOGUCHI_LINE_CHANNEL_SECRET and MADOGUCHI_LINE_CHANNEL_ACCESS_TOKEN, or none"
        )
    return "set" if settings.line_secrets else "LINE is off"
