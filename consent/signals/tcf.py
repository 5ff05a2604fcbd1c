"""TC strings of the IAB Europe Transparency & Consent Framework 2.3, read strictly and written back.

Source: IAB Tech Lab, "Transparency and Consent String with Global Vendor & CMP List Formats", version 2.3. A TC
string is not signed: who sends it can write what it likes, so what it means is asked of `granted_purposes`,
which trusts declared consent managers alone.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from consent.errors import ConsentStringError
from consent.signals.bits import BitReader, BitWriter
from consent.signals.fields import (
    Field,
    bitfield,
    flag,
    integer,
    letters,
    moment,
    read_bitfield,
    read_fields,
    write_bitfield,
    write_fields,
)
from consent.signals.vendors import (
    NO_VENDORS,
    VendorSet,
    read_ranges,
    read_vendors,
    write_ranges,
    write_vendors,
)

MAX_CHARACTERS = 16_384
VERSION = 2
VERSION_BITS = 6
PURPOSES = 24
SPECIAL_FEATURES = 12
PURPOSE_ID_BITS = 6
RESTRICTION_BITS = 2
COUNT_BITS = 12
CUSTOM_COUNT_BITS = 6
SEGMENT_BITS = 3
DISCLOSED_VENDORS = 1
PUBLISHER_TC = 3


class RestrictionType(IntEnum):
    """What a publisher demands of vendors for one purpose."""

    NOT_ALLOWED = 0
    REQUIRE_CONSENT = 1
    REQUIRE_LEGITIMATE_INTEREST = 2


@dataclass(frozen=True, kw_only=True)
class PublisherRestriction:
    """A publisher's demand of some vendors, at least one, for one purpose from 1 to 24."""

    purpose: int
    kind: RestrictionType
    vendors: VendorSet


@dataclass(frozen=True, kw_only=True)
class PublisherTc:
    """What the customer allowed the publisher itself: purposes from 1 to 24, and its own from 1 to 63."""

    purposes_consent: frozenset[int] = frozenset()
    purposes_legitimate_interest: frozenset[int] = frozenset()
    custom_purposes: int = 0
    custom_consent: frozenset[int] = frozenset()
    custom_legitimate_interest: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class TcString:
    """A decoded TC string; times are in UTC at tenths of a second, codes are two upper-case letters.

    `IsServiceSpecific` is no field: the global scope ended in September 2021 and such strings are refused.
    """

    created: datetime
    last_updated: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    use_non_standard_texts: bool = False
    special_feature_opt_ins: frozenset[int] = frozenset()
    purposes_consent: frozenset[int] = frozenset()
    purposes_legitimate_interest: frozenset[int] = frozenset()
    purpose_one_treatment: bool = False
    """Purpose 1 was not disclosed to the customer at all."""
    publisher_country: str
    vendors_consent: VendorSet = NO_VENDORS
    vendors_legitimate_interest: VendorSet = NO_VENDORS
    publisher_restrictions: tuple[PublisherRestriction, ...] = ()
    disclosed_vendors: VendorSet
    publisher_tc: PublisherTc | None = None


def decode_tc_string(text: str) -> TcString:
    """Read a TC string, segments after the core in any order.

    Raises:
        ConsentStringError: it is malformed, over 16,384 characters long, of another version or scope, has a
            segment that 2.3 does not know or one twice, or lacks the disclosed vendors, which 2.3 demands.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConsentStringError(f"A TC string is at most {MAX_CHARACTERS} characters long.")
    core, *others = text.split(".")
    segments: dict[int, BitReader] = {}
    for other in others:
        reader = BitReader(other)
        kind = reader.integer(SEGMENT_BITS)
        if kind in segments or kind not in (DISCLOSED_VENDORS, PUBLISHER_TC):
            raise ConsentStringError("The TC string has a segment twice, or one that version 2.3 does not know.")
        segments[kind] = reader
    if DISCLOSED_VENDORS not in segments:
        raise ConsentStringError("The TC string does not say which vendors were disclosed to the customer.")
    return _decode(BitReader(core), segments[DISCLOSED_VENDORS], segments.get(PUBLISHER_TC))


def encode_tc_string(value: TcString) -> str:
    """Write a TC string: core, disclosed vendors, then the publisher's segment where there is one.

    Raises:
        ConsentStringError: a value is out of its range, or the string would be over 16,384 characters long.
    """
    _require_sound(value)
    core = BitWriter()
    core.integer(VERSION, VERSION_BITS)
    write_fields(core, _HEAD, value)
    core.flag(True)
    write_fields(core, _BODY, value)
    disclosed = BitWriter()
    disclosed.integer(DISCLOSED_VENDORS, SEGMENT_BITS)
    write_vendors(disclosed, value.disclosed_vendors)
    segments = [core, disclosed]
    if value.publisher_tc is not None:
        segments.append(_write_publisher_tc(value.publisher_tc))
    text = ".".join(segment.text() for segment in segments)
    if len(text) > MAX_CHARACTERS:
        raise ConsentStringError(f"A TC string is at most {MAX_CHARACTERS} characters long.")
    return text


def _decode(core: BitReader, disclosed: BitReader, publisher: BitReader | None) -> TcString:
    if core.integer(VERSION_BITS) != VERSION:
        raise ConsentStringError("The TC string is not of version 2.")
    fields = read_fields(core, _HEAD)
    if not core.flag():
        raise ConsentStringError("The TC string is of the global scope, which was withdrawn in 2021.")
    fields |= read_fields(core, _BODY)
    fields["disclosed_vendors"] = read_vendors(disclosed)
    fields["publisher_tc"] = None if publisher is None else _read_publisher_tc(publisher)
    core.finish()
    disclosed.finish()
    value = TcString(**fields)
    _require_sound(value)
    return value


def _require_sound(value: TcString) -> None:
    if value.last_updated < value.created:
        raise ConsentStringError("The TC string was updated before it was created.")
    seen = {(restriction.purpose, restriction.kind) for restriction in value.publisher_restrictions}
    if len(seen) != len(value.publisher_restrictions):
        raise ConsentStringError("The TC string states a publisher restriction twice.")
    for restriction in value.publisher_restrictions:
        if not 1 <= restriction.purpose <= PURPOSES or not restriction.vendors.ranges:
            raise ConsentStringError("A publisher restriction of the TC string has no vendor or no known purpose.")


def _read_restriction(reader: BitReader) -> PublisherRestriction:
    purpose = reader.integer(PURPOSE_ID_BITS)
    kind = reader.integer(RESTRICTION_BITS)
    if kind > max(RestrictionType):
        raise ConsentStringError("A publisher restriction of the TC string is of an undefined type.")
    return PublisherRestriction(purpose=purpose, kind=RestrictionType(kind), vendors=read_ranges(reader))


def _read_restrictions(reader: BitReader) -> tuple[PublisherRestriction, ...]:
    return tuple(_read_restriction(reader) for _ in range(reader.integer(COUNT_BITS)))


def _write_restrictions(writer: BitWriter, restrictions: tuple[PublisherRestriction, ...]) -> None:
    writer.integer(len(restrictions), COUNT_BITS)
    for restriction in restrictions:
        writer.integer(restriction.purpose, PURPOSE_ID_BITS)
        writer.integer(restriction.kind, RESTRICTION_BITS)
        write_ranges(writer, restriction.vendors)


def _read_publisher_tc(reader: BitReader) -> PublisherTc:
    fields = read_fields(reader, _PUBLISHER)
    for name in _CUSTOM:
        fields[name] = read_bitfield(reader, fields["custom_purposes"])
    reader.finish()
    return PublisherTc(**fields)


def _write_publisher_tc(value: PublisherTc) -> BitWriter:
    writer = BitWriter()
    writer.integer(PUBLISHER_TC, SEGMENT_BITS)
    write_fields(writer, _PUBLISHER, value)
    for name in _CUSTOM:
        write_bitfield(writer, getattr(value, name), value.custom_purposes)
    return writer


def _vendors(name: str) -> Field:
    return Field(name, read_vendors, write_vendors)


_HEAD = (
    moment("created"),
    moment("last_updated"),
    integer("cmp_id", 12),
    integer("cmp_version", 12),
    integer("consent_screen", 6),
    letters("consent_language"),
    integer("vendor_list_version", 12),
    integer("policy_version", 6),
)
_BODY = (
    flag("use_non_standard_texts"),
    bitfield("special_feature_opt_ins", SPECIAL_FEATURES),
    bitfield("purposes_consent", PURPOSES),
    bitfield("purposes_legitimate_interest", PURPOSES),
    flag("purpose_one_treatment"),
    letters("publisher_country"),
    _vendors("vendors_consent"),
    _vendors("vendors_legitimate_interest"),
    Field("publisher_restrictions", _read_restrictions, _write_restrictions),
)
_PUBLISHER = (
    bitfield("purposes_consent", PURPOSES),
    bitfield("purposes_legitimate_interest", PURPOSES),
    integer("custom_purposes", CUSTOM_COUNT_BITS),
)
_CUSTOM = ("custom_consent", "custom_legitimate_interest")
