"""One run at the coordinator, from first round or last released one to the delivered model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from consent.clock import Clock
from consent.contract import RoundManifest, RoundRelease, Signed, SigningKey, TaskSpec
from consent.errors import NotFoundError
from consent.wire import RunRecord
from privacy.aggregation import OpenSum
from privacy.solvers import SolverState
from privacy.vectors import arrays_digest
from server.distributed import DistributedRound, RunSoFar
from server.driving import Limits, Observer, Round
from server.errors import ResumeError
from server.mail import BrandMail
from server.masked_sums import SecureProtocol
from server.papers import SecurePermissions
from server.rounds import LocalRound, RoundProtocol
from server.runs import RunFolder
from server.setup import Agreement, RunPreparation
from server.strategy import PrivateRounds

WEEK_SECONDS = 7 * 86_400.0


@dataclass(frozen=True)
class Coordinator:
    """Runs one task's rounds over whatever grid it is given.

    Args:
        protocol: the run's papers and checks; its kind is the task's trust mode.
        folder: the run's states and papers.
        history: asks the consent service what the run has done so far.
        observer: told of what happens.
        limits: how often and how long brands are asked.
        run_seconds: how long brands answer for a run in trust mode `distributed`.
    """

    protocol: RoundProtocol | SecureProtocol
    folder: RunFolder
    history: Callable[[str], RunRecord]
    observer: Observer
    limits: Limits
    run_seconds: float = WEEK_SECONDS

    def run(self, grid: Grid) -> SolverState:
        """Run or resume until the last round is released and the model delivered; return the final state.

        Raises:
            ResumeError: the run's folder and the consent service disagree.
            SetupIncompleteError: the run's brands could not be brought together.
            RoundIncompleteError: a round could not be closed.
        """
        history = self._history()
        last = max((signed.body.round for signed in history.releases), default=-1)
        mail = BrandMail(grid, self.protocol.brands)
        state = self._state_after(last, history)
        rounds_left = self.protocol.solver.total_rounds - state.next_round
        strategy = PrivateRounds(
            papers=self.protocol,
            mail=mail,
            rounds=self._rounds(history, mail) if rounds_left > 0 else _no_rounds,
            folder=self.folder,
            state=state,
            last_release=next((one for one in history.releases if one.body.round == last), None),
            observer=self.observer,
        )
        if rounds_left > 0:
            strategy.start(grid, ArrayRecord(), num_rounds=rounds_left, timeout=self.limits.collect_seconds)
        strategy.deliver(self.limits.collect_seconds)
        return strategy.state

    def _rounds(
        self, history: RunRecord, mail: BrandMail
    ) -> Callable[[SolverState, Signed[RoundRelease] | None], Round]:
        """Return what makes each round, after bringing the brands together where the trust mode needs it."""
        protocol = self.protocol
        if isinstance(protocol, SecureProtocol):
            preparation = RunPreparation(
                protocol, protocol.permissions, self.folder, self.limits, run_seconds=self.run_seconds
            )
            return _DistributedRounds(self, protocol, preparation.agreement(mail), history)

        def local(state: SolverState, _last: Signed[RoundRelease] | None) -> Round:
            attempts = attempts_at(history, state.next_round)
            return LocalRound(protocol, state, attempts, self.limits, self.observer)

        return local

    def _history(self) -> RunRecord:
        """Return what was opened and released so far; nothing for a run that the service does not know."""
        try:
            return self.history(self.protocol.run_id)
        except NotFoundError:
            return RunRecord(manifests=(), releases=())

    def _state_after(self, last: int, history: RunRecord) -> SolverState:
        """Return the state after the last released round, checked against the digest that was released."""
        if last < 0:
            return self.protocol.solver.start()
        state = self.folder.load(last)
        release = next(signed.body for signed in history.releases if signed.body.round == last)
        if arrays_digest(state.to_arrays()) != release.state_after:
            raise ResumeError(
                f"The state of round {last} in the run's folder is not the one that was released; restore the "
                f"folder, or start a run with another id."
            )
        return state


class _DistributedRounds:
    """Makes a run's rounds, each with slots that no attempt before it has used."""

    def __init__(
        self, coordinator: Coordinator, protocol: SecureProtocol, agreement: Agreement, history: RunRecord
    ) -> None:
        self._coordinator = coordinator
        self._protocol = protocol
        self._agreement = agreement
        self._history = history
        slots = [one.body.secure_sum.slot for one in history.manifests if one.body.secure_sum is not None]
        self._next_slot = max(slots, default=-1) + 1
        self._current: DistributedRound | None = None

    def __call__(self, state: SolverState, last: Signed[RoundRelease] | None) -> Round:
        if self._current is not None:
            self._next_slot = self._current.next_slot
        attempts = attempts_at(self._history, state.next_round)
        abandoned = {signed.body.manifest for signed in self._history.abandonments}
        is_over = not attempts or attempts[-1].body.digest() in abandoned
        so_far = RunSoFar(
            attempt=None if is_over else attempts[-1],
            is_closed=any(one.body.round == state.next_round for one in self._history.closings),
            next_attempt=attempts[-1].body.attempt + 1 if attempts else 0,
            next_slot=self._next_slot,
            last_release=last,
        )
        self._current = DistributedRound(
            self._protocol,
            self._agreement,
            self._coordinator.folder,
            state,
            so_far,
            self._coordinator.limits,
            self._coordinator.observer,
        )
        return self._current


def protocol_for(
    task: TaskSpec,
    *,
    run_id: str,
    brands: Mapping[str, str],
    key: SigningKey,
    permissions: SecurePermissions,
    round_seconds: float,
    clock: Clock,
) -> RoundProtocol | SecureProtocol:
    """Return the papers and checks of a run in its task's trust mode."""
    if task.privacy.trust_mode == "distributed":
        return SecureProtocol(
            task=task,
            run_id=run_id,
            brands=brands,
            key=key,
            permissions=permissions,
            round_seconds=round_seconds,
            clock=clock,
        )
    return RoundProtocol(
        task=task,
        run_id=run_id,
        brands=brands,
        key=key,
        permissions=permissions,
        aggregator=OpenSum(),
        round_seconds=round_seconds,
        clock=clock,
    )


def attempts_at(history: RunRecord, number: int) -> tuple[Signed[RoundManifest], ...]:
    """Return the manifests of a round that were opened before, in order."""
    found = [signed for signed in history.manifests if signed.body.round == number]
    return tuple(sorted(found, key=lambda signed: signed.body.attempt))


def _no_rounds(_state: SolverState, _last: Signed[RoundRelease] | None) -> Round:
    raise ResumeError("The run has released all its rounds; start a run with another id.")
