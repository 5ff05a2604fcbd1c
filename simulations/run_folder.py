"""A run's folder: made when a run starts, and opened again only for a run with the same options."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consent.files import write_atomically
from simulations.errors import InputError

OPTIONS_FILE = "options.json"


def open_folder(folder: Path, options: Mapping[str, Any]) -> None:
    """Create a run's folder, or check that it holds a run with the same options.

    Raises:
        InputError: the run id is taken by a run with other options.
    """
    document = json.dumps(options, indent=2, sort_keys=True).encode()
    path = folder / OPTIONS_FILE
    if not path.exists():
        write_atomically(path, document)
    elif path.read_bytes() != document:
        raise InputError(
            f"Run {folder.name!r} was started with other options; repeat those, or choose another run id."
        )
