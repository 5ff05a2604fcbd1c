"""What is asked and answered about Global Privacy Control, TC strings and GPP strings, for both ends."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from consent.contract import Channel, ContractModel, Digest, Name, Pseudonym
from consent.signals import OptOut, TcfMapping, TcIssuer

HONORED = "Opt-Out Request Honored"
"""What 11 CCR 7025(c)(6) gives as its example of how a business displays that it processed the signal."""
KEPT = "Opt-Out Request Not Applied: You Agreed After You Were Told Of It"
NOT_ASKED = "No Opt-Out Request Received"
NOT_HONORED = "Opt-Out Request Not In Effect"

VendorId = Annotated[int, Field(ge=1, le=65_535)]


class TcfRules(ContractModel):
    """Whose TC strings count, what each purpose needs in them, and the notice that a grant by one names."""

    mapping: TcfMapping
    notices: Mapping[Name, Digest]


class TcExport(ContractModel):
    """Who writes TC strings for the brand, and the vendors that its notice names."""

    issuer: TcIssuer
    disclosed_vendors: Annotated[tuple[VendorId, ...], Field(min_length=1)]


class SignalMapping(ContractModel):
    """What signals and strings mean for one brand; an officer declares it, and the last declaration holds.

    A purpose that is neither in `opt_outs` nor in `unaffected` is ended by every opt-out, and so is the channel
    `ads`: what nobody has said to be no sale, sharing or targeting could be one.
    """

    opt_outs: Mapping[Name, Annotated[tuple[OptOut, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """The opt-outs that end a purpose; any one of them does."""
    unaffected: tuple[Name, ...] = ()
    """Purposes that are no sale, no sharing and no targeting across parties."""
    conflict_notices: tuple[Digest, ...] = ()
    """Notices that tell a customer of the signal, and under which they can agree nevertheless."""
    tcf: TcfRules | None = None
    """Without it, no TC string grants anything."""
    export: TcExport | None = None


class GpcSignal(ContractModel):
    """The values of every `Sec-GPC` line of a customer's request, as received, neither combined nor read."""

    brand: Name
    subject: Pseudonym
    header_values: tuple[str, ...]


class ConsentString(ContractModel):
    """A TC string or GPP string of one customer."""

    brand: Name
    subject: Pseudonym
    text: str


class SignalConflict(ContractModel):
    """A grant that a signal ended: its scope, its log entry and the notice under which it was given."""

    purpose: Name | None = None
    channel: Channel | None = None
    log_index: int
    notice: Digest | None = None


class OptOutAnswer(ContractModel):
    """What became of an opt-out, to be shown to the customer."""

    honored: bool
    """Whether everything that was asked for is in effect now."""
    message: str
    log_index: int | None = None
    """The entry that records the last signal which changed something."""
    purposes: tuple[Name, ...] = ()
    """Purposes that are ended for this customer."""
    channels: tuple[Channel, ...] = ()
    kept: tuple[Name, ...] = ()
    """Purposes, and channels by their names, that the customer agreed to after being told of the signal."""
    conflicts: tuple[SignalConflict, ...] = ()
    """Grants that this signal ended."""
    conflict_notices: tuple[Digest, ...] = ()
    """What may be shown to the customer because of the conflicts."""


class RefusedGrant(ContractModel):
    """A purpose that a string speaks for and that was not granted, and why."""

    purpose: Name
    error: str
    detail: str


class ImportedString(ContractModel):
    """What a string changed."""

    log_index: int | None = None
    """The entry that records the string's hash; None where it changed nothing."""
    granted: tuple[Name, ...] = ()
    withdrawn: tuple[Name, ...] = ()
    refused: tuple[RefusedGrant, ...] = ()


class GppAnswer(ContractModel):
    """What the sections of a GPP string led to; None for what it has no section about."""

    opt_out: OptOutAnswer | None = None
    consent: ImportedString | None = None
    problem: str | None = None
    """Why the section for the European Union counts for nothing."""


class ConfirmationRequest(ContractModel):
    """Whose opt-out is to be shown, and in which form."""

    brand: Name
    subject: Pseudonym
    format: Literal["json", "html"] = "json"


class ExportRequest(ContractModel):
    """For whom a string is to be written, and of which kind."""

    brand: Name
    subject: Pseudonym
    format: Literal["tcf", "usnat"]


class ExportedString(ContractModel):
    """A string written from stored choices, and the entry that records that it was."""

    text: str
    log_index: int
