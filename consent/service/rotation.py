"""Changing the log's key: both sign for a while, the old one says in the log which one follows.

Private keys lie in `log.key` and `log.<id>.key`; the database says which of them sign and until when, so that
a crash between file and commit changes nothing, and a running service follows at its next publication.
"""

import base64
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.clock import Clock
from consent.contract import SigningKey
from consent.errors import InvalidRequestError, SetupError
from consent.files import write_private
from consent.log.note import VerifierKey, verifier_key
from consent.log.signers import ROTATED, LogKeys, RotationStatement
from consent.service.keys import LOG_KEY, read_log_keys
from consent.service.work import Unit, Workplace
from consent.store.database import Database
from consent.store.schema import LogKeyRow

LONGEST_OVERLAP = timedelta(days=366)


class LogSigners:
    """Finds the keys that sign now; a `consent.log.signers.Signers`."""

    def __init__(self, *, database: Database, folder: Path, origin: str, clock: Clock) -> None:
        self._database = database
        self._folder = folder
        self._origin = origin
        self._clock = clock
        self._keys = read_log_keys(folder)

    def __call__(self) -> LogKeys:
        """Return the keys of this moment.

        Raises:
            SetupError: the private half of a key that should sign is not there.
        """
        with self._database.reading() as session:
            rows = _rows(session)
        if not rows:
            key = self._keys[LOG_KEY]
            return LogKeys((key,), (verifier_key(self._origin, key),))
        known = tuple(VerifierKey(self._origin, base64.b64decode(row.public_key)) for row in rows)
        now = self._clock()
        signing = [row.public_key for row in rows if row.retires_at is None or row.retires_at > now]
        return LogKeys(tuple(self._private(public) for public in signing), known)

    def _private(self, public: str) -> SigningKey:
        found = _by_public_key(self._keys).get(public)
        if found is None:
            self._keys = read_log_keys(self._folder)
            found = _by_public_key(self._keys).get(public)
        if found is None:
            raise SetupError(
                f"No file in {self._folder} holds the log's current key; restore it from its backup, or follow "
                f"docs/keys-and-erasure.md on a lost key."
            )
        return found


def rotate_log_key(work: Workplace, folder: Path, *, overlap: timedelta) -> VerifierKey:
    """Have a new key take over from the log's current one, and publish a head that both sign.

    Args:
        work: the service's parts.
        folder: where its keys lie.
        overlap: how long the old key goes on to sign beside the new one.

    Raises:
        InvalidRequestError: the overlap is negative or over a year.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise InvalidRequestError(f"An overlap lasts from 0 to {LONGEST_OVERLAP.days} days.")
    new = SigningKey.generate()
    origin = work.publisher.verifier.name
    successor = verifier_key(origin, new)
    write_private(_file(folder, successor), new.private_bytes())
    with work.writing() as unit:
        _rotate(unit, folder, successor, unit.now + overlap)
    _file(folder, successor).replace(folder / LOG_KEY)
    work.publish_now()
    return successor


def _rotate(unit: Unit, folder: Path, successor: VerifierKey, until: datetime) -> None:
    unit.lock()
    rows = _rows(unit.session)
    keys = read_log_keys(folder)
    current = _by_public_key(keys)[rows[0].public_key] if rows else keys[LOG_KEY]
    predecessor = verifier_key(successor.name, current)
    if not _file(folder, predecessor).exists():
        write_private(_file(folder, predecessor), current.private_bytes())
    statement = RotationStatement(predecessor, successor, until)
    index = unit.log(ROTATED, statement.payload(current))
    if rows:
        rows[0].retires_at = until
    else:
        unit.session.add(LogKeyRow(public_key=current.public_key, log_index=index, retires_at=until))
        unit.session.flush()
    public = base64.b64encode(successor.public_key).decode()
    unit.session.add(LogKeyRow(public_key=public, log_index=index, retires_at=None))
    unit.session.flush()


def _rows(session: Session) -> list[LogKeyRow]:
    """Return the keys that ever signed, the current one first."""
    rows = session.scalars(select(LogKeyRow)).all()
    return sorted(rows, key=lambda row: (row.retires_at is not None, -row.log_index))


def _by_public_key(keys: dict[str, SigningKey]) -> dict[str, SigningKey]:
    return {key.public_key: key for key in keys.values()}


def _file(folder: Path, key: VerifierKey) -> Path:
    return folder / f"log.{key.key_id.hex()}.key"
