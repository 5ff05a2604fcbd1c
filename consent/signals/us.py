"""The US sections of GPP strings: usnat (id 7, versions 1 and 2) and usca (id 8, version 1).

Answers are two-bit numbers. A notice: 0 not applicable, 1 given, 2 not given. An opt-out: 0 not applicable,
1 opted out, 2 did not opt out. Consents and the MSPA's modes likewise have 0 for not applicable; a covered
transaction is 1 or 2. Combinations that the policies rule out, such as an opt-out without a notice, are read as
they stand: the IAB's own encoder writes them, and an opt-out must not be lost to a wrong notice.

Source: IAB Tech Lab, Global Privacy Platform, sections "US National Privacy" 1.0 and 2.0 and "California" 1.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent.errors import ConsentStringError
from consent.signals.bits import BitReader, BitWriter
from consent.signals.fields import Field, answer, answers, read_fields, write_fields

VERSION_BITS = 6
OPTED_OUT = 1
NOT_OPTED_OUT = 2
NOTICE_GIVEN = 1
NOT_COVERED = 2
GPC_TYPE = 1
GPC_TYPE_BITS = 2


@dataclass(frozen=True, kw_only=True)
class UsNational:
    """A usnat section; `gpc` is None where it has no GPC sub-section.

    `sensitive_data` and `known_child` have 12 and 2 answers in version 1, 16 and 3 in version 2.
    """

    version: int = 2
    sharing_notice: int = 0
    sale_opt_out_notice: int = 0
    sharing_opt_out_notice: int = 0
    targeted_advertising_opt_out_notice: int = 0
    sensitive_data_processing_opt_out_notice: int = 0
    sensitive_data_limit_use_notice: int = 0
    sale_opt_out: int = 0
    sharing_opt_out: int = 0
    targeted_advertising_opt_out: int = 0
    sensitive_data: tuple[int, ...] = (0,) * 16
    known_child: tuple[int, ...] = (0,) * 3
    personal_data_consent: int = 0
    mspa_covered_transaction: int = NOT_COVERED
    mspa_opt_out_option_mode: int = 0
    mspa_service_provider_mode: int = 0
    gpc: bool | None = None


@dataclass(frozen=True, kw_only=True)
class UsCalifornia:
    """A usca section; `gpc` is None where it has no GPC sub-section.

    Its `sensitive_data` are nine opt-outs, its `known_child` two.
    """

    version: int = 1
    sale_opt_out_notice: int = 0
    sharing_opt_out_notice: int = 0
    sensitive_data_limit_use_notice: int = 0
    sale_opt_out: int = 0
    sharing_opt_out: int = 0
    sensitive_data: tuple[int, ...] = (0,) * 9
    known_child: tuple[int, ...] = (0,) * 2
    personal_data_consent: int = 0
    mspa_covered_transaction: int = NOT_COVERED
    mspa_opt_out_option_mode: int = 0
    mspa_service_provider_mode: int = 0
    gpc: bool | None = None


def decode_us_national(text: str) -> UsNational:
    """Read a usnat section.

    Raises:
        ConsentStringError: it is malformed, or neither of version 1 nor of 2.
    """
    return UsNational(**_decode(text, _NATIONAL))


def decode_us_california(text: str) -> UsCalifornia:
    """Read a usca section.

    Raises:
        ConsentStringError: it is malformed or not of version 1.
    """
    return UsCalifornia(**_decode(text, _CALIFORNIA))


def encode_us_national(value: UsNational) -> str:
    """Write a usnat section.

    Raises:
        ConsentStringError: an answer is out of its range, or there are not as many as the version has.
    """
    return _encode(value, _NATIONAL)


def encode_us_california(value: UsCalifornia) -> str:
    """Write a usca section.

    Raises:
        ConsentStringError: an answer is out of its range, or there are not as many as the version has.
    """
    return _encode(value, _CALIFORNIA)


def _decode(text: str, layouts: Mapping[int, tuple[Field, ...]]) -> dict[str, Any]:
    core, *others = text.split(".")
    reader = BitReader(core)
    version = reader.integer(VERSION_BITS)
    fields = read_fields(reader, _layout(version, layouts))
    reader.finish()
    if fields["mspa_covered_transaction"] == 0:
        raise ConsentStringError("A US section of the GPP string does not say whether the MSPA covers it.")
    if len(others) > 1:
        raise ConsentStringError("A US section of the GPP string has more than one sub-section.")
    gpc = _read_gpc(BitReader(others[0])) if others else None
    return {"version": version, **fields, "gpc": gpc}


def _encode(value: UsNational | UsCalifornia, layouts: Mapping[int, tuple[Field, ...]]) -> str:
    if value.mspa_covered_transaction == 0:
        raise ConsentStringError("A US section says whether the MSPA covers it: 1 or 2.")
    core = BitWriter()
    core.integer(value.version, VERSION_BITS)
    write_fields(core, _layout(value.version, layouts), value)
    if value.gpc is None:
        return core.text()
    sub_section = BitWriter()
    sub_section.integer(GPC_TYPE, GPC_TYPE_BITS)
    sub_section.flag(value.gpc)
    return f"{core.text()}.{sub_section.text()}"


def _layout(version: int, layouts: Mapping[int, tuple[Field, ...]]) -> tuple[Field, ...]:
    if version not in layouts:
        raise ConsentStringError("A US section of the GPP string is of a version that is not known here.")
    return layouts[version]


def _read_gpc(reader: BitReader) -> bool:
    if reader.integer(GPC_TYPE_BITS) != GPC_TYPE:
        raise ConsentStringError("A US section of the GPP string has a sub-section that is not GPC.")
    gpc = reader.flag()
    reader.finish()
    return gpc


def _national(sensitive: int, children: int) -> tuple[Field, ...]:
    return (
        answer("sharing_notice"),
        answer("sale_opt_out_notice"),
        answer("sharing_opt_out_notice"),
        answer("targeted_advertising_opt_out_notice"),
        answer("sensitive_data_processing_opt_out_notice"),
        answer("sensitive_data_limit_use_notice"),
        answer("sale_opt_out"),
        answer("sharing_opt_out"),
        answer("targeted_advertising_opt_out"),
        answers("sensitive_data", sensitive),
        answers("known_child", children),
        *_TAIL,
    )


_TAIL = (
    answer("personal_data_consent"),
    answer("mspa_covered_transaction"),
    answer("mspa_opt_out_option_mode"),
    answer("mspa_service_provider_mode"),
)
_NATIONAL = {1: _national(12, 2), 2: _national(16, 3)}
_CALIFORNIA = {
    1: (
        answer("sale_opt_out_notice"),
        answer("sharing_opt_out_notice"),
        answer("sensitive_data_limit_use_notice"),
        answer("sale_opt_out"),
        answer("sharing_opt_out"),
        answers("sensitive_data", 9),
        answers("known_child", 2),
        *_TAIL,
    )
}
