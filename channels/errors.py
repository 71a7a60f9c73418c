"""What a platform's wire can do to us."""


class ChannelError(Exception):
    """Base of the tree.

    ChannelError
    ├── InvalidSignature        not from the platform: answer 401, store nothing
    ├── TemporaryChannelError   no answer, 5xx, 429: call again later with the same key
    │   ├── NotAcceptedYet      a "not taken" that will pass: rate, quota, expired token, no connection
    └── PermanentChannelError   any other refusal: a person must look
        └── InvalidReplyToken   used or expired: push instead
    """


class InvalidSignature(ChannelError):
    """The body was not signed with any of our secrets."""


class TemporaryChannelError(ChannelError):
    """Perhaps accepted, perhaps not: the same key may be tried again."""


class NotAcceptedYet(TemporaryChannelError):
    """Certainly not accepted, but worth another try later."""


class PermanentChannelError(ChannelError):
    """Certainly not accepted, and the same call never will be."""


class InvalidReplyToken(PermanentChannelError):
    """The reply token was used or has expired."""
