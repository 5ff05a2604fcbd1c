"""Grows a log once per folder named on standard input, each time in a child that a tracer can hold.

Lines on standard output: `ready`, `child PID`, `acknowledged NUMBER`, `ended STATUS`. They are written with
writev, which no test disturbs. A child begins at SIGUSR1, so that its tracer sees the work alone.
"""

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from consent.contract import SigningKey
from consent.errors import ConsentError
from consent.log.publisher import Publisher
from consent.log.store import append, create_head
from consent.store import Database

ORIGIN = "log.example/faults"
KEY = SigningKey.from_private_bytes(bytes(range(32)))
BEFORE = 250
BATCHES = (1, 3, 10)


def say(line: str) -> None:
    os.writev(1, [line.encode() + b"\n"])


def database(folder: Path) -> Database:
    return Database.connect(f"sqlite:///{folder / 'log.db'}")


def publisher(folder: Path, opened: Database) -> Publisher:
    return Publisher(database=opened, folder=folder / "public" / "log", origin=ORIGIN, key=KEY)


def prepare(folder: Path) -> None:
    """Make a published log that the work goes on from."""
    opened = database(folder)
    opened.migrate()
    with opened.writing() as session:
        create_head(session)
        append(session, [{"kind": "before", "number": number} for number in range(BEFORE)])
    publisher(folder, opened).start()
    opened.close()


def work(folder: Path) -> None:
    """Append and publish in steps; a step that fails is not acknowledged and the next one is tried."""
    opened = database(folder)
    publishing = publisher(folder, opened)
    number = 0
    for count in BATCHES:
        with contextlib.suppress(OSError, ConsentError, SQLAlchemyError):
            with opened.writing() as session:
                append(session, [{"kind": "work", "number": number + step} for step in range(count)])
            for step in range(count):
                say(f"acknowledged {number + step}")
        number += count
        with contextlib.suppress(OSError, ConsentError, SQLAlchemyError):
            publishing.start()
    opened.close()


def child(folder: Path) -> None:
    signal.sigwait({signal.SIGUSR1})
    try:
        work(folder)
    finally:
        os._exit(0)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        stdout = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        work(Path(name))
        os.dup2(stdout, 1)
    say("ready")
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            child(Path(line.strip()))
        say(f"child {process}")
        _, status = os.waitpid(process, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
