"""The service's private keys, each in a file that its owner alone can read."""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from consent.contract import SigningKey
from consent.files import write_private
from consent.keyfiles import KEY_BYTES, read_key_file
from consent.log.mldsa import MldsaKey
from consent.log.payloads import Vault, wrapping_key_id
from consent.log.signers import LogKey

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


class LogKeyKind(StrEnum):
    """The kinds of keys that sign the log, by the beginning of their files' names."""

    ED25519 = "log"
    MLDSA44 = "log-mldsa"

    @property
    def file(self) -> str:
        """The name of the current key's file."""
        return f"{self.value}.key"

    def generate(self) -> LogKey:
        """Draw a new key from the operating system's CSPRNG."""
        return SigningKey.generate() if self is LogKeyKind.ED25519 else MldsaKey.generate()

    def load(self, raw: bytes) -> LogKey:
        """Return the key in a file's bytes."""
        return SigningKey.from_private_bytes(raw) if self is LogKeyKind.ED25519 else MldsaKey.from_seed(raw)


def read_log_keys(folder: Path, kind: LogKeyKind) -> dict[str, LogKey]:
    """Read every private key of one kind, by the name of its file; raises as `Keyring.load` does."""
    paths = [folder / kind.file, *sorted(folder.glob(f"{kind.value}.*.key"))]
    return {path.name: kind.load(_read(path)) for path in paths}


def _version(path: Path) -> tuple[int, int] | None:
    """Tell a file from the one that replaces it; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> bytes:
    return read_key_file(path, created_by="confide consent init")
