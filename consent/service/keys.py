"""The service's private keys, each in a file that its owner alone can read."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consent.contract import SigningKey
from consent.files import write_private
from consent.keyfiles import KEY_BYTES, read_key_file
from consent.log.payloads import Vault, wrapping_key_id

SNAPSHOT_KEY = "snapshot.key"
LOG_KEY = "log.key"
PAYLOAD_KEY = "payload.key"


@dataclass(frozen=True)
class Keyring:
    """One key signs snapshot heads, one the log's checkpoints; the vault's key wraps customers' data keys."""

    snapshots: SigningKey
    log: SigningKey
    vault: Vault

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read all keys.

        Raises:
            SetupError: a key is missing, malformed, or readable by others.
        """
        snapshots, log = (_read(folder / name) for name in (SNAPSHOT_KEY, LOG_KEY))
        return cls(
            snapshots=SigningKey.from_private_bytes(snapshots),
            log=SigningKey.from_private_bytes(log),
            vault=Vault(PayloadKeys(folder)),
        )

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Create the keys that are not there yet, and read all."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (SNAPSHOT_KEY, LOG_KEY, PAYLOAD_KEY):
            if not (folder / name).exists():
                write_private(folder / name, secrets.token_bytes(KEY_BYTES))
        return cls.load(folder)


class PayloadKeys:
    """The payload keys in a folder, read again when `payload.key` was replaced; a `WrappingKeys`.

    Beside `payload.key` lies `payload.<id>.key` while customers' keys are still under that older one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self._keys: tuple[bytes, ...] = ()

    def __call__(self) -> tuple[bytes, ...]:
        """Return the keys, the current one first.

        Raises:
            SetupError: a key is missing, malformed, or readable by others.
        """
        path = self._folder / PAYLOAD_KEY
        seen = _version(path)
        if seen is None or seen != self._seen:
            self._keys = (_read(path), *(_read(older) for older in older_payload_keys(self._folder)))
            self._seen = seen
        return self._keys


def older_payload_keys(folder: Path) -> list[Path]:
    """Return the files of payload keys that another one took over from, or is about to."""
    return sorted(folder.glob("payload.[0-9a-f]*.key"))


def older_payload_key(folder: Path, key: bytes) -> Path:
    """Return where a payload key lies that another one takes over from."""
    return folder / f"payload.{wrapping_key_id(key)}.key"


def read_payload_key(path: Path) -> bytes:
    """Read one payload key; raises as `Keyring.load` does."""
    return _read(path)


def read_log_keys(folder: Path) -> dict[str, SigningKey]:
    """Read every private key of the log, by the name of its file; raises as `Keyring.load` does."""
    paths = [folder / LOG_KEY, *sorted(folder.glob("log.*.key"))]
    return {path.name: SigningKey.from_private_bytes(_read(path)) for path in paths}


def _version(path: Path) -> tuple[int, int] | None:
    """Tell a file from the one that replaces it; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> bytes:
    return read_key_file(path, created_by="confide consent init")
