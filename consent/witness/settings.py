"""Settings of a witness: table `witness` of the configuration file, `CONFIDE_WITNESS_*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from consent.configuration import ServiceSettings


class WitnessSettings(ServiceSettings):
    """Who the witness is, where it keeps its state and which logs it looks after."""

    table: ClassVar[str] = "witness"
    model_config = SettingsConfigDict(env_prefix="CONFIDE_WITNESS_", frozen=True, extra="forbid")

    data_dir: Path = Path("runs/witness")
    """The key, the verifier key to hand out, and the state."""
    name: Annotated[str, Field(pattern=r"^[^\s+]+$")] = "confide.local/witness"
    """The witness's name: a URL without schema; cosignatures carry it."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8720
    logs: tuple[str, ...] = ()
    """Verifier keys of the logs that are witnessed; several of one origin while its key is rotated."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 256 * 1024
    """Largest request body that is read."""
    submissions_per_second: Annotated[float, Field(gt=0, le=10_000)] = 10
    """Heads of one log that are taken over time; the next one gets 429."""
    submission_burst: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Heads of one log that are taken at once."""
    lock_seconds: Annotated[float, Field(ge=0, le=30)] = 2
    """How long a request waits for another worker's transaction before it gets 503."""
