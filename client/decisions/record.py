"""What a decision leaves behind: enough to explain it, to evaluate the policy, and to prove the consent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from client.decisions.catalogue import Action


@dataclass(frozen=True, slots=True)
class CandidateTrace:
    """The rules that one candidate met: it was admitted when `blocked_by` is empty."""

    action_id: str
    admitted_by: tuple[str, ...]
    blocked_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextAction:
    """One decision for one customer, known here by pseudonym alone; `action` is None for "no action"."""

    decision_id: str
    subject: str
    action: Action | None
    score: float
    """Expected value of the action drawn, in the brand's currency."""
    propensity: float
    """Probability with which the action drawn was drawn."""
    propensities: Mapping[str, float]
    """Probability of every admitted candidate, "no-action" included; they sum to 1."""
    holdout: bool
    candidates: tuple[CandidateTrace, ...]
    consent_log_index: int | None
    """Position in the audit log of the grant it stands on; None for "no action"."""
    model: str
    """Digest of the model whose propensities were used."""
    decided_at: datetime
