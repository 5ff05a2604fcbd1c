"""Settings of the coordinator: table `coordinator` of the configuration file, `CONFIDE_COORDINATOR_*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from consent.client import PATIENT
from consent.configuration import ServiceSettings
from consent.contract import Name, PublicKey


class CoordinatorSettings(ServiceSettings):
    """One run: which task, which brands, and where things are kept."""

    table: ClassVar[str] = "coordinator"
    model_config = SettingsConfigDict(env_prefix="CONFIDE_COORDINATOR_", frozen=True, extra="forbid")

    run_id: Name
    """A run that has this id already is resumed."""
    data_dir: Path
    """States of runs."""
    task_file: Path
    """The approved task, JSON."""
    key_file: Path
    """The coordinator's signing key, 32 raw bytes, readable by its owner alone."""
    consent_url: str
    consent_token_file: Path
    consent_patience: Annotated[float, Field(ge=0, le=600)] = PATIENT.seconds
    """Seconds that one call to the consent service may wait altogether when it is told to come back."""
    brands: dict[Name, PublicKey]
    """Enrolled public key of every brand of the run."""
    round_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """How long a manifest holds."""
    reply_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds to wait for replies to one attempt, and for brands to connect."""
    setup_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds to wait for replies to one message of a run's setup, in trust mode `distributed`."""
    unmask_timeout: Annotated[float, Field(gt=0)] = 300.0
    """Seconds to wait for the shares that open a sum, in trust mode `distributed`."""
    run_seconds: Annotated[float, Field(gt=0, le=366 * 86_400)] = 7 * 86_400.0
    """How long brands answer for a run in trust mode `distributed`, from its setup on."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How often a round is opened anew, and a closing sent again, before the run stops."""
