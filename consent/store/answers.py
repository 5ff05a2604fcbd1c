"""The table about answers that were given: hashes of them, which tell of nobody."""

from datetime import datetime

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import NAME, Base, UtcTime, log_index


class AnswerTreeRow(Base):
    """The leaves of what a brand was answered about a purpose in one batch; deleted after some days."""

    __tablename__ = "answer_trees"
    __table_args__ = (Index(None, "batch"), Index(None, "answered_until"))
    log_index: Mapped[int] = log_index(primary_key=True)
    """The entry that holds the root, which stays."""
    batch: Mapped[str] = mapped_column(String(32))
    brand: Mapped[str] = mapped_column(NAME)
    purpose: Mapped[str | None] = mapped_column(NAME)
    """Empty for purposes that are not declared."""
    answered_until: Mapped[datetime] = mapped_column(UtcTime)
    leaves: Mapped[bytes] = mapped_column(LargeBinary)
    """Hashes of 32 bytes, one after the other, in the order of the answers."""
