"""Changing the payload key: each customer's data key moves from under the old one to under the new one.

At every moment the folder holds every key that a row names: the old one lies beside `payload.key` from before the
new one takes its place until no row is under it. What a crash cuts short, the next run goes on with.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from consent.errors import SetupError
from consent.files import sync_folders, write_private
from consent.keyfiles import KEY_BYTES
from consent.log.payloads import wrapping_key_id
from consent.log.scrubbing import DATABASE, request_scrub, scrub_database
from consent.service import webhooks
from consent.service.keys import PAYLOAD_KEY, older_payload_key, older_payload_keys, read_payload_key
from consent.service.work import Workplace
from consent.store.schema import SubjectKeyRow

REWRAPPED = "payload_key_rotated"
NEXT_KEY = "payload.next.key"
CHUNK = 1_000
"""Keys that are put under the new one while writers wait."""


@dataclass(frozen=True)
class Rewrapping:
    """How a rotation ended: how many customers it was about, and whether the old bytes left all files."""

    customers: int
    scrubbed: bool


def rotate_payload_key(work: Workplace, folder: Path, *, chunk: int = CHUNK) -> Rewrapping:
    """Have a new payload key take over, and destroy the old one; goes on with a rotation that was cut short.

    A service that runs on the same folder meanwhile follows by itself.

    Args:
        work: the service's parts.
        folder: where its keys lie.
        chunk: how many customers' keys one transaction puts under the new one.

    Raises:
        LogInconsistentError: a customer's key opens under no payload key in the folder; no file was destroyed.
        SetupError: somebody else still wraps keys under the old one.
    """
    if not _superseded(folder):
        _take_over(work, folder)
    last: int | None = -1
    while last is not None:
        with work.writing() as unit:
            unit.lock()
            last = work.keys.vault.rewrap(unit.session, after=last, limit=chunk)
    customers = _conclude(work, folder)
    work.publish_now()
    scrubbed = scrub_database(work.database, limit=None)
    for path in _superseded(folder):
        path.unlink()
    sync_folders([folder])
    return Rewrapping(customers, scrubbed)


def _take_over(work: Workplace, folder: Path) -> None:
    """Put a new key in the place of the current one, which goes on to lie beside it."""
    current = read_payload_key(folder / PAYLOAD_KEY)
    for path, key in (
        (folder / NEXT_KEY, secrets.token_bytes(KEY_BYTES)),
        (older_payload_key(folder, current), current),
    ):
        if not path.exists():
            write_private(path, key)
    sync_folders([folder])
    with work.writing() as unit:
        unit.lock()
        (folder / NEXT_KEY).replace(folder / PAYLOAD_KEY)
        sync_folders([folder])


def _conclude(work: Workplace, folder: Path) -> int:
    """Log that no key is under the old one, once that is so; return how many there are."""
    current = work.keys.vault.current()
    old = [wrapping_key_id(read_payload_key(path)) for path in _superseded(folder)]
    with work.writing() as unit:
        unit.lock()
        under = select(func.count()).select_from(SubjectKeyRow)
        if unit.session.scalar(under.where(SubjectKeyRow.wrapped_by != current)):
            raise SetupError(
                f"Customers' keys are still wrapped under the old payload key: another service uses this database "
                f"with keys of its own. Stop it, give it {folder / PAYLOAD_KEY}, and run the command again."
            )
        webhooks.reseal(unit)
        customers = unit.session.scalar(under) or 0
        unit.log(REWRAPPED, {"old": old, "new": current, "customers": customers})
        request_scrub(unit.session, {DATABASE})
    return customers


def _superseded(folder: Path) -> list[Path]:
    """Return the files of older keys than the current one; its own copy is there until it is replaced."""
    current = older_payload_key(folder, read_payload_key(folder / PAYLOAD_KEY))
    return [path for path in older_payload_keys(folder) if path != current]
