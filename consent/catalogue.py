"""What customers can be asked for, as the service lists it: purposes and notices, a page at a time."""

from consent.contract import ContractModel, Digest, Name, Purpose

MAX_PAGE = 100


class PurposePage(ContractModel):
    """Declared purposes, by name."""

    purposes: tuple[Purpose, ...]
    cursor: Name | None
    """After which one to go on; None at the end."""


class NoticeEntry(ContractModel):
    """A published notice."""

    notice: Digest
    purpose: Name
    language: str
    replaced_by: Digest | None
    """The notice whose text says something else: grants under this one hold no longer."""


class NoticePage(ContractModel):
    """Notices of one purpose, by hash."""

    notices: tuple[NoticeEntry, ...]
    cursor: Digest | None
    """After which one to go on; None at the end."""


class NoticeTexts(ContractModel):
    """The text with a hash, and what it was published for."""

    text: str
    published: tuple[NoticeEntry, ...]
