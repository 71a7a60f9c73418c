"""The web chat's token: names one conversation, signed, so that nobody can read another's."""

import secrets

from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import SecretStr

from bot.errors import NotSignedIn

KEEP_SECONDS = 180 * 24 * 3600


def _serializer(key: SecretStr) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key.get_secret_value(), salt="madoguchi-webchat")


def issue(key: SecretStr) -> str:
    """A token for a new, random citizen id."""
    return _serializer(key).dumps(secrets.token_hex(16))


def read(key: SecretStr, token: str) -> str:
    """The citizen id of a token.

    Raises:
        NotSignedIn: Not ours, altered, or older than ``KEEP_SECONDS``.
    """
    try:
        return str(_serializer(key).loads(token, max_age=KEEP_SECONDS))
    except BadSignature as reason:
        raise NotSignedIn("会話の有効期限が切れました。新しい会話を始めてください。") from reason
