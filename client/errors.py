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


class RefusalError(ClientError):
    """The agent will not take part in what was asked; nothing left it."""

    code = "refused"


class PolicyRefusalError(RefusalError):
    """The brand's own policy does not allow the task."""

    code = "policy_refused"


class LedgerRefusalError(RefusalError):
    """The brand's own ledger does not allow the release."""

    code = "ledger_refused"


class ManifestRefusalError(RefusalError):
    """The round's manifest is not one that this agent may follow."""

    code = "manifest_refused"


class StaleRoundError(RefusalError):
    """The round's snapshot is no longer the current one; open the round anew."""

    code = "stale_round"


class SetupRefusalError(RefusalError):
    """A run's setup, or one of its messages, is not one that this agent may follow."""

    code = "setup_refused"


class OrderRefusalError(RefusalError):
    """A message of a run does not follow on what the agent answered before it."""

    code = "out_of_order"


class ClosingRefusalError(RefusalError):
    """The agent will not help to open an attempt at a round."""

    code = "closing_refused"


class CohortRefusalError(RefusalError):
    """Fewer opted-in customers than the minimum cohort."""

    code = "cohort_too_small"
