"""What can go wrong at the brand, each a sentence that its reader can act on."""


class ClientError(Exception):
    """Base of every error that the brand's room raises on purpose; `code` is stable for machines."""

    code = "client_error"


class UnreadableFileError(ClientError):
    """A file as a whole is not in a form that intake reads."""

    code = "unreadable_file"


class FeatureError(ClientError):
    """A feature table does not fit what is asked of it."""

    code = "bad_features"


class DecisionError(ClientError):
    """A batch, policy or gate does not fit what deciding needs; nothing was sent."""

    code = "bad_decision"


class LiftRefusedError(ClientError):
    """There is no randomised holdout to measure lift against."""

    code = "lift_refused"
