"""A coordinator on a bench: a consent service on paper, and agents that sum nothing but sign what they say."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray
from small_federation import BRANDS, Watcher, small_task

from client.errors import StaleRoundError
from client.port import AgentPort, Hello, ModelDelivery, RoundReply, RoundRequest
from client.relay import build_client_app
from consent.contract import (
    Attestation,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    SolverSettings,
)
from consent.contract.plan import solver_for
from consent.errors import NotFoundError
from consent.wire import RunRecord
from privacy.aggregation import OpenSum
from privacy.solvers import Query
from server.coordinator import Coordinator
from server.driving import Limits
from server.local_grid import LocalGrid
from server.rounds import OpenRound, RoundProtocol
from server.runs import RunFolder

RUN = "run-1"
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
TASK = small_task(solver=SolverSettings(rounds=2, cells=8, max_bins=4))
SOLVER = solver_for(TASK)


def root(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()


class PaperService:
    """Seals, opens and commits whatever it is asked, and remembers it."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.manifests: list[Signed[RoundManifest]] = []
        self.releases: list[Signed[RoundRelease]] = []
        self.sealed = 0

    def seal_snapshots(self, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
        self.sealed += 1
        return tuple(
            Signed[SnapshotHead].seal(
                SnapshotHead(
                    brand=brand,
                    purpose=purpose,
                    root=root(f"{brand} {self.sealed}"),
                    size_class=64,
                    log_size=self.sealed,
                    sealed_at=NOW,
                    not_after=NOW + timedelta(days=1),
                ),
                self.key,
            )
            for brand in brands
        )

    def open_round(self, manifest: Signed[RoundManifest]) -> None:
        self.manifests.append(manifest)

    def commit_release(self, release: Signed[RoundRelease]) -> None:
        self.releases.append(release)

    def history(self, run_id: str) -> RunRecord:
        if not self.manifests:
            raise NotFoundError(f"No run {run_id}.")
        return RunRecord(manifests=tuple(self.manifests), releases=tuple(self.releases))


def sum_length(arrays: Any) -> int:
    """Return how long a round's sums are."""
    query = Query.from_arrays(arrays)
    return SOLVER.marginals_length if query.marginals is None else int(query.point.size)


@dataclass
class PaperAgent:
    """Signs a sum of plausible counts for every manifest that names it; `trouble` may raise instead."""

    brand: str
    key: SigningKey = field(default_factory=SigningKey.generate)
    trouble: Callable[[RoundManifest], None] = lambda _manifest: None
    answered: list[RoundManifest] = field(default_factory=list)
    delivered: list[ModelDelivery] = field(default_factory=list)

    def hello(self) -> Hello:
        return Hello(self.brand, self.key.public_key)

    def release(self, request: RoundRequest) -> RoundReply:
        manifest = Signed[RoundManifest].model_validate_json(request.manifest).body
        self.trouble(manifest)
        self.answered.append(manifest)
        total = np.full(sum_length(request.arrays), 40 * 2**10, dtype=np.int64)
        return RoundReply(self.attest(manifest, total).model_dump_json(), total)

    def attest(self, asked: RoundManifest, total: NDArray[np.int64], **changes: Any) -> Signed[Attestation]:
        line = asked.participant(self.brand)
        values: dict[str, Any] = {
            "brand": self.brand,
            "manifest": asked.digest(),
            "snapshot_root": line.snapshot.body.root if line else root("none"),
            "payload": hashlib.sha256(total.astype("<i8").tobytes()).hexdigest(),
            "ledger_entry": asked.round + 1,
            "epsilon_spent": 0.1,
            "noise": "system",
        }
        return Signed[Attestation].seal(Attestation(**{**values, **changes}), self.key)

    def install(self, delivery: ModelDelivery) -> None:
        self.delivered.append(delivery)


def stale(times: int, error: type[Exception] = StaleRoundError) -> Callable[[RoundManifest], None]:
    """Return trouble that is over after some attempts."""
    left = [times]

    def trouble(_manifest: RoundManifest) -> None:
        if left[0]:
            left[0] -= 1
            raise error("customer-17 changed their mind")

    return trouble


class CoordinatorBench:
    """A run's coordinator with paper agents behind a local grid, all in one folder."""

    def __init__(self, folder: Path, *, lost: Callable[[Message], bool] = lambda _message: False) -> None:
        self.folder = folder
        self.agents = {brand: PaperAgent(brand) for brand in BRANDS}
        self.connected = list(BRANDS)
        self.service = PaperService()
        self.key = SigningKey.generate()
        self.watcher = Watcher()
        self._lost = lost

    def protocol(self) -> RoundProtocol:
        return RoundProtocol(
            task=TASK,
            run_id=RUN,
            brands={brand: agent.key.public_key for brand, agent in self.agents.items()},
            key=self.key,
            permissions=self.service,
            aggregator=OpenSum(),
            round_seconds=3600,
            clock=lambda: NOW,
        )

    def coordinator(self, *, max_attempts: int = 3, timeout: float = 0.0) -> Coordinator:
        return Coordinator(
            protocol=self.protocol(),
            folder=RunFolder(self.folder),
            history=self.service.history,
            observer=self.watcher,
            limits=Limits(
                attempts=max_attempts, setup_seconds=timeout, collect_seconds=timeout, unmask_seconds=timeout
            ),
        )

    def grid(self) -> LocalGrid:
        ports: dict[str, AgentPort] = dict(self.agents)
        app = build_client_app(lambda context: ports[str(context.node_config["brand"])])
        return LocalGrid(app, [{"brand": brand} for brand in self.connected], lost=self._lost)

    def run(self, **options: Any) -> None:
        self.coordinator(**options).run(self.grid())

    def opened(self) -> tuple[RoundProtocol, OpenRound, RoundManifest]:
        """Open round 0 and return it with its manifest."""
        protocol = self.protocol()
        state = SOLVER.start()
        current = protocol.reopen(state, protocol.begin(state))
        return protocol, current, current.attempts[-1].body

    def asked(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """Return round, attempt and brands of every manifest."""
        return [
            (one.body.round, one.body.attempt, tuple(line.brand for line in one.body.participants))
            for one in self.service.manifests
        ]
