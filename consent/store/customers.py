"""The tables about customers beside their choices: families, pending confirmations, signals and requests."""

from datetime import datetime

from sqlalchemy import Boolean, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import DIGEST, NAME, Base, UtcTime, log_index


class MergeRow(Base):
    """Two pseudonyms of one brand that are one customer, while `active`; `one` sorts before `other`."""

    __tablename__ = "merges"
    __table_args__ = (Index(None, "brand", "other"),)
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    one: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    other: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean(create_constraint=False))
    log_index: Mapped[int] = log_index()


class GuardianRow(Base):
    """Who answers for a customer until when; no date of birth is kept."""

    __tablename__ = "guardians"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    subject: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    guardian: Mapped[str] = mapped_column(DIGEST)
    until: Mapped[datetime] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()


class ConfirmationRow(Base):
    """A grant that waits for its customer to confirm it; it authorises nothing before."""

    __tablename__ = "confirmations"
    __table_args__ = (Index(None, "brand", "subject"),)
    token_hash: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(DIGEST)
    choice: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()


class SignalRow(Base):
    """A preference signal that was honoured, and whether it went against a stored choice."""

    __tablename__ = "signals"
    __table_args__ = (Index(None, "brand", "subject"),)
    log_index: Mapped[int] = log_index(primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(DIGEST)
    signal: Mapped[str] = mapped_column(String(8))
    conflict: Mapped[bool] = mapped_column(Boolean(create_constraint=False))
    received_at: Mapped[datetime] = mapped_column(UtcTime)


class RightsRequestRow(Base):
    """A customer's request for a copy or for erasure, which a second person decides."""

    __tablename__ = "rights_requests"
    __table_args__ = (Index(None, "brand", "subject"),)
    request_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str | None] = mapped_column(DIGEST)
    """Empty once the customer was erased."""
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    verified_by: Mapped[str] = mapped_column(NAME)
    """How the customer's identity was verified."""
    requested_by: Mapped[int] = mapped_column()
    person: Mapped[str | None] = mapped_column(DIGEST)
    """Whom an identity provider knows behind `requested_by`: a brand that decides does not see that principal."""
    decided_by: Mapped[int | None] = mapped_column()
    requested_at: Mapped[datetime] = mapped_column(UtcTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()
