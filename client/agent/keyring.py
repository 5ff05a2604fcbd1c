"""The agent's secrets: made at the brand, kept in files that their owner alone can read, never sent anywhere."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consent.contract import SigningKey
from consent.files import write_private

SIGNING_KEY = "agent.key"
PSEUDONYM_KEY = "pseudonym.key"
HOLDOUT_KEY = "holdout.key"
KEY_BYTES = 32


@dataclass(frozen=True)
class AgentKeys:
    """What the agent signs with, names customers with, and draws its holdout with."""

    signing: SigningKey
    pseudonym: bytes
    holdout: bytes

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the keys from a folder; those that are not there yet are drawn from the system's CSPRNG."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(
            signing=SigningKey.from_private_bytes(
                read_or_create(folder / SIGNING_KEY, lambda: SigningKey.generate().private_bytes())
            ),
            pseudonym=read_or_create(folder / PSEUDONYM_KEY, lambda: secrets.token_bytes(KEY_BYTES)),
            holdout=read_or_create(folder / HOLDOUT_KEY, lambda: secrets.token_bytes(KEY_BYTES)),
        )


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return a secret file's bytes, creating it for its owner alone when it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, make())
    return path.read_bytes()
