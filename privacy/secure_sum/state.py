"""What a brand keeps of a run, so that it masks and opens as before after it was stopped at any moment."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from privacy.errors import SecureSumError
from privacy.secure_sum.scheme import KEY_BYTES, Advertisement


class Stage(IntEnum):
    """How far a slot is; it never goes back."""

    FRESH = 0
    MASKED = 1
    OPENED = 2


@dataclass(frozen=True)
class Slot:
    """What became of one attempt; to be stored before anything of it leaves.

    Args:
        stage: how far it is.
        context: digest of the manifest that was masked for, empty before.
        present: the manifest's brands, empty before.
        arrived: the brands whose sum this one helped to open, empty before.
    """

    stage: Stage = Stage.FRESH
    context: bytes = b""
    present: frozenset[str] = frozenset()
    arrived: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MemberState:
    """A brand's part of a run but for its slots; secret, to be stored before the brand answers.

    Args:
        secret: 32 bytes from which all that the brand draws in a run follows.
        peers: every brand's advertisement, none before they were there.
        held: every brand's shares for this one by its name, none before they were there.
    """

    secret: bytes
    peers: tuple[Advertisement, ...] = ()
    held: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the state for a store that only the brand can read."""
        document = {
            "secret": _text(self.secret),
            "peers": [
                {
                    "brand": one.brand,
                    "box_key": _text(one.box_key),
                    "slot_keys": _text(b"".join(one.slot_keys)),
                    "commitments": _text(b"".join(one.commitments)),
                }
                for one in self.peers
            ],
            "held": {brand: _text(shares) for brand, shares in self.held.items()},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "MemberState":
        """Read back what `to_bytes` gave.

        Raises:
            SecureSumError: it is something else.
        """
        try:
            document = json.loads(stored)
            return cls(
                secret=_bytes(document["secret"]),
                peers=tuple(_advertisement(one) for one in document["peers"]),
                held={brand: _bytes(shares) for brand, shares in document["held"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SecureSumError("What was stored of the run can not be read; start another run.") from None


def _advertisement(stored: Mapping[str, str]) -> Advertisement:
    return Advertisement(
        brand=stored["brand"],
        box_key=_bytes(stored["box_key"]),
        slot_keys=_keys(_bytes(stored["slot_keys"])),
        commitments=_keys(_bytes(stored["commitments"])),
    )


def _keys(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[start : start + KEY_BYTES] for start in range(0, len(joined), KEY_BYTES))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
