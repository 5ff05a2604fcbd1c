"""The finished models that an agent decides with, each under the digest that was released."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.port import Arrays
from consent.contract import TaskSpec
from consent.contract.plan import solver_for
from consent.files import write_atomically
from privacy.solvers import AdditiveModel, Query
from privacy.vectors import arrays_digest


@dataclass(frozen=True)
class InstalledModel:
    """A model, the task that it answers and the digest under which it was released."""

    task: TaskSpec
    model: AdditiveModel
    digest: str


class ModelStore:
    """Models in a folder of the brand: one file per purpose, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def install(self, task: TaskSpec, arrays: Arrays) -> None:
        """Keep a model as the one for its task's purpose."""
        buffer = io.BytesIO()
        document = np.frombuffer(task.canonical_bytes(), dtype=np.uint8)
        np.savez(buffer, allow_pickle=False, task_json=document, **arrays)
        write_atomically(self._folder / f"{task.purpose}.npz", buffer.getvalue())

    def get(self, purpose: str) -> InstalledModel | None:
        """Return the model for a purpose, or None when none was installed."""
        path = self._folder / f"{purpose}.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name != "task_json"}
            task = TaskSpec.model_validate_json(stored["task_json"].tobytes())
        model = solver_for(task).model_from(Query.from_arrays(arrays))
        return InstalledModel(task, model, arrays_digest(arrays))
