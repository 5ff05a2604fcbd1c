"""Rounds in trust mode `local`: every brand adds all the noise itself, and its sum stands on its own.

A sum that was accepted stays accepted: a brand that refused, because somebody withdrew while the round was under
way, is asked again alone, under a new attempt and a snapshot sealed then. The round is closed when every brand's
sum is there. A coordinator that dies anywhere starts again from the last released round: it repeats the manifests
of the open one, and brands that had answered give the same sums again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consent.contract import Attestation, RoundManifest, RoundRelease, Signed, wire
from privacy.aggregation import Aggregator
from privacy.solvers import SolverState
from privacy.vectors import Arrays
from server.driving import Asking, Limits, Observer, no_more_attempts
from server.errors import ReplyRefusedError
from server.mail import BrandMail, Letter, Refusal, Reply, content_of
from server.papers import Outcome, RunPapers
from server.states import RoundProgress, RoundState


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


class RoundProtocol(RunPapers):
    """Opens, checks and closes the rounds of one run.

    Args:
        aggregator: opens sums.
        **papers: as `RunPapers` takes them.
    """

    def __init__(self, *, aggregator: Aggregator, **papers: Any) -> None:  # noqa: ANN401 - RunPapers names them
        super().__init__(**papers)
        self._aggregator = aggregator

    def begin(self, state: SolverState, attempts: Sequence[Signed[RoundManifest]] = ()) -> OpenRound:
        """Return the state's next round with the attempts that were opened for it before, if any."""
        return OpenRound(self.query(state), tuple(attempts), {})

    def pending(self, current: OpenRound) -> tuple[str, ...]:
        """Return the brands whose sums are missing."""
        return tuple(brand for brand in self.brands if brand not in current.accepted)

    def reopen(self, state: SolverState, current: OpenRound) -> OpenRound:
        """Open a new attempt for the pending brands, under snapshots sealed now.

        Raises:
            consent.errors.ConsentError: the consent service refuses the round.
        """
        participants = self.participants(self.pending(current))
        signed = self.open(self.manifest(state, len(current.attempts), participants))
        return replace(current, attempts=(*current.attempts, signed))

    def accept(self, current: OpenRound, attestation: str, total: NDArray[np.int64]) -> OpenRound:
        """Take a brand's reply in, if it is what one of the round's manifests asked for.

        Raises:
            ReplyRefusedError: it is not; the brand stays pending.
        """
        signed = self.attested(attestation, current.attempts)
        word = signed.body
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
        outcome = Outcome(
            manifests=tuple(dict.fromkeys(reply.manifest for reply in accepted)),
            attestations=tuple(reply.attestation for reply in accepted),
            aggregate=opened,
            after=after,
        )
        return after, self.release(state, outcome)

    def _sum_shape(self, current: OpenRound) -> tuple[int, ...]:
        """Return the shape of every brand's sum: as the point's, or that of the marginals before there is one."""
        if "marginals" in current.arrays:
            return current.arrays["point"].shape
        return (self.solver.marginals_length,)


class LocalRound:
    """One round, asked again until every brand has answered.

    Args:
        protocol: opens, checks and closes it.
        state: the solver before it.
        attempts: manifests of it that an earlier coordinator had opened.
        limits: how often and how long to ask.
        observer: told of attempts.
    """

    def __init__(
        self,
        protocol: RoundProtocol,
        state: SolverState,
        attempts: Sequence[Signed[RoundManifest]],
        limits: Limits,
        observer: Observer,
    ) -> None:
        self._protocol = protocol
        self._before = state
        self._current = protocol.begin(state, attempts)
        self._repeated = list(attempts)
        self._left = limits.attempts
        self._seconds = limits.collect_seconds
        self._observer = observer
        self._refusals: dict[str, Refusal] = {}
        self._progress = RoundProgress(protocol.run_id, state.next_round)

    @property
    def is_open(self) -> bool:
        """Whether the sum can be read."""
        return self._progress.state is RoundState.UNMASKED

    def ask(self, mail: BrandMail) -> Asking:
        """Return what to ask now: an attempt that is open already, or a new one for the pending brands.

        Raises:
            RoundIncompleteError: the round was opened often enough, and brands are missing.
        """
        pending = self._protocol.pending(self._current)
        if not self._repeated and not self._left:
            raise no_more_attempts(self._before.next_round, pending, self._refusals, of=len(self._protocol.brands))
        mail.locate(pending, enough=len(pending), seconds=self._seconds)
        attempt = self._repeated.pop(0) if self._repeated else self._open()
        self._progress.move(RoundState.OPENED, attempt=attempt.body.attempt)
        self._progress.move(RoundState.COLLECTING)
        return Asking(self._letters(attempt), self._seconds, self._take)

    def settle(self, refusals: Mapping[str, Refusal]) -> None:
        """Close the round when every brand's sum is there."""
        self._refusals |= refusals
        if not self._protocol.pending(self._current):
            self._progress.move(RoundState.CLOSED)
            self._progress.move(RoundState.UNMASKED)

    def release(self) -> tuple[SolverState, Signed[RoundRelease]]:
        """Return the state after the round, and its release."""
        self._progress.move(RoundState.RELEASED)
        return self._protocol.close(self._before, self._current)

    def forget(self) -> None:
        """Do nothing: brands give the same sums again, so that none was kept."""

    def _open(self) -> Signed[RoundManifest]:
        self._left -= 1
        self._current = self._protocol.reopen(self._before, self._current)
        self._observer.opened(self._current.attempts[-1].body)
        return self._current.attempts[-1]

    def _letters(self, attempt: Signed[RoundManifest]) -> list[Letter]:
        texts = {wire.TASK: self._protocol.task.model_dump_json(), wire.MANIFEST: attempt.model_dump_json()}
        content = content_of(texts, self._current.arrays)
        pending = self._protocol.pending(self._current)
        return [
            Letter(line.brand, wire.ROUND_MESSAGE, content, group=str(attempt.body.round))
            for line in attempt.body.participants
            if line.brand in pending
        ]

    def _take(self, reply: Reply) -> None:
        self._current = self._protocol.accept(self._current, reply.text(wire.ATTESTATION), reply.array(wire.SUM))
