"""A service whose log's keys change hands, of either kind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from consent.log.commitments import Opening
from consent.log.note import MLDSA44, Note, VerifierKey
from consent.log.store import entries, read_head
from consent.service import create_app
from consent.service.keys import LogKeyKind
from consent.service.rotation import rotate_log_key
from consent.service.work import Workplace

DAY = timedelta(days=1)


@dataclass
class TurningKeys:
    """The keys of one kind; those of the other kind sign beside them and stay."""

    world: Any
    kind: LogKeyKind

    def rotate(self, overlap: timedelta = DAY) -> tuple[VerifierKey, VerifierKey]:
        """Return the key that signed and the one that follows."""
        (old, *_) = self.of(self.world.app.state.workplace)
        work, folder = self.world.app.state.workplace, self.world.settings.data_dir
        return old, rotate_log_key(work, folder, overlap=overlap, kind=self.kind)

    def of(self, work: Workplace) -> list[VerifierKey]:
        wanted = self.kind is LogKeyKind.MLDSA44
        return [key for key in work.publisher.verifiers if (key.algorithm == MLDSA44) == wanted]

    @property
    def beside(self) -> tuple[VerifierKey, ...]:
        """The keys of the other kind."""
        work = self.world.app.state.workplace
        return tuple(key for key in work.publisher.verifiers if key not in self.of(work))

    def head(self) -> str:
        return str((self.world.settings.log_dir / "checkpoint").read_text())

    def signers(self, *keys: VerifierKey) -> set[VerifierKey]:
        return set(Note.parse(self.head()).signers(keys))

    def vkeys(self) -> Sequence[VerifierKey]:
        return [
            VerifierKey.parse(line) for line in (self.world.settings.log_dir / "vkey").read_text().splitlines()
        ]

    def statements(self) -> list[dict[str, Any]]:
        with self.world.app.state.workplace.reading() as unit:
            stored = entries(unit.session, 0, read_head(unit.session).size)
            payloads = [json.loads(one.opening.payload) for one in stored if isinstance(one.opening, Opening)]
        return [payload for payload in payloads if payload["kind"] == "log_key_rotated"]

    def file(self, key: VerifierKey | None = None) -> Path:
        """Return where the current key lies, or an older one."""
        name = self.kind.file if key is None else f"{self.kind.value}.{key.key_id.hex()}.key"
        found: Path = self.world.settings.data_dir / name
        return found

    def start_another(self) -> Workplace:
        """Start a service on the same folder, which has to be closed."""
        work: Workplace = create_app(self.world.settings, clock=self.world.clock).state.workplace
        return work
