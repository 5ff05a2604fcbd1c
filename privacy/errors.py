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


class AmplificationRefusedError(PrivacyError):
    """A release is to be counted at less than one of everyone, for which there is no proof."""

    code = "amplification_refused"


class SecureSumError(PrivacyError):
    """A secure sum that must not go on: a message out of place, too few brands, or one that does not fit."""

    code = "secure_sum"


class TooFewBrandsError(SecureSumError):
    """Fewer brands answered than are needed to open a sum; nothing was learned."""

    code = "too_few_brands"


class TamperedShareError(SecureSumError):
    """What a brand shared does not lead to what it had committed to."""

    code = "tampered_share"
