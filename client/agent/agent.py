"""The brand agent: opens data only for rounds that every check allows, and lets out only noised, signed sums."""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from client.agent.checks import (
    BrandIdentity,
    CheckedRound,
    TrustAnchors,
    check_delivery,
    check_round,
    check_time,
)
from client.agent.cohort import CohortGate, CustomerSource
from client.agent.ledger import BrandLedger, LedgerLine, Work
from client.agent.models import ModelStore
from client.agent.policy import BrandPolicy, PurposePolicy
from client.errors import RefusalError
from client.port import Hello, ModelDelivery, RoundReply, RoundRequest
from client.training import Trainer
from consent.contract import Attestation, Signed, canonical_json
from privacy.aggregation import Masker
from privacy.errors import PrivacyError
from privacy.randomness import NoiseSource

__all__ = ["BrandAgent", "BrandIdentity", "CustomerSource", "TrustAnchors"]


class BrandAgent:
    """The agent of one brand; everything that it needs of the outside is passed in.

    Args:
        identity: the brand's name and signing key.
        anchors: the public keys that it believes.
        policy: the brand's own limits.
        ledger: the brand's own privacy ledger.
        cohorts: who may be used, and their encoded rows.
        models: where finished models are kept.
        noise: where noise comes from.
        masker: how a noised sum is hidden from all but the total.
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
        self._noise = noise
        self._masker = masker
        self._clock = clock
        self._trainers: dict[str, Trainer] = {}
        self._one_at_a_time = threading.Lock()

    def hello(self) -> Hello:
        """Say which brand this is, and under which key."""
        return Hello(brand=self.identity.brand, key=self.identity.key.public_key)

    def release(self, request: RoundRequest) -> RoundReply:
        """Take part in a round: check, reserve, compute, bound, add noise, commit, sign.

        A request that was answered before gets the very same sum again, whatever has changed since.

        Raises:
            RefusalError: a check failed; nothing has left, and nothing new was computed.
        """
        checked = check_round(request, self.identity, self._anchors)
        limits = self._policy.for_task(checked.task)
        work = _work(checked)
        with self._one_at_a_time:
            line = self.ledger.find_committed(work)
            if line is None:
                check_time(checked, self._clock())
                self._cohorts.check_current(checked.snapshot)
                line = self._compute(checked, work, limits)
            return self._attest(checked, line)

    def install(self, delivery: ModelDelivery) -> None:
        """Keep a finished model for decisions.

        Raises:
            RefusalError: the model is not one that the coordinator released.
        """
        task, _ = check_delivery(delivery, self._anchors)
        self._policy.for_task(task)
        self.models.install(task, delivery.arrays)

    def _compute(self, checked: CheckedRound, work: Work, limits: PurposePolicy) -> LedgerLine:
        """Reserve, compute and commit; a consent change while computing drops the sum."""
        customers = self._cohorts.contribution(
            checked.task, checked.manifest.run_id, checked.snapshot, minimum=limits.minimum_cohort
        )
        line = self.ledger.reserve(work, ceiling=limits.epsilon, delta=limits.delta)
        if line.payload is not None:
            return line
        trainer = self._trainers.setdefault(checked.manifest.task, Trainer(checked.solver))
        try:
            exact = trainer.exact_sum(checked.query, customers, cohort=checked.snapshot.root)
            released = checked.mechanism.release(exact, self._noise)
        except PrivacyError as error:
            raise RefusalError(str(error)) from None
        self._cohorts.check_current(checked.snapshot)
        return self.ledger.commit(line, _to_bytes(self._masker.mask(released)))

    def _attest(self, checked: CheckedRound, line: LedgerLine) -> RoundReply:
        payload = line.released()
        attestation = Attestation(
            brand=self.identity.brand,
            manifest=checked.manifest.digest(),
            snapshot_root=checked.snapshot.root,
            payload=hashlib.sha256(payload).hexdigest(),
            ledger_entry=line.number,
            epsilon_spent=self.ledger.epsilon(checked.task.purpose, checked.task.privacy.delta),
            noise="system" if self._noise.guaranteed else "seeded",
        )
        signed = Signed[Attestation].seal(attestation, self.identity.key)
        return RoundReply(attestation=signed.model_dump_json(), total=_from_bytes(payload))


def _work(checked: CheckedRound) -> Work:
    """Return the ledger key of a round: everything that shapes this brand's sum, and nothing that does not."""
    shape = {
        "run": checked.manifest.run_id,
        "round": checked.manifest.round,
        "task": checked.manifest.task,
        "model": checked.manifest.model,
        "snapshot": checked.snapshot.root,
        "mechanism": checked.manifest.mechanism.digest(),
    }
    return Work(
        purpose=checked.task.purpose,
        run_id=checked.manifest.run_id,
        round=checked.manifest.round,
        digest=hashlib.sha256(canonical_json(shape)).hexdigest(),
        noise_multiplier=checked.mechanism.noise_multiplier,
    )


def _to_bytes(vector: NDArray[np.int64]) -> bytes:
    return vector.astype("<i8").tobytes()


def _from_bytes(payload: bytes) -> NDArray[np.int64]:
    return np.frombuffer(payload, dtype="<i8").astype(np.int64)
