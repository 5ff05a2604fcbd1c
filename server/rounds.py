"""The round protocol without Flower: open a round, accept brands' sums, close it with its release.

One round goes through these states, each transition a signed value that the consent service has logged
before the next one can happen:

    open      manifest signed, budget reserved; brands may compute
    pending   some sums accepted; brands that refused a stale snapshot are asked again under a new attempt
    released  sum opened, optimiser step taken, spend and model digest committed in one transaction

A coordinator that dies anywhere starts again from the last released round: it repeats the manifests of the
open one, and brands that had answered give the same sums again.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from consent.contract import (
    Attestation,
    Mechanism,
    Participant,
    Phase,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
)
from consent.contract.plan import solver_for
from consent.errors import SignatureError
from privacy import accounting
from privacy.aggregation import Aggregator
from privacy.solvers import SolverState
from privacy.vectors import Arrays, arrays_digest
from server.errors import ReplyRefusedError


class Permissions(Protocol):
    """What the coordinator asks of the consent service."""

    def seal_snapshots(self, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
        """Seal who may be used now, one head per brand, in order."""
        ...

    def open_round(self, manifest: Signed[RoundManifest]) -> None:
        """Have the manifest checked, its budget reserved and the round logged."""
        ...

    def commit_release(self, release: Signed[RoundRelease]) -> None:
        """Commit spend and release together."""
        ...


@dataclass(frozen=True)
class Accepted:
    """A brand's verified sum: under which manifest, its signed word, and the vector in grid steps."""

    manifest: str
    attestation: Signed[Attestation]
    total: NDArray[np.int64]


@dataclass(frozen=True)
class OpenRound:
    """A round that has not been released: the attempts so far and the sums accepted so far."""

    arrays: Arrays
    attempts: tuple[Signed[RoundManifest], ...]
    accepted: Mapping[str, Accepted]

    def with_reply(self, accepted: Accepted) -> "OpenRound":
        """Return the round with one more brand's sum."""
        return replace(self, accepted={**self.accepted, accepted.attestation.body.brand: accepted})


class RoundProtocol:
    """Opens, checks and closes the rounds of one run.

    Args:
        task: the approved task.
        run_id: the run's name, the same when it is resumed.
        brands: enrolled public key of each participating brand.
        key: the coordinator's signing key.
        permissions: the consent service.
        aggregator: opens sums.
        round_seconds: how long a manifest holds.
        clock: the time, with zone.
    """

    def __init__(
        self,
        *,
        task: TaskSpec,
        run_id: str,
        brands: Mapping[str, str],
        key: SigningKey,
        permissions: Permissions,
        aggregator: Aggregator,
        round_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.task = task
        self.run_id = run_id
        self.brands = dict(sorted(brands.items()))
        self.solver = solver_for(task)
        self._key = key
        self._permissions = permissions
        self._aggregator = aggregator
        self._round_seconds = round_seconds
        self._clock = clock

    def begin(self, state: SolverState, attempts: Sequence[Signed[RoundManifest]] = ()) -> OpenRound:
        """Return the state's next round with the attempts that were opened for it before, if any."""
        return OpenRound(self.solver.query(state).to_arrays(), tuple(attempts), {})

    def pending(self, current: OpenRound) -> tuple[str, ...]:
        """Return the brands whose sums are missing."""
        return tuple(brand for brand in self.brands if brand not in current.accepted)

    def reopen(self, state: SolverState, current: OpenRound) -> OpenRound:
        """Open a new attempt for the pending brands, under snapshots sealed now.

        Raises:
            consent.errors.ConsentError: the consent service refuses the round.
        """
        brands = self.pending(current)
        heads = self._permissions.seal_snapshots(self.task.purpose, brands)
        participants = tuple(
            Participant(brand=brand, key=self.brands[brand], snapshot=head)
            for brand, head in zip(brands, heads, strict=True)
        )
        manifest = self._manifest(state, current, participants)
        signed = Signed[RoundManifest].seal(manifest, self._key)
        self._permissions.open_round(signed)
        return replace(current, attempts=(*current.attempts, signed))

    def accept(self, current: OpenRound, attestation: str, total: NDArray[np.int64]) -> OpenRound:
        """Take a brand's reply in, if it is what one of the round's manifests asked for.

        Raises:
            ReplyRefusedError: it is not; the brand stays pending.
        """
        signed = self._attested(attestation)
        word = signed.body
        manifest = next((attempt for attempt in current.attempts if attempt.body.digest() == word.manifest), None)
        asked = manifest.body.participant(word.brand) if manifest else None
        if manifest is None or asked is None:
            raise ReplyRefusedError(f"Brand {word.brand!r} answered a manifest that did not ask it.")
        if word.snapshot_root != asked.snapshot.body.root:
            raise ReplyRefusedError(f"Brand {word.brand!r} used another snapshot than the manifest's.")
        if total.dtype != np.int64 or total.shape != self._sum_shape(current):
            raise ReplyRefusedError(f"Brand {word.brand!r} sent a sum of another form than the round's.")
        if word.payload != hashlib.sha256(total.astype("<i8").tobytes()).hexdigest():
            raise ReplyRefusedError(f"Brand {word.brand!r} attests to another sum than it sent.")
        return current.with_reply(Accepted(word.manifest, signed, total))

    def close(self, state: SolverState, current: OpenRound) -> tuple[SolverState, Signed[RoundRelease]]:
        """Open the sum, take the step and return the next state with the release that commits it.

        Raises:
            privacy.errors.InvalidContributionError: the sums do not fit the round.
        """
        accepted = [current.accepted[brand] for brand in self.brands]
        opened = self._aggregator.open([reply.total for reply in accepted])
        mechanism = self.solver.mechanism(state.marginals)
        shares = self._aggregator.noise_shares(len(accepted))
        after = self.solver.advance(state, mechanism.from_grid(opened), shares)
        release = RoundRelease(
            run_id=self.run_id,
            round=state.next_round,
            task=self.task.digest(),
            purpose=self.task.purpose,
            manifests=tuple(dict.fromkeys(reply.manifest for reply in accepted)),
            attestations=tuple(reply.attestation for reply in accepted),
            aggregate=arrays_digest({"sum": opened}),
            model_before=arrays_digest(current.arrays),
            model_after=arrays_digest(self.solver.publish(after).to_arrays()),
            state_after=arrays_digest(after.to_arrays()),
            epsilon_spent=self._epsilon(state.next_round + 1),
        )
        return after, Signed[RoundRelease].seal(release, self._key)

    def commit(self, release: Signed[RoundRelease]) -> None:
        """Have the consent service commit spend and release together."""
        self._permissions.commit_release(release)

    def _sum_shape(self, current: OpenRound) -> tuple[int, ...]:
        """Return the shape of every brand's sum: as the point's, or that of the marginals before there is one."""
        if "marginals" in current.arrays:
            return current.arrays["point"].shape
        return (self.solver.marginals_length,)

    def _attested(self, attestation: str) -> Signed[Attestation]:
        try:
            signed = Signed[Attestation].model_validate_json(attestation)
            key = self.brands.get(signed.body.brand)
            if key is None:
                raise ReplyRefusedError(f"Brand {signed.body.brand!r} is not part of this run.")
            signed.verify(key)
        except ValidationError:
            raise ReplyRefusedError("A reply carries no attestation; check the agents' versions.") from None
        except SignatureError as error:
            raise ReplyRefusedError(str(error)) from None
        return signed

    def _manifest(
        self, state: SolverState, current: OpenRound, participants: tuple[Participant, ...]
    ) -> RoundManifest:
        mechanism = self.solver.mechanism(state.marginals)
        now = self._clock()
        return RoundManifest(
            run_id=self.run_id,
            round=state.next_round,
            attempt=len(current.attempts),
            task=self.task.digest(),
            purpose=self.task.purpose,
            phase=Phase.MARGINALS if state.marginals is None else Phase.GRADIENT,
            model=arrays_digest(current.arrays),
            mechanism=Mechanism(
                sensitivity=mechanism.sensitivity,
                noise_multiplier=mechanism.noise_multiplier,
                grid=mechanism.grid,
            ),
            participants=participants,
            epsilon_before=self._epsilon(state.next_round),
            epsilon_after=self._epsilon(state.next_round + 1),
            opened_at=now,
            not_after=now + timedelta(seconds=self._round_seconds),
        )

    def _epsilon(self, rounds: int) -> float:
        """Return the epsilon of this run's first `rounds` rounds, at the task's delta."""
        multipliers = [self.solver.noise_multiplier(number) for number in range(rounds)]
        return accounting.epsilon(multipliers, self.task.privacy.delta)
