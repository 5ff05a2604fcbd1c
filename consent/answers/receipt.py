"""What comes with answers so that each of them can be shown later, and what shows it.

Leaf = SHA-256(0x00 || entry) (RFC 6962), where entry commits to the answer with a salt as entries of the log do.
Salt = the first 16 bytes of HMAC-SHA-256 under the receipt's key over the place of the answer among those of its
request, in 8 bytes: who is shown one answer learns nothing of the others.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field

from consent.contract import ContractModel, Decision, DecisionQuery, DecisionReason, Digest, Name
from consent.log.commitments import SALT_BYTES, canonical_payload, commit
from consent.log.merkle import leaf_hash

ANSWERED = "decisions_answered"
"""The kind of the entry that holds the root of a tree."""
KEY_BYTES = 16
Random = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""16 random bytes as 32 lower-case hexadecimal digits."""
Place = Annotated[int, Field(ge=0, lt=1 << 53)]


class AnswersReceipt(ContractModel):
    """What the answers to one request have to be kept with."""

    batch: Random
    """Of all trees that are logged together; a brand has one in it for each purpose."""
    key: Random
    """From which the salts derive; the service forgets it."""
    places: tuple[Place, ...]
    """Which leaf of its tree each answer is, in the order of the questions."""

    def kept(self, queries: Sequence[DecisionQuery], decisions: Sequence[Decision]) -> "tuple[KeptAnswer, ...]":
        """Return what to keep of each answer, apart from the others.

        Args:
            queries: as they were asked.
            decisions: as they were answered.
        """
        key = bytes.fromhex(self.key)
        return tuple(
            KeptAnswer(
                query=query, decision=decision, batch=self.batch, place=place, salt=salt_of(key, number).hex()
            )
            for number, (query, decision, place) in enumerate(zip(queries, decisions, self.places, strict=True))
        )


class KeptAnswer(ContractModel):
    """One answer as a brand keeps it: enough to have it proven while the service keeps its tree."""

    query: DecisionQuery
    decision: Decision
    batch: Random
    place: Place
    salt: Random

    def leaf(self) -> bytes:
        """Return the leaf that the answer has to be."""
        return leaf_of(self.query, self.decision, bytes.fromhex(self.salt))

    @property
    def tree(self) -> str | None:
        """The purpose of the tree that it is in; answers about undeclared purposes share one that has none."""
        return tree_of(self.query, self.decision)

    def proof_request(self) -> "AnswerProofRequest":
        """Return what to ask the service for; it tells of the place alone."""
        return AnswerProofRequest(batch=self.batch, purpose=self.tree, place=self.place)


class AnswerProofRequest(ContractModel):
    """The place of an answer whose proof is wanted."""

    batch: Random
    purpose: Name | None
    """None for answers about purposes that are not declared."""
    place: Place


class AnswerProof(ContractModel):
    """Which leaf lies at a place, and that the root over it is in an entry of the log."""

    log_index: int
    opening: str
    """What opens the entry, which holds root and size: a line as `confide audit` reads it."""
    leaf: Digest
    path: tuple[str, ...]
    """The audit path of the leaf, nearest sibling first (RFC 6962, section 2.1.1), in base64."""

    @classmethod
    def of(cls, log_index: int, opening: str, leaf: bytes, path: Sequence[bytes]) -> Self:
        """Write hashes as text."""
        hashes = tuple(base64.b64encode(node).decode() for node in path)
        return cls(log_index=log_index, opening=opening, leaf=leaf.hex(), path=hashes)


class AnswerEvidence(ContractModel):
    """Everything by which it is checked offline whether an answer was given."""

    answer: KeptAnswer
    proof: AnswerProof
    log_proof: str
    """The `.tlog-proof` of the entry."""


def tree_of(query: DecisionQuery, decision: Decision) -> str | None:
    """Return the purpose of the tree of an answer."""
    return None if decision.reason is DecisionReason.UNKNOWN_PURPOSE else query.purpose


def salt_of(key: bytes, number: int) -> bytes:
    """Return the salt of one answer of a request."""
    return hmac.digest(key, number.to_bytes(8, "big"), hashlib.sha256)[:SALT_BYTES]


def leaf_of(query: DecisionQuery, decision: Decision, salt: bytes) -> bytes:
    """Return the leaf of an answer: question and answer in one flat object (RFC 8785), without what is empty."""
    said: dict[str, str | int] = {
        "brand": query.brand,
        "subject": query.subject,
        "purpose": query.purpose,
        "allowed": decision.allowed,
        "reason": decision.reason.value,
        "log_size": decision.log_size,
    }
    if query.channel is not None:
        said["channel"] = query.channel.value
    if decision.log_index is not None:
        said["log_index"] = decision.log_index
    if decision.notice is not None:
        said["notice"] = decision.notice
    return leaf_hash(commit(salt, canonical_payload(said)))
