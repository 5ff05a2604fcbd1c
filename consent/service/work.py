"""A unit of work: who asks, when, and one transaction that holds rows and log entries together."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from consent.clock import Clock, utc_now
from consent.log.payloads import RandomBytes, Subject
from consent.log.publisher import Publisher
from consent.log.publishing import BackgroundPublisher
from consent.log.store import Payload, append, read_head
from consent.service.kept_trees import KeptTrees
from consent.service.keys import Keyring
from consent.service.logbook import logbook
from consent.store.database import Database
from consent.wire import Role


@dataclass(frozen=True)
class Caller:
    """An authenticated principal."""

    id: int
    role: Role
    name: str
    public_key: str | None

    def may_see(self, brand: str) -> bool:
        """Tell whether the caller may know that anything of `brand` exists."""
        return self.role is not Role.BRAND or self.name == brand


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
    ) -> None:
        self.database = database
        self.publisher = publisher
        self.keys = keys
        self.clock = clock
        self._publishing = BackgroundPublisher(publisher, interval=publish_interval, on_failure=_tell)
        self._snapshot_validity = snapshot_validity
        self._random_bytes = random_bytes
        self._trees = KeptTrees()

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
        """Publish what is left and give back the database."""
        self._publishing.close()
        self.database.close()

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """Give a unit whose changes, if any, are dropped."""
        with self.database.reading() as session:
            yield self._unit(session)

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        """Give a unit that is committed once when the block ends well, and published soon after."""
        with self.database.writing() as session:
            unit = self._unit(session)
            yield unit
        if unit.appended:
            self._publishing.appended()

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
