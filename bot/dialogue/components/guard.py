"""Rasa answers 200 when it failed, and logs what citizens wrote. Both end here."""

import logging
import sys
import traceback
from contextvars import ContextVar
from typing import Any, List, MutableMapping, NoReturn, Optional

import structlog
from rasa.core.tracker_store import FailSafeTrackerStore

OWN_LOGGER = "madoguchi.dialogue"
"""The only logger whose messages are printed: nothing of a citizen is ever given to it."""

turn_errors: ContextVar[Optional[List[str]]] = ContextVar("turn_errors", default=None)
"""What was logged as an error since the turn began, as ``logger:type``; None outside a turn."""


def install() -> None:
    """Make failures visible and logs wordless. Call once, before the server starts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WordlessFormatter())
    logging.basicConfig(handlers=[handler, _ErrorCollector()], level=logging.WARNING, force=True)
    logging.getLogger(OWN_LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[_event_name_only],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    # The stock versions go on with an empty conversation in memory, as if nothing had happened.
    FailSafeTrackerStore.on_tracker_store_error = _raise
    FailSafeTrackerStore.on_tracker_store_retrieve_error = _raise


def _raise(_store: FailSafeTrackerStore, error: Exception) -> NoReturn:
    raise error


def _event_name_only(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    return (str(event.get("event", "")),), {"exc_info": event.get("exc_info")}


class _ErrorCollector(logging.Handler):
    """An error that Rasa only logs is an error of the turn."""

    def emit(self, record: logging.LogRecord) -> None:
        errors = turn_errors.get()
        if errors is not None and record.levelno >= logging.ERROR:
            errors.append(f"{record.name}:{_error_type(record)}")


class _WordlessFormatter(logging.Formatter):
    """Where and what kind, never a message of Rasa nor a value: either may hold a citizen's words."""

    def format(self, record: logging.LogRecord) -> str:
        place = f"{record.levelname} {record.name}:{record.lineno}"
        if record.name == OWN_LOGGER:
            return f"{place} {record.getMessage()}"
        frames = traceback.extract_tb(record.exc_info[2])[-5:] if record.exc_info else []
        stack = "".join(f"\n  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
        return f"{place} {_error_type(record)}{stack}"


def _error_type(record: logging.LogRecord) -> str:
    return record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else record.levelname
