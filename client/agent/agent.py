"""The brand agent: opens data only for rounds that every check allows, and lets out only noised, signed sums."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from client.agent.checks import CheckedRound, check_delivery, check_round, check_time
from client.agent.cohort import CohortGate
from client.agent.ledger import BrandLedger, LedgerLine, Work
from client.agent.models import ModelStore
from client.agent.policy import BrandPolicy, PurposePolicy
from client.agent.secure_checks import place_of
from client.agent.secure_runs import SecureRuns
from client.agent.trust import BrandIdentity, TrustAnchors
from client.agent.unspent import UnspentDesk, state_unspent
from client.errors import RefusalError
from client.port import (
    Hello,
    KeepRequest,
    ModelDelivery,
    OpenRequest,
    RoundReply,
    RoundRequest,
    SetupRequest,
    ShareRequest,
    Total,
)
from client.training import Trainer
from consent.contract import Attestation, Signed, canonical_json
from privacy.aggregation import Masker
from privacy.errors import PrivacyError
from privacy.randomness import NoiseSource
from privacy.secure_sum import Ring


class BrandAgent:
    """The agent of one brand; everything that it needs of the outside is passed in.

    Args:
        identity: the brand's name and signing key.
        anchors: the public keys that it believes.
        policy: the brand's own limits.
        ledger: the brand's own privacy ledger.
        cohorts: who may be used, and their encoded rows.
        models: where finished models are kept.
        unspent: who is told that a round has cost nothing.
        noise: where noise comes from.
        masker: what leaves of a sum that carries all its noise, in trust mode `local`.
        clock: the time, with zone.
    """

    def __init__(
        self,
        *,
        identity: BrandIdentity,
        anchors: TrustAnchors,
        policy: BrandPolicy,
        ledger: BrandLedger,
        cohorts: CohortGate,
        models: ModelStore,
        unspent: UnspentDesk,
        noise: NoiseSource,
        masker: Masker,
        clock: Callable[[], datetime],
    ) -> None:
        self.identity = identity
        self.ledger = ledger
        self.models = models
        self._anchors = anchors
        self._policy = policy
        self._cohorts = cohorts
        self._unspent = unspent
        self._noise = noise
        self._masker = masker
        self._clock = clock
        self._runs = SecureRuns(identity=identity, anchors=anchors, policy=policy, ledger=ledger, clock=clock)
        self._trainers: dict[tuple[str, int], Trainer] = {}
        self._one_at_a_time = threading.Lock()

    def hello(self) -> Hello:
        """Say which brand this is, and under which key."""
        return Hello(brand=self.identity.brand, key=self.identity.key.public_key)

    def setup(self, request: SetupRequest) -> str:
        """Join a run of trust mode `distributed`, and say under which keys; see `SecureRuns.setup`."""
        return self._runs.setup(request)

    def share(self, request: ShareRequest) -> str:
        """Share the secrets of a run among its brands; see `SecureRuns.share`."""
        return self._runs.share(request)

    def keep(self, request: KeepRequest) -> None:
        """Keep what the brands of a run shared with this one; see `SecureRuns.keep`."""
        self._runs.keep(request)

    def open(self, request: OpenRequest) -> str:
        """Help to open the sum of a round; see `SecureRuns.open`."""
        return self._runs.open(request)

    def release(self, request: RoundRequest) -> RoundReply:
        """Take part in a round: check, reserve, compute, bound, add noise, commit, sign.

        A request that was answered before gets the very same sum again, whatever has changed since.

        Raises:
            RefusalError: a check failed; nothing has left, and nothing new was computed.
        """
        checked = check_round(request, self.identity, self._anchors, self._runs.setup_of)
        limits = self._limits(checked)
        with self._one_at_a_time:
            state_unspent(self.ledger, self.identity, self._unspent, self._clock())
            released = self._released_before(checked)
            if released is None:
                check_time(checked, self._clock())
                if checked.setup is not None:
                    self._runs.check_next(checked.manifest, _shape(checked))
                self._cohorts.check_current(checked.snapshot)
                released = self._compute(checked, limits)
            return self._attest(checked, released)

    def install(self, delivery: ModelDelivery) -> None:
        """Keep a finished model for decisions, and forget the secrets of the run that made it.

        Raises:
            RefusalError: the model is not one that the coordinator released.
        """
        task, release = check_delivery(delivery, self._anchors)
        self._policy.for_task(task)
        self.models.install(task, delivery.arrays)
        if task.privacy.trust_mode == "distributed":
            self._runs.end(release.run_id)

    def _limits(self, checked: CheckedRound) -> PurposePolicy:
        if checked.setup is None:
            return self._policy.for_task(checked.task)
        return self._policy.for_run(checked.task, len(checked.setup.brands))

    def _released_before(self, checked: CheckedRound) -> "_Released | None":
        if checked.setup is None:
            line = self.ledger.find_committed(_work(checked))
            return None if line is None else _Released(line.number, _integers(line.released()))
        masked = self._runs.masked_before(checked.manifest)
        return None if masked is None else _Released(masked.line, _elements(checked, masked.payload))

    def _compute(self, checked: CheckedRound, limits: PurposePolicy) -> "_Released":
        """Reserve, compute and commit; a consent change while computing drops the sum."""
        customers = self._cohorts.contribution(
            checked.task, checked.manifest.run_id, checked.snapshot, minimum=limits.minimum_cohort
        )
        line = self.ledger.reserve(_work(checked), ceiling=limits.epsilon, delta=limits.delta)
        if line.payload is not None:
            return _Released(line.number, _integers(line.payload))
        try:
            exact = self._trainer(checked).exact_sum(checked.query, customers, cohort=checked.snapshot.root)
            noised = self._noised(checked, exact)
        except PrivacyError as error:
            raise RefusalError(str(error)) from None
        self._cohorts.check_current(checked.snapshot)
        return self._commit(checked, noised, line)

    def _noised(self, checked: CheckedRound, exact: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return a sum in grid steps with all the noise of its round in it, or with this brand's share."""
        if checked.setup is None:
            return checked.mechanism.release(exact, self._noise)
        share = checked.shares.draw(exact.size, self._noise.random_bytes)
        return checked.mechanism.to_grid(exact) + share

    def _commit(self, checked: CheckedRound, noised: NDArray[np.int64], line: LedgerLine) -> "_Released":
        if checked.setup is None:
            committed = self.ledger.commit(line, _little_endian(self._masker.mask(noised)))
            return _Released(committed.number, _integers(committed.released()))
        masked = self._runs.mask(checked.setup, checked.manifest, _shape(checked), noised, line)
        return _Released(masked.line, _elements(checked, masked.payload))

    def _trainer(self, checked: CheckedRound) -> Trainer:
        key = (checked.manifest.task, 0 if checked.setup is None else len(checked.setup.brands))
        return self._trainers.setdefault(key, Trainer(checked.solver))

    def _attest(self, checked: CheckedRound, released: "_Released") -> RoundReply:
        attestation = Attestation(
            brand=self.identity.brand,
            manifest=checked.manifest.digest(),
            snapshot_root=checked.snapshot.root,
            payload=hashlib.sha256(_little_endian(released.total)).hexdigest(),
            ledger_entry=released.line,
            epsilon_spent=self.ledger.epsilon(checked.task.purpose, checked.task.privacy.delta),
            noise="system" if self._noise.guaranteed else "seeded",
        )
        signed = Signed[Attestation].seal(attestation, self.identity.key)
        return RoundReply(attestation=signed.model_dump_json(), total=released.total)


@dataclass(frozen=True)
class _Released:
    """What leaves, under which ledger line."""

    line: int
    total: Total


def _shape(checked: CheckedRound) -> str:
    """Return the digest of what a round computes: what shapes this brand's sum, and nothing that does not.

    A round of trust mode `distributed` is the same whichever snapshot an attempt at it is under.
    """
    shape = {
        "run": checked.manifest.run_id,
        "round": checked.manifest.round,
        "task": checked.manifest.task,
        "model": checked.manifest.model,
        "mechanism": checked.manifest.mechanism.digest(),
    }
    if checked.setup is None:
        shape["snapshot"] = checked.snapshot.root
    return hashlib.sha256(canonical_json(shape)).hexdigest()


def _work(checked: CheckedRound) -> Work:
    """Return the ledger key of a round; it costs what it costs a customer at as many brands as the task allows."""
    most = checked.solver.brands_per_customer
    return Work(
        purpose=checked.task.purpose,
        run_id=checked.manifest.run_id,
        round=checked.manifest.round,
        digest=_shape(checked),
        noise_multiplier=checked.solver.noise_multiplier(checked.manifest.round, brands=most),
        not_after=checked.manifest.not_after,
    )


def _little_endian(total: Total) -> bytes:
    return total.astype(total.dtype.newbyteorder("<")).tobytes()


def _integers(payload: bytes) -> NDArray[np.int64]:
    return np.frombuffer(payload, dtype="<i8").astype(np.int64)


def _elements(checked: CheckedRound, payload: bytes | None) -> NDArray[np.unsignedinteger]:
    kind = np.dtype(Ring(place_of(checked.manifest).ring_bits).type)
    return np.frombuffer(payload or b"", dtype=kind.newbyteorder("<")).astype(kind)
