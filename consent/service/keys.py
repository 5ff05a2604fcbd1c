"""The service's private keys, each in a file that its owner alone can read."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consent.contract import SigningKey
from consent.files import write_private
from consent.keyfiles import KEY_BYTES, read_key_file
from consent.log.payloads import Vault

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
        snapshots, log, payloads = (_read(folder / name) for name in (SNAPSHOT_KEY, LOG_KEY, PAYLOAD_KEY))
        return cls(
            snapshots=SigningKey.from_private_bytes(snapshots),
            log=SigningKey.from_private_bytes(log),
            vault=Vault(payloads),
        )

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Create the keys that are not there yet, and read all."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (SNAPSHOT_KEY, LOG_KEY, PAYLOAD_KEY):
            if not (folder / name).exists():
                write_private(folder / name, secrets.token_bytes(KEY_BYTES))
        return cls.load(folder)


def read_log_keys(folder: Path) -> dict[str, SigningKey]:
    """Read every private key of the log, by the name of its file; raises as `Keyring.load` does."""
    paths = [folder / LOG_KEY, *sorted(folder.glob("log.*.key"))]
    return {path.name: SigningKey.from_private_bytes(_read(path)) for path in paths}


def _read(path: Path) -> bytes:
    return read_key_file(path, created_by="confide consent init")
