"""Who is at the desk: argon2 passwords, server-side sessions, CSRF tokens."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Engine
from sqlmodel import Session, select

from bot import audit
from bot.db import now, reading
from bot.errors import NotAllowed, NotSignedIn
from bot.models import Role, Staff, StaffSession

SESSION_HOURS = 10
IDLE_MINUTES = 120
LOCK_AFTER, LOCK_MINUTES = 8, 15
_hasher = PasswordHasher()
_DUMMY = _hasher.hash("nobody")


def create_staff(
    session: Session, *, login: str, name: str, role: Role, department_id: str, password: str, actor: str
) -> Staff:
    """Register a person."""
    staff = Staff(
        login=login, name=name, role=role, department_id=department_id, password_hash=_hasher.hash(password)
    )
    session.add(staff)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="create_staff",
        subject=f"staff:{login}",
        screen="cli",
        role=role,
        department=department_id,
    )
    return staff


def set_password(session: Session, staff: Staff, password: str, *, actor: str) -> None:
    """Give a new password; every open session of the person ends."""
    staff.password_hash, staff.failed_logins, staff.locked_until = _hasher.hash(password), 0, None
    session.add(staff)
    for row in session.exec(select(StaffSession).where(StaffSession.staff_id == staff.id)):
        session.delete(row)
    audit.record(session, actor=actor, action="set_password", subject=f"staff:{staff.login}", screen="cli")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login with a password that has been compared already."""

    login: str
    password_hash: str
    """What the password was compared with."""
    matches: bool


def attempt(engine: Engine, login: str, password: str) -> Attempt:
    """Compare a password in no transaction: every writer would wait a tenth of a second for each guess."""
    with reading(engine) as session:
        stored = session.exec(select(Staff.password_hash).where(Staff.login == login[:100])).first()
    password_hash = stored or _DUMMY
    return Attempt(login[:100], password_hash, _matches(password_hash, password[:200]))


def sign_in(session: Session, tried: Attempt) -> tuple[str, StaffSession] | None:
    """Open a session for who gave the right password.

    Returns:
        The cookie's token with its session, or None: wrong name, wrong password, or locked after
        ``LOCK_AFTER`` failures. The three look alike and take alike.
    """
    staff = session.exec(select(Staff).where(Staff.login == tried.login).with_for_update()).first()
    if staff is None:
        return None
    if not staff.active or (staff.locked_until and staff.locked_until > now()):
        return None
    if not tried.matches or staff.password_hash != tried.password_hash:  # it may be a new one by now
        staff.failed_logins += 1
        if staff.failed_logins >= LOCK_AFTER:
            staff.locked_until, staff.failed_logins = now() + timedelta(minutes=LOCK_MINUTES), 0
        session.add(staff)
        _note(session, staff, "sign_in_failed")
        return None
    staff.failed_logins, staff.locked_until = 0, None
    token = secrets.token_urlsafe(32)
    row = StaffSession(token_sha256=_sha256(token), staff_id=staff.id, csrf=secrets.token_urlsafe(24))
    session.add_all([staff, row])
    _note(session, staff, "sign_in")
    return token, row


def _note(session: Session, staff: Staff, action: str) -> None:
    audit.record(session, actor=staff.login, action=action, subject=f"staff:{staff.login}", screen="login")


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def signed_in(session: Session, token: str | None) -> tuple[Staff, StaffSession]:
    """The person behind a cookie.

    Raises:
        NotSignedIn: No session, or it ended.
    """
    row = session.get(StaffSession, _sha256(token)) if token else None
    if row is None:
        raise NotSignedIn
    staff = session.get(Staff, row.staff_id)
    too_old = now() - row.created_at > timedelta(hours=SESSION_HOURS)
    idle = now() - row.seen_at > timedelta(minutes=IDLE_MINUTES)
    if staff is None or not staff.active or too_old or idle:
        raise NotSignedIn("時間が経ったため、もう一度ログインしてください。")
    return staff, row


def touch(session: Session, row: StaffSession) -> None:
    """The person is still there."""
    row.seen_at = now()
    session.add(row)


def sign_out(session: Session, token: str | None) -> None:
    """End a session."""
    row = session.get(StaffSession, _sha256(token)) if token else None
    if row:
        session.delete(row)


def check_csrf(row: StaffSession, given: str) -> None:
    """Refuse a form that our own page did not make.

    Raises:
        NotAllowed: The token does not fit the session.
    """
    if not hmac.compare_digest(row.csrf.encode(), given.encode("utf-8", "replace")):
        raise NotAllowed("画面の有効期限が切れました。画面を開き直して、もう一度操作してください。")


def require(staff: Staff, *roles: Role) -> None:
    """Refuse a person without one of these roles."""
    if staff.role not in roles:
        raise NotAllowed


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
