"""What can go wrong at the coordinator, each a sentence that its reader can act on."""


class ServerError(Exception):
    """Base of every error that the coordinator raises on purpose; `code` is stable for machines."""

    code = "server_error"


class ReplyRefusedError(ServerError):
    """A brand's reply is not what the round's manifest asked of it."""

    code = "reply_refused"


class RoundIncompleteError(ServerError):
    """Some brands did not take part in a round; what was released before stands, and the run can be resumed."""

    code = "round_incomplete"


class ResumeError(ServerError):
    """The run's folder does not hold what the consent service says was released."""

    code = "resume_failed"
