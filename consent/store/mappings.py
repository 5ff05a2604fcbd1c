"""The table about what others' signals mean for a brand's purposes."""

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import NAME, Base, log_index


class SignalMappingRow(Base):
    """What signals and consent strings mean for one brand; the last declaration holds."""

    __tablename__ = "signal_mappings"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()
