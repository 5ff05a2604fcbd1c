"""The account of what was answered: trees over answers, their roots logged every few seconds, beside the requests.

An answer goes out at once; all that it waits for is a place in memory. What a crash takes from memory is never
logged, at most what was answered since the last write. Where writing fails, answers wait in memory up to a bound,
and then no more are given.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from consent.answers import AnswerProof, AnswerProofRequest, AnswersReceipt, leaf_of, salt_of, tree_of
from consent.answers.receipt import KEY_BYTES
from consent.contract import Decision, DecisionQuery
from consent.errors import ConsentError, NotFoundError, UnavailableError
from consent.log.merkle import inclusion_proof, root_hash
from consent.log.payloads import RandomBytes
from consent.log.store import stored
from consent.service.logbook import logbook
from consent.store.answers import AnswerTreeRow
from consent.store.bulk import insert_all

MOST_WAITING = 250_000
"""Answers in memory, above which none is given: 8 MB of hashes."""
HASH_BYTES = 32
KEPT = timedelta(days=30)
"""How long leaves are kept, and answers can be proven that nobody had proven before; roots stay."""
MOST_DELETED = 10_000
"""Rows of one transaction."""

TreeKey = tuple[str, str | None]
"""Brand, and purpose where it is declared."""


@dataclass
class AnswerTree:
    """Everything that one brand was answered about one purpose in a batch."""

    batch: str
    brand: str
    purpose: str | None
    since: datetime
    until: datetime
    allowed: int = 0
    leaves: bytearray = field(default_factory=bytearray)

    @property
    def asked(self) -> int:
        """How many answers there are."""
        return len(self.leaves) // HASH_BYTES

    def hashes(self) -> list[bytes]:
        """Return the leaves."""
        return split_leaves(bytes(self.leaves))

    def account(self) -> dict[str, str | int]:
        """Return what is logged of it."""
        said: dict[str, str | int] = {
            "brand": self.brand,
            "batch": self.batch,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "asked": self.asked,
            "allowed": self.allowed,
            "root": root_hash(self.hashes()).hex(),
        }
        return said if self.purpose is None else {**said, "purpose": self.purpose}


class Leaf(NamedTuple):
    """One answer as it is accounted for: nothing of question and answer is left in it but counts and a hash."""

    purpose: str | None
    allowed: bool
    hash: bytes


@dataclass
class Batch:
    """What is answered between two writes."""

    name: str
    trees: dict[TreeKey, AnswerTree] = field(default_factory=dict)

    def add(self, brand: str, leaves: Sequence[Leaf], at: datetime) -> tuple[int, ...]:
        """Take answers in, and return the place of each in its tree."""
        return tuple(self._place(brand, leaf, at) for leaf in leaves)

    def _place(self, brand: str, leaf: Leaf, at: datetime) -> int:
        key = (brand, leaf.purpose)
        tree = self.trees.get(key)
        if tree is None:
            tree = self.trees[key] = AnswerTree(self.name, *key, since=at, until=at)
        place = tree.asked
        tree.since, tree.until = min(tree.since, at), max(tree.until, at)
        tree.allowed += leaf.allowed
        tree.leaves += leaf.hash
        return place


Store = Callable[[Sequence[AnswerTree]], None]
"""Logs trees and keeps their leaves, all together or not at all."""


class Reader(Protocol):
    """What reads the database."""

    @property
    def session(self) -> Session:
        """The session."""


class AnswerLog:
    """The account of one process; its thread starts with the first answer.

    Args:
        store: where trees go.
        interval: seconds between writes.
        most: answers in memory, above which none is given.
        random_bytes: a CSPRNG.
    """

    def __init__(
        self,
        store: Store,
        *,
        interval: float,
        most: int | None = None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._interval = interval
        self._most = MOST_WAITING if most is None else most
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._open = self._batch()
        self._unwritten: list[AnswerTree] = []
        self._waiting = 0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def take(
        self, brand: str, queries: Sequence[DecisionQuery], decisions: Sequence[Decision], at: datetime
    ) -> AnswersReceipt:
        """Take answers into account that are about to be given, and return what they are kept with.

        Raises:
            UnavailableError: too many wait to be logged already, so that these must not be given.
        """
        key = self._random_bytes(KEY_BYTES)
        leaves = [
            Leaf(tree_of(query, decision), decision.allowed, leaf_of(query, decision, salt_of(key, number)))
            for number, (query, decision) in enumerate(zip(queries, decisions, strict=True))
        ]
        with self._lock:
            if self._waiting + len(queries) > self._most:
                raise UnavailableError(
                    "Too many decisions wait to be logged, so none is given; ask again once the store is writable."
                )
            self._waiting += len(queries)
            batch, places = self._open.name, self._open.add(brand, leaves, at)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="answer-log", daemon=True)
                self._thread.start()
        return AnswersReceipt(batch=batch, key=key.hex(), places=places)

    def flush(self) -> None:
        """Log everything that was answered until now; what can not be written goes on waiting.

        Raises:
            ConsentError: the log can not be appended to.
            SQLAlchemyError: the database fails.
        """
        with self._writing:
            with self._lock:
                batch, self._open = self._open, self._batch()
            self._unwritten += batch.trees.values()
            if not self._unwritten:
                return
            self._store(self._unwritten)
            written, self._unwritten = sum(tree.asked for tree in self._unwritten), []
            with self._lock:
                self._waiting -= written

    def close(self) -> None:
        """End the thread and log what is left; a failure is told, not raised."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._attempt()

    def _batch(self) -> Batch:
        return Batch(self._random_bytes(KEY_BYTES).hex())

    def _run(self) -> None:
        while not self._ending.wait(self._interval):
            self._attempt()

    def _attempt(self) -> None:
        try:
            self.flush()
        except (ConsentError, SQLAlchemyError, OSError) as error:
            logbook().error("decisions_not_logged", fault=type(error).__name__, waiting=self._waiting)


def keep_leaves(session: Session, trees: Mapping[int, AnswerTree], now: datetime) -> None:
    """Keep leaves, by the entry that holds their root, and delete those that were kept for long enough."""
    rows = [
        {
            "log_index": index,
            "batch": tree.batch,
            "brand": tree.brand,
            "purpose": tree.purpose,
            "answered_until": tree.until,
            "leaves": bytes(tree.leaves),
        }
        for index, tree in trees.items()
    ]
    insert_all(session, AnswerTreeRow, rows)
    old = select(AnswerTreeRow.log_index).where(AnswerTreeRow.answered_until < now - KEPT).limit(MOST_DELETED)
    session.execute(
        delete(AnswerTreeRow).where(AnswerTreeRow.log_index.in_(old)),
        execution_options={"synchronize_session": False},
    )


def prove(unit: Reader, brand: str | None, wanted: AnswerProofRequest) -> AnswerProof:
    """Return which leaf lies at a place, and the way from it to a root in the log.

    Args:
        unit: what reads.
        brand: whose answers may be asked about; None for those of all brands.
        wanted: the place.

    Raises:
        NotFoundError: there is no such place, it is another brand's, or its tree is not kept any more.
    """
    found = select(AnswerTreeRow).where(
        AnswerTreeRow.batch == wanted.batch, AnswerTreeRow.purpose.is_not_distinct_from(wanted.purpose)
    )
    row = unit.session.scalar(found if brand is None else found.where(AnswerTreeRow.brand == brand))
    leaves = [] if row is None else split_leaves(row.leaves)
    if row is None or wanted.place >= len(leaves):
        raise NotFoundError("No such answer is accounted for; it is too new, too old, or was not given.")
    (entry,) = stored(unit.session, [row.log_index])
    path = inclusion_proof(leaves, wanted.place)
    return AnswerProof.of(row.log_index, entry.opening.line().decode(), leaves[wanted.place], path)


def split_leaves(leaves: bytes) -> list[bytes]:
    """Return hashes that lie one after the other."""
    return [leaves[start : start + HASH_BYTES] for start in range(0, len(leaves), HASH_BYTES)]
