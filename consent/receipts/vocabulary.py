"""Names of the vocabularies that receipts use; the context travels in the document, so no network is needed.

Terms are those of DPV 2.0 (https://w3id.org/dpv), its EU-GDPR and location extensions, DCMI terms and schema.org.
"""

from typing import Any, Final

from consent.contract import Act, LegalBasis
from consent.receipts.facts import ActOfConsent, Profile

SCHEMA: Final = "https://w3id.org/dpv/schema/dpv-27560#"
_NODE: Final = {"@type": "@id"}
_TIME: Final = {"@type": "xsd:dateTime"}
_NODES: Final = (
    "dct:conformsTo",
    "dct:creator",
    "dct:publisher",
    "dpv:hasApplicableLaw",
    "dpv:hasAuthority",
    "dpv:hasConsentControl",
    "dpv:hasDataController",
    "dpv:hasDataSource",
    "dpv:hasJurisdiction",
    "dpv:hasLegalBasis",
    "dpv:hasLocation",
    "dpv:hasNecessity",
    "dpv:hasProcessing",
    "dpv:hasRecipient",
    "dpv:isExercisedAt",
    "dpv:isIndicatedBy",
    "schema:url",
    "skos:broader",
)
_TIMES: Final = ("dct:created", "dct:date", "dpv:isIndicatedAtTime")
CONTEXT: Final[dict[str, Any]] = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    **dict.fromkeys(_NODES, _NODE),
    **dict.fromkeys(_TIMES, _TIME),
}
LAPSED: Final = {"expired": "dpv:ConsentExpired", "notice_changed": "dpv:ConsentInvalidated"}
RIGHTS: Final = {
    "eu-gdpr:A7-3": "Right to withdraw consent",
    "eu-gdpr:A15": "Right of access",
    "eu-gdpr:A17": "Right to erasure",
    "eu-gdpr:A20": "Right to data portability",
    "eu-gdpr:A21": "Right to object",
    "eu-gdpr:A77": "Right to lodge a complaint",
}
_BASES: Final = {
    LegalBasis.CONTRACT: ("dpv:Contract", "eu-gdpr:A6-1-b"),
    LegalBasis.LEGITIMATE_INTEREST: ("dpv:LegitimateInterest", "eu-gdpr:A6-1-f"),
}


def profile_iri(profile: Profile) -> str:
    """Return what a document of this profile conforms to."""
    return SCHEMA + profile.value


def legal_bases(basis: LegalBasis, *, explicit: bool, special: bool, eu_gdpr: bool) -> list[str]:
    """Return the legal basis, under the GDPR with its article."""
    general, article = _BASES.get(basis) or _consent(explicit=explicit, special=special)
    return [general, article] if eu_gdpr else [general]


def _consent(*, explicit: bool, special: bool) -> tuple[str, str]:
    general = "dpv:ExplicitlyExpressedConsent" if explicit else "dpv:ExpressedConsent"
    if special:
        return general, "eu-gdpr:A9-2-a"
    return general, "eu-gdpr:A6-1-a-explicit-consent" if explicit else "eu-gdpr:A6-1-a-non-explicit-consent"


def status(act: ActOfConsent, earlier: tuple[ActOfConsent, ...]) -> str:
    """Return the consent status that an act led to, after those before it."""
    given = any(one.act is Act.GRANT and one.took_effect for one in earlier)
    if act.act is Act.WITHDRAW:
        return "dpv:ConsentWithdrawn" if given else "dpv:ConsentRefused"
    if not act.took_effect:
        return "dpv:ConsentInvalidated"
    return "dpv:RenewedConsentGiven" if given else "dpv:ConsentGiven"
