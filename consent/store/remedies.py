"""The tables about what follows for models when customers who were in their training withdraw."""

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import DIGEST, NAME, Base, log_index


class RemedyPolicyRow(Base):
    """What an officer chose for the models of a task; without a row, `bound`."""

    __tablename__ = "remedy_policies"
    task: Mapped[str] = mapped_column(ForeignKey("tasks.digest"), primary_key=True)
    policy: Mapped[str] = mapped_column(String(8))
    log_index: Mapped[int] = log_index()


class RemedyRow(Base):
    """What withdrawals of a brand's customers ask of one run's models; it names no customer."""

    __tablename__ = "remedies"
    __table_args__ = (Index(None, "brand", "run_id"),)
    log_index: Mapped[int] = log_index(primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    run_id: Mapped[str] = mapped_column(NAME)
    purpose: Mapped[str] = mapped_column(ForeignKey("purposes.purpose"))
    task: Mapped[str] = mapped_column(ForeignKey("tasks.digest"))
    policy: Mapped[str] = mapped_column(String(8))
    first_round: Mapped[int] = mapped_column()
    """The first round in which one of the customers was."""
    upto_index: Mapped[int] = mapped_column(BigInteger)
    """The last withdrawal that it answers: customers sealed after it do not have them."""
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What it was closed with, as JSON; empty while it is open, and where the bound is the answer."""
    closed_index: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("log_entries.log_index"))


class RemedyCursorRow(Base):
    """Up to where in the log a brand's withdrawals were looked at."""

    __tablename__ = "remedy_cursors"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    seen: Mapped[int] = mapped_column(BigInteger)


class WithdrawnModelRow(Base):
    """A model that is out of use."""

    __tablename__ = "withdrawn_models"
    model: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    run_id: Mapped[str] = mapped_column(NAME)
    replaced_by: Mapped[str | None] = mapped_column(DIGEST)
    log_index: Mapped[int] = log_index()
