"""What witnesses cosigned last, kept by the log's side apart from its database and its published folder.

A backup of both that is restored together agrees with itself; this file is what it does not agree with.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from consent.errors import SetupError
from consent.files import write_atomically
from consent.log.note import VerifierKey

WITNESSED = "witnessed.json"
SIZES = TypeAdapter(dict[str, Annotated[int, Field(ge=0, strict=True)]])


class WitnessedSizes:
    """The size of the longest head that each witness cosigned, by the witness's verifier key.

    Args:
        path: the file; None keeps them in memory alone.

    Raises:
        SetupError: the file is damaged.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._sizes = self._read()

    def of(self, witness: VerifierKey) -> int | None:
        """Return the size that a witness cosigned; None when it is not known to have cosigned any."""
        return self._sizes.get(witness.encode())

    def learn(self, witness: VerifierKey, size: int) -> None:
        """Take in what a witness cosigned; `save` makes it durable."""
        name = witness.encode()
        self._sizes[name] = max(size, self._sizes.get(name, 0))

    def save(self) -> None:
        """Write what was learned, unless it is there; another process may have learned more."""
        if self._path is None:
            return
        kept = self._read()
        merged = {name: max(self._sizes.get(name, 0), kept.get(name, 0)) for name in self._sizes | kept}
        if merged != kept:
            write_atomically(self._path, json.dumps(merged, indent=1, sort_keys=True).encode() + b"\n")

    def _read(self) -> dict[str, int]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            return SIZES.validate_json(self._path.read_bytes())
        except ValidationError:
            raise SetupError(
                f"{self._path} is damaged and no longer says what witnesses cosigned; restore it, or remove it "
                f"once you know that the database is the newest."
            ) from None
