"""One brand agent on a bench: both parties that it believes are in the test's hands."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_federation import BRANDS, DELTA, EPSILON, PURPOSE, ZeroNoise, small_table, small_task

from client.agent import (
    BrandAgent,
    BrandIdentity,
    BrandLedger,
    BrandPolicy,
    ModelStore,
    PurposePolicy,
    TrustAnchors,
)
from client.agent.cohort import CohortGate
from client.agent.ledger import COMMITTED
from client.agent.pseudonyms import Pseudonymizer
from client.features import CustomerTable
from client.port import Arrays, RoundReply, RoundRequest
from consent.contract import (
    Attestation,
    Mechanism,
    Participant,
    Phase,
    RoundManifest,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
    Unspent,
)
from consent.contract.membership import members_root
from consent.contract.plan import solver_for
from consent.errors import ConflictError, StaleSnapshotError
from privacy.aggregation import OpenMasker
from privacy.randomness import NoiseSource
from privacy.solvers import SolverState
from privacy.vectors import arrays_digest

BRAND = BRANDS[0]
RUN = "run-1"
BEGIN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LIMITS = PurposePolicy(epsilon=EPSILON, delta=DELTA, minimum_cohort=20)


@dataclass
class Snapshots:
    """A consent service's answers to one brand; `members_asked` counts how often members were handed out."""

    key: SigningKey
    opted_in: tuple[str, ...]
    now: Callable[[], datetime]
    brand: str = BRAND
    latest: Signed[SnapshotHead] | None = None
    handed_out: tuple[str, ...] | None = None
    members_asked: int = 0

    def seal(self, **changes: Any) -> Signed[SnapshotHead]:
        values: dict[str, Any] = {
            "brand": self.brand,
            "purpose": PURPOSE,
            "root": members_root(self.opted_in),
            "size_class": 64,
            "log_size": 9,
            "sealed_at": self.now(),
            "not_after": self.now() + timedelta(days=1),
        }
        signer = changes.pop("signer", self.key)
        self.latest = Signed[SnapshotHead].seal(SnapshotHead(**{**values, **changes}), signer)
        self.handed_out = self.opted_in
        return self.latest

    def withdraw(self, pseudonym: str) -> None:
        self.opted_in = tuple(member for member in self.opted_in if member != pseudonym)

    def current_head(self, purpose: str) -> Signed[SnapshotHead]:
        del purpose
        if self.latest is None or self.latest.body.root != members_root(self.opted_in):
            raise StaleSnapshotError("Customers changed their minds since the snapshot was sealed.")
        return self.latest

    def members(self, purpose: str, root: str) -> tuple[str, ...]:
        del purpose, root
        self.members_asked += 1
        assert self.handed_out is not None
        return self.handed_out


@dataclass
class Customers:
    """A table that counts how often it is read."""

    table: CustomerTable
    reads: int = 0

    def training_table(self, task: TaskSpec) -> CustomerTable:
        del task
        self.reads += 1
        return self.table


@dataclass
class UnspentBox:
    """The consent service's letter box for rounds that cost nothing; it may be shut."""

    statements: list[Signed[Unspent]] = field(default_factory=list)
    shut: bool = False

    def state_unspent(self, statement: Signed[Unspent]) -> None:
        if self.shut:
            raise ConflictError("The round may still be spent.")
        self.statements.append(statement)


@dataclass
class AgentBench:
    """An agent, the keys it believes, and a run that a test plays with it round by round."""

    folder: Path
    task: TaskSpec = field(default_factory=small_task)
    policy: BrandPolicy = field(default_factory=lambda: BrandPolicy({PURPOSE: LIMITS}))
    noise: NoiseSource = field(default_factory=ZeroNoise)
    table: CustomerTable = field(default_factory=lambda: small_table(BRAND))
    now: datetime = BEGIN
    brand: str = BRAND
    coordinator: SigningKey = field(default_factory=SigningKey.generate)
    consent: SigningKey = field(default_factory=SigningKey.generate)
    key: SigningKey = field(default_factory=SigningKey.generate)
    unspent: UnspentBox = field(default_factory=UnspentBox)

    def __post_init__(self) -> None:
        self.pseudonymizer = Pseudonymizer(b"k" * 32)
        opted_in = tuple(sorted(self.pseudonymizer.pseudonyms(self.table.customers)))
        self.snapshots = Snapshots(self.consent, opted_in, lambda: self.now, self.brand)
        self.customers = Customers(self.table)
        self.solver = solver_for(self.task)
        self.state: SolverState = self.solver.start()
        self.agent = self.assemble()
        self.head = self.snapshots.seal()

    def assemble(self) -> BrandAgent:
        """Start the agent anew on the same folder."""
        return BrandAgent(
            identity=BrandIdentity(self.brand, self.key),
            anchors=TrustAnchors(self.coordinator.public_key, self.consent.public_key),
            policy=self.policy,
            ledger=BrandLedger(self.folder / "ledger.db", clock=lambda: self.now),
            cohorts=CohortGate(self.pseudonymizer, self.snapshots, self.customers),
            models=ModelStore(self.folder / "models"),
            unspent=self.unspent,
            noise=self.noise,
            masker=OpenMasker(),
            clock=lambda: self.now,
        )

    def arrays(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        return dict(self.solver.query(self.state).to_arrays())

    def participant(self, **changes: Any) -> Participant:
        values: dict[str, Any] = {"brand": self.brand, "key": self.key.public_key, "snapshot": self.head}
        return Participant(**{**values, **changes})

    def mechanism(self, **changes: Any) -> Mechanism:
        plan = self.solver.mechanism(self.state.marginals)
        values = {"sensitivity": plan.sensitivity, "noise_multiplier": plan.noise_multiplier, "grid": plan.grid}
        return Mechanism(**{**values, **changes})

    def manifest(self, **changes: Any) -> RoundManifest:
        values: dict[str, Any] = {
            "run_id": RUN,
            "round": self.state.next_round,
            "attempt": 0,
            "task": self.task.digest(),
            "purpose": self.task.purpose,
            "phase": Phase.MARGINALS if self.state.marginals is None else Phase.GRADIENT,
            "model": arrays_digest(self.arrays()),
            "mechanism": self.mechanism(),
            "participants": (self.participant(),),
            "epsilon_before": 0.0,
            "epsilon_after": EPSILON,
            "opened_at": self.now,
            "not_after": self.now + timedelta(hours=1),
        }
        return RoundManifest(**{**values, **changes})

    def request(
        self,
        manifest: RoundManifest | None = None,
        *,
        task: TaskSpec | None = None,
        arrays: Arrays | None = None,
        signer: SigningKey | None = None,
    ) -> RoundRequest:
        """Return a request of the coordinator; without arguments, the one that the run's next round needs."""
        signed = Signed[RoundManifest].seal(manifest or self.manifest(), signer or self.coordinator)
        return RoundRequest(
            task=(task or self.task).model_dump_json(),
            manifest=signed.model_dump_json(),
            arrays=self.arrays() if arrays is None else arrays,
        )

    def with_arrays(self, **changes: Any) -> RoundRequest:
        """Return a request whose manifest was signed over changed arrays; None leaves an array out."""
        changed = {**self.arrays(), **changes}
        arrays = {name: array for name, array in changed.items() if array is not None}
        return self.request(self.manifest(model=arrays_digest(arrays)), arrays=arrays)

    def play(self, rounds: int, run_id: str = RUN) -> None:
        """Take an honest run some rounds further."""
        for _ in range(rounds):
            reply = self.agent.release(self.request(self.manifest(run_id=run_id)))
            mechanism = self.solver.mechanism(self.state.marginals)
            self.state = self.solver.advance(self.state, mechanism.from_grid(reply.total), 1)

    def restart_run(self) -> None:
        """Begin another run of the task."""
        self.state = self.solver.start()

    def ledger_rows(self, *, committed: bool = False) -> list[tuple[Any, ...]]:
        """Return the ledger as it lies in its file."""
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            rows = connection.execute("SELECT id, purpose, run_id, round, state, payload FROM ledger").fetchall()
        return [row for row in rows if row[4] == COMMITTED] if committed else rows

    def close(self) -> None:
        self.agent.ledger.close()


def word(reply: RoundReply) -> Attestation:
    """Return what a reply attests."""
    return Signed[Attestation].model_validate_json(reply.attestation).body
