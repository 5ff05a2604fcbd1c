"""A unit of work: who asks, when, and one transaction that holds rows and log entries together."""

import copy
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy.orm import Session

from consent.answers import ANSWERED
from consent.clock import Clock, utc_now
from consent.log.payloads import RandomBytes, Subject
from consent.log.publisher import Publisher
from consent.log.publishing import BackgroundPublisher
from consent.log.store import Payload, append, read_head
from consent.service import isolation
from consent.service.answers import AnswerLog, AnswerTree, keep_leaves
from consent.service.kept_trees import KeptTrees
from consent.service.keys import Keyring
from consent.service.last_use import LastUse
from consent.service.limits import Limits
from consent.service.logbook import logbook
from consent.store.database import Database
from consent.store.driver import Transaction
from consent.wire import Role

OF_ONE_BRAND = frozenset({Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT})


@dataclass(frozen=True)
class Caller:
    """Who asks, authenticated.

    Args:
        id: the principal; of a customer, the principal that had their token made.
        role: what may be asked.
        name: the principal's name; of a customer and of a brand's agent, the brand's.
        public_key: under which the principal signs.
        brand: the one brand that may be seen; None for who serves all of them.
        subject: the one customer who asks, where one does.
        scopes: what an API key is narrowed to; None where there is no key, or nothing to narrow.
        person: whom an identity provider knows behind the principal, by a hash that is the same in all of their
            roles; None for who was enrolled here.
    """

    id: int
    role: Role
    name: str
    public_key: str | None
    brand: str | None = None
    subject: str | None = None
    scopes: frozenset[str] | None = None
    person: str | None = None

    def __post_init__(self) -> None:
        if self.role is Role.BRAND and self.brand is None:
            object.__setattr__(self, "brand", self.name)

    def may_see(self, brand: str) -> bool:
        """Tell whether the caller may know that anything of `brand` exists."""
        return self.brand == brand or self.role not in OF_ONE_BRAND


@dataclass
class Unit:
    """What a handler works with until its one commit."""

    session: Session
    now: datetime
    keys: Keyring
    snapshot_validity: timedelta
    random_bytes: RandomBytes
    appended: bool = field(default=False)
    trees: KeptTrees = field(default_factory=KeptTrees)

    def log(self, kind: str, content: Payload, *, subject: Subject | None = None) -> int:
        """Append one entry and return its index; one about a customer is sealed under their key."""
        return self.log_all(kind, [content], subjects=[subject])[0]

    def log_all(self, kind: str, contents: Sequence[Payload], *, subjects: Sequence[Subject | None] = ()) -> range:
        """Append one entry per content, all of one kind; `subjects` names whom each is about."""
        stamp = {"kind": kind, "version": 1, "recorded_at": self.now.isoformat()}
        self.appended = True
        return append(
            self.session,
            [{**stamp, **content} for content in contents],
            subjects=subjects,
            vault=self.keys.vault,
            random_bytes=self.random_bytes,
        )

    def lock(self) -> None:
        """Keep all other writers off until the commit, so that what is read here stays true."""
        read_head(self.session, lock=True)

    def log_size(self) -> int:
        """Return the size of the log, this unit's entries included."""
        return read_head(self.session, lock=True).size


@dataclass(frozen=True)
class Look:
    """What questions are answered from: one state of the database, with less around it than a unit has.

    Args:
        transaction: changes nothing.
        now: the moment that it stands for.
    """

    transaction: Transaction
    now: datetime


class Workplace:
    """Everything that handlers share; opens units of work and has published what they committed."""

    def __init__(
        self,
        *,
        database: Database,
        publisher: Publisher,
        keys: Keyring,
        clock: Clock = utc_now,
        snapshot_validity: timedelta,
        publish_interval: float = 0,
        random_bytes: RandomBytes = secrets.token_bytes,
        limits: Limits | None = None,
        decision_interval: float = 5,
    ) -> None:
        self.database = database
        self.publisher = publisher
        self.keys = keys
        self.clock = clock
        self.limits = limits or Limits()
        self.last_use = LastUse(database)
        self.answers = AnswerLog(self._account, interval=decision_interval, random_bytes=random_bytes)
        self._publishing = BackgroundPublisher(publisher, interval=publish_interval, on_failure=_tell)
        self._snapshot_validity = snapshot_validity
        self._random_bytes = random_bytes
        self._trees = KeptTrees()
        self._brand: str | None = None

    def acting_for(self, brand: str | None) -> Self:
        """Return the same workplace with units that can touch this brand's rows alone; None for all brands."""
        scoped = copy.copy(self)
        scoped._brand = brand
        return scoped

    @property
    def healthy(self) -> bool:
        """Whether publishing works; what is committed stands either way."""
        return self._publishing.healthy

    def publish_now(self) -> None:
        """Publish everything that is committed before returning, for who reads the folder next.

        Raises:
            LogInconsistentError: database and published log do not tell one history.
            OSError: the folder can not be written.
        """
        self._publishing.flush()

    def publish_soon(self) -> None:
        """Have everything that is committed published, and tried again until it is."""
        self._publishing.appended()

    def close(self) -> None:
        """Write and publish what is left, and give back the database."""
        with ExitStack() as parts:
            for close in (self.database.close, self._publishing.close, self.answers.close, self.last_use.close):
                parts.callback(close)

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """Give a unit whose changes, if any, are dropped."""
        with self.database.reading() as session:
            isolation.enter(session, self._brand)
            yield self._unit(session)

    @contextmanager
    def looking(self) -> Iterator[Look]:
        """Give what questions are answered from."""
        with self.database.reading_plainly() as connection:
            isolation.enter(connection, self._brand)
            yield Look(connection, self.clock().astimezone(UTC))

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        """Give a unit that is committed once when the block ends well, and published soon after."""
        with self.database.writing() as session:
            isolation.enter(session, self._brand)
            unit = self._unit(session)
            yield unit
        if unit.appended:
            self._publishing.appended()

    def _account(self, trees: Sequence[AnswerTree]) -> None:
        with self.writing() as unit:
            indices = unit.log_all(ANSWERED, [tree.account() for tree in trees])
            keep_leaves(unit.session, dict(zip(indices, trees, strict=True)), unit.now)

    def _unit(self, session: Session) -> Unit:
        return Unit(
            session=session,
            now=self.clock().astimezone(UTC),
            keys=self.keys,
            snapshot_validity=self._snapshot_validity,
            random_bytes=self._random_bytes,
            trees=self._trees,
        )


def _tell(error: Exception) -> None:
    logbook().error("publishing_failed", fault=type(error).__name__)
