"""A brand whose mapping is declared, signals and TC strings that count for it, and what the log says of them."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from consent.contract import Act, Channel, Choice, DecisionQuery, Notice
from consent.preference_signals import SignalMapping, TcExport, TcfRules
from consent.searching import LogQuery
from consent.signals import OptOut, TcfMapping, TcIssuer, TcString, VendorSet, encode_tc_string
from consent.store.schema import LogHead

BRAND = "acme"
PURPOSE = "conversion"
OTHER = "churn"
VENDOR = 42
CMP = 31
TCF = TcfMapping(vendor=VENDOR, cmps=(CMP,), purposes={PURPOSE: (1, 4), OTHER: (10,)})
ISSUER = TcIssuer(
    cmp_id=CMP,
    cmp_version=1,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    publisher_country="DE",
)
TOLD = "Your browser asks us not to share your data. May we nevertheless?"
STRING = TcString(
    created=datetime(2026, 11, 1, tzinfo=UTC),
    last_updated=datetime(2026, 11, 1, tzinfo=UTC),
    cmp_id=CMP,
    cmp_version=2,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    policy_version=5,
    purposes_consent=frozenset({1, 4, 10}),
    publisher_country="DE",
    vendors_consent=VendorSet.of([VENDOR]),
    disclosed_vendors=VendorSet.of([VENDOR, 43]),
)


def pseudonym(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()


ANN = pseudonym("ann")
BEN = pseudonym("ben")


def declare(world: Any, **fields: Any) -> SignalMapping:
    """Declare that opt-outs end one purpose and leave the other, and that TC strings can grant both."""
    for purpose in (PURPOSE, OTHER):
        told = world.officer.publish_notice(Notice(purpose=purpose, language="en", text=TOLD))
    mapping = SignalMapping(
        opt_outs={PURPOSE: (OptOut.SALE, OptOut.SHARING)},
        unaffected=(OTHER,),
        conflict_notices=(told,),
        tcf=TcfRules(mapping=TCF, notices=world.notices),
        export=TcExport(issuer=ISSUER, disclosed_vendors=(VENDOR, 43)),
    ).model_copy(update=fields)
    world.brand(BRAND)
    world.officer.declare_signal_mapping(BRAND, mapping)
    return mapping


def tc_text(*, day: datetime | None = None, **fields: Any) -> str:
    """Write a TC string that counts, apart from what `fields` say."""
    times = {} if day is None else {"created": day, "last_updated": day}
    return encode_tc_string(replace(STRING, **{**times, **fields}))


def midnight(world: Any, *, days: int = 0) -> datetime:
    """Return the start of the clock's day, or of another."""
    now: datetime = world.clock.now
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=days)


def allowed(world: Any, subject: str, purpose: str = PURPOSE, channel: Channel | None = None) -> bool:
    query = DecisionQuery(brand=BRAND, subject=subject, purpose=purpose, channel=channel)
    (decision,) = world.brand(BRAND).decide([query])
    return bool(decision.allowed)


def act(world: Any, subject: str, act: Act, key: str, **fields: Any) -> None:
    """Record one choice a second after whatever happened before; without a scope, of the mapped purpose."""
    world.clock.advance()
    scope = {} if "channel" in fields else {"purpose": PURPOSE}
    if act is Act.GRANT and "channel" not in fields:
        scope["notice"] = world.notices[fields.get("purpose", PURPOSE)]
    choice = Choice.model_validate({"brand": BRAND, "subject": subject, "act": act, **scope, **fields})
    world.brand(BRAND).record([choice], idempotency_key=key)


def log_size(world: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        size: int = unit.session.scalar(select(LogHead.size))
    return size


def entry(world: Any, index: int) -> dict[str, Any]:
    """Return what an entry about Ann says."""
    page = world.brand(BRAND).search_log(LogQuery(brand=BRAND, subject=ANN, limit=500))
    (payload,) = [hit.payload for hit in page.entries if hit.log_index == index]
    found: dict[str, Any] = payload
    return found


def gpc(world: Any, *values: str, subject: str = ANN) -> Any:
    world.clock.advance()
    return world.brand(BRAND).honour_gpc(BRAND, subject, values)
