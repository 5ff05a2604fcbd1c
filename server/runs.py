"""A run's folder at the coordinator: states and papers, each written whole or not at all."""

import io
import zipfile
from pathlib import Path

import numpy as np

from consent.files import write_atomically
from privacy.solvers import SolverState
from server.errors import ResumeError


class RunFolder:
    """States and papers of one run; a file appears under its name only when all its bytes are on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: SolverState) -> None:
        """Keep the state whose last released round is `next_round - 1`."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **state.to_arrays())
        write_atomically(self._path(state.next_round - 1), buffer.getvalue())

    def load(self, round_number: int) -> SolverState:
        """Return the state after a released round.

        Raises:
            ResumeError: there is none, or it can not be read.
        """
        path = self._path(round_number)
        if not path.is_file():
            raise ResumeError(
                f"Round {round_number} was released, but its state is not in the run's folder; "
                f"restore the folder, or start a run with another id."
            )
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                return SolverState.from_arrays({name: stored[name] for name in stored.files})
        except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
            raise ResumeError(
                f"The state of round {round_number} in the run's folder can not be read; restore the folder, or "
                f"start a run with another id."
            ) from None

    def keep(self, name: str, content: bytes) -> None:
        """Keep a paper under a name, in place of an earlier one."""
        write_atomically(self._folder / name, content)

    def kept(self, name: str) -> bytes | None:
        """Return a paper, or None when there is none."""
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def discard(self, name: str) -> None:
        """Remove a paper that is no longer needed."""
        (self._folder / name).unlink(missing_ok=True)

    def _path(self, round_number: int) -> Path:
        return self._folder / f"state-{round_number:04d}.npz"
