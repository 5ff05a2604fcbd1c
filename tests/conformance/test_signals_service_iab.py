"""Strings that the service writes are read by the IAB's libraries, and theirs change what the service says."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from iab_process import IabProcess, install
from signal_world import BRAND, CMP, OTHER, PURPOSE, VENDOR, allowed, declare, midnight, pseudonym

from consent.contract import Act

ANN = pseudonym("ann")
BEN = pseudonym("ben")
SEGMENTS = ["core", "vendorsDisclosed", "publisherTC"]
GRANTS = [(), (PURPOSE,), (OTHER,), (PURPOSE, OTHER)]


@pytest.fixture(scope="module")
def iab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IabProcess]:
    process = IabProcess(install(tmp_path_factory.mktemp("iab")))
    yield process
    process.close()


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


def theirs(iab: IabProcess, moment: datetime, **fields: Any) -> str:
    """Have @iabtcf/core write a string that counts for the brand, apart from what `fields` say."""
    request = {
        "created": milliseconds(moment),
        "lastUpdated": milliseconds(moment),
        "cmpId": CMP,
        "cmpVersion": 1,
        "consentScreen": 1,
        "consentLanguage": "EN",
        "vendorListVersion": 100,
        "policyVersion": 5,
        "isServiceSpecific": True,
        "useNonStandardStacks": False,
        "specialFeatureOptins": [],
        "purposeConsents": [1, 4, 10],
        "purposeLegitimateInterests": [],
        "purposeOneTreatment": False,
        "publisherCountryCode": "DE",
        "vendorConsents": [VENDOR],
        "vendorLegitimateInterests": [],
        "vendorsDisclosed": [VENDOR],
        "publisherConsents": [],
        "publisherLegitimateInterests": [],
        "numCustomPurposes": 0,
        "publisherCustomConsents": [],
        "publisherCustomLegitimateInterests": [],
        "publisherRestrictions": [],
        "segments": SEGMENTS,
    }
    answer = iab.ask("encodeTcf", **(request | fields))
    assert "error" not in answer
    return str(answer["text"])


@pytest.mark.parametrize("granted", GRANTS, ids=lambda names: "+".join(names) or "nothing")
def test_an_exported_tc_string_says_to_their_library_what_was_granted(
    consent_world: Any, iab: IabProcess, granted: tuple[str, ...]
) -> None:
    declare(consent_world)
    for purpose in granted:
        consent_world.record(BRAND, Act.GRANT, ANN, purpose=purpose)
    brand = consent_world.brand(BRAND)
    text = brand.export_string(BRAND, ANN, "tcf").text
    read = iab.ask("decodeTcf", text=text)
    expected = {PURPOSE: [1, 4], OTHER: [10]}
    assert read["purposeConsents"] == [number for purpose in granted for number in expected[purpose]]
    assert read["vendorConsents"] == ([VENDOR] if granted else [])
    assert read["vendorsDisclosed"] == [VENDOR, 43]
    assert read["created"] == read["lastUpdated"] == milliseconds(datetime(2026, 11, 2, tzinfo=UTC))
    brand.import_tcf(BRAND, BEN, text)
    assert [purpose for purpose in (PURPOSE, OTHER) if allowed(consent_world, BEN, purpose)] == list(granted)


@pytest.mark.parametrize("purposes", [[], [1, 4], [10], [1, 4, 10]], ids=str)
def test_their_tc_string_changes_what_is_allowed(consent_world: Any, iab: IabProcess, purposes: list[int]) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.WITHDRAW, ANN)
    consent_world.record(BRAND, Act.GRANT, ANN, purpose=OTHER)
    consent_world.clock.advance(86_400)
    text = theirs(iab, midnight(consent_world), purposeConsents=purposes)
    consent_world.brand(BRAND).import_tcf(BRAND, ANN, text)
    assert allowed(consent_world, ANN) == ({1, 4} <= set(purposes))
    assert allowed(consent_world, ANN, OTHER) == (10 in purposes)


@pytest.mark.parametrize("granted", [True, False])
def test_an_exported_usnat_section_says_to_their_library_what_is_opted_out(
    consent_world: Any, iab: IabProcess, granted: bool
) -> None:
    declare(consent_world)
    if granted:
        consent_world.record(BRAND, Act.GRANT, ANN)
    text = consent_world.brand(BRAND).export_string(BRAND, ANN, "usnat").text
    section = iab.ask("decodeGpp", text=text)["sections"]["usnat"]
    answer = 2 if granted else 1
    assert (section["SaleOptOut"], section["SharingOptOut"], section["Gpc"]) == (answer, answer, False)
    assert section["TargetedAdvertisingOptOut"] == 0
    consent_world.record(BRAND, Act.GRANT, BEN)
    opted_out = consent_world.brand(BRAND).import_gpp(BRAND, BEN, text).opt_out
    assert (opted_out is None, allowed(consent_world, BEN)) == (granted, granted)


@pytest.mark.parametrize("gpc", [True, False])
def test_their_usnat_section_opts_out(consent_world: Any, iab: IabProcess, gpc: bool) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    values = {"SaleOptOutNotice": 1, "SaleOptOut": 2, "Gpc": gpc, "GpcSegmentIncluded": True}
    text = iab.ask("encodeGpp", fields={"usnat": values}, texts={})["text"]
    consent_world.brand(BRAND).import_gpp(BRAND, ANN, text)
    assert allowed(consent_world, ANN) is not gpc
