"""Who may be used: the signed head of a brand's opted-in customers for one purpose."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from consent.contract.canonical import ContractModel, Digest, Name, Pseudonym


class SnapshotHead(ContractModel):
    """A Merkle root over the sorted pseudonyms that hold a grant, as of one position of the audit log."""

    version: Literal[1] = 1
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
