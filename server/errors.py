"""What can go wrong at the coordinator, each a sentence that its reader can act on."""


class ServerError(Exception):
    """Base of every error that the coordinator raises on purpose; `code` is stable for machines."""

    code = "server_error"


class ReplyRefusedError(ServerError):
    """A brand's reply is not what was asked of it.

    Args:
        sentence: why it does not count.
        answered: the code under which the brand's own side refused; empty where it did not.
    """

    code = "reply_refused"

    def __init__(self, sentence: str, *, answered: str = "") -> None:
        super().__init__(sentence)
        self.answered = answered


class RoundIncompleteError(ServerError):
    """Some brands did not take part in a round; what was released before stands, and the run can be resumed."""

    code = "round_incomplete"


class ResumeError(ServerError):
    """The run's folder does not hold what the consent service says was released."""

    code = "resume_failed"


class SetupIncompleteError(ServerError):
    """The brands of a run could not be brought together; nothing of theirs has left them."""

    code = "setup_incomplete"


class SumRefusedError(ServerError):
    """An opened sum is not one that honest brands' sums can have."""

    code = "sum_refused"


class RoundOrderError(ServerError):
    """A step of a round that does not follow from the one before."""

    code = "round_order"
