"""Keeping a decider in step with the consent service: events as they happen, new rosters when they are due."""

import threading
from collections.abc import Callable, Sequence
from typing import Self

from consent.client import ConsentClient
from consent.decider import Decider
from consent.errors import ConsentError
from consent.events import Changed, Event, Reset

REFRESH_SECONDS = 300.0
"""After which a roster is taken anew, so that who granted since is on it."""
RETRY_SECONDS = 0.5


class Follower:
    """Two threads: one hears events, so that none waits while the other reads a roster.

    Use as a context manager. Whatever fails is tried again; the decider denies by itself when that lasts.

    Args:
        client: the brand's access.
        decider: what is kept in step; nobody else installs its rosters.
        purposes: the purposes to decide for.
        refresh: seconds after which rosters are taken anew.
        retry: seconds to wait after a failure.
        on_trouble: told of every failure, by either thread.
    """

    def __init__(
        self,
        client: ConsentClient,
        decider: Decider,
        purposes: Sequence[str],
        *,
        refresh: float = REFRESH_SECONDS,
        retry: float = RETRY_SECONDS,
        on_trouble: Callable[[ConsentError], None] = lambda _: None,
    ) -> None:
        self._client, self._decider, self._purposes = client, decider, tuple(purposes)
        self._refresh, self._retry, self._on_trouble = refresh, retry, on_trouble
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._listen, self._renew)]

    def __enter__(self) -> Self:
        """Start both threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them; the decider denies soon after."""
        self._stopped.set()
        self._asked.set()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            size = self._decider.position
            if size is None:
                self._stopped.wait(self._retry)
                continue
            try:
                self._hear(size)
            except ConsentError as error:
                self._failed(error)

    def _hear(self, size: int) -> None:
        with self._client.events(size) as events:
            for event in events:
                self._take(event)
                if self._stopped.is_set() or self._decider.position is None:
                    return

    def _take(self, event: Event) -> None:
        self._decider.apply(event)
        if isinstance(event, Reset) or (isinstance(event, Changed) and event.loses):
            self._asked.set()

    def _renew(self) -> None:
        everything = True
        while not self._stopped.is_set():
            try:
                self._install(everything=everything)
            except ConsentError as error:
                self._failed(error)
                continue
            everything = not self._asked.wait(self._refresh)
            self._asked.clear()

    def _install(self, *, everything: bool) -> None:
        """Take rosters anew, and where events were never heard begin with those since the first of them."""
        begins = self._decider.position is None
        sizes = []
        for purpose in self._purposes:
            if everything or begins or self._decider.due(purpose):
                view = self._client.roster(purpose)
                self._decider.install(view)
                sizes.append(view.head.body.log_size)
        if begins:
            self._decider.follow(min(sizes))

    def _failed(self, error: ConsentError) -> None:
        self._on_trouble(error)
        self._stopped.wait(self._retry)
