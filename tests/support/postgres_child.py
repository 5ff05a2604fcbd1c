"""A service on PostgreSQL whose threads append without pause, until a line on standard input or a kill.

The first line of standard input is the settings as JSON. Lines on standard output, each written whole:
`acknowledged NUMBER INDEX` once a commit returned, `refused NUMBER` where it did not, `ended` at the end.
"""

import os
import sys
import threading
from itertools import count

from sqlalchemy.exc import SQLAlchemyError

from consent.errors import ConsentError
from consent.log.payloads import Subject
from consent.service import create_app
from consent.service.work import Workplace
from consent.settings import ConsentSettings

THREADS = 4
PAUSE = 0.02
"""Seconds between attempts of a thread while they are refused."""


def say(line: str) -> None:
    os.writev(1, [line.encode() + b"\n"])


def work(place: Workplace, first: int, stopped: threading.Event) -> None:
    """Append numbers of this thread's own; each is tried once, every other one about a customer."""
    customer = Subject("acme", f"{first:064x}")
    for number in count(first, THREADS):
        if stopped.is_set():
            return
        try:
            with place.writing() as unit:
                about = customer if number % (2 * THREADS) < THREADS else None
                index = unit.log("work", {"number": number}, subject=about)
        except (ConsentError, SQLAlchemyError):
            say(f"refused {number}")
            stopped.wait(PAUSE)
        else:
            say(f"acknowledged {number} {index}")


def main() -> None:
    settings = ConsentSettings.model_validate_json(sys.stdin.readline())
    start = int(sys.stdin.readline())
    place: Workplace = create_app(settings).state.workplace
    stopped = threading.Event()
    threads = [threading.Thread(target=work, args=(place, start + one, stopped)) for one in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stopped.set()
    for thread in threads:
        thread.join()
    place.close()
    say("ended")


if __name__ == "__main__":
    main()
