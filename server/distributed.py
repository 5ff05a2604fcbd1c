"""One round in trust mode `distributed`, driven from its first attempt to its release; see docs/rounds.md.

What a coordinator that is stopped anywhere needs is durable before the step that relies on it: the manifest is
with the consent service before brands are asked, the masked sums and the closing are in the run's folder before
the closing is logged, and the closing is logged before brands are asked to open. So an attempt is repeated as it
was, or the same closing is sent again; agents give the same answers to the same questions.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from consent.contract import RoundManifest, RoundRelease, Signed, wire
from consent.errors import ConflictError
from privacy.errors import SecureSumError, TamperedShareError
from privacy.solvers import SolverState
from server.driving import Asking, Limits, Observer, no_more_attempts, reasons
from server.errors import ResumeError, RoundIncompleteError
from server.mail import NO_ANSWER, BrandMail, Letter, Refusal, Reply, content_of
from server.masked_sums import Attempt, Closed, Reason, SecureProtocol
from server.runs import RunFolder
from server.setup import Agreement
from server.states import RoundProgress, RoundState

_LOG = structlog.get_logger()

TRANSIENT = frozenset({"stale_round"})
"""Refusals that a new attempt mends: somebody changed their mind while the round was under way."""


@dataclass(frozen=True)
class RunSoFar:
    """What is known of a run when a round of it begins.

    Args:
        attempt: the manifest of the round's last attempt, if there was one and it was not abandoned.
        is_closed: whether the consent service has a closing of the round.
        next_attempt: the number of its next attempt.
        next_slot: the first slot that no attempt of the run has used.
        last_release: the release of the round before; None in the first.
    """

    attempt: Signed[RoundManifest] | None
    is_closed: bool
    next_attempt: int
    next_slot: int
    last_release: Signed[RoundRelease] | None


class DistributedRound:
    """One round.

    Args:
        protocol: the run's papers and checks.
        agreement: what the run's brands agreed on.
        folder: the run's folder.
        state: the solver before the round.
        so_far: what is known of the run.
        limits: how often and how long to ask.
        observer: told of attempts.

    Raises:
        ResumeError: the folder holds sums of something else than this round.
    """

    def __init__(
        self,
        protocol: SecureProtocol,
        agreement: Agreement,
        folder: RunFolder,
        state: SolverState,
        so_far: RunSoFar,
        limits: Limits,
        observer: Observer,
    ) -> None:
        self._protocol = protocol
        self._agreement = agreement
        self._folder = folder
        self._before = state
        self._last_release = so_far.last_release
        self._limits = limits
        self._observer = observer
        self._left = limits.attempts
        self._openings_left = limits.attempts
        self._needed = agreement.scheme.threshold
        self._refusals: dict[str, Refusal] = {}
        self._progress = RoundProgress(protocol.run_id, state.next_round)
        self._attempt = Attempt(so_far.attempt, {}) if so_far.attempt is not None else None
        self._next_attempt, self.next_slot = so_far.next_attempt, so_far.next_slot
        self._opened: NDArray[np.int64] | None = None
        self._closed: Closed | None = None
        kept = self._kept(so_far)
        if kept is not None:
            self._close(kept)

    @property
    def is_open(self) -> bool:
        """Whether the sum can be read."""
        return self._opened is not None

    def ask(self, mail: BrandMail) -> Asking:
        """Return what to ask now: sums of an attempt, or the shares that open it.

        Raises:
            RoundIncompleteError: too few brands are connected, or the round was opened often enough.
        """
        if self._closed is not None:
            return self._ask_to_open(self._closed, mail)
        if self._attempt is None:
            self._attempt = self._open(mail)
        else:
            mail.locate(self._attempt.brands, enough=self._quorum, seconds=self._limits.collect_seconds)
        self._progress.move(RoundState.OPENED, attempt=self._attempt.manifest.body.attempt)
        self._progress.move(RoundState.COLLECTING)
        return Asking(self._letters(self._attempt), self._limits.collect_seconds, self._take)

    def settle(self, refusals: Mapping[str, Refusal]) -> None:
        """Close the attempt or abandon it; or open the sum when enough brands help.

        Raises:
            RoundIncompleteError: too few of those who arrived help to open the sum, often enough.
            SumRefusedError: the sum is not one that honest brands can have.
        """
        self._refusals = dict(refusals)
        if self._closed is not None:
            self._open_sum(self._closed)
        elif self._attempt is not None:
            attempt, reason = self._attempt, self._reason_to_abandon(self._attempt)
            if reason is None:
                self._close(self._protocol.closing(attempt))
            else:
                self._abandon(attempt, reason)

    def release(self) -> tuple[SolverState, Signed[RoundRelease]]:
        """Return the state after the round, and its release.

        Raises:
            RoundIncompleteError: the sum is not open.
        """
        if self._closed is None or self._opened is None:
            raise RoundIncompleteError("The round's sum is not open; drive the round to its end first.")
        self._progress.move(RoundState.RELEASED)
        return self._protocol.finish(self._before, self._agreement, self._closed, self._opened)

    def forget(self) -> None:
        """Remove the round's sums from the folder; its release is committed."""
        self._folder.discard(self._file)

    @property
    def _quorum(self) -> int:
        return self._agreement.scheme.quorum

    @property
    def _file(self) -> str:
        return f"closed-{self._before.next_round:04d}.npz"

    def _kept(self, so_far: RunSoFar) -> Closed | None:
        content = self._folder.kept(self._file)
        if content is None and so_far.is_closed:
            raise ResumeError(
                f"Round {self._before.next_round} is closed, but its sums are not in the run's folder; restore "
                f"the folder, or start a run with another id."
            )
        if content is None:
            return None
        closed = Closed.from_bytes(content)
        named = closed.closing.body
        if (named.run_id, named.round) != (self._protocol.run_id, self._before.next_round):
            raise ResumeError("The run's folder holds sums of another run or round; restore the run's own folder.")
        return closed

    def _open(self, mail: BrandMail) -> Attempt:
        """Open an attempt for the brands that are connected."""
        brands = self._protocol.brands
        if not self._left:
            missing = [brand for brand in brands if brand in self._refusals]
            raise no_more_attempts(self._before.next_round, missing, self._refusals, of=len(brands))
        mail.locate(brands, enough=self._quorum, seconds=self._limits.collect_seconds)
        away = [brand for brand in brands if brand not in mail.connected]
        if len(brands) - len(away) < self._quorum:
            raise no_more_attempts(self._before.next_round, away, self._refusals, of=len(brands))
        if self.next_slot >= self._agreement.scheme.slots:
            raise RoundIncompleteError(
                f"The run has used all {self._agreement.scheme.slots} attempts that its brands prepared for; "
                f"start a run with another id."
            )
        self._left -= 1
        attempt = self._protocol.attempt(
            self._before,
            self._agreement,
            number=self._next_attempt,
            slot=self.next_slot,
            brands=[brand for brand in brands if brand not in away],
        )
        self._next_attempt, self.next_slot = self._next_attempt + 1, self.next_slot + 1
        self._observer.opened(attempt.manifest.body)
        return attempt

    def _letters(self, attempt: Attempt) -> list[Letter]:
        texts = {
            wire.TASK: self._protocol.task.model_dump_json(),
            wire.MANIFEST: attempt.manifest.model_dump_json(),
        }
        if self._last_release is not None:
            texts[wire.RELEASE] = self._last_release.model_dump_json()
        content, group = content_of(texts, self._protocol.query(self._before)), str(self._before.next_round)
        return [Letter(brand, wire.ROUND_MESSAGE, content, group) for brand in sorted(attempt.brands)]

    def _take(self, reply: Reply) -> None:
        if self._attempt is not None:
            self._attempt = self._protocol.arrived(self._before, self._attempt, reply)

    def _reason_to_abandon(self, attempt: Attempt) -> Reason | None:
        """Return why the attempt can not, or should not, be opened; None when it is to be closed."""
        missing = attempt.brands - attempt.arrivals.keys()
        said = {self._refusals[brand].code for brand in missing if brand in self._refusals}
        if self._protocol.clock() > attempt.manifest.body.not_after:
            return "timed_out"
        if len(attempt.arrivals) < self._quorum:
            return "too_few_brands" if said <= {NO_ANSWER} else "refused"
        return "refused" if said & TRANSIENT and self._left else None

    def _abandon(self, attempt: Attempt, reason: Reason) -> None:
        self._protocol.permissions.abandon_round(self._protocol.abandonment(attempt, reason))
        self._attempt = None
        self._progress.move(RoundState.ABANDONED, attempt=attempt.manifest.body.attempt, reason=reason)

    def _close(self, closed: Closed) -> None:
        """Make the closing durable, then have it logged; both may have happened before.

        A closing that the service refuses has not been logged, so that nobody will ever help to open it.
        """
        self._folder.keep(self._file, closed.to_bytes())
        try:
            self._protocol.permissions.close_round(closed.closing)
        except ConflictError as refusal:
            _LOG.warning("closing refused", round=self._before.next_round, reason=str(refusal))
            self.forget()
            self._refusals = {brand: Refusal(refusal.code, str(refusal)) for brand in closed.attempt.brands}
            if self._progress.state is None:
                self._progress.move(RoundState.OPENED)
            self._abandon(closed.attempt, "refused")
            return
        self._closed = closed
        body = closed.closing.body
        counts = {"arrived": len(body.arrived), "missing": len(body.missing)}
        self._progress.move(RoundState.CLOSED, attempt=body.attempt, **counts)

    def _ask_to_open(self, closed: Closed, mail: BrandMail) -> Asking:
        arrived = closed.closing.body.arrived
        waiting = [brand for brand in arrived if brand not in closed.unmaskings]
        if not self._openings_left or not waiting:
            raise RoundIncompleteError(
                f"Round {self._before.next_round} is closed, and its sum can not be opened: "
                f"{len(closed.unmaskings)} brands helped, {self._needed} are needed "
                f"({reasons(self._refusals, self._refusals)}). Mend that and start the run again with the same "
                f"run id."
            )
        self._openings_left -= 1
        mail.locate(waiting, enough=self._needed - len(closed.unmaskings), seconds=self._limits.unmask_seconds)
        texts = {
            wire.SETUP: self._agreement.setup.model_dump_json(),
            wire.CLOSING: closed.closing.model_dump_json(),
        }
        content = content_of(texts)
        letters = [Letter(brand, wire.OPEN_MESSAGE, content) for brand in waiting]
        return Asking(letters, self._limits.unmask_seconds, self._take_help, self._has_enough_help)

    def _take_help(self, reply: Reply) -> None:
        if self._closed is not None:
            self._closed = self._protocol.helped(self._closed, reply)

    def _has_enough_help(self) -> bool:
        return self._closed is not None and len(self._closed.unmaskings) >= self._needed

    def _open_sum(self, closed: Closed) -> None:
        try:
            opened, doubtful = self._protocol.total(self._before, self._agreement, closed)
        except TamperedShareError as error:
            self._needed = len(closed.unmaskings) + 1
            self._refuse_help(closed.unmaskings, str(error))
            return
        except SecureSumError:
            return
        if doubtful:
            self._refuse_help(doubtful, "its shares do not lead to what the brands had committed to")
        self._opened = opened
        self._progress.move(RoundState.UNMASKED)

    def _refuse_help(self, brands: Collection[str], reason: str) -> None:
        self._refusals |= {brand: Refusal(TamperedShareError.code, reason) for brand in brands}
        _LOG.warning("shares refused", round=self._before.next_round, brands=sorted(brands), reason=reason)
