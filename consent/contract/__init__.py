"""The contract: what brands, coordinator and consent service say to each other.

Every value is frozen, versioned, refuses unknown fields, and has one canonical encoding to sign. It lives
here because a round is a permission: what may be asked, of whom, under which snapshot and which budget.
"""

from consent.contract.aggregation import (
    Abandonment,
    Advertisement,
    Closing,
    EnrolledBrand,
    Enrolment,
    RunSetup,
    SealedShare,
    SecureSlot,
    Unmasking,
    Unspent,
)
from consent.contract.canonical import ContractModel, Digest, Name, Pseudonym, canonical_json
from consent.contract.membership import MembershipProof
from consent.contract.permission import (
    Act,
    Channel,
    Choice,
    Decision,
    DecisionQuery,
    DecisionReason,
    LegalBasis,
    Notice,
    Purpose,
)
from consent.contract.remedy import RemedyPolicy, RemedyStatement
from consent.contract.roster import Roster, RosterHead
from consent.contract.round import Attestation, Mechanism, Participant, Phase, RoundManifest, RoundRelease
from consent.contract.signing import PublicKey, Signed, SigningKey, fingerprint
from consent.contract.snapshot import SnapshotHead, SnapshotMembers, SnapshotProof
from consent.contract.task import (
    CategoricalFeature,
    Feature,
    Label,
    NumericFeature,
    PrivacyTarget,
    SolverSettings,
    TaskSpec,
)

__all__ = [
    "Abandonment",
    "Act",
    "Advertisement",
    "Attestation",
    "CategoricalFeature",
    "Channel",
    "Choice",
    "Closing",
    "ContractModel",
    "Decision",
    "DecisionQuery",
    "DecisionReason",
    "Digest",
    "EnrolledBrand",
    "Enrolment",
    "Feature",
    "Label",
    "LegalBasis",
    "Mechanism",
    "MembershipProof",
    "Name",
    "Notice",
    "NumericFeature",
    "Participant",
    "Phase",
    "PrivacyTarget",
    "Pseudonym",
    "PublicKey",
    "Purpose",
    "RemedyPolicy",
    "RemedyStatement",
    "Roster",
    "RosterHead",
    "RoundManifest",
    "RoundRelease",
    "RunSetup",
    "SealedShare",
    "SecureSlot",
    "Signed",
    "SigningKey",
    "SnapshotHead",
    "SnapshotMembers",
    "SnapshotProof",
    "SolverSettings",
    "TaskSpec",
    "Unmasking",
    "Unspent",
    "canonical_json",
    "fingerprint",
]
