"""What can go wrong between an article and a draft."""

from pathlib import Path


class ResponderError(Exception):
    """Base of the tree; ``str(error)`` is one line for a log or an operator.

    ResponderError
    ├── BadArticle              an article cannot be read: its author must look
    ├── ModelError              no usable text from the model: the verbatim template stays
    │   ├── ModelUnavailable        no connection, refused key, 429 or 5xx: call again later
    │   ├── DraftTimeout            no complete answer in time
    │   └── BadCompletion           an answer that is no usable text
    ├── ServeError              the embedded server cannot start: an operator must look
    │   ├── BadModelFile            missing, truncated, or another file than the manifest says
    │   └── PortTaken               something else listens there
    └── FetchError              the model file could not be assembled
    """


class BadArticle(ResponderError):
    """An article that cannot be read, with the place and, in Japanese for its author, the reason."""

    def __init__(self, path: Path | str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = Path(path), line, reason
        super().__init__(f"{path}:{line}: {reason}")


class ModelError(ResponderError):
    """No usable text from the model."""


class ModelUnavailable(ModelError):
    """No connection, refused key, 429 or 5xx."""


class DraftTimeout(ModelError):
    """No complete answer in time."""


class BadCompletion(ModelError):
    """An answer that is no usable text."""


class ServeError(ResponderError):
    """The embedded server cannot start."""


class BadModelFile(ServeError):
    """Missing, truncated, or another file than the manifest says."""


class PortTaken(ServeError):
    """Something else listens on the port."""


class FetchError(ResponderError):
    """The model file could not be assembled."""
