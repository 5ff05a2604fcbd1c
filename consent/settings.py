"""Settings of the consent service: table `consent` of the configuration file, `CONFIDE_CONSENT_*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from consent.configuration import ServiceSettings


class WitnessSetting(BaseModel):
    """A witness that is shown the log's heads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Its submission prefix, without `/add-checkpoint`."""
    vkey: str
    """The verifier key of its cosignatures."""


class ConsentSettings(ServiceSettings):
    """Where the service keeps its things and how long what it says holds."""

    table: ClassVar[str] = "consent"
    model_config = SettingsConfigDict(env_prefix="CONFIDE_CONSENT_", frozen=True, extra="forbid")

    data_dir: Path = Path("runs/consent")
    """Keys, published log and, by default, the database."""
    database_url: str | None = None
    """SQLAlchemy URL; without one, a SQLite file in `data_dir`."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8710
    log_origin: Annotated[str, Field(pattern=r"^[^\s+]+$")] = "confide.local/consent"
    """The log's name: a URL without schema; it can not change once entries are published."""
    snapshot_validity: Annotated[int, Field(ge=60, le=7 * 86_400)] = 86_400
    """Seconds that a sealed snapshot holds when nothing changes."""
    publish_interval: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Seconds that a log entry may wait for others before a head over it is published; 0 publishes before
    the request is answered."""
    log_mldsa: bool = False
    """Whether heads also carry an ML-DSA-44 signature, which holds against quantum computers."""
    witnesses: Annotated[tuple[WitnessSetting, ...], Field(max_length=16)] = ()
    """Who cosigns the log's heads."""
    witness_quorum: Annotated[int, Field(ge=0)] = 0
    """How many witnesses must cosign a head before it is published; 0 publishes with those that do."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Largest request body that is read."""

    @property
    def url(self) -> str:
        """The database to use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'consent.db'}"

    @property
    def log_dir(self) -> Path:
        """The folder that the log is published to."""
        return self.data_dir / "log"
