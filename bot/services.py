"""Builds what the processes work with from the settings; each part that is missing is said once, aloud."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from bot import drafting, second_text
from bot.article_index import Knowledge
from bot.calendar import load_calendar
from bot.dialogue_client import DialogueClient
from bot.learning import LiveClassifier
from bot.outbox import Sender
from bot.settings import Settings
from bot.triage import Brain
from bot.workflow import Services
from channels.webchat import WebChatSender
from classifiers.department import DepartmentClassifier
from classifiers.encoder import BACKBONE, Encoder
from classifiers.errors import ClassifierError, EmptyText
from classifiers.reader import Reader
from responders.llm import Llm
from responders.retrieve import Embed, Read

log = logging.getLogger(__name__)


def plain_encoder_dir(settings: Settings) -> Path:
    """Where ``madoguchi setup`` points to the encoder as it came."""
    return settings.data_dir / "encoder"


def encoder_dir(settings: Settings) -> Path:
    """The encoder of the knowledge search: the taught one, or a site's own as it came."""
    taught = settings.backbone == BACKBONE
    return settings.data_dir / "retriever" if taught else plain_encoder_dir(settings)


def reader_dir(settings: Settings) -> Path:
    """Where ``madoguchi setup`` points to the reader that belongs to the encoder."""
    return settings.data_dir / "reader"


def load_classifier(settings: Settings, engine: Engine) -> LiveClassifier:
    """The model that routes, and the challenger beside it; until one is there the front desk gets all."""
    live = LiveClassifier(engine, settings)
    try:
        live.champion()
    except ClassifierError as reason:
        log.error("no classifier, every message goes to the front desk: %s", reason)
    return live


def load_routed(
    settings: Settings, folder: Path, successors: Mapping[str, str]
) -> Callable[[str], Mapping[str, float]] | None:
    """A message to the chance of each department, as drafting would know it; None: no classifier there.

    Args:
        settings: Say how sure it must be.
        folder: Where the model lies.
        successors: See `bot.organisation.successors`; articles have gone with their department.
    """
    try:
        classifier = DepartmentClassifier(folder, coverage=settings.routing_coverage)
    except ClassifierError as reason:
        log.error("no classifier, no department is known beforehand: %s", reason)
        return None

    def routed(text: str) -> Mapping[str, float]:
        try:
            found = classifier.predict(text).as_of_today(successors)
        except EmptyText:
            return {}
        if found.abstained:
            return found.probabilities
        return dict.fromkeys(filter(None, (found.department, found.also)), 1.0)

    return routed


def load_embed(settings: Settings, kind: str = "query") -> Embed | None:
    """Text to unit vectors; None: the search is lexical only.

    Args:
        settings: Say where the encoder is.
        kind: ``query`` for a citizen's words, ``passage`` for an article's.
    """
    encoder = load_encoder(encoder_dir(settings))
    return embedding(encoder, kind) if encoder else None


def load_encoder(folder: Path) -> Encoder | None:
    """The encoder in a folder; None: there is none, and what asks goes by words alone."""
    try:
        return Encoder(folder)
    except ClassifierError as reason:
        log.error("no encoder, the search is lexical only: %s", reason)
        return None


def embedding(encoder: Encoder, kind: str) -> Callable[..., NDArray[np.float32]]:
    """What `load_embed` gives, of an encoder that is loaded already."""

    def embed(texts: object) -> NDArray[np.float32]:
        return encoder.embed(texts, "passage" if kind == "passage" else "query")  # type: ignore[arg-type]

    return embed


def load_reader(settings: Settings) -> Read | None:
    """Tells an answer from a near miss; None: sentences are chosen by vectors and words alone."""
    if settings.backbone != BACKBONE:
        return None
    try:
        return Reader(reader_dir(settings)).read
    except ClassifierError as reason:
        log.error("no reader, sentences are chosen less well: %s", reason)
        return None


def load_llm(settings: Settings) -> Llm | None:
    """The language model's endpoint; None: drafts stay verbatim."""
    if not settings.llm_base_url:
        return None
    return Llm(
        settings.llm_base_url,
        settings.llm_model,
        settings.llm_api_key.get_secret_value(),
        settings.llm_timeout_seconds,
    )


def load_dialogue(settings: Settings) -> DialogueClient | None:
    """Rasa behind its channel; None: every message is an inquiry."""
    if not settings.rasa_url:
        return None
    return DialogueClient(
        settings.rasa_url, settings.rasa_secret.get_secret_value(), settings.rasa_timeout_seconds
    )


def load_senders(settings: Settings) -> dict[str, Sender]:
    """The channels that are configured."""
    senders: dict[str, Sender] = {"webchat": WebChatSender()}
    if token := settings.line_channel_access_token.get_secret_value():
        from channels.line import LineClient

        senders["line"] = LineClient(settings.line_api_base, token)
    return senders


def build(settings: Settings, engine: Engine) -> Services:
    """Everything the worker needs."""
    calendar = load_calendar(settings.city_dir / "calendar.yaml")
    return Services(
        engine=engine,
        brain=Brain(
            calendar, load_classifier(settings, engine), load_dialogue(settings), settings.drafting_enabled
        ),
        writer=load_writer(settings, engine),
        senders=load_senders(settings),
    )


def load_knowledge(settings: Settings, engine: Engine) -> Knowledge:
    """What a caseworker searches: the articles in force; new ones are embedded by the worker."""
    return Knowledge(engine, load_embed(settings))


def load_writer(settings: Settings, engine: Engine) -> drafting.Writer:
    """What drafting needs."""
    encoder = load_encoder(encoder_dir(settings))
    query, passage = (embedding(encoder, kind) if encoder else None for kind in ("query", "passage"))
    return drafting.Writer(
        knowledge=Knowledge(engine, query, passage, load_reader(settings)),
        llm=load_llm(settings),
        frame=drafting.load_frame(settings.city_dir),
        zone=load_calendar(settings.city_dir / "calendar.yaml").zone,
        attach=second_text.attacher(settings.city_dir) if settings.easy_japanese == "always" else None,
        drafting_enabled=settings.drafting_enabled,
    )
