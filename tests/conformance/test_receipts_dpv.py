"""Receipts through others' software: a JSON-LD processor, a SHACL validator and the Go team's log verifier."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from go_checker import build_checker, needs_go
from rights_desk import CONTROLLER, PURPOSE

from consent.contract import Act
from consent.rights import ReceiptRequest

jsonld = pytest.importorskip("pyld.jsonld")
pyshacl = pytest.importorskip("pyshacl")
rdflib = pytest.importorskip("rdflib")

VECTORS = Path(__file__).parents[1] / "vectors"
ANN = hashlib.sha256(b"ann").hexdigest()
PROFILES = ("record", "record-eu-gdpr", "receipt", "receipt-eu-gdpr")
TERMS = frozenset((VECTORS / "dpv-2.0-terms.txt").read_text().split())
Receipts = Callable[[str], Any]


@pytest.fixture
def receipts(consent_world: Any) -> Receipts:
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    for act in (Act.GRANT, Act.WITHDRAW, Act.GRANT):
        consent_world.record("acme", act, ANN)

    def issue(profile: str) -> Any:
        wanted = ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE, profile=profile)
        return json.loads(consent_world.brand("acme").receipt(wanted))

    return issue


def refuse(url: str, _options: object) -> None:
    raise AssertionError(f"{url} was asked for")


def graph(document: Any) -> Any:
    """Return the triples, computed without asking anybody."""
    quads = jsonld.to_rdf(document, {"format": "application/n-quads", "documentLoader": refuse})
    return rdflib.Graph().parse(data=quads, format="nquads")


def violations(document: Any, *, gdpr: bool) -> list[str]:
    names = ["dpv-27560.shacl.ttl"] + (["dpv-27560-eu-gdpr.shacl.ttl"] if gdpr else [])
    shapes = rdflib.Graph()
    for name in names:
        shapes.parse(VECTORS / name, format="turtle")
    conforms, report, _ = pyshacl.validate(graph(document), shacl_graph=shapes, advanced=False)
    paths = report.objects(None, rdflib.URIRef("http://www.w3.org/ns/shacl#resultMessage"))
    found = sorted(str(path) for path in paths)
    assert conforms == (not found)
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_holds_what_the_guide_demands(receipts: Receipts, profile: str) -> None:
    assert violations(receipts(profile), gdpr="gdpr" in profile) == []


def test_a_plain_record_does_not_pass_for_one_under_the_gdpr(receipts: Receipts) -> None:
    assert violations(receipts("record"), gdpr=True) != []


MANDATORY = [
    ("dct:conformsTo",),
    ("dct:identifier",),
    ("dpv:hasIdentifier",),
    ("dct:language",),
    ("dpv:hasDataSubject",),
    ("dpv:hasDataSubject", "dpv:hasIdentifier"),
    ("dpv:hasNotice",),
    ("dpv:hasNotice", "dct:language"),
    ("dpv:hasEntity",),
    ("dpv:hasConsentStatus",),
    ("dpv:hasProcess",),
    ("dpv:hasProcess", "dpv:hasPurpose"),
    ("dpv:hasProcess", "dpv:hasPersonalData"),
    ("dpv:hasProcess", "dpv:hasDataController"),
    ("dpv:hasProcess", "dpv:hasRecipient"),
    ("dpv:hasProcess", "dpv:hasStorageCondition"),
    ("dpv:hasProcess", "dpv:hasJurisdiction"),
    ("dpv:hasProcess", "dpv:hasConsentControl"),
    ("dpv:hasProcess", "dpv:hasConsentControl", "dpv:isExercisedAt"),
]
UNDER_THE_GDPR = [
    ("dpv:hasProcess", name)
    for name in (
        "dpv:hasLegalBasis",
        "dpv:hasApplicableLaw",
        "dpv:hasDataSource",
        "dpv:hasProcessing",
        "dpv:hasProcessingCondition",
        "dpv:hasRule",
        "dpv:hasRight",
        "dpv:hasAuthority",
    )
]


def without(document: Any, path: tuple[str, ...]) -> Any:
    node = document
    for name in path[:-1]:
        node = node[name]
    del node[path[-1]]
    return document


@pytest.mark.parametrize("path", MANDATORY, ids="/".join)
def test_what_is_mandatory_is_missed(receipts: Receipts, path: tuple[str, ...]) -> None:
    assert violations(without(receipts("record"), path), gdpr=False) != []


@pytest.mark.parametrize("path", UNDER_THE_GDPR, ids="/".join)
def test_what_the_gdpr_makes_mandatory_is_missed(receipts: Receipts, path: tuple[str, ...]) -> None:
    assert violations(without(receipts("record-eu-gdpr"), path), gdpr=True) != []


@pytest.mark.parametrize("field", ["dpv:hasName", "dpv:hasAddress", "dpv:hasContact", "dpv:hasIdentifier"])
def test_a_party_without_its_particulars_is_missed(receipts: Receipts, field: str) -> None:
    document = receipts("record")
    del document["dpv:hasEntity"][0][field]
    assert violations(document, gdpr=False) != []


@pytest.mark.parametrize("field", ["dpv:isIndicatedAtTime", "dpv:isIndicatedBy", "dpv:hasDuration", "@type"])
def test_an_event_without_its_particulars_is_missed(receipts: Receipts, field: str) -> None:
    document = receipts("record")
    del document["dpv:hasConsentStatus"][0][field]
    assert violations(document, gdpr=False) != []


@pytest.mark.parametrize("field", ["dpv:hasRecordOfActivity", "dpv:hasIdentifier", "dct:created"])
def test_a_receipt_without_its_header_is_missed(receipts: Receipts, field: str) -> None:
    assert violations(without(receipts("receipt"), (field,)), gdpr=False) != []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_term_is_one_of_the_vocabulary(receipts: Receipts, profile: str) -> None:
    """What the processor can not map it drops in silence, and a term that does not exist says nothing."""
    document = receipts(profile)
    expanded = json.dumps(jsonld.expand(document, {"documentLoader": refuse}))
    names = {
        str(node)
        for triple in graph(document)
        for node in triple
        if isinstance(node, rdflib.URIRef) and "w3id.org/dpv" in str(node)
    }
    prefixes = ("https://w3id.org/dpv#", "https://w3id.org/dpv/legal/eu/gdpr#")
    used = {name.rpartition("#")[2] for name in names if name.startswith(prefixes)}
    assert used <= TERMS, sorted(used - TERMS)
    assert ANN in expanded
    assert all(name in expanded for name in (CONTROLLER.name, CONTROLLER.address, *CONTROLLER.recipients))


@needs_go
def test_go_verifies_the_proofs_that_travel_in_a_receipt(
    receipts: Receipts, consent_world: Any, tmp_path: Path
) -> None:
    checker = build_checker(tmp_path)
    document = receipts("receipt-eu-gdpr")
    arguments = []
    for media in document["schema:associatedMedia"]:
        if media["schema:name"].endswith(".tlog-proof"):
            file = tmp_path / media["schema:name"]
            file.write_text(media["schema:text"])
            arguments.append(f"record:{file.stem.removeprefix('entry-')}:{file}")
    folder = consent_world.settings.log_dir
    command = [str(checker), str(folder), str(folder / "vkey"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (len(arguments), done.returncode, done.stderr) == (3, 0, "")
