"""The Flower strategy: each server round is one private round, driven to its release."""

from collections.abc import Callable, Iterable

import structlog
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from consent.contract import RoundRelease, Signed, wire
from privacy.solvers import SolverState
from server.driving import Observer, Round, drive
from server.mail import BrandMail, Letter, content_of, to_record
from server.papers import RunPapers
from server.runs import RunFolder

_LOG = structlog.get_logger()

RoundAfter = Callable[[SolverState, Signed[RoundRelease] | None], Round]
"""Makes the round that follows a state and the last release."""


class PrivateRounds(Strategy):
    """Runs private rounds within Flower's loop; messages are exchanged by `server.mail`.

    Args:
        papers: the run's papers.
        mail: reaches the brands.
        rounds: makes each round.
        folder: where states are kept.
        state: where the run stands.
        last_release: the release that led there; None before the first round.
        observer: told of releases.
    """

    def __init__(
        self,
        *,
        papers: RunPapers,
        mail: BrandMail,
        rounds: RoundAfter,
        folder: RunFolder,
        state: SolverState,
        last_release: Signed[RoundRelease] | None,
        observer: Observer,
    ) -> None:
        self.state = state
        self._last_release = last_release
        self._papers = papers
        self._mail = mail
        self._rounds = rounds
        self._folder = folder
        self._observer = observer

    def summary(self) -> None:
        """Log what is about to run, in public terms."""
        _LOG.info("run", run_id=self._papers.run_id, brands=len(self._papers.brands))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leave Flower nothing to send: a round is several exchanges, whose replies it would not tell apart."""
        del server_round, arrays, config, grid
        return []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Drive the next round to its release: the state is durable before the release is committed."""
        del server_round, replies
        current = self._rounds(self.state, self._last_release)
        after, release = drive(current, self._mail)
        self._folder.save(after)
        self._papers.commit(release)
        current.forget()
        self.state, self._last_release = after, release
        self._observer.released(after, release.body)
        published = self._papers.solver.publish(after).to_arrays()
        return to_record(published), MetricRecord({"epsilon": release.body.epsilon_spent})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask for nothing: a metric is a release too, and this task has budgeted none."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Return nothing, as nothing was asked."""
        del server_round, replies
        return None

    def deliver(self, seconds: float) -> int:
        """Send the finished model to every brand and return how many installed it."""
        if self._last_release is None:
            return 0
        texts = {
            wire.TASK: self._papers.task.model_dump_json(),
            wire.RELEASE: self._last_release.model_dump_json(),
        }
        content = content_of(texts, self._papers.solver.publish(self.state).to_arrays())
        brands = self._papers.brands
        self._mail.locate(brands, enough=len(brands), seconds=seconds)
        letters = [Letter(brand, wire.INSTALL_MESSAGE, content) for brand in brands]
        refusals = self._mail.exchange(letters, seconds=seconds, take=lambda _reply: None)
        installed = len(brands) - len(refusals)
        late = sum(self._mail.late.values())
        _LOG.info("model delivered", run_id=self._papers.run_id, brands=installed, late_replies=late)
        return installed
