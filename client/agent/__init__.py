"""The brand agent: the only code that touches customers' rows, and the brand's point of enforcement."""

from client.agent.agent import BrandAgent
from client.agent.cohort import CustomerSource
from client.agent.ledger import BrandLedger
from client.agent.models import ModelStore
from client.agent.policy import BrandPolicy, PurposePolicy
from client.agent.pseudonyms import Pseudonymizer
from client.agent.trust import BrandIdentity, TrustAnchors

__all__ = [
    "BrandAgent",
    "BrandIdentity",
    "BrandLedger",
    "BrandPolicy",
    "CustomerSource",
    "ModelStore",
    "Pseudonymizer",
    "PurposePolicy",
    "TrustAnchors",
]
