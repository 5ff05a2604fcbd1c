"""Checking a receipt offline: every act that it tells of is an entry of the log, which says the same."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from consent.contract import Act
from consent.errors import ReceiptError
from consent.log.checking import ProofVerdict, check_entry_proof
from consent.log.verify import Trust

STATUS_ENTRY = re.compile(r"entry (0|[1-9][0-9]{0,18})")
GIVEN = {"dpv:ConsentGiven", "dpv:RenewedConsentGiven", "dpv:ConsentInvalidated"}
WITHDRAWN = {"dpv:ConsentWithdrawn", "dpv:ConsentRefused"}


@dataclass
class ReceiptVerdict:
    """What a receipt shows; `why` says what does not hold, and is empty when everything does."""

    entries: list[ProofVerdict] = field(default_factory=list)
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether everything held."""
        return not self.why

    def lines(self) -> Iterator[str]:
        """Say it in lines, the verdict last."""
        for entry in self.entries:
            yield from (line for line in entry.lines() if line != "VERIFIED")
        yield "VERIFIED" if self.verified else f"NOT VERIFIED: {self.why}"


def check_receipt(raw: bytes, trust: Trust) -> ReceiptVerdict:
    """Check a document of any profile against the proofs and openings that it carries.

    Raises:
        SetupError: nobody is trusted.
    """
    verdict = ReceiptVerdict()
    try:
        for shown in _checked(json.loads(raw), trust):
            verdict.entries.append(shown)
    except ReceiptError as error:
        verdict.why = str(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        verdict.why = "it is not a consent record or receipt of this service"
    return verdict


def _checked(root: Any, trust: Trust) -> Iterator[ProofVerdict]:  # noqa: ANN401 - JSON
    record = root.get("dpv:hasRecordOfActivity", root)
    attached = {media["schema:name"]: media["schema:text"] for media in root["schema:associatedMedia"]}
    acts = [status for status in record["dpv:hasConsentStatus"] if "dct:identifier" in status]
    if not acts:
        raise ReceiptError("The receipt tells of no act of the customer.")
    for status in acts:
        yield _check(record, status, attached, trust)
    _check_notice(record, acts, attached)


def _check(record: Any, status: Any, attached: Mapping[str, str], trust: Trust) -> ProofVerdict:  # noqa: ANN401 - JSON
    match = STATUS_ENTRY.fullmatch(status["dct:identifier"])
    if match is None:
        raise ReceiptError("An act of the receipt names no entry of the log.")
    name = f"entry-{match[1]}"
    proof, opening = attached[f"{name}.tlog-proof"], attached[f"{name}.opening.json"]
    shown = check_entry_proof(proof.encode(), trust, opening.encode())
    if not shown.verified:
        raise ReceiptError(f"entry {match[1]}: {shown.why}")
    if shown.index != int(match[1]):
        raise ReceiptError(f"The proof of entry {match[1]} is of another entry.")
    _compare(record, status, json.loads(opening)["payload"], match[1])
    return shown


def _compare(record: Any, status: Any, payload: Mapping[str, Any], index: str) -> None:  # noqa: ANN401 - JSON
    """Hold what the receipt says of an act against what was logged."""
    act = Act.GRANT if status["@type"] in GIVEN else Act.WITHDRAW
    told = {
        "kind": "choice_recorded",
        "act": act.value if status["@type"] in GIVEN | WITHDRAWN else None,
        "brand": record["dpv:hasEntity"][0]["dpv:hasIdentifier"],
        "subject": record["dpv:hasDataSubject"]["dpv:hasIdentifier"],
        "purpose": record["dpv:hasProcess"]["dpv:hasPurpose"]["dct:identifier"],
        "recorded_at": status["dpv:isIndicatedAtTime"].replace("Z", "+00:00"),
    }
    for name, said in told.items():
        if payload.get(name) != said:
            raise ReceiptError(f"The receipt says something else of entry {index} than was logged ({name}).")


def _check_notice(record: Any, acts: Any, attached: Mapping[str, str]) -> None:  # noqa: ANN401 - JSON
    """Hold the notice's text against its hash, and the hash against what the last grant was given under."""
    notice = record["dpv:hasNotice"]
    digest = hashlib.sha256(notice["schema:text"].encode()).hexdigest()
    if notice["dpv:hasIdentifier"] != f"sha256:{digest}":
        raise ReceiptError("The notice's text does not have the notice's hash.")
    grants = [status["dct:identifier"] for status in acts if status["@type"] in GIVEN]
    if grants:
        name = grants[-1].replace(" ", "-")
        if json.loads(attached[f"{name}.opening.json"])["payload"].get("notice") != digest:
            raise ReceiptError("The last grant was given under another notice.")
