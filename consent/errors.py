"""What can go wrong around permissions and the log, each a sentence that its reader can act on."""


class ConsentError(Exception):
    """Base of every error that the consent room raises on purpose; `code` is stable for machines."""

    code = "consent_error"


class SignatureError(ConsentError):
    """A signature, or the key behind it, is not the one enrolled."""

    code = "bad_signature"


class InvalidRequestError(ConsentError):
    """A request does not follow the contract; its content is never repeated in the sentence."""

    code = "invalid_request"


class TooLargeError(InvalidRequestError):
    """A request's body is over the size cap."""

    code = "too_large"


class UnsupportedMediaError(InvalidRequestError):
    """A request's body is of a type that the resource does not read."""

    code = "unsupported_media"


class ConsentStringError(InvalidRequestError):
    """A TCF or GPP string that is not as its specification prescribes; it authorises nothing."""

    code = "bad_consent_string"


class UnauthenticatedError(ConsentError):
    """No token, or one that is not enrolled."""

    code = "unauthenticated"


class ForbiddenError(ConsentError):
    """The caller's role does not include this act."""

    code = "forbidden"


class NotFoundError(ConsentError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class UnknownPurposeError(NotFoundError):
    """A purpose that was never declared."""

    code = "unknown_purpose"


class UnknownNoticeError(NotFoundError):
    """A grant names no notice, or one that was never published for its purpose."""

    code = "unknown_notice"


class ConflictError(ConsentError):
    """The same name, key or round is already taken by something different."""

    code = "conflict"


class StaleSizeError(ConflictError):
    """A witness cosigned a head of another size last; `size` says which."""

    code = "stale_size"

    def __init__(self, size: int) -> None:
        super().__init__(f"The last cosigned head has {size} entries.")
        self.size = size


class StaleSnapshotError(ConflictError):
    """A snapshot that no longer says who opted in, or that has expired."""

    code = "stale_snapshot"


class RoundRefusedError(ConflictError):
    """A round that may not be opened or released as it stands."""

    code = "round_refused"


class TaskNotApprovedError(RoundRefusedError):
    """No officer approved this task for this brand."""

    code = "task_not_approved"


class ParticipantNotEnrolledError(RoundRefusedError):
    """A participant's key is not the one enrolled for that brand."""

    code = "participant_not_enrolled"


class CohortTooSmallError(RoundRefusedError):
    """Fewer customers opted in than the task demands."""

    code = "cohort_too_small"


class BudgetRefusedError(RoundRefusedError):
    """The round would take a brand's customers over what was approved or claimed."""

    code = "budget_exceeded"


class RemedyRefusedError(ConflictError):
    """The evidence with which a remedy is to be closed does not show what was asked for."""

    code = "remedy_refused"


class UnavailableError(ConsentError):
    """The service does not answer, or answers with a fault of its own."""

    code = "unavailable"


class BusyError(UnavailableError):
    """A store is held by somebody else for now; `retry_after` says after how many seconds to come back."""

    code = "busy"

    def __init__(self, sentence: str, *, retry_after: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class RateLimitedError(ConsentError):
    """Too many requests; `retry_after` says after how many seconds the next one is taken."""

    code = "rate_limited"

    def __init__(self, sentence: str, *, retry_after: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class SetupError(ConsentError):
    """Keys, database or folders are not as the service needs them at start."""

    code = "setup"


class LogError(ConsentError):
    """Base of what can be wrong with the transparency log."""

    code = "log_error"


class NoteFormatError(LogError):
    """Text that is not a checkpoint or a verifier key as C2SP prescribes."""

    code = "bad_note"


class PolicyError(LogError):
    """Text that is not a trust policy as C2SP prescribes."""

    code = "bad_policy"


class QuorumError(LogError):
    """Fewer witnesses cosigned a head than are demanded."""

    code = "no_quorum"


class ProofError(LogError):
    """A Merkle proof that does not lead to the stated root."""

    code = "bad_proof"


class TileMissingError(LogError):
    """A tile or bundle of the published log is not there, or too short."""

    code = "tile_missing"


class LogConflictError(LogError):
    """Another writer appended first; nothing was written and the request can be repeated."""

    code = "log_conflict"


class LogInconsistentError(LogError):
    """Database and published log do not tell one history; the service must not go on."""

    code = "log_inconsistent"


class RosterRefusedError(ConsentError):
    """A roster that a decider must not decide by."""

    code = "roster_refused"


class ReceiptError(LogError):
    """A receipt that says something else than the log, or does not carry what would show it."""

    code = "bad_receipt"
