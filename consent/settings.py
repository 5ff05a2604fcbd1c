"""Settings of the consent service: table `consent` of the configuration file, `CONFIDE_CONSENT_*`."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator
from pydantic_settings import SettingsConfigDict

from consent.configuration import ServiceSettings
from consent.contract import Name
from consent.wire import Role


class WitnessSetting(BaseModel):
    """A witness that is shown the log's heads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Its submission prefix, without `/add-checkpoint`."""
    vkey: str
    """The verifier key of its cosignatures."""


class OidcRole(BaseModel):
    """What a value of the claim makes of a person; signing roles and operators are enrolled, never mapped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Annotated[str, Field(min_length=1)]
    role: Literal[Role.OFFICER, Role.AUDITOR, Role.BRAND_ADMIN]
    brand: Name | None = None
    """Whose admin; of a brand admin alone."""

    @model_validator(mode="after")
    def _brand_fits(self) -> Self:
        if (self.role is Role.BRAND_ADMIN) != (self.brand is not None):
            raise ValueError("A brand belongs to a brand admin, and to nobody else.")
        return self


class OidcSetting(BaseModel):
    """The identity provider whose bearer tokens are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    """What the provider names this service."""
    jwks_url: Annotated[str, Field(pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])[^\s]+$")]
    """Where its keys are; plain HTTP on this machine alone."""
    claim: Annotated[str, Field(min_length=1)] = "groups"
    roles: Annotated[tuple[OidcRole, ...], Field(min_length=1)]


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
    enrolment_validity: Annotated[int, Field(ge=60, le=86_400)] = 3_600
    """Seconds for which runs can be set up with what the service said of who is enrolled."""
    publish_interval: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Seconds that a log entry may wait for others before a head over it is published; 0 publishes before
    the request is answered."""
    decision_interval: Annotated[float, Field(gt=0, le=60)] = 5
    """Seconds between entries that account for decisions; a crash loses the account of those since the last."""
    log_mldsa: bool = False
    """Whether heads also carry an ML-DSA-44 signature, which holds against quantum computers."""
    witnesses: Annotated[tuple[WitnessSetting, ...], Field(max_length=16)] = ()
    """Who cosigns the log's heads."""
    witness_quorum: Annotated[int, Field(ge=0)] = 0
    """How many witnesses must cosign a head before it is published; 0 publishes with those that do."""
    oidc: OidcSetting | None = None
    """Without one, nobody is asked about people, and every token is one that this service gave."""
    workers: Annotated[int, Field(ge=1, le=1_024)] = 1
    """Processes that serve beside each other: each of them admits its share of what is allowed."""
    rate_factor: Annotated[float, Field(gt=0)] = 1
    """What every limit on how often somebody may ask is multiplied by."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Whose `X-Forwarded-For` is believed; otherwise a peer is the address at the other end of the socket."""
    gpc_last_update: date | None = None
    """Since when `/.well-known/gpc.json` says that we honour Global Privacy Control; without it, nothing does."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Largest request body that is read."""
    max_import_bytes: Annotated[int, Field(ge=1_024)] = 2 * 1024 * 1024 * 1024
    """Largest file of choices that is taken in, a piece at a time."""
    idempotency_days: Annotated[int, Field(ge=1, le=400)] = 30
    """Days for which a request is known by its idempotency key; after them its repeat is a new request."""

    webhook_interval: Annotated[float, Field(gt=0, le=60)] = 1
    """Seconds between looks at which choices brands' webhooks wait for."""
    webhook_days: Annotated[int, Field(ge=1, le=30)] = 5
    """Days after which a webhook that takes nothing is given up."""
    webhook_loopback_ca: Path | None = None
    """For tests alone: webhooks may be on this machine, under certificates of the authority in this file."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """With less free space on the log's disk the service says that it is not ready."""

    @property
    def url(self) -> str:
        """The database to use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'consent.db'}"

    @property
    def log_dir(self) -> Path:
        """The folder that the log is published to."""
        return self.data_dir / "log"
