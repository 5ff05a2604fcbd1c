"""Building a consent record or receipt as JSON-LD; section names in comments are those of the guide."""

import json
from datetime import datetime
from typing import Any

from consent.receipts.facts import ActOfConsent, ConsentFacts, Evidence, Profile
from consent.receipts.vocabulary import CONTEXT, LAPSED, RIGHTS, legal_bases, profile_iri, status

Node = dict[str, Any]


def document(facts: ConsentFacts, profile: Profile) -> bytes:
    """Return the document of a profile, UTF-8 JSON-LD with its context inside."""
    gdpr = profile.eu_gdpr
    record = _record(facts, Profile.RECORD_EU_GDPR if gdpr else Profile.RECORD)
    node = _receipt(facts, profile, record) if profile.is_receipt else record
    node["schema:associatedMedia"] = [media for one in facts.evidence for media in _attachments(one)]
    return json.dumps({"@context": CONTEXT, **node}, ensure_ascii=False, indent=1).encode()


def _receipt(facts: ConsentFacts, profile: Profile, record: Node) -> Node:
    return {
        "@id": f"urn:uuid:{facts.receipt_id}",
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": facts.receipt_id,
        "dpv:hasIdentifier": facts.receipt_id,
        "dct:conformsTo": profile_iri(profile),
        "dct:created": _time(facts.created_at),
        "dct:language": facts.notice.language,
        "dct:publisher": _entity(facts, "controller"),
        "dpv:hasRecordOfActivity": record,
    }


def _record(facts: ConsentFacts, profile: Profile) -> Node:
    return {
        "@id": f"urn:uuid:{facts.record_id}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": facts.record_id,
        "dpv:hasIdentifier": facts.record_id,
        "dct:conformsTo": profile_iri(profile),
        "dct:created": _time(facts.created_at),
        "dct:creator": _entity(facts, "controller"),
        "dct:language": facts.notice.language,
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dpv:hasIdentifier": facts.subject},
        "dpv:hasEntity": _entities(facts),
        "dpv:hasNotice": _notice(facts),
        "dpv:hasProcess": _process(facts, gdpr=profile.eu_gdpr),
        "dpv:hasConsentStatus": _statuses(facts),
    }


def _process(facts: ConsentFacts, *, gdpr: bool) -> Node:
    controller, purpose = facts.controller, facts.purpose
    explicit = any(act.explicit for act in facts.acts)
    process: Node = {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@id": f"urn:uuid:{facts.record_id}#purpose",
            "@type": "dpv:Purpose",
            "dct:identifier": purpose.purpose,
            "skos:broader": "dpv:Personalisation",
            "skos:prefLabel": purpose.title,
        },
        "dpv:hasPersonalData": [_personal_data(facts, name, gdpr=gdpr) for name in purpose.data_categories],
        "dpv:hasDataController": _entity(facts, "controller"),
        "dpv:hasRecipient": [_entity(facts, "controller"), *_recipients(facts)],
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": _places(controller.storage_locations)},
            {"@type": "dpv:StorageDuration", "dpv:hasDuration": _days(purpose.retention_days)},
        ],
        "dpv:hasJurisdiction": _places((controller.jurisdiction,)),
        "dpv:hasConsentControl": {"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": controller.withdrawal_url},
        "dpv:hasLegalBasis": legal_bases(
            purpose.legal_basis, explicit=explicit, special=purpose.special_category, eu_gdpr=gdpr
        ),
    }
    return process | (_gdpr(facts) if gdpr else {})


def _gdpr(facts: ConsentFacts) -> Node:
    """Return what is optional in ISO/IEC TS 27560 and demanded by Articles 7 and 13 to 15 GDPR."""
    controller = facts.controller
    places = _places(controller.storage_locations)
    return {
        "dpv:hasApplicableLaw": "eu-gdpr:GDPR",
        "dpv:hasDataSource": "dpv:DataSubjectDataSource",
        "dpv:hasProcessing": ["dpv:Collect", "dpv:Store", "dpv:Use", "dpv:Profiling"],
        "dpv:hasProcessingCondition": {"@type": "dpv:ProcessingLocation", "dpv:hasLocation": places},
        "dpv:hasRule": {
            "@type": "dpv:Obligation",
            "dct:description": "Data about single customers is stored and processed in these places alone.",
            "dpv:hasLocation": places,
        },
        "dpv:hasRight": [
            {
                "@type": ["dpv:DataSubjectRight", right],
                "dct:title": title,
                "dpv:isExercisedAt": controller.rights_url,
            }
            for right, title in RIGHTS.items()
        ],
        "dpv:hasAuthority": _entity(facts, "authority"),
    }


def _personal_data(facts: ConsentFacts, name: str, *, gdpr: bool) -> Node:
    special = facts.purpose.special_category
    data = {
        "@type": "dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData",
        "skos:prefLabel": name,
    }
    return data | ({"dpv:hasNecessity": "dpv:Optional"} if gdpr else {})


def _entities(facts: ConsentFacts) -> list[Node]:
    controller = facts.controller
    main = {
        "@id": _entity(facts, "controller"),
        "@type": ["dpv:LegalEntity", "dpv:DataController"],
        "dpv:hasIdentifier": facts.brand,
        "dpv:hasName": controller.name,
        "dpv:hasAddress": controller.address,
        "dpv:hasContact": controller.contact,
    }
    recipients = [
        {"@id": iri, "@type": ["dpv:LegalEntity", "dpv:Recipient"], "dpv:hasIdentifier": iri, "dpv:hasName": name}
        for iri, name in zip(_recipients(facts), controller.recipients, strict=True)
    ]
    iri = _entity(facts, "authority")
    authority = {
        "@id": iri,
        "@type": ["dpv:LegalEntity", "dpv:DataProtectionAuthority"],
        "dpv:hasIdentifier": iri,
        "dpv:hasName": controller.authority,
    }
    return [main, *recipients, authority]


def _notice(facts: ConsentFacts) -> Node:
    notice = facts.notice
    return {
        "@type": "dpv:ConsentNotice",
        "dpv:hasIdentifier": f"sha256:{notice.digest}",
        "dct:date": _time(notice.published_at),
        "dct:language": notice.language,
        "schema:text": notice.text,
    }


def _statuses(facts: ConsentFacts) -> list[Node]:
    said = [_status(facts, place) for place in range(len(facts.acts))]
    if facts.lapsed is not None and facts.lapsed_at is not None:
        said.append(
            {
                "@type": LAPSED[facts.lapsed],
                "dpv:isIndicatedAtTime": _time(facts.lapsed_at),
                "dpv:isIndicatedBy": _entity(facts, "controller"),
                "dpv:hasIndicationMethod": facts.lapsed,
                "dpv:hasDuration": _until("the customer grants it anew"),
            }
        )
    return said


def _status(facts: ConsentFacts, place: int) -> Node:
    act = facts.acts[place]
    where = "" if act.collection_point is None else f" at {act.collection_point}"
    return {
        "@type": status(act, facts.acts[:place]),
        "dct:identifier": f"entry {act.log_index}",
        "dpv:isIndicatedAtTime": _time(act.recorded_at),
        "dpv:isIndicatedBy": "dpv:GuardianOfDataSubject" if act.guardian else "dpv:DataSubject",
        "dpv:hasIndicationMethod": act.method + where,
        "dpv:hasDuration": _validity(act),
    }


def _validity(act: ActOfConsent) -> Node:
    if act.expires_at is None:
        return _until("the customer says something else")
    return {"@type": "dpv:UntilTimeDuration", "rdf:value": _time(act.expires_at)}


def _until(event: str) -> Node:
    return {"@type": "dpv:UntilEventDuration", "rdf:value": event}


def _days(days: int) -> Node:
    return {"@type": "dpv:TemporalDuration", "rdf:value": f"P{days}D"}


def _places(territories: tuple[str, ...]) -> list[str]:
    return [f"loc:{territory}" for territory in territories]


def _entity(facts: ConsentFacts, what: str) -> str:
    return f"urn:uuid:{facts.record_id}#{what}"


def _recipients(facts: ConsentFacts) -> list[str]:
    return [_entity(facts, f"recipient-{number}") for number in range(1, len(facts.controller.recipients) + 1)]


def _attachments(evidence: Evidence) -> list[Node]:
    name = f"entry-{evidence.log_index}"
    return [
        _media(f"{name}.tlog-proof", "text/plain", evidence.proof),
        _media(f"{name}.opening.json", "application/json", evidence.opening),
    ]


def _media(name: str, encoding: str, text: str) -> Node:
    return {
        "@type": "schema:MediaObject",
        "schema:name": name,
        "schema:encodingFormat": encoding,
        "schema:text": text,
    }


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
