"""A whole federation in one process: consent service, agents and coordinator as deployed, without sockets.

Everything that a deployment would keep on several machines is kept in one folder, so that a run that was
killed is started again from the folder alone:

    consent/        keys, database and published log of the consent service
    brands/NAME/    keys, ledger and models of a brand's agent
    coordinator/    key and states of the coordinator
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
from flwr.app import Context, RecordDict

from client.agent import BrandPolicy, CustomerSource, PurposePolicy, TrustAnchors
from client.agent.assembly import AgentParts, assemble_agent
from client.agent.keyring import AgentKeys, read_or_create
from client.port import AgentPort
from client.relay import build_client_app
from consent.client import ConsentClient
from consent.clock import utc_now
from consent.contract import Notice, Purpose, SigningKey, TaskSpec
from consent.errors import NotFoundError
from consent.service import create_app, initialise
from consent.settings import ConsentSettings
from consent.transport import InProcessTransport
from consent.wire import Role, RunRecord
from privacy.randomness import NoiseSource
from privacy.solvers import SolverState
from server.app import build_server_app
from server.coordinator import Coordinator, protocol_for
from server.driving import Limits, Observer
from server.local_grid import LocalGrid
from server.runs import RunFolder

COORDINATOR = "coordinator"
OFFICER = "officer"
ROUND_SECONDS = 3600.0
PROMPT = Limits(attempts=5, setup_seconds=0, collect_seconds=0, unmask_seconds=0)
"""In one process a reply is there when a message has been sent, or never comes."""
BRAND_KEY = "brand"


@dataclass(frozen=True)
class Terms:
    """What all brands of a federation agree on before anything runs.

    Attributes:
        task: what is trained.
        purposes: the purposes that choices may name.
        notices: the texts that customers are served.
    """

    task: TaskSpec
    purposes: Sequence[Purpose]
    notices: Sequence[Notice]


class Federation:
    """Opens, and creates at first, a federation in a folder; a context manager that owns its parts.

    Args:
        folder: where everything is kept.
        terms: what was agreed.
        sources: each brand's customers.
        noise: where each agent's noise comes from; None for the operating system's CSPRNG.
    """

    def __init__(
        self,
        folder: Path,
        terms: Terms,
        sources: Mapping[str, CustomerSource],
        *,
        noise: Callable[[str], NoiseSource | None] = lambda _brand: None,
    ) -> None:
        self.folder = folder
        self.terms = terms
        self._resources = ExitStack()
        settings = ConsentSettings(data_dir=folder / "consent")
        self._operator_token = initialise(settings)
        app = create_app(settings)
        self._resources.callback(app.state.workplace.close)
        self.publish_log: Callable[[], None] = app.state.workplace.publish_now
        transport = self._resources.enter_context(InProcessTransport(app))
        self._http = self._resources.enter_context(httpx.Client(transport=transport, base_url="http://consent"))
        self.log_folder = settings.log_dir
        self.operator = ConsentClient(self._http, self._operator_token)
        self.officer = self._principal(Role.OFFICER, OFFICER)
        self._coordinator_key = SigningKey.from_private_bytes(
            read_or_create(folder / COORDINATOR / "coordinator.key", _new_key)
        )
        self.coordinator = self._principal(
            Role.COORDINATOR, COORDINATOR, self._coordinator_key.public_key, folder / COORDINATOR
        )
        self.brands = {name: self._brand(name, source, noise(name)) for name, source in sources.items()}
        self.notices = self._agree()

    def run(self, run_id: str, observer: Observer) -> SolverState:
        """Run the task, or go on with it where an earlier process stopped, and return the final state.

        Raises:
            server.errors.ServerError: a round could not be closed.
        """
        coordinator = self._coordinator(run_id, observer)
        server_app = build_server_app(lambda _context: coordinator)
        ports: Mapping[str, AgentPort] = {name: parts.agent for name, parts in self.brands.items()}
        client_app = build_client_app(lambda context: ports[str(context.node_config[BRAND_KEY])])
        grid = LocalGrid(client_app, [{BRAND_KEY: name} for name in self.brands])
        server_app(grid=grid, context=Context(1, 1, {}, RecordDict(), {}))
        return coordinator.folder.load(self.terms.task.total_rounds - 1)

    def record(self, run_id: str) -> RunRecord:
        """Return what the consent service has of a run; nothing before its first round."""
        try:
            return self.coordinator.run(run_id)
        except NotFoundError:
            return RunRecord(manifests=(), releases=())

    def states(self, run_id: str) -> RunFolder:
        """Return the coordinator's folder of a run."""
        return RunFolder(self.folder / COORDINATOR / run_id)

    def close(self) -> None:
        """Close every part."""
        for parts in self.brands.values():
            parts.agent.ledger.close()
        self._resources.close()

    def __enter__(self) -> Self:
        """Return the federation itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close every part."""
        self.close()

    def _principal(
        self, role: Role, name: str, public_key: str | None = None, folder: Path | None = None
    ) -> ConsentClient:
        """Return a principal's access, enrolling it when its token file is not there yet."""
        path = (folder or self.folder) / f"{name}.token"
        token = read_or_create(path, lambda: self.operator.enrol(role, name, public_key).encode())
        return ConsentClient(self._http, token.decode())

    def _brand(self, name: str, source: CustomerSource, noise: NoiseSource | None) -> AgentParts:
        folder = self.folder / "brands" / name
        keys = AgentKeys.open(folder)
        privacy = self.terms.task.privacy
        limits = PurposePolicy(privacy.epsilon, privacy.delta, self.terms.task.minimum_cohort)
        return assemble_agent(
            brand=name,
            folder=folder,
            anchors=TrustAnchors(self._coordinator_key.public_key, self.operator.service_key()),
            policy=BrandPolicy({self.terms.task.purpose: limits}),
            consent=self._principal(Role.BRAND, name, keys.signing.public_key, folder),
            customers=source,
            noise=noise,
        )

    def _agree(self) -> Mapping[str, str]:
        """Declare purposes, publish notices and approve the task; return each purpose's notice by hash."""
        for purpose in self.terms.purposes:
            self.operator.declare_purpose(purpose)
        notices = {notice.purpose: self.officer.publish_notice(notice) for notice in self.terms.notices}
        task = self.terms.task
        self.officer.approve_task(task, task.privacy.epsilon, tuple(self.brands))
        return notices

    def _coordinator(self, run_id: str, observer: Observer) -> Coordinator:
        protocol = protocol_for(
            self.terms.task,
            run_id=run_id,
            brands={name: parts.agent.hello().key for name, parts in self.brands.items()},
            key=self._coordinator_key,
            permissions=self.coordinator,
            round_seconds=ROUND_SECONDS,
            clock=utc_now,
        )
        return Coordinator(
            protocol=protocol,
            folder=self.states(run_id),
            history=self.coordinator.run,
            observer=observer,
            limits=PROMPT,
        )


def _new_key() -> bytes:
    return SigningKey.generate().private_bytes()
