"""Checking offline whether an answer was given: proven, or disproved by what lies at its place instead."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from consent.answers.receipt import ANSWERED, AnswerEvidence
from consent.errors import LogError, ProofError
from consent.log.checking import ProofVerdict, check_entry_proof
from consent.log.merkle import verify_inclusion
from consent.log.verify import Trust


@dataclass
class AnswerVerdict:
    """What evidence shows; `why` says what does not hold, and is empty when the answer was given."""

    entry: ProofVerdict | None = None
    since: str = ""
    until: str = ""
    disproved: bool = False
    """Whether the log shows that the answer was not given, which is more than that nothing shows it."""
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether the answer was given."""
        return not self.why

    def lines(self) -> Iterator[str]:
        """Say it in lines, the verdict last."""
        if self.entry is not None:
            yield from (line for line in self.entry.lines() if line != "VERIFIED")
        if self.since:
            yield f"its answers were given from {self.since} to {self.until}"
        yield "VERIFIED" if self.verified else f"{'DISPROVED' if self.disproved else 'NOT VERIFIED'}: {self.why}"


def check_answer(raw: bytes, trust: Trust) -> AnswerVerdict:
    """Check evidence that an answer was given.

    Raises:
        SetupError: nobody is trusted.
    """
    verdict = AnswerVerdict()
    try:
        evidence = AnswerEvidence.model_validate_json(raw)
    except ValidationError:
        verdict.why = "it is not the evidence of an answer of this service"
        return verdict
    proof = evidence.proof
    verdict.entry = check_entry_proof(evidence.log_proof.encode(), trust, proof.opening.encode())
    if not verdict.entry.verified or verdict.entry.index != proof.log_index:
        verdict.why = verdict.entry.why or "its entry of the log is another one than it says"
        return verdict
    try:
        _judge(evidence, json.loads(proof.opening)["payload"], verdict)
    except (LogError, binascii.Error, KeyError, TypeError, ValueError):
        verdict.why = "its path does not lead from the answer's place to a root that is logged for its tree"
    return verdict


def _judge(evidence: AnswerEvidence, payload: Mapping[str, Any], verdict: AnswerVerdict) -> None:
    """Hold the answer against the tree that the entry holds the root of."""
    answer, proof = evidence.answer, evidence.proof
    tree = (payload["kind"], payload["batch"], payload["brand"], payload.get("purpose"))
    if tree != (ANSWERED, answer.batch, answer.query.brand, answer.tree):
        raise ProofError("The entry is about other answers.")
    verdict.since, verdict.until = payload["since"], payload["until"]
    if answer.place >= payload["asked"]:
        verdict.disproved, verdict.why = True, "fewer answers were given than the place it names"
        return
    verify_inclusion(
        leaf=bytes.fromhex(proof.leaf),
        index=answer.place,
        size=payload["asked"],
        proof=[base64.b64decode(node, validate=True) for node in proof.path],
        root=bytes.fromhex(payload["root"]),
    )
    if proof.leaf != answer.leaf().hex():
        verdict.disproved, verdict.why = True, "another answer was given at its place"
