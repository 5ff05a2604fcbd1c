"""The table about brands: who answers for what each of them does."""

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from consent.store.schema import NAME, Base, log_index


class ControllerRow(Base):
    """What customers of a brand are told of its controller; the last record holds."""

    __tablename__ = "controllers"
    brand: Mapped[str] = mapped_column(NAME, primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    log_index: Mapped[int] = log_index()
