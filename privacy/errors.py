"""What can go wrong in the privacy room, each a sentence that its reader can act on."""


class PrivacyError(Exception):
    """Base of every error that the privacy room raises on purpose; `code` is stable for machines."""

    code = "privacy_error"


class BudgetExceededError(PrivacyError):
    """A release would take a population's epsilon over its ceiling."""

    code = "budget_exceeded"


class InvalidContributionError(PrivacyError):
    """Numbers that a bounded sum must not contain: wrong shape, not finite, over the clip norm."""

    code = "invalid_contribution"
