"""The Flower strategy: each server round is one private round, asked again until every brand has answered."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

import structlog
from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from consent.contract import RoundManifest, RoundRelease, Signed, wire
from privacy.solvers import SolverState
from privacy.vectors import Arrays
from server.errors import ReplyRefusedError, RoundIncompleteError
from server.rounds import OpenRound, RoundProtocol
from server.runs import RunFolder

_LOG = structlog.get_logger()

BRAND_POLL_SECONDS = 2.0


class Observer(Protocol):
    """Someone who watches a run from inside the coordinator; sees releases and nothing else."""

    def opened(self, manifest: RoundManifest) -> None:
        """A round, or a further attempt of it, was opened."""
        ...

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """A round was released, and its spend committed."""
        ...


class PrivateRounds(Strategy):
    """Runs the round protocol over a Flower grid.

    Args:
        protocol: opens, checks and closes rounds.
        folder: where states are kept.
        state: where the run stands.
        open_attempts: manifests of the state's next round that an earlier coordinator had opened.
        max_attempts: how often a round is opened anew before the run stops.
        timeout: seconds to wait for replies to one attempt.
        observer: told of what happens.
        pause: waits some seconds between looks for brands that are not connected yet.
    """

    def __init__(
        self,
        *,
        protocol: RoundProtocol,
        folder: RunFolder,
        state: SolverState,
        open_attempts: tuple[Signed[RoundManifest], ...],
        max_attempts: int,
        timeout: float,
        observer: Observer,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.state = state
        self.last_release: Signed[RoundRelease] | None = None
        self._protocol = protocol
        self._folder = folder
        self._observer = observer
        self._max_attempts = max_attempts
        self._timeout = timeout
        self._current = protocol.begin(state, open_attempts)
        self._refusals: dict[str, str] = {}
        self._nodes: dict[str, int] = {}
        self._send: Callable[[Iterable[Message]], Iterable[Message]] = _not_started
        self._search: Callable[[], dict[str, int]] = dict
        self._pause = pause

    def summary(self) -> None:
        """Log what is about to run, in public terms."""
        _LOG.info("run", run_id=self._protocol.run_id, brands=len(self._protocol.brands))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Collect what brands answer to manifests already open, then open an attempt for the others."""
        del server_round, arrays, config
        self._send = partial(grid.send_and_receive, timeout=self._timeout)
        self._search = partial(self._find_brands, grid)
        self._locate(self._protocol.brands)
        for attempt in self._current.attempts:
            self._take(self._send(self._messages(attempt)))
        return self._open_attempt() if self._protocol.pending(self._current) else []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take replies, ask pending brands again, and close the round with its release."""
        del server_round
        self._take(replies)
        while self._protocol.pending(self._current):
            self._take(self._send(self._open_attempt()))
        after, release = self._protocol.close(self.state, self._current)
        self._folder.save(after)
        self._protocol.commit(release)
        self.state, self.last_release = after, release
        self._current = self._protocol.begin(after)
        self._observer.released(after, release.body)
        published = self._protocol.solver.publish(after).to_arrays()
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

    def deliver(self, grid: Grid) -> int:
        """Send the finished model to every brand and return how many installed it."""
        if self.last_release is None:
            return 0
        texts: dict[str, ConfigRecordValues] = {
            wire.TASK: self._protocol.task.model_dump_json(),
            wire.RELEASE: self.last_release.model_dump_json(),
        }
        model = to_record(self._protocol.solver.publish(self.state).to_arrays())
        self._search = partial(self._find_brands, grid)
        self._locate(self._protocol.brands)
        messages = [
            Message(
                RecordDict({wire.TEXTS: ConfigRecord(texts), wire.ARRAYS: model}),
                dst_node_id=node,
                message_type=wire.INSTALL_MESSAGE,
            )
            for node in self._nodes.values()
        ]
        replies = grid.send_and_receive(messages, timeout=self._timeout)
        installed = sum(not reply.has_error() and wire.TEXTS not in reply.content for reply in replies)
        _LOG.info("model delivered", run_id=self._protocol.run_id, brands=installed)
        return installed

    def _locate(self, brands: Iterable[str]) -> None:
        """Look for these brands' nodes, unless all of them are known."""
        if not self._nodes.keys() >= set(brands):
            self._nodes |= self._search()

    def _find_brands(self, grid: Grid) -> dict[str, int]:
        """Return the nodes of the brands that are connected, waiting for the missing ones up to the timeout."""
        waited = 0.0
        while True:
            nodes = brand_nodes(grid, self._protocol.brands, self._timeout)
            if nodes.keys() >= self._protocol.brands.keys() or waited >= self._timeout:
                return nodes
            self._pause(BRAND_POLL_SECONDS)
            waited += BRAND_POLL_SECONDS

    def _open_attempt(self) -> list[Message]:
        """Open an attempt for the pending brands and return its messages.

        Raises:
            RoundIncompleteError: the round was opened often enough, or a brand is away.
        """
        pending = self._protocol.pending(self._current)
        if len(self._current.attempts) >= self._max_attempts:
            reasons = "; ".join(f"{brand}: {self._refusals.get(brand, 'no answer')}" for brand in pending)
            raise RoundIncompleteError(
                f"Round {self.state.next_round} lacks {len(pending)} of {len(self._protocol.brands)} brands "
                f"({reasons}). Mend that and start the run again with the same run id."
            )
        self._locate(pending)
        self._current = self._protocol.reopen(self.state, self._current)
        attempt = self._current.attempts[-1]
        self._observer.opened(attempt.body)
        return self._messages(attempt)

    def _messages(self, attempt: Signed[RoundManifest]) -> list[Message]:
        texts: dict[str, ConfigRecordValues] = {
            wire.TASK: self._protocol.task.model_dump_json(),
            wire.MANIFEST: attempt.model_dump_json(),
        }
        pending = self._protocol.pending(self._current)
        return [
            Message(
                RecordDict({wire.TEXTS: ConfigRecord(texts), wire.ARRAYS: to_record(self._current.arrays)}),
                dst_node_id=self._nodes[line.brand],
                message_type=wire.ROUND_MESSAGE,
                group_id=str(attempt.body.round),
            )
            for line in attempt.body.participants
            if line.brand in pending and line.brand in self._nodes
        ]

    def _take(self, replies: Iterable[Message]) -> None:
        """Accept what can be accepted; remember why the rest was not.

        A node that fails is forgotten: it may come back under another id.
        """
        brands = {node: brand for brand, node in self._nodes.items()}
        for reply in replies:
            brand = brands.get(reply.metadata.src_node_id, "unknown")
            if reply.has_error():
                self._nodes.pop(brand, None)
            try:
                self._current = accept_reply(self._protocol, self._current, reply)
            except ReplyRefusedError as refusal:
                self._refusals[brand] = str(refusal)
                _LOG.warning("reply refused", brand=brand, round=self.state.next_round, reason=str(refusal))


def _not_started(_messages: Iterable[Message]) -> Iterable[Message]:
    raise RoundIncompleteError("The round has not been configured; start the strategy first.")


def accept_reply(protocol: RoundProtocol, current: OpenRound, reply: Message) -> OpenRound:
    """Take one Flower reply into a round.

    Raises:
        ReplyRefusedError: the node failed, the agent refused, or the reply does not fit the round.
    """
    if reply.has_error():
        raise ReplyRefusedError("The node failed before its agent answered; look at the node's own log.")
    texts = reply.content.config_records.get(wire.TEXTS, ConfigRecord())
    if wire.REFUSAL_CODE in texts:
        raise ReplyRefusedError(f"{_text(texts, wire.REFUSAL_CODE)}: {_text(texts, wire.REFUSAL_REASON)}")
    sums = reply.content.array_records.get(wire.ARRAYS, ArrayRecord())
    if wire.SUM not in sums:
        raise ReplyRefusedError("A reply carries no sum; check the agents' versions.")
    return protocol.accept(current, _text(texts, wire.ATTESTATION), sums[wire.SUM].numpy())


def brand_nodes(grid: Grid, brands: Mapping[str, str], timeout: float) -> dict[str, int]:
    """Return the Flower node of each brand that answers under its enrolled key.

    The answer only routes messages: what counts later is the signature on each attestation.
    """
    messages = [
        Message(RecordDict(), dst_node_id=node, message_type=wire.HELLO_MESSAGE) for node in grid.get_node_ids()
    ]
    nodes = {}
    for reply in grid.send_and_receive(messages, timeout=timeout):
        if reply.has_error():
            continue
        texts = reply.content.config_records.get(wire.TEXTS, ConfigRecord())
        brand = _text(texts, wire.BRAND)
        if brand in brands and _text(texts, wire.KEY) == brands[brand]:
            nodes[brand] = reply.metadata.src_node_id
    return nodes


def _text(texts: ConfigRecord, field: str) -> str:
    value = texts.get(field, "")
    return value if isinstance(value, str) else ""


def to_record(arrays: Arrays) -> ArrayRecord:
    """Return named arrays as a Flower record."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
