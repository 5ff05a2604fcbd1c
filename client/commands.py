"""What `confide agent` does."""

import sys
from typing import NoReturn

import httpx
import typer
import uvicorn
from pydantic import ValidationError

from client.agent import BrandAgent, BrandPolicy, CustomerSource, PurposePolicy, TrustAnchors
from client.agent.assembly import assemble_agent
from client.agent.keyring import AgentKeys
from client.agent.sources import EventSource
from client.agent.table_file import TableFile
from client.errors import ClientError
from client.events import EventStore
from client.identity import IdentityGraph
from client.service import create_app
from client.settings import AgentSettings, TableLocation
from consent.client import ConsentClient, Patience

agent = typer.Typer(help="The brand agent: it owns the brand's rows, keys and ledger.", no_args_is_help=True)

BAD_INPUT = 2
EVENTS = "events.duckdb"
CONSENT_TIMEOUT_SECONDS = 60.0


@agent.command()
def init() -> None:
    """Create the brand's keys and print the public one, under which the brand is enrolled."""
    settings = _settings()
    try:
        keys = AgentKeys.open(settings.data_dir)
    except OSError as error:
        _stop(str(error))
    typer.echo(keys.signing.public_key)


@agent.command()
def serve() -> None:
    """Serve the agent to its Flower relay on the configured address, loopback by default."""
    settings = _settings()
    try:
        app = create_app(_agent_from(settings), relay_token=settings.relay_token_file.read_text().strip())
    except (ClientError, OSError) as error:
        _stop(str(error))
    uvicorn.run(app, host=settings.host, port=settings.port, access_log=False, log_level="warning")


def _settings() -> AgentSettings:
    try:
        return AgentSettings()
    except ValidationError as error:
        fields = ", ".join(sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]}))
        _stop(f"The agent's settings are not usable ({fields}); correct them in confide.toml.")


def _agent_from(settings: AgentSettings) -> BrandAgent:
    http = httpx.Client(base_url=settings.consent_url, timeout=CONSENT_TIMEOUT_SECONDS)
    token = settings.consent_token_file.read_text().strip()
    limits = {
        purpose: PurposePolicy(limit.epsilon, limit.delta, limit.minimum_cohort, limit.fewest_brands)
        for purpose, limit in settings.purposes.items()
    }
    parts = assemble_agent(
        brand=settings.brand,
        folder=settings.data_dir,
        anchors=TrustAnchors(settings.coordinator_key, settings.consent_key),
        policy=BrandPolicy(limits),
        consent=ConsentClient(http, token, patience=Patience(settings.consent_patience)),
        customers=_customers(settings),
    )
    return parts.agent


def _customers(settings: AgentSettings) -> CustomerSource:
    location = settings.customers
    if isinstance(location, TableLocation):
        return TableFile(location.path, location.id_column)
    return EventSource(IdentityGraph(EventStore(settings.data_dir / EVENTS)), location.cutoff)


def _stop(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    sys.exit(BAD_INPUT)
