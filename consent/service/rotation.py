"""Changing a key of the log: both sign for a while, the old one says in the log which one follows.

Private keys lie in `log.key` and `log.<id>.key`, those of ML-DSA-44 in `log-mldsa.key` and `log-mldsa.<id>.key`;
the database says which of them sign and until when, so that a crash between file and commit changes nothing, and
a running service follows at its next publication.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.clock import Clock
from consent.errors import InvalidRequestError, SetupError
from consent.files import write_private
from consent.log.mldsa import MldsaKey
from consent.log.note import MLDSA44, VerifierKey, verifier_key
from consent.log.signers import ROTATED, LogKey, LogKeys, RotationStatement
from consent.service.keys import LogKeyKind, read_log_keys
from consent.service.work import Unit, Workplace
from consent.store.database import Database
from consent.store.schema import LogKeyRow

LONGEST_OVERLAP = timedelta(days=366)
MLDSA_ROW = "mldsa44:"
DIGITS = 36
"""Hexadecimal digits of an ML-DSA-44 key's hash that its row holds in place of 1,312 bytes."""


class LogSigners:
    """Finds the keys that sign now; a `consent.log.signers.Signers`.

    Args:
        database: says which keys sign.
        folder: where they lie.
        origin: the log's name.
        clock: tells when an overlap is over.
        mldsa: whether heads also carry ML-DSA-44 signatures.
    """

    def __init__(
        self, *, database: Database, folder: Path, origin: str, clock: Clock, mldsa: bool = False
    ) -> None:
        self._database = database
        self._origin = origin
        self._clock = clock
        kinds = (LogKeyKind.ED25519, LogKeyKind.MLDSA44) if mldsa else (LogKeyKind.ED25519,)
        self._files = {kind: _KeyFiles(folder, kind) for kind in kinds}

    def __call__(self) -> LogKeys:
        """Return the keys of this moment.

        Raises:
            SetupError: the private half of a key that should sign is not there.
        """
        with self._database.reading() as session:
            rows = {kind: _rows(session, kind) for kind in self._files}
        signing = [key for kind in self._files for key in self._signing(kind, rows[kind])]
        public = [base64.b64decode(row.public_key) for row in rows[LogKeyKind.ED25519]]
        known = tuple(VerifierKey(self._origin, key) for key in public)
        return LogKeys(tuple(signing), known or (verifier_key(self._origin, signing[0]),))

    def _signing(self, kind: LogKeyKind, rows: Sequence[LogKeyRow]) -> list[LogKey]:
        if not rows:
            return [self._files[kind].current()]
        now = self._clock()
        names = [row.public_key for row in rows if row.retires_at is None or row.retires_at > now]
        return [self._files[kind].find(name) for name in names]


class _KeyFiles:
    """Private keys of one kind, read again when one is missing."""

    def __init__(self, folder: Path, kind: LogKeyKind) -> None:
        self._folder = folder
        self._kind = kind
        self._keys = read_log_keys(folder, kind)
        self._by_row = _by_row(self._keys)

    def current(self) -> LogKey:
        return self._keys[self._kind.file]

    def find(self, name: str) -> LogKey:
        if name not in self._by_row:
            self._keys = read_log_keys(self._folder, self._kind)
            self._by_row = _by_row(self._keys)
        if name not in self._by_row:
            raise SetupError(
                f"No file in {self._folder} holds the log's current key; restore it from its backup, or follow "
                f"docs/keys-and-erasure.md on a lost key."
            )
        return self._by_row[name]


def rotate_log_key(
    work: Workplace, folder: Path, *, overlap: timedelta, kind: LogKeyKind = LogKeyKind.ED25519
) -> VerifierKey:
    """Have a new key take over from the log's current one, and publish a head that both sign.

    Args:
        work: the service's parts.
        folder: where its keys lie.
        overlap: how long the old key goes on to sign beside the new one.
        kind: which of the log's keys.

    Raises:
        InvalidRequestError: the overlap is negative or over a year, or no key of that kind signs the log.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise InvalidRequestError(f"An overlap lasts from 0 to {LONGEST_OVERLAP.days} days.")
    if kind is LogKeyKind.MLDSA44 and all(key.algorithm != MLDSA44 for key in work.publisher.verifiers):
        raise InvalidRequestError("No ML-DSA-44 key signs this log; turn `log_mldsa` on first.")
    new = kind.generate()
    origin = work.publisher.verifier.name
    successor = verifier_key(origin, new)
    write_private(_file(folder, kind, successor), _private_bytes(new))
    with work.writing() as unit:
        _rotate(unit, folder, kind, new, successor, unit.now + overlap)
    _file(folder, kind, successor).replace(folder / kind.file)
    work.publish_now()
    return successor


def _rotate(
    unit: Unit, folder: Path, kind: LogKeyKind, new: LogKey, successor: VerifierKey, until: datetime
) -> None:
    unit.lock()
    rows = _rows(unit.session, kind)
    keys = read_log_keys(folder, kind)
    current = _by_row(keys)[rows[0].public_key] if rows else keys[kind.file]
    predecessor = verifier_key(successor.name, current)
    if not _file(folder, kind, predecessor).exists():
        write_private(_file(folder, kind, predecessor), _private_bytes(current))
    statement = RotationStatement(predecessor, successor, until)
    index = unit.log(ROTATED, statement.payload(current))
    if rows:
        rows[0].retires_at = until
    else:
        unit.session.add(LogKeyRow(public_key=_row_name(current), log_index=index, retires_at=until))
        unit.session.flush()
    unit.session.add(LogKeyRow(public_key=_row_name(new), log_index=index, retires_at=None))
    unit.session.flush()


def _rows(session: Session, kind: LogKeyKind) -> list[LogKeyRow]:
    """Return the keys of one kind that ever signed, the current one first."""
    rows = session.scalars(select(LogKeyRow)).all()
    mine = [row for row in rows if row.public_key.startswith(MLDSA_ROW) == (kind is LogKeyKind.MLDSA44)]
    return sorted(mine, key=lambda row: (row.retires_at is not None, -row.log_index))


def _by_row(keys: dict[str, LogKey]) -> dict[str, LogKey]:
    return {_row_name(key): key for key in keys.values()}


def _row_name(key: LogKey) -> str:
    """Return what a key's row holds: an Ed25519 key itself, or what tells an ML-DSA-44 key from others."""
    if isinstance(key, MldsaKey):
        return MLDSA_ROW + hashlib.sha256(key.public_key).hexdigest()[:DIGITS]
    return key.public_key


def _private_bytes(key: LogKey) -> bytes:
    return key.seed() if isinstance(key, MldsaKey) else key.private_bytes()


def _file(folder: Path, kind: LogKeyKind, key: VerifierKey) -> Path:
    return folder / f"{kind.value}.{key.key_id.hex()}.key"
