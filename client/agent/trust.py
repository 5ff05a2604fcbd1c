"""Who an agent is, and whom it believes."""

from dataclasses import dataclass

from consent.contract import SigningKey


@dataclass(frozen=True)
class BrandIdentity:
    """Who the agent is: the brand's name and the key under which it is enrolled."""

    brand: str
    key: SigningKey


@dataclass(frozen=True)
class TrustAnchors:
    """The two public keys that an agent believes, installed by the brand.

    Args:
        coordinator: signs setups, manifests, closings and releases.
        consent_service: signs snapshots and enrolments.
    """

    coordinator: str
    consent_service: str
