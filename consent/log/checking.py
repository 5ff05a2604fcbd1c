"""Checking one proof offline: whose head, which entry, and what opens it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from consent.errors import ConsentError, LogError, SetupError
from consent.log.commitments import Opening
from consent.log.note import Checkpoint
from consent.log.policy import printable
from consent.log.proof import EntryProof
from consent.log.verify import Trust


@dataclass
class ProofVerdict:
    """What a proof shows; `why` says what does not hold, and is empty when everything does."""

    index: int | None = None
    checkpoint: Checkpoint | None = None
    witnesses: dict[str, int] = field(default_factory=dict)
    opened: bool = False
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether everything held."""
        return not self.why

    def lines(self) -> Iterator[str]:
        """Say it in lines, the verdict last."""
        if self.verified and self.checkpoint is not None:
            head = self.checkpoint
            yield f"entry {self.index} is in log {head.origin} of {head.size} entries, root {head.root.hex()}"
            yield from (f"witness {printable(name)} cosigned this head" for name in sorted(self.witnesses))
            if self.opened:
                yield "the opening is what the entry commits to"
        yield "VERIFIED" if self.verified else f"NOT VERIFIED: {self.why}"


def check_entry_proof(raw: bytes, trust: Trust, opening: bytes | None = None) -> ProofVerdict:
    """Check a `.tlog-proof` whose extra data is its entry, and optionally what opens that entry.

    Raises:
        SetupError: nobody is trusted.
    """
    if not trust.names_logs:
        raise SetupError("A proof needs somebody to trust; pass --vkey, or a --policy that lists the log.")
    verdict = ProofVerdict()
    try:
        proof = EntryProof.parse(raw.decode())
        verdict.index = proof.index
        verdict.checkpoint, verdict.witnesses = trust.open(proof.note)
        entry = proof.verify(verdict.checkpoint)
        if opening is not None:
            _require_opening(opening, proof.index, entry)
            verdict.opened = True
    except UnicodeDecodeError:
        verdict.why = "it is not UTF-8 text"
    except ConsentError as error:
        verdict.why = str(error)
    return verdict


def _require_opening(line: bytes, index: int, entry: bytes) -> None:
    opening = Opening.parse(line.removesuffix(b"\n"))
    if opening.index != index or not opening.opens(entry):
        raise LogError("The opening is of another entry, or not what this one commits to.")
