"""Rotates the payload key of the service in a folder, and kills itself where it is told to.

Arguments: the folder, and the number of the chunk before which it ends; -1 for never.
"""

import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from consent.log.payloads import Vault
from consent.service.rewrapping import rotate_payload_key
from consent.service.setup import open_workplace
from consent.settings import ConsentSettings

CHUNK = 3


def kill_before(number: int) -> None:
    step, calls = Vault.rewrap, [0]

    def rewrap(vault: Vault, *args: Any, **named: Any) -> int | None:
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        calls[0] += 1
        return step(vault, *args, **named)

    Vault.rewrap = rewrap  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_before(int(sys.argv[2]))
    folder = Path(sys.argv[1])
    with closing(open_workplace(ConsentSettings(data_dir=folder, publish_interval=0))) as work:
        rotate_payload_key(work, folder, chunk=CHUNK)
