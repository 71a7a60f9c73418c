"""Settings from the environment: one frozen object, built by the entry point and handed on."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting of the product; each is an environment variable ``MADOGUCHI_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix="MADOGUCHI_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    secret_key: SecretStr
    """Signs web-chat tokens. At least 32 random characters; ``make run`` creates one."""
    data_dir: Path = Path("var")
    """Everything the product writes: database, logs, trained models."""
    city_dir: Path = Path("data")
    """The city's own files: departments, fixed texts, calendar, knowledge."""
    database_url: str = ""
    """SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``; empty: a SQLite file in data_dir."""
    host: str = "127.0.0.1"
    """Address the web process listens on."""
    port: int = 8800
    """Port the web process listens on."""
    secure_cookies: bool = False
    """Set when the desk is served over HTTPS, as in every city."""
    embed_origins: str = ""
    """Space-separated origins whose pages may embed the chat widget, such as ``https://www.city.example``."""
    worker_id: str = "worker-1"
    """Name of this worker; two live workers must never share one (only PostgreSQL allows several)."""

    line_channel_secret: SecretStr = SecretStr("")
    """Channel secrets, comma-separated while one is being replaced; empty: LINE is off."""
    line_channel_access_token: SecretStr = SecretStr("")
    """Token for the Messaging API."""
    line_api_base: str = "https://api.line.me"
    """Root of the Messaging API; a stand-in's address in tests and in the demo."""

    rasa_url: str = ""
    """Root of the Rasa server; empty: every message goes straight to triage."""
    rasa_secret: SecretStr = SecretStr("")
    """Shared secret of the custom Rasa channel."""
    rasa_timeout_seconds: float = 2.0
    """Longest wait for one dialogue turn."""

    classifier_dir: Path | None = None
    """Folder of the trained classifier; default: ``classifier`` in data_dir."""
    routing_coverage: float = Field(default=0.95, ge=0.5, le=0.995)
    """Share of messages whose right department the routing's set must hold; higher asks citizens more."""
    backbone: str = "e5-small"
    """Encoder to fine-tune: the bundled name, a hub id or a local folder."""

    llm_base_url: str = ""
    """OpenAI-compatible endpoint; empty: drafts stay verbatim templates."""
    llm_model: str = "embedded"
    """Model name sent to the endpoint."""
    llm_api_key: SecretStr = SecretStr("")
    """Key for the endpoint."""
    llm_model_path: Path | None = None
    """The operator's own GGUF file for the embedded server."""
    llm_timeout_seconds: float = 60.0
    """Longest wait for one rewrite."""
    drafting_enabled: bool = True
    """Global kill switch: off, triage and replies by hand go on."""

    easy_japanese: Literal["click", "always"] = "click"
    """やさしい日本語 below a draft: when a caseworker asks for it, or on every draft."""

    @property
    def effective_database_url(self) -> str:
        """The database URL with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'madoguchi.db'}"

    @property
    def effective_classifier_dir(self) -> Path:
        """The classifier folder with the default filled in."""
        return self.classifier_dir or self.data_dir / "classifier"

    @property
    def line_secrets(self) -> tuple[str, ...]:
        """Channel secrets, newest first."""
        return tuple(
            s for s in (p.strip() for p in self.line_channel_secret.get_secret_value().split(",")) if s
        )
