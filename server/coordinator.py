"""One run at the coordinator, from first round or last released one to the delivered model."""

from collections.abc import Callable
from dataclasses import dataclass

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from consent.errors import NotFoundError
from consent.wire import RunRecord
from privacy.solvers import SolverState
from privacy.vectors import arrays_digest
from server.errors import ResumeError
from server.rounds import RoundProtocol
from server.runs import RunFolder
from server.strategy import Observer, PrivateRounds


@dataclass(frozen=True)
class Coordinator:
    """Runs one task's rounds over whatever grid it is given.

    Args:
        protocol: the run's round protocol.
        folder: the run's states.
        history: asks the consent service what the run has done so far.
        observer: told of what happens.
        max_attempts: how often a round is opened anew before the run stops.
        timeout: seconds to wait for replies to one attempt.
    """

    protocol: RoundProtocol
    folder: RunFolder
    history: Callable[[str], RunRecord]
    observer: Observer
    max_attempts: int
    timeout: float

    def run(self, grid: Grid) -> SolverState:
        """Run or resume until the last round is released and the model delivered; return the final state.

        Raises:
            ResumeError: the run's folder and the consent service disagree.
            RoundIncompleteError: a round could not be closed.
        """
        strategy = self._strategy()
        rounds_left = self.protocol.solver.total_rounds - strategy.state.next_round
        if rounds_left > 0:
            strategy.start(grid, ArrayRecord(), num_rounds=rounds_left, timeout=self.timeout)
        strategy.deliver(grid)
        return strategy.state

    def _strategy(self) -> PrivateRounds:
        history = self._history()
        last = max((signed.body.round for signed in history.releases), default=-1)
        state = self._state_after(last, history)
        open_attempts = [signed for signed in history.manifests if signed.body.round == state.next_round]
        strategy = PrivateRounds(
            protocol=self.protocol,
            folder=self.folder,
            state=state,
            open_attempts=tuple(sorted(open_attempts, key=lambda signed: signed.body.attempt)),
            max_attempts=self.max_attempts + len(open_attempts),
            timeout=self.timeout,
            observer=self.observer,
        )
        strategy.last_release = next((one for one in history.releases if one.body.round == last), None)
        return strategy

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
