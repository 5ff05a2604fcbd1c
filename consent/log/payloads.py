"""Payloads about one customer, encrypted under a data key that exists for that customer alone.

A data key is 32 random bytes, kept wrapped under the service's key-encryption key. Destroying it makes every
payload and salt under it unreadable wherever a copy of the ciphertext lies (NIST SP 800-88r1, section 2.5,
cryptographic erase). Both layers are AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2).
Each wrapped key names its key-encryption key, so that one can take over from another row by row.
"""

import hashlib
import hmac
import io
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from consent.errors import LogInconsistentError
from consent.log.commitments import SALT_BYTES, Opening, SealedOpening
from consent.store.bulk import insert_all
from consent.store.driver import Driver, Transaction, places
from consent.store.schema import SubjectKeyRow

RandomBytes = Callable[[int], bytes]
WrappingKeys = Callable[[], Sequence[bytes]]
"""Returns the key-encryption keys of this moment, the one that wraps first."""
KEY_ID_LABEL = b"confide/v1/payload-key-id"
KEY_ID_BYTES = 8
KEY_BYTES = 32
NONCE_BYTES = 12
LOOKUP_CHUNK = 1_000
READ_KEYS = "SELECT subject, key_id, wrapped, wrapped_by FROM subject_keys WHERE brand = %s AND subject IN"

_Item = TypeVar("_Item")


class Subject(NamedTuple):
    """One customer of one brand."""

    brand: str
    pseudonym: str


class DataKey:
    """The key of one customer; `key_id` is the index of the first entry that was sealed under it."""

    def __init__(self, key_id: int, raw: bytes) -> None:
        self.key_id = key_id
        self._cipher = AESGCM(raw)

    def seal(self, opening: Opening, nonce: bytes) -> SealedOpening:
        """Encrypt what opens an entry, bound to the entry's index, under `NONCE_BYTES` fresh random bytes."""
        sealed = self._cipher.encrypt(nonce, opening.salt + opening.payload, _place(opening.index))
        return SealedOpening(opening.index, self.key_id, nonce + sealed)

    def open(self, sealed: SealedOpening) -> Opening:
        """Decrypt an opening.

        Raises:
            LogInconsistentError: it was not sealed under this key for this entry.
        """
        nonce, ciphertext = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, ciphertext, _place(sealed.index))
        except InvalidTag:
            raise LogInconsistentError(
                f"The opening of entry {sealed.index} does not decrypt under its customer's key; "
                f"restore the newest database."
            ) from None
        return Opening(sealed.index, plain[:SALT_BYTES], plain[SALT_BYTES:])


class Vault:
    """Makes, keeps and finds data keys.

    Args:
        key: the service's key-encryption key, 32 bytes; or what returns all that there are, asked whenever a
            data key is made, so that a service that runs follows a rotation.
        random_bytes: source of data keys and nonces, a CSPRNG.
    """

    def __init__(self, key: bytes | WrappingKeys, *, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._source = (lambda: (key,)) if isinstance(key, bytes) else key
        self._random_bytes = random_bytes
        self._ciphers: dict[str, AESGCM] = {}
        self._follow()

    def current(self) -> str:
        """Return the identifier of the key that wraps now."""
        return wrapping_key_id(self._follow()[0])

    def keys(self, session: Transaction, subjects: Sequence[Subject | None], first: int) -> dict[Subject, DataKey]:
        """Return the data key of every subject; one that has none gets one, under the lock of the log.

        Args:
            session: a writing transaction that holds the lock of the log.
            subjects: whom the entries to be appended are about, in order; None where about nobody.
            first: the index that the first of these entries will have.
        """
        offsets: dict[Subject, int] = {}
        for offset, subject in enumerate(subjects):
            if subject is not None:
                offsets.setdefault(subject, offset)
        found = self._found(session, offsets)
        fresh = {subject: first + offset for subject, offset in offsets.items() if subject not in found}
        if fresh:
            current, rows = self.current(), []
            drawn = io.BytesIO(self._random_bytes(len(fresh) * (KEY_BYTES + NONCE_BYTES)))
            for subject, key_id in fresh.items():
                found[subject], wrapped = self._make(subject, key_id, current, drawn.read)
                row = {"key_id": key_id, "brand": subject.brand, "subject": subject.pseudonym}
                rows.append({**row, "wrapped": wrapped, "wrapped_by": current})
            insert_all(session, SubjectKeyRow, rows)
        return found

    def rewrap(self, session: Session, *, after: int, limit: int) -> int | None:
        """Put data keys that another key wraps under the current one, in the order of their numbers.

        Args:
            session: a writing session that holds the lock of the log.
            after: the number after which to look.
            limit: how many to put at most.

        Returns:
            The number of the last one; None when there was none.

        Raises:
            LogInconsistentError: one opens under no key that is there.
        """
        current = self.current()
        query = select(SubjectKeyRow).where(SubjectKeyRow.wrapped_by != current, SubjectKeyRow.key_id > after)
        rows = session.scalars(query.order_by(SubjectKeyRow.key_id).limit(limit)).all()
        fresh = []
        for row in rows:
            subject = Subject(row.brand, row.subject)
            raw = self._unwrap(subject, row.wrapped, row.wrapped_by)
            wrapped = self._wrap(subject, raw, current, self._random_bytes(NONCE_BYTES))
            fresh.append({"number": row.key_id, "fresh": wrapped})
        if not fresh:
            return None
        table = SubjectKeyRow.__table__
        session.connection().execute(
            update(SubjectKeyRow)
            .where(table.c.key_id == bindparam("number"))
            .values(wrapped=bindparam("fresh"), wrapped_by=current),
            fresh,
        )
        return rows[-1].key_id

    def make(self, subject: Subject, key_id: int) -> tuple[DataKey, bytes]:
        """Draw a data key; return it, and as it is kept."""
        return self._make(subject, key_id, self.current(), self._random_bytes)

    def seal_secret(self, owner: str, secret: bytes) -> bytes:
        """Encrypt a secret of the service's own under the key that wraps now, bound to whose it is."""
        current, nonce = self.current(), self._random_bytes(NONCE_BYTES)
        return current.encode() + nonce + self._ciphers[current].encrypt(nonce, secret, _secret(owner))

    def open_secret(self, owner: str, sealed: bytes) -> bytes:
        """Decrypt what `seal_secret` made.

        Raises:
            LogInconsistentError: it opens under no payload key that is there, or is somebody else's.
        """
        name, sealed = sealed[: 2 * KEY_ID_BYTES].decode(), sealed[2 * KEY_ID_BYTES :]
        if name not in self._ciphers:
            self._follow()
        try:
            return self._ciphers[name].decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _secret(owner))
        except (KeyError, InvalidTag):
            raise LogInconsistentError(
                "A secret does not open under the service's payload key; restore the payload key that belongs to "
                "this database."
            ) from None

    def open(self, session: Session, sealed: SealedOpening) -> Opening:
        """Decrypt one opening; raises `LogInconsistentError` when its key is gone or does not fit."""
        return self.open_all(session, [sealed])[0]

    def open_all(self, session: Session, sealed: Sequence[SealedOpening]) -> list[Opening]:
        """Decrypt openings, of one customer or of many, in order.

        Raises:
            LogInconsistentError: a key is gone, or does not fit.
        """
        keys: dict[int, DataKey] = {}
        for chunk in _chunks(sorted({one.key_id for one in sealed})):
            for row in session.scalars(select(SubjectKeyRow).where(SubjectKeyRow.key_id.in_(chunk))):
                raw = self._unwrap(Subject(row.brand, row.subject), row.wrapped, row.wrapped_by)
                keys[row.key_id] = DataKey(row.key_id, raw)
        missing = {one.key_id for one in sealed} - keys.keys()
        if missing:
            raise LogInconsistentError("A customer's key is gone while an entry is still sealed under it.")
        return [keys[one.key_id].open(one) for one in sealed]

    def _found(self, session: Transaction, subjects: Iterable[Subject]) -> dict[Subject, DataKey]:
        by_brand: dict[str, list[str]] = {}
        for subject in subjects:
            by_brand.setdefault(subject.brand, []).append(subject.pseudonym)
        found = {}
        driver = Driver(session)
        for brand, pseudonyms in by_brand.items():
            for chunk in _chunks(pseudonyms):
                rows = driver.execute(f"{READ_KEYS} ({places(len(chunk))})", (brand, *chunk)).fetchall()
                for pseudonym, key_id, wrapped, wrapped_by in rows:
                    subject = Subject(brand, pseudonym)
                    found[subject] = DataKey(key_id, self._unwrap(subject, wrapped, wrapped_by))
        return found

    def _make(
        self, subject: Subject, key_id: int, wrapped_by: str, random_bytes: RandomBytes
    ) -> tuple[DataKey, bytes]:
        raw = random_bytes(KEY_BYTES)
        return DataKey(key_id, raw), self._wrap(subject, raw, wrapped_by, random_bytes(NONCE_BYTES))

    def _wrap(self, subject: Subject, raw: bytes, wrapped_by: str, nonce: bytes) -> bytes:
        return nonce + self._ciphers[wrapped_by].encrypt(nonce, raw, _owner(subject))

    def _unwrap(self, subject: Subject, wrapped: bytes, wrapped_by: str) -> bytes:
        if wrapped_by not in self._ciphers:
            self._follow()
        try:
            cipher = self._ciphers[wrapped_by]
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _owner(subject))
        except (KeyError, InvalidTag):
            raise LogInconsistentError(
                "A customer's key does not open under the service's payload key; restore the payload key that "
                "belongs to this database."
            ) from None

    def _follow(self) -> Sequence[bytes]:
        """Return the keys that there are now; one that was read before goes on to open what it wrapped."""
        keys = self._source()
        for key in keys:
            self._ciphers.setdefault(wrapping_key_id(key), AESGCM(key))
        return keys


def wrapping_key_id(key: bytes) -> str:
    """Return a name for a key-encryption key that tells nothing about it: 16 hexadecimal digits."""
    return hmac.digest(key, KEY_ID_LABEL, hashlib.sha256)[:KEY_ID_BYTES].hex()


def _place(index: int) -> bytes:
    return b"confide/v1/opening\n" + index.to_bytes(8, "big")


def _secret(owner: str) -> bytes:
    return f"confide/v1/secret\n{owner}".encode()


def _owner(subject: Subject) -> bytes:
    return f"confide/v1/data-key\n{subject.brand}\n{subject.pseudonym}".encode()


def _chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, LOOKUP_CHUNK)):
        yield chunk
