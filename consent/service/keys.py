"""The service's two private keys, each in a file that its owner alone can read."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consent.contract import SigningKey
from consent.errors import SetupError
from consent.files import write_private

SNAPSHOT_KEY = "snapshot.key"
LOG_KEY = "log.key"
KEY_BYTES = 32


@dataclass(frozen=True)
class Keyring:
    """One key signs snapshot heads, the other the log's checkpoints."""

    snapshots: SigningKey
    log: SigningKey

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both keys.

        Raises:
            SetupError: a key is missing, malformed, or readable by others.
        """
        return cls(snapshots=_read(folder / SNAPSHOT_KEY), log=_read(folder / LOG_KEY))

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Create the keys that are not there yet, and read both."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (SNAPSHOT_KEY, LOG_KEY):
            if not (folder / name).exists():
                write_private(folder / name, SigningKey.generate().private_bytes())
        return cls.load(folder)


def _read(path: Path) -> SigningKey:
    if not path.is_file():
        raise SetupError(f"There is no key at {path}; run `confide consent init` to create one.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SetupError(f"The key at {path} is readable by others; run `chmod 600 {path}`.")
    raw = path.read_bytes()
    if len(raw) != KEY_BYTES:
        raise SetupError(f"The key at {path} is not {KEY_BYTES} bytes long; restore it from its backup.")
    return SigningKey.from_private_bytes(raw)
