"""What must be there before the first start, each step skipped when it is done already."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import select

from bot import article_index, auth, city, knowledge, services
from bot.db import make_engine, migrate, transaction
from bot.drafting import load_frame
from bot.models import FRONT_DESK, Department, Role, Staff
from bot.settings import Settings
from classifiers import encoder, reader
from classifiers.artefact import folder_name, read_manifest
from classifiers.encoder import BACKBONE
from classifiers.errors import ModelNotLoaded
from classifiers.freshness import is_fresh

ROOT = Path(__file__).resolve().parent.parent
RASA_PYTHON = ROOT / ".venv-rasa/bin/python"
SECRETS = ("SECRET_KEY", "RASA_SECRET", "LLM_API_KEY")


def say(text: str) -> None:
    """Progress for the person in front of the terminal."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def load_secrets(data_dir: Path) -> None:
    """Read ``secrets.env`` into the environment, making it with random values at the first start.

    The file is readable by its owner only. What the environment sets already wins.
    """
    path = data_dir / "secrets.env"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        lines = [f"MADOGUCHI_{name}={secrets.token_urlsafe(32)}" for name in SECRETS]
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        if value:
            os.environ.setdefault(name.strip(), value.strip())


def install(settings: Settings, *, demo: bool) -> None:
    """Models, classifier, dialogue, database, city, knowledge; with ``demo`` also staff accounts."""
    migrate(settings.effective_database_url)
    engine = make_engine(settings.effective_database_url)
    # First of all: a reorganisation or a new telephone number must not wait for a training.
    load_frame(settings.city_dir)  # refused here rather than when a draft needs it
    with transaction(engine) as session:
        city.load(session, settings.city_dir)
    fetch_models(settings)
    train_classifier(settings)
    train_dialogue(settings)
    import_knowledge(settings, engine)
    if demo:
        create_demo_staff(engine)
    engine.dispose()


def fetch_models(settings: Settings) -> None:
    """The encoder and, unless another endpoint or file is named, the language model."""
    link = services.plain_encoder_dir(settings)
    if not _is_encoder(link, settings.backbone):
        say(f"Preparing the encoder ({settings.backbone}) …")
        from classifiers.backbone import fetch_backbone

        _point(link, fetch_backbone(settings.backbone))
    if settings.backbone == BACKBONE:
        add_updates(settings, link)
    if not settings.llm_base_url and settings.llm_model_path is None:
        from responders.fetch import fetch_model

        fetch_model()


def _is_encoder(folder: Path, name: str) -> bool:
    try:
        return bool(read_manifest(folder, only=("encoder.onnx",))["name"] == name)
    except ModelNotLoaded:
        return False


def add_updates(settings: Settings, backbone: Path) -> None:
    """The search's encoder and the reader, from the encoder and what questions taught it."""
    link = services.encoder_dir(settings)
    if link.resolve().name != folder_name(encoder.UPDATES):
        say("Preparing the encoder of the search …")
        from classifiers.train_retriever import fetch_retriever

        _point(link, fetch_retriever(backbone))
    link = services.reader_dir(settings)
    if link.resolve().name != folder_name(reader.UPDATES):
        say("Preparing the reader …")
        from classifiers.train_reader import fetch_reader

        _point(link, fetch_reader(backbone))


def _point(link: Path, folder: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder)


def train_classifier(settings: Settings) -> None:
    """Fine-tune on the city's inquiries unless a classifier of exactly these inputs is there."""
    folder = settings.effective_classifier_dir
    if settings.classifier_dir is not None or is_fresh(folder, settings.city_dir, settings.backbone):
        return
    say("Fine-tuning the classifier (a few minutes on two cores) …")
    from classifiers.train import train

    train(folder, settings.city_dir, settings.backbone)


def train_dialogue(settings: Settings) -> None:
    """Train Rasa in its own environment; it skips itself when nothing changed."""
    if settings.rasa_url or not RASA_PYTHON.exists():
        return
    script = ROOT / "bot/dialogue/train.py"
    subprocess.run(  # noqa: S603
        [str(RASA_PYTHON), str(script), str(rasa_model(settings))], check=True, stdout=sys.stderr
    )


def rasa_model(settings: Settings) -> Path:
    """Where the trained dialogue lies."""
    return (settings.data_dir / "rasa" / "model.tar.gz").resolve()


def import_knowledge(settings: Settings, engine: Engine) -> None:
    """The city's articles; unchanged ones cost nothing, and a broken one is said aloud and left out."""
    from responders.errors import BadArticle
    from responders.knowledge import read_folder

    bad: list[BadArticle] = []
    articles = read_folder(settings.city_dir / "knowledge", bad.append)
    search = services.load_encoder(services.encoder_dir(settings))
    embed = services.embedding(search, "passage") if search else None
    if search and (dropped := article_index.forget_vectors_of_another(engine, search.version)):
        say(f"Another encoder: the vectors of {dropped} sentences are made anew after the start.")
    # An empty folder is rather a disk that is not mounted than a city that takes back all it says.
    report = knowledge.import_articles(
        engine, articles, actor="system:install", embed=embed, retire_missing=bool(articles) and not bad
    )
    for trouble in knowledge.troubles_ja(bad, report):
        say(f"!! {trouble}")
    if report.new or report.updated or report.retired:
        say(f"Knowledge: {report.new} new, {report.updated} updated, {report.retired} retired articles.")


def create_demo_staff(engine: Engine) -> None:
    """Accounts of the demo city, once; their random passwords are printed and not kept."""
    with transaction(engine) as session:
        if session.exec(select(Staff)).first():
            return
        rows = [
            (d.id.replace("_", "-"), f"{d.name} 担当", Role.caseworker, d.id)
            for d in session.exec(select(Department))
        ]
        rows += [
            ("supervisor", "統括 係長", Role.supervisor, FRONT_DESK),
            ("admin", "システム管理者", Role.admin, FRONT_DESK),
            ("auditor", "監査担当", Role.auditor, FRONT_DESK),
        ]
        say("\nStaff accounts of the demo city. The passwords are shown only this once:")
        for login, name, role, department in rows:
            password = secrets.token_urlsafe(9)
            auth.create_staff(
                session,
                login=login,
                name=name,
                role=role,
                department_id=department,
                password=password,
                actor="system:install",
            )
            say(f"  {login:20} {password:14} {name} ({role})")
        say("")
