"""The tables. Rows that the log speaks of name their entry by `log_index`."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAME = String(64)
DIGEST = String(64)


class UtcTime(TypeDecorator[datetime]):
    """A time that is aware and in UTC on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ANN401
        """Read UTC; SQLite drops the offset."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables, with constraint names that migrations can address."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def log_index(*, primary_key: bool = False) -> Mapped[int]:
    """The entry that tells of a row."""
    return mapped_column(
        BigInteger, ForeignKey("log_entries.log_index"), primary_key=primary_key, autoincrement=False
    )


class LogEntry(Base):
    """An entry of the log with what opens it: in clear, sealed where there is a `key_id`, or erased."""

    __tablename__ = "log_entries"
    __table_args__ = (
        Index(
            None, "key_id", sqlite_where=text("key_id IS NOT NULL"), postgresql_where=text("key_id IS NOT NULL")
        ),
    )
    log_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry: Mapped[bytes] = mapped_column(LargeBinary)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's key under which `payload` holds nonce, salt and payload; then `salt` is empty."""


class SubjectKeyRow(Base):
    """The data key of one customer, wrapped under the service's payload key; erasure deletes it."""

    __tablename__ = "subject_keys"
    __table_args__ = (UniqueConstraint("brand", "subject"),)
    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Index of the first entry that was sealed under it, so that no number is ever used twice."""
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(DIGEST)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    wrapped_by: Mapped[str] = mapped_column(String(16))
    """Which payload key wraps it, as `consent.log.payloads.wrapping_key_id` names it."""


class ScrubRow(Base):
    """A place that still holds bytes which a committed transaction took away; gone once it was rewritten."""

    __tablename__ = "scrubs"
    place: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The path of a published segment of openings, or the database itself."""
    requests: Mapped[int] = mapped_column()
    """How many erasures asked for it."""


class LogHead(Base):
    """The one head of the log; writers compare and swap its size."""

    __tablename__ = "log_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    frontier: Mapped[bytes] = mapped_column(LargeBinary)


class LogKeyRow(Base):
    """A key that signs heads of the log, or did; none before the first rotation."""

    __tablename__ = "log_keys"
    public_key: Mapped[str] = mapped_column(String(44), primary_key=True)
    retires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When it signs no more; empty for the current key."""
    log_index: Mapped[int] = log_index()
    """The rotation that named it last."""


class PrincipalRow(Base):
    """Who may call: a role, a name, the hash of a token, a signing key where the role signs."""

    __tablename__ = "principals"
    __table_args__ = (UniqueConstraint("role", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(NAME)
    brand: Mapped[str | None] = mapped_column(NAME)
    """The one brand whose rows the principal may see; empty for who serves all of them."""
    token_hash: Mapped[str] = mapped_column(DIGEST, unique=True)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the token ends; empty for operators and for tokens from before tokens ended."""
    public_key: Mapped[str | None] = mapped_column(String(44))
    person: Mapped[str | None] = mapped_column(DIGEST)
    """A hash of whom an identity provider knows, the same in all of their roles; empty for who was enrolled."""
    log_index: Mapped[int] = log_index()


class PurposeRow(Base):
    """A declared purpose."""

    __tablename__ = "purposes"
    purpose: Mapped[str] = mapped_column(NAME, primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class NoticeRow(Base):
    """A published notice, by the hash of its text."""

    __tablename__ = "notices"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"), primary_key=True)
    language: Mapped[str] = mapped_column(String(5))
    text: Mapped[str] = mapped_column(Text)
    replaced_by: Mapped[str | None] = mapped_column(DIGEST)
    """The notice whose text says something else: grants under this one hold no longer."""
    replaced_index: Mapped[int | None] = mapped_column(BigInteger)
    """The entry that says that it is replaced."""
    log_index: Mapped[int] = log_index()


class ChoiceRow(Base):
    """One act of one customer; never changed, deleted only by the customer's erasure."""

    __tablename__ = "choices"
    __table_args__ = (Index(None, "brand", "subject"),)
    log_index: Mapped[int] = log_index(primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(DIGEST)
    kind: Mapped[str] = mapped_column(String(8))
    scope: Mapped[str] = mapped_column(NAME)
    act: Mapped[str] = mapped_column(String(8))
    notice: Mapped[str | None] = mapped_column(DIGEST)
    method: Mapped[str] = mapped_column(String(8))
    collection_point: Mapped[str | None] = mapped_column(NAME)
    guardian: Mapped[str | None] = mapped_column(DIGEST)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)


class StateRow(Base):
    """What holds now for (brand, purpose or channel, subject): the fold of that customer's choices."""

    __tablename__ = "states"
    __table_args__ = (
        Index(None, "brand", "subject"),
        Index(
            None,
            "brand",
            "kind",
            "scope",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"),
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    scope: Mapped[str] = mapped_column(NAME, primary_key=True)
    subject: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    act: Mapped[str] = mapped_column(String(8))
    notice: Mapped[str | None] = mapped_column(DIGEST)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    decided_at: Mapped[datetime] = mapped_column(UtcTime)
    log_index: Mapped[int] = log_index()


class CohortRow(Base):
    """When the customers who granted a purpose last changed; a snapshot from before that is stale."""

    __tablename__ = "cohorts"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"), primary_key=True)
    changed_index: Mapped[int] = mapped_column(BigInteger)
    rebuilt_index: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """When it last changed by something that the choices since do not tell: an erasure, a merge, a new notice."""


class SnapshotRow(Base):
    """A sealed head with the size that its size class hides."""

    __tablename__ = "snapshots"
    __table_args__ = (Index(None, "brand", "purpose", "log_index"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"))
    digest: Mapped[str] = mapped_column(DIGEST, unique=True)
    members: Mapped[int] = mapped_column()
    log_size: Mapped[int] = mapped_column(BigInteger)
    not_after: Mapped[datetime] = mapped_column(UtcTime)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class TaskRow(Base):
    """A task that an officer approved."""

    __tablename__ = "tasks"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class ApprovalRow(Base):
    """A brand that an approved task may ask."""

    __tablename__ = "approvals"
    task: Mapped[str] = mapped_column(ForeignKey("tasks.digest"), primary_key=True)
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    log_index: Mapped[int] = log_index()


class CeilingRow(Base):
    """The most that one customer of a brand may spend on a purpose; the last approval holds."""

    __tablename__ = "ceilings"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"), primary_key=True)
    epsilon: Mapped[float] = mapped_column()
    delta: Mapped[float] = mapped_column()
    log_index: Mapped[int] = log_index()


class RoundRow(Base):
    """One attempt of one round that may be computed."""

    __tablename__ = "rounds"
    __table_args__ = (UniqueConstraint("run_id", "round", "attempt"), Index(None, "run_id", "slot", unique=True))
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    run_id: Mapped[str] = mapped_column(NAME)
    round: Mapped[int] = mapped_column()
    attempt: Mapped[int] = mapped_column()
    slot: Mapped[int | None] = mapped_column()
    """Where in its run's secure sum it is masked; empty in trust mode `local`."""
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"))
    task: Mapped[str] = mapped_column(ForeignKey("tasks.digest"))
    coordinator: Mapped[str] = mapped_column(NAME)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class RoundSnapshotRow(Base):
    """Which snapshot a brand trains on in one attempt."""

    __tablename__ = "round_snapshots"
    __table_args__ = (Index(None, "brand"),)
    manifest: Mapped[str] = mapped_column(ForeignKey("rounds.digest"), primary_key=True)
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"))


class SpendRow(Base):
    """A line of the ledger: what one round costs the customers of one brand, whatever the round asks for."""

    __tablename__ = "spends"
    __table_args__ = (Index(None, "brand", "purpose"),)
    run_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"))
    kind: Mapped[str] = mapped_column(String(16))
    """The round's phase."""
    noise_multiplier: Mapped[float] = mapped_column()
    """For a customer at one brand."""
    shared: Mapped[bool] = mapped_column(Boolean(create_constraint=False))
    """Whether the noise is added once for all brands, under a secure sum."""
    brands_per_customer: Mapped[int] = mapped_column()
    """Up to how many brands one customer may be at, as the task says."""
    delta: Mapped[float] = mapped_column()
    state: Mapped[str] = mapped_column(String(9))
    """As `consent.service.ledger.State`."""
    manifest: Mapped[str | None] = mapped_column(ForeignKey("rounds.digest"))
    """The attempt that the brand attested, once released."""
    log_index: Mapped[int] = log_index()
    """The entry that reserved it."""
    settled_index: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("log_entries.log_index"))
    """The entry that committed or expired it."""


class ReleaseRow(Base):
    """The outcome of a round."""

    __tablename__ = "releases"
    run_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    model_after: Mapped[str] = mapped_column(DIGEST)
    coordinator: Mapped[str] = mapped_column(NAME)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class IdempotencyRow(Base):
    """What a request with this key was answered, so that a repeat has no second effect."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "first_index"), Index(None, "made_on"))
    principal_id: Mapped[int] = mapped_column(ForeignKey("principals.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request: Mapped[str | None] = mapped_column(DIGEST)
    """Hash of the request; empty once a customer in it was erased, so that it matches no guess."""
    response: Mapped[bytes] = mapped_column(LargeBinary)
    first_index: Mapped[int] = mapped_column(BigInteger)
    """Index of the first of the entries that the request made."""
    made_on: Mapped[date] = mapped_column(Date)
