"""The agent's dealings with the consent service: it speaks of customers in pseudonyms only."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from client.agent.pseudonyms import Pseudonymizer
from client.errors import StaleRoundError
from consent.client import ConsentClient
from consent.contract import Act, Channel, Choice, Decision, DecisionQuery, Signed, SnapshotHead, Unspent
from consent.wire import MAX_BATCH, SnapshotView

Item = TypeVar("Item")


@dataclass(frozen=True)
class CustomerChoice:
    """What a customer said, under the brand's own id; `notice` is the hash of the text that was served."""

    customer: str
    act: Act
    purpose: str | None = None
    channel: Channel | None = None
    notice: str | None = None


class ConsentDesk:
    """Records choices, hands out snapshots and answers whether a use is allowed, for one brand."""

    def __init__(self, brand: str, client: ConsentClient, pseudonymizer: Pseudonymizer) -> None:
        self._brand = brand
        self._client = client
        self._pseudonymizer = pseudonymizer
        self._latest: dict[str, SnapshotView] = {}

    def record(self, choices: Sequence[CustomerChoice], *, occasion: str | None = None) -> int:
        """Record choices in order and return how many there were.

        Args:
            choices: what customers said, oldest first.
            occasion: names when it was said, such as an import; the same choices on the same occasion count
                once, however often they are sent. Without one every call counts: a customer who withdraws,
                grants and withdraws again has withdrawn.
        """
        occasion = occasion or uuid4().hex
        for batch in _batches(choices):
            said = [self._choice(choice) for choice in batch]
            content = "\n".join([occasion, *(choice.model_dump_json() for choice in said)])
            self._client.record(said, idempotency_key=hashlib.sha256(content.encode()).hexdigest())
        return len(choices)

    def current_head(self, purpose: str) -> Signed[SnapshotHead]:
        """Return the brand's latest sealed head; raises when consent has changed since."""
        return self._client.current_head(purpose)

    def members(self, purpose: str, root: str) -> tuple[str, ...]:
        """Return the sorted pseudonyms under a head of the brand.

        Raises:
            StaleRoundError: another head is the current one.
        """
        view = self._latest.get(purpose)
        if view is None or view.head.body.root != root:
            view = self._view(purpose)
        if view.head.body.root != root:
            raise StaleRoundError("The round's snapshot is not the current one; open the round anew.")
        return view.members

    def state_unspent(self, statement: Signed[Unspent]) -> None:
        """Give back what a round reserved; raises when it may still be spent."""
        self._client.state_unspent(statement)

    def allowed(self, queries: Sequence[DecisionQuery]) -> Sequence[Decision]:
        """Return one decision per query, in order; an exception means that nothing is allowed."""
        answers: list[Decision] = []
        for batch in _batches(queries):
            answers.extend(self._client.decide(batch))
        return answers

    def _view(self, purpose: str) -> SnapshotView:
        self._latest[purpose] = self._client.current_snapshot(purpose)
        return self._latest[purpose]

    def _choice(self, choice: CustomerChoice) -> Choice:
        return Choice(
            brand=self._brand,
            subject=self._pseudonymizer.pseudonym(choice.customer),
            act=choice.act,
            purpose=choice.purpose,
            channel=choice.channel,
            notice=choice.notice,
        )


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut a sequence into parts that fit one request."""
    for start in range(0, len(items), MAX_BATCH):
        yield items[start : start + MAX_BATCH]
