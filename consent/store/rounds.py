"""The tables about secure sums beside their rounds: what a run agreed on, and how its attempts ended."""

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import DIGEST, NAME, Base, log_index


class RunSetupRow(Base):
    """What the brands of a run agree on before its first round."""

    __tablename__ = "run_setups"
    run_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, unique=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.digest"))
    coordinator: Mapped[str] = mapped_column(NAME)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class ClosingRow(Base):
    """Whose sums of a round are opened; one a round, for good."""

    __tablename__ = "closings"
    run_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    manifest: Mapped[str] = mapped_column(ForeignKey("rounds.digest"), unique=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()


class AbandonmentRow(Base):
    """An attempt that will never be opened."""

    __tablename__ = "abandonments"
    manifest: Mapped[str] = mapped_column(ForeignKey("rounds.digest"), primary_key=True)
    run_id: Mapped[str] = mapped_column(NAME, index=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()
