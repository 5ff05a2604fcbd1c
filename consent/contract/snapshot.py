"""Who may be used: the signed head of a brand's opted-in customers for one purpose."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from consent.contract.canonical import ContractModel, Digest, Name, Pseudonym
from consent.contract.membership import MembershipProof
from consent.contract.signing import Signed
from consent.errors import ProofError

VERSION = 2
"""Of heads that are sealed now; those of version 1 are only read in old records."""


class SnapshotHead(ContractModel):
    """A Merkle root over the pseudonyms that hold a grant, as of one position of the audit log.

    Nobody is under it whose grant ends by itself before `not_after`.
    """

    version: Literal[1, 2] = 2
    """2: the root is as `consent.contract.membership` says."""
    brand: Name
    purpose: Name
    root: Digest
    size_class: Annotated[int, Field(ge=0)]
    """The cohort rounded down to a power of two: 0, 1, 2, 4, 8 ..."""
    log_size: Annotated[int, Field(ge=0)]
    sealed_at: AwareDatetime
    not_after: AwareDatetime


class SnapshotMembers(ContractModel):
    """The sorted pseudonyms under a head; handed to the brand they belong to and to nobody else."""

    members: tuple[Pseudonym, ...]


class SnapshotProof(ContractModel):
    """That a customer may be used under a head, or that they may not, for whoever believes the service's key.

    It proves eligibility: what the service sealed, and that a brand which trains on this head and follows the
    rules uses the customer, or does not. It does not prove which rows a brand read that breaks them.
    """

    head: Signed[SnapshotHead]
    proof: MembershipProof

    def verify(self, *, brand: str, purpose: str, subject: str, service_key: str) -> bool:
        """Return whether the customer is under the head.

        Raises:
            SignatureError: the head is not signed by `service_key`.
            ProofError: the head is not of this brand and purpose, or the proof does not lead to its root.
        """
        head = self.head.verify(service_key)
        if (head.version, head.brand, head.purpose) != (VERSION, brand, purpose):
            raise ProofError("The proof is under the head of another brand, purpose or version; ask for it again.")
        return self.proof.verify(subject, head.root)
