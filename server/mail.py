"""Messages between the coordinator and the brands' nodes on a Flower grid.

Every phase of the protocol is one exchange: a letter to each of some brands, and their replies until all are
there, enough are, or the phase's time is over. A reply counts for the message that it answers and for no other:
what comes for an earlier one is refused and counted, and what another node than the one asked says is refused.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from consent.contract import wire
from privacy.vectors import Arrays
from server.errors import ReplyRefusedError

_LOG = structlog.get_logger()

BRAND_POLL_SECONDS = 2.0
"""Between looks for brands that are not connected yet."""
REPLY_POLL_SECONDS = 0.25
"""Between looks for replies; Flower's own wait of three seconds would be the longest part of a round."""
NO_ANSWER, NODE_FAILED, REPLY_REFUSED = "no_answer", "node_failed", "reply_refused"
FORGOTTEN_AFTER = 10_000
"""Messages without an answer that are still listened for."""


@dataclass(frozen=True)
class Letter:
    """A message to one brand.

    Attributes:
        brand: to whom.
        kind: Flower's message type.
        content: texts and arrays.
        group: shown by Flower's own tools.
    """

    brand: str
    kind: str
    content: RecordDict
    group: str = ""


@dataclass(frozen=True)
class Reply:
    """What one brand's node answered; nothing of it is checked yet."""

    brand: str
    content: RecordDict

    def text(self, field: str) -> str:
        """Return a text, empty where there is none."""
        return text_of(self.content, field)

    def array(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises:
            ReplyRefusedError: there is none of that name.
        """
        arrays = self.content.array_records.get(wire.ARRAYS, ArrayRecord())
        if name not in arrays:
            raise ReplyRefusedError(f"A reply carries no {name}; check the agents' versions.")
        return arrays[name].numpy()


@dataclass(frozen=True)
class Refusal:
    """Why a brand's answer to a letter does not count, or is not there."""

    code: str
    reason: str

    def __str__(self) -> str:
        """Say it in a sentence about the brand."""
        return (
            self.reason if self.code in {NO_ANSWER, NODE_FAILED, REPLY_REFUSED} else f"{self.code}: {self.reason}"
        )


class BrandMail:
    """Finds brands' nodes and exchanges letters with them.

    Args:
        grid: Flower's grid.
        brands: enrolled public key of every brand of the run.
        pause: waits some seconds.
    """

    def __init__(
        self, grid: Grid, brands: Mapping[str, str], *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._grid = grid
        self._brands = dict(brands)
        self._pause = pause
        self._nodes: dict[str, int] = {}
        self._unanswered: dict[str, str] = {}
        self.late: Counter[str] = Counter()
        """Replies by brand that came after their phase was over; none of them counts."""

    @property
    def connected(self) -> frozenset[str]:
        """Brands whose node is known and has not failed since."""
        return frozenset(self._nodes)

    def locate(self, brands: Collection[str], *, enough: int, seconds: float) -> None:
        """Look for brands' nodes, waiting while fewer than `enough` of them are connected.

        A node only says who it is: what counts later is the signature under everything that the agent behind it
        answers.
        """
        waited = 0.0
        while True:
            if not self._nodes.keys() >= set(brands):
                self._nodes |= self._introduced(seconds)
            if len(self._nodes.keys() & set(brands)) >= enough or waited >= seconds:
                return
            self._pause(BRAND_POLL_SECONDS)
            waited += BRAND_POLL_SECONDS

    def exchange(
        self,
        letters: Iterable[Letter],
        *,
        seconds: float,
        take: Callable[[Reply], None],
        enough: Callable[[], bool] = lambda: False,
    ) -> dict[str, Refusal]:
        """Send letters, pass each brand's reply to `take`, and return why the other brands' do not count.

        Args:
            letters: at most one to a brand.
            seconds: how long to wait.
            take: checks and keeps a reply; raises ReplyRefusedError where it does not count.
            enough: says that no further reply is needed.
        """
        silent = Refusal(NO_ANSWER, "no answer")
        letters = list(letters)
        refusals = {letter.brand: silent for letter in letters}
        for brand, reply in self._pull(self._post(letters), seconds, enough):
            try:
                self._take(brand, reply, take)
                del refusals[brand]
            except ReplyRefusedError as refusal:
                refusals[brand] = Refusal(refusal.answered or REPLY_REFUSED, str(refusal))
                _LOG.warning("reply refused", brand=brand, code=refusals[brand].code, reason=str(refusal))
        if not enough():
            for brand in [brand for brand, refusal in refusals.items() if refusal is silent]:
                self._nodes.pop(brand, None)
        return refusals

    def _post(self, letters: Iterable[Letter]) -> dict[str, str]:
        """Send letters to the brands that are connected and return, by message id, whom each asks."""
        asked = [letter for letter in letters if letter.brand in self._nodes]
        messages = [
            Message(
                letter.content,
                dst_node_id=self._nodes[letter.brand],
                message_type=letter.kind,
                group_id=letter.group,
            )
            for letter in asked
        ]
        return self._push(messages, [letter.brand for letter in asked])

    def _take(self, brand: str, reply: Message, take: Callable[[Reply], None]) -> None:
        if reply.has_error():
            self._nodes.pop(brand, None)
            raise ReplyRefusedError(
                "The node failed before its agent answered; look at the node's own log.", answered=NODE_FAILED
            )
        if reply.metadata.src_node_id != self._nodes[brand]:
            raise ReplyRefusedError("Another node answered than the one that was asked.")
        code = text_of(reply.content, wire.REFUSAL_CODE)
        if code:
            raise ReplyRefusedError(text_of(reply.content, wire.REFUSAL_REASON), answered=code)
        take(Reply(brand, reply.content))

    def _introduced(self, seconds: float) -> dict[str, int]:
        """Return the nodes of brands that answer under their enrolled key, among those not known yet."""
        known = set(self._nodes.values())
        nodes = [node for node in self._grid.get_node_ids() if node not in known]
        messages = [Message(RecordDict(), dst_node_id=node, message_type=wire.HELLO_MESSAGE) for node in nodes]
        waiting = self._push(messages, [""] * len(nodes))
        found = {}
        for _, reply in self._pull(waiting, seconds, lambda: False):
            if reply.has_error():
                continue
            brand = text_of(reply.content, wire.BRAND)
            if brand in self._brands and text_of(reply.content, wire.KEY) == self._brands[brand]:
                found[brand] = reply.metadata.src_node_id
        return found

    def _push(self, messages: list[Message], names: list[str]) -> dict[str, str]:
        """Send messages and return, by the id of each that was sent, whom it asks."""
        identifiers = list(self._grid.push_messages(messages)) if messages else []
        return {sent: name for sent, name in zip(identifiers, names, strict=False) if sent}

    def _pull(
        self, waiting: dict[str, str], seconds: float, enough: Callable[[], bool]
    ) -> Iterator[tuple[str, Message]]:
        """Yield replies and whom they are of; what answers an earlier phase's message is counted and dropped."""
        waited = 0.0
        while waiting:
            for reply in self._grid.pull_messages([*waiting, *self._unanswered]):
                identifier = reply.metadata.reply_to_message_id
                if identifier in waiting:
                    yield waiting.pop(identifier), reply
                else:
                    self._count_late(identifier, reply)
            if enough() or waited >= seconds:
                break
            if waiting:
                self._pause(REPLY_POLL_SECONDS)
                waited += REPLY_POLL_SECONDS
        self._unanswered |= waiting
        for identifier in list(self._unanswered)[:-FORGOTTEN_AFTER]:
            del self._unanswered[identifier]

    def _count_late(self, identifier: str, reply: Message) -> None:
        name = self._unanswered.pop(identifier, None)
        if name and not reply.has_error():
            self.late[name] += 1
            _LOG.warning("late reply refused", brand=name, message_type=reply.metadata.message_type)


def content_of(texts: Mapping[str, str], arrays: Arrays | None = None) -> RecordDict:
    """Return texts, and named arrays where there are any, as the content of a message."""
    values: dict[str, ConfigRecordValues] = dict(texts)
    content = RecordDict({wire.TEXTS: ConfigRecord(values)})
    if arrays is not None:
        content[wire.ARRAYS] = to_record(arrays)
    return content


def text_of(content: RecordDict, field: str) -> str:
    """Return a text of a message, empty where there is none."""
    value = content.config_records.get(wire.TEXTS, ConfigRecord()).get(field, "")
    return value if isinstance(value, str) else ""


def to_record(arrays: Arrays) -> ArrayRecord:
    """Return named arrays as a Flower record."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
