"""Settings of the brand agent: table `agent` of the configuration file, `CONFIDE_AGENT_*`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from consent.client import PATIENT
from consent.configuration import ServiceSettings
from consent.contract import Name, PublicKey


class PurposeLimits(BaseModel):
    """What the brand allows for one purpose, whatever the coordinator asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Annotated[float, Field(gt=0, le=16)] = 1.0
    delta: Annotated[float, Field(gt=0, lt=1e-3)] = 1e-6
    minimum_cohort: Annotated[int, Field(ge=2)] = 50
    fewest_brands: Annotated[int, Field(ge=3, le=100)] = 3
    """Fewest brands of a run whose sums are opened together, in trust mode `distributed`."""


class TableLocation(BaseModel):
    """Customers from a CSV file that has the task's columns, its label and an id column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["table"] = "table"
    path: Path
    id_column: str


class EventsLocation(BaseModel):
    """Customers from the agent's own event store, as of a cut-off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["events"] = "events"
    cutoff: AwareDatetime


class AgentSettings(ServiceSettings):
    """Where the agent keeps its things, whom it believes and what it allows."""

    table: ClassVar[str] = "agent"
    model_config = SettingsConfigDict(
        env_prefix="CONFIDE_AGENT_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    brand: Name
    data_dir: Path
    """Keys, ledger, events and models; readable by the agent alone."""
    consent_url: str
    consent_token_file: Path
    consent_patience: Annotated[float, Field(ge=0, le=600)] = PATIENT.seconds
    """Seconds that one call to the consent service may wait altogether when it is told to come back."""
    consent_key: PublicKey
    """Public key under which the consent service signs snapshots."""
    coordinator_key: PublicKey
    """Public key under which the coordinator signs manifests and releases."""
    customers: Annotated[TableLocation | EventsLocation, Field(discriminator="kind")]
    purposes: dict[Name, PurposeLimits]
    """Purposes that the brand takes part in; every other one is refused."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8720
    relay_token_file: Path
    """The token that the Flower relay must bring."""
