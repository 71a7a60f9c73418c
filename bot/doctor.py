"""What an engineer asks first: is everything there, and does it answer?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import select

from bot import audit, city, learning, monitoring, services
from bot.calendar import load_calendar
from bot.db import make_engine, now, reading
from bot.models import Department, KnowledgeArticle
from bot.settings import Settings
from classifiers.department import DepartmentClassifier

HOLIDAYS_AHEAD = timedelta(days=60)


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
        "LINE settings": _line,
    }
    return [_run(what, check, settings) for what, check in checks.items()]


def _run(what: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(what, True, check(settings))
    except Exception as reason:  # a doctor reports every kind of illness
        return Finding(what, False, f"{type(reason).__name__}: {str(reason).splitlines()[0][:200]}")


def _database(settings: Settings) -> str:
    with reading(make_engine(settings.effective_database_url)) as session:
        count = len(session.exec(select(Department.id)).all())
    if not count:
        raise LookupError("no departments: run `madoguchi setup`")
    return f"{count} departments"


def _audit_chain(settings: Settings) -> str:
    with reading(make_engine(settings.effective_database_url)) as session:
        verdict = audit.verify(session)
    if verdict.broken_at:
        raise ValueError(f"broken at entry {verdict.broken_at}")
    return f"{verdict.entries} entries hold"


def _knowledge(settings: Settings) -> str:
    with reading(make_engine(settings.effective_database_url)) as session:
        count = len(session.exec(select(KnowledgeArticle.id)).all())
    if not count:
        raise LookupError("no articles: run `madoguchi knowledge import PATH`")
    return f"{count} article versions"


def _classifier(settings: Settings) -> str:
    """The champion itself: where it cannot be loaded the first model routes, and nothing stops."""
    with reading(make_engine(settings.effective_database_url)) as session:
        folder = learning.champion_folder(session, settings)
    return f"model {DepartmentClassifier(folder, coverage=settings.routing_coverage).version[:12]}"


def _organisation(settings: Settings) -> str:
    """The model must know the departments of today, and no other."""
    today = now().astimezone(load_calendar(settings.city_dir / "calendar.yaml").zone).date()
    with reading(make_engine(settings.effective_database_url)) as session:
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


def _line(settings: Settings) -> str:
    if bool(settings.line_secrets) != bool(settings.line_channel_access_token.get_secret_value()):
        raise ValueError(
            "set both MADOGUCHI_LINE_CHANNEL_SECRET and MADOGUCHI_LINE_CHANNEL_ACCESS_TOKEN, or none"
        )
    return "set" if settings.line_secrets else "LINE is off"
