"""What can go wrong around permissions and the log, each a sentence that its reader can act on."""


class ConsentError(Exception):
    """Base of every error that the consent room raises on purpose; `code` is stable for machines."""

    code = "consent_error"


class SignatureError(ConsentError):
    """A signature, or the key behind it, is not the one enrolled."""

    code = "bad_signature"
