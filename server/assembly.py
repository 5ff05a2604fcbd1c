"""Putting a coordinator together from its settings, for a ServerApp that Flower starts."""

import httpx
import structlog
from flwr.app import Context

from consent.client import ConsentClient, Patience
from consent.clock import utc_now
from consent.contract import RoundManifest, RoundRelease, SigningKey, TaskSpec
from privacy.solvers import SolverState
from server.coordinator import Coordinator, protocol_for
from server.driving import Limits
from server.runs import RunFolder
from server.settings import CoordinatorSettings

_LOG = structlog.get_logger()
CONSENT_TIMEOUT_SECONDS = 60.0


class LoggingObserver:
    """Logs rounds as they are opened and released, in public terms."""

    def opened(self, manifest: RoundManifest) -> None:
        """Log an attempt."""
        _LOG.info("round opened", run_id=manifest.run_id, round=manifest.round, attempt=manifest.attempt)

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """Log a release."""
        del state
        _LOG.info("round released", run_id=release.run_id, round=release.round, epsilon=release.epsilon_spent)


def coordinator_from_settings(_context: Context) -> Coordinator:
    """Return the coordinator of the run that the configuration names; a run config can not change it."""
    settings = CoordinatorSettings()
    http = httpx.Client(base_url=settings.consent_url, timeout=CONSENT_TIMEOUT_SECONDS)
    token = settings.consent_token_file.read_text().strip()
    consent = ConsentClient(http, token, patience=Patience(settings.consent_patience))
    return Coordinator(
        protocol=protocol_for(
            TaskSpec.model_validate_json(settings.task_file.read_text()),
            run_id=settings.run_id,
            brands=settings.brands,
            key=SigningKey.from_private_bytes(settings.key_file.read_bytes()),
            permissions=consent,
            round_seconds=settings.round_seconds,
            clock=utc_now,
        ),
        folder=RunFolder(settings.data_dir / settings.run_id),
        history=consent.run,
        observer=LoggingObserver(),
        limits=Limits(
            attempts=settings.max_attempts,
            setup_seconds=settings.setup_timeout,
            collect_seconds=settings.reply_timeout,
            unmask_seconds=settings.unmask_timeout,
        ),
        run_seconds=settings.run_seconds,
    )
