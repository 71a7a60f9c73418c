"""Who signs in: guessers are locked out, and nobody waits for them."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlmodel import select

from bot import auth
from bot.db import transaction
from bot.models import AuditEntry, Message, Staff
from tests.city import City


def _login(city: City, password: str, login: str = "tantou") -> int:
    browser = TestClient(city.client.app, raise_server_exceptions=False)
    form = {"login": login, "password": password}
    return browser.post("/desk/login", data=form, follow_redirects=False).status_code


def _set(city: City, **values: object) -> None:
    with transaction(city.engine) as session:
        staff = session.exec(select(Staff).where(Staff.login == "tantou")).one()
        for name, value in values.items():
            setattr(staff, name, value)
        session.add(staff)


def test_no_message_waits_while_a_password_is_compared(city: City) -> None:
    city.hire("tantou")
    costly = PasswordHasher(time_cost=60)  # some seconds, so that the message comes within them
    _set(city, password_hash=costly.hash("correct horse"))
    with ThreadPoolExecutor(1) as browser:
        answer = browser.submit(_login, city, "correct horse")
        time.sleep(0.3)
        city.line_says("粗大ごみの出し方を教えてください")
        assert not answer.done()
        assert len(city.all(Message)) == 1
        assert answer.result(60) == 303


def test_a_guesser_is_locked_out_however_many_guesses_come_at_once(city: City) -> None:
    city.hire("tantou")
    with ThreadPoolExecutor(4) as browsers:
        guesses = list(browsers.map(lambda n: _login(city, f"guess {n}"), range(auth.LOCK_AFTER)))
    assert set(guesses) == {401}
    assert _login(city, "correct horse") == 401
    assert _login(city, "correct horse", login="nobody") == 401
    assert len(city.all(AuditEntry, AuditEntry.action == "sign_in_failed")) == auth.LOCK_AFTER
    _set(city, locked_until=None)
    assert _login(city, " correct horse") == 401
    assert _login(city, "correct horse", login=" tantou ") == 303


@pytest.mark.parametrize("change", [{"active": False}, {"password_hash": auth._DUMMY}])
def test_what_changes_while_a_password_is_compared_counts(city: City, change: dict[str, object]) -> None:
    city.hire("tantou")
    tried = auth.attempt(city.engine, "tantou", "correct horse")
    assert tried.matches
    _set(city, **change)
    with transaction(city.engine) as session:
        assert auth.sign_in(session, tried) is None
