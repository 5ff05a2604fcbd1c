"""The signed papers of a run: manifests that open attempts, brands' attestations, releases that end rounds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from consent.contract import (
    Abandonment,
    Attestation,
    Closing,
    ContractModel,
    Enrolment,
    Mechanism,
    Participant,
    Phase,
    RoundManifest,
    RoundRelease,
    RunSetup,
    SecureSlot,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
)
from consent.contract.plan import solver_for
from consent.errors import SignatureError
from privacy import accounting
from privacy.solvers import SolverState
from privacy.vectors import Arrays, arrays_digest
from server.errors import ReplyRefusedError

Body = TypeVar("Body", bound=ContractModel)


class Permissions(Protocol):
    """What the coordinator asks of the consent service in either trust mode."""

    def seal_snapshots(self, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
        """Seal who may be used now, one head per brand, in order."""
        ...

    def open_round(self, manifest: Signed[RoundManifest]) -> None:
        """Have the manifest checked, its budget reserved and the round logged."""
        ...

    def commit_release(self, release: Signed[RoundRelease]) -> None:
        """Commit spend and release together."""
        ...


class SecurePermissions(Permissions, Protocol):
    """What it asks besides in trust mode `distributed`; each but the first is logged, and may be repeated."""

    def enrolment(self, brands: Sequence[str]) -> Signed[Enrolment]:
        """Say under which keys brands are enrolled now."""
        ...

    def record_setup(self, setup: Signed[RunSetup]) -> None:
        """Record what a run's brands agree on; once for a run."""
        ...

    def close_round(self, closing: Signed[Closing]) -> None:
        """Record whose sums are opened; once for a round."""
        ...

    def abandon_round(self, abandonment: Signed[Abandonment]) -> None:
        """Record that an attempt will not be opened; refused once it is closed."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a release says of a round.

    Attributes:
        manifests: digests of the attempts whose sums are in it, in order.
        attestations: the brands' words, by name.
        aggregate: the opened sum, shape (p,), in grid steps.
        after: the solver's state with it.
        noise_shares: variance of the noise in it over that of the mechanism, as the release states it.
        closing: digest of the closing; None in trust mode `local`.
    """

    manifests: tuple[str, ...]
    attestations: tuple[Signed[Attestation], ...]
    aggregate: NDArray[np.int64]
    after: SolverState
    noise_shares: float = 1.0
    closing: str | None = None


class RunPapers:
    """Writes and checks the papers of one run.

    Args:
        task: the approved task.
        run_id: the run's name, the same when it is resumed.
        brands: enrolled public key of each participating brand.
        key: the coordinator's signing key.
        permissions: the consent service.
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
        round_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.task = task
        self.run_id = run_id
        self.brands = dict(sorted(brands.items()))
        self.solver = solver_for(task, brands=len(brands))
        self.clock = clock
        self.key = key
        self._permissions = permissions
        self._round_seconds = round_seconds

    def query(self, state: SolverState) -> Arrays:
        """Return what every brand is sent for the state's next round."""
        return self.solver.query(state).to_arrays()

    def commit(self, release: Signed[RoundRelease]) -> None:
        """Have the consent service commit spend and release together."""
        self._permissions.commit_release(release)

    def open(self, manifest: RoundManifest) -> Signed[RoundManifest]:
        """Sign an attempt's manifest and have it permitted and logged; nobody has been asked yet.

        Raises:
            consent.errors.ConsentError: the consent service refuses the round.
        """
        signed = Signed[RoundManifest].seal(manifest, self.key)
        self._permissions.open_round(signed)
        return signed

    def participants(self, brands: Sequence[str]) -> tuple[Participant, ...]:
        """Return brands with their keys and snapshots sealed now."""
        heads = self._permissions.seal_snapshots(self.task.purpose, brands)
        return tuple(
            Participant(brand=brand, key=self.brands[brand], snapshot=head)
            for brand, head in zip(brands, heads, strict=True)
        )

    def manifest(
        self,
        state: SolverState,
        attempt: int,
        participants: tuple[Participant, ...],
        slot: SecureSlot | None = None,
    ) -> RoundManifest:
        """Return the manifest of an attempt at the state's next round."""
        mechanism = self.solver.mechanism(state.marginals)
        now = self.clock()
        return RoundManifest(
            run_id=self.run_id,
            round=state.next_round,
            attempt=attempt,
            task=self.task.digest(),
            purpose=self.task.purpose,
            phase=Phase.MARGINALS if state.marginals is None else Phase.GRADIENT,
            model=arrays_digest(self.query(state)),
            mechanism=Mechanism(
                name="grid_gaussian" if slot is None else "discrete_gaussian",
                sensitivity=mechanism.sensitivity,
                noise_multiplier=mechanism.noise_multiplier,
                grid=mechanism.grid,
            ),
            participants=participants,
            epsilon_before=self._epsilon(state.next_round),
            epsilon_after=self._epsilon(state.next_round + 1),
            opened_at=now,
            not_after=now + timedelta(seconds=self._round_seconds),
            secure_sum=slot,
        )

    def attested(self, text: str, attempts: Collection[Signed[RoundManifest]]) -> Signed[Attestation]:
        """Return a brand's attestation, if it is of one of these attempts and the snapshot that it permits.

        Raises:
            ReplyRefusedError: it is not, or not signed by its brand.
        """
        signed = self.verified(Signed[Attestation], text)
        word = signed.body
        manifest = next((attempt for attempt in attempts if attempt.body.digest() == word.manifest), None)
        asked = manifest.body.participant(word.brand) if manifest else None
        if asked is None:
            raise ReplyRefusedError(f"Brand {word.brand!r} answered a manifest that did not ask it.")
        if word.snapshot_root != asked.snapshot.body.root:
            raise ReplyRefusedError(f"Brand {word.brand!r} used another snapshot than the manifest's.")
        return signed

    def verified(self, kind: type[Signed[Body]], text: str) -> Signed[Body]:
        """Return a signed value that names its brand, checked under the brand's enrolled key.

        Raises:
            ReplyRefusedError: it is malformed, of a brand outside the run, or not signed by that brand.
        """
        try:
            signed = kind.model_validate_json(text)
            brand = str(getattr(signed.body, "brand", ""))
            if brand not in self.brands:
                raise ReplyRefusedError(f"Brand {brand!r} is not part of this run.")
            signed.verify(self.brands[brand])
        except ValidationError:
            said = kind.model_fields["body"].annotation
            raise ReplyRefusedError(
                f"A reply carries no {getattr(said, '__name__', 'value').lower()}; check the agents' versions."
            ) from None
        except SignatureError as error:
            raise ReplyRefusedError(str(error)) from None
        return signed

    def sum_length(self, state: SolverState) -> int:
        """Return the length of every brand's sum: that of the point, or of the marginals before there is one."""
        return self.solver.marginals_length if state.marginals is None else int(state.weights.size)

    def release(self, state: SolverState, outcome: Outcome) -> Signed[RoundRelease]:
        """Return the release of the state's next round."""
        return Signed[RoundRelease].seal(
            RoundRelease(
                run_id=self.run_id,
                round=state.next_round,
                task=self.task.digest(),
                purpose=self.task.purpose,
                manifests=outcome.manifests,
                attestations=outcome.attestations,
                aggregate=arrays_digest({"sum": outcome.aggregate}),
                model_before=arrays_digest(self.query(state)),
                model_after=arrays_digest(self.solver.publish(outcome.after).to_arrays()),
                state_after=arrays_digest(outcome.after.to_arrays()),
                epsilon_spent=self._epsilon(state.next_round + 1),
                closing=outcome.closing,
                noise_shares=outcome.noise_shares,
            ),
            self.key,
        )

    def _epsilon(self, rounds: int) -> float:
        """Return the epsilon of this run's first `rounds` rounds, at the task's delta."""
        multipliers = [self.solver.noise_multiplier(number) for number in range(rounds)]
        return accounting.epsilon(multipliers, self.task.privacy.delta)
