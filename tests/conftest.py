"""Fixtures shared by every test: both databases, the LINE stand-in, the city at work."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from bot.db import make_engine, migrate
from tests.city import City, Desk, load_city, open_city
from tests.platforms.line import Line, serve

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start a model server come first, so that two processes end together."""
    slow = {item.path for item in items if item.get_closest_marker("llm")}
    items.sort(key=lambda item: item.path not in slow)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server: the given one, or a cluster of this process that ends with the tests."""
    if given := os.environ.get("MADOGUCHI_TEST_DATABASE_URL"):
        yield given
        return
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql, or set MADOGUCHI_TEST_DATABASE_URL")
    binaries = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="madoguchi-pg-"))
    port = free_port()
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd="/")

    run(str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off -c max_connections=200"
    run(
        str(binaries / "pg_ctl"),
        "-D",
        str(folder / "data"),
        "-o",
        options,
        "-w",
        "-l",
        f"{folder}/log",
        "start",
    )
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrate(f"sqlite:///{path}")
    engine = make_engine(f"sqlite:///{path}")
    load_city(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres: str) -> Iterator[str]:
    name = f"madoguchi_template_{os.getpid()}"
    url = _named(postgres, name)
    _on_server(postgres, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    migrate(url)
    engine = make_engine(url)
    load_city(engine)
    engine.dispose()
    yield url
    _on_server(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _named(server: str, database: str) -> str:
    return sa.engine.make_url(server).set(database=database).render_as_string(hide_password=False)


def _on_server(server: str, *statements: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite file of this test's own: migrated, みなと市 loaded."""
    path = tmp_path / "madoguchi.db"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres: str, _postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of this test's own: migrated, みなと市 loaded."""
    name, template = f"t_{uuid.uuid4().hex[:12]}", sa.engine.make_url(_postgres_template).database
    _on_server(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(postgres, name)
    _on_server(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database, once on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on this test's database."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def line() -> Iterator[Line]:
    """The LINE platform, listening."""
    platform = Line(secret="channel-secret", token="channel-token")
    port = free_port()
    server = serve(platform, port)
    platform.api_base = f"http://127.0.0.1:{port}"
    yield platform
    server.should_exit = True


@pytest.fixture
def city(engine: Engine, database_url: str, line: Line, tmp_path: Path) -> Iterator[City]:
    """みなと市 at work on this test's database."""
    with open_city(engine, database_url, line, tmp_path) as opened:
        yield opened


@pytest.fixture
def desk(city: City) -> Desk:
    """A caseworker of the front desk, who sees every case."""
    return city.hire("tantou")
