"""The tables about who calls the service, and whom it calls."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import DIGEST, NAME, Base, UtcTime, log_index


class ApiKeyRow(Base):
    """A key that a principal made for a program: it may do no more than its scopes and ends by itself."""

    __tablename__ = "api_keys"
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    principal_id: Mapped[int] = mapped_column(ForeignKey("principals.id"))
    brand: Mapped[str | None] = mapped_column(NAME)
    """The brand of the principal, if it is of one."""
    label: Mapped[str] = mapped_column(NAME)
    key_hash: Mapped[str] = mapped_column(DIGEST, unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    """Names of scopes, sorted, with spaces between."""
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    last_used_on: Mapped[date | None] = mapped_column(Date)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()


class SubjectTokenRow(Base):
    """A token with which one customer acts for themselves; gone once it was taken back or its customer erased."""

    __tablename__ = "subject_tokens"
    __table_args__ = (Index(None, "brand", "subject"), Index(None, "brand", "expires_at"))
    token_hash: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    token_id: Mapped[str] = mapped_column(String(32), unique=True)
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(DIGEST)
    minted_by: Mapped[int] = mapped_column(ForeignKey("principals.id"))
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()


class WebhookRow(Base):
    """An address that a brand wants told of its customers' choices, and how far it was told."""

    __tablename__ = "webhooks"
    webhook_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """The signing secret, sealed under the payload key."""
    delivered: Mapped[int] = mapped_column(BigInteger)
    """Entries of the log before this one were delivered."""
    failures: Mapped[int] = mapped_column()
    next_at: Mapped[datetime | None] = mapped_column(UtcTime)
    active: Mapped[bool] = mapped_column(Boolean(create_constraint=False))
    log_index: Mapped[int] = log_index()
