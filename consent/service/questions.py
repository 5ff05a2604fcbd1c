"""Questions that arrive while others are looked up wait for the next look, and are looked up together.

A thread for each question would be woken a thousand times a second, and each would read on its own what all of
them need. With one look at a time, its cost is shared by more questions the more there are. Where the database is
a file and readers wait for nobody, a few questions are looked up at once: to hand them to a thread takes longer.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request

from consent.contract import Decision, DecisionQuery
from consent.errors import UnavailableError
from consent.service.decisions import decide
from consent.service.work import Caller, Workplace
from consent.wire import Decisions

FEW = 16
"""Questions of one request that a file is asked at once; more would keep other requests waiting."""


@dataclass(frozen=True)
class _Asked:
    work: Workplace
    caller: Caller
    queries: Sequence[DecisionQuery]
    answered: asyncio.Future[Decisions]


class Questions:
    """What is asked of one process.

    Args:
        at_hand: whether the database is a file, whose readers wait for nobody.
    """

    def __init__(self, *, at_hand: bool) -> None:
        self._at_hand = at_hand
        self._waiting: list[_Asked] = []
        self._looking: asyncio.Task[None] | None = None

    async def ask(self, work: Workplace, caller: Caller, queries: Sequence[DecisionQuery]) -> Decisions:
        """Return the answers to a brand's questions about its own customers, in order; raises as `decide` does."""
        if self._at_hand and len(queries) <= FEW:
            with work.looking() as look:
                return _accounted(work, caller, queries, decide(look, caller, queries))
        asked = _Asked(work, caller, queries, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asked.answered

    async def _look(self) -> None:
        thread, together = CapacityLimiter(1), list[_Asked]()
        try:
            while self._waiting:
                together, self._waiting = self._waiting, []
                for asked, found in await run_sync(_looked_up, together, limiter=thread):
                    _tell(asked, found)
        finally:
            self._looking = None
            for left in (*together, *self._waiting):
                left.answered.cancel()
            self._waiting = []


def questions(request: Request) -> Questions:
    """Return those of the application."""
    found: Questions = request.app.state.questions
    return found


def _looked_up(together: Sequence[_Asked]) -> list[tuple[_Asked, Decisions | Exception]]:
    by_brand: dict[str, list[_Asked]] = {}
    for asked in together:
        by_brand.setdefault(asked.caller.name, []).append(asked)
    return [answer for group in by_brand.values() for answer in _of_brand(group)]


def _of_brand(group: Sequence[_Asked]) -> list[tuple[_Asked, Decisions | Exception]]:
    first = group[0]
    try:
        with first.work.looking() as look:
            found = iter(decide(look, first.caller, [query for asked in group for query in asked.queries]))
    except Exception as error:
        return [(asked, error) for asked in group]
    return [(asked, _own(asked, found)) for asked in group]


def _own(asked: _Asked, found: Iterator[Decision]) -> Decisions | Exception:
    """Take one asker's answers out of all, and into account."""
    answers = tuple(next(found) for _ in asked.queries)
    try:
        return _accounted(asked.work, asked.caller, asked.queries, answers)
    except UnavailableError as error:
        return error


def _accounted(
    work: Workplace, caller: Caller, queries: Sequence[DecisionQuery], answers: tuple[Decision, ...]
) -> Decisions:
    """Return answers that may be given; raises `UnavailableError` where they could not be accounted for."""
    return Decisions(decisions=answers, receipt=work.answers.take(caller.name, queries, answers, work.clock()))


def _tell(asked: _Asked, found: Decisions | Exception) -> None:
    if asked.answered.done():
        return
    if isinstance(found, Exception):
        asked.answered.set_exception(found)
    else:
        asked.answered.set_result(found)
