"""How soon a withdrawal is in force at a brand's agent that listens: from the request to the first denial."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from threading import Event

from consent.contract import Act, Choice
from consent.decider import Decider, DeciderPolicy
from consent.following import Follower
from simulations.bench.big_log import pseudonym
from simulations.bench.records import Record, at_most, spread
from simulations.bench.serving import BRAND, PURPOSE, Serving

LIMIT_SECONDS = 30.0
LOOK_SECONDS = 0.0005


def withdrawal_in_force(serving: Serving, customers: Sequence[int], store: str, how: str) -> Record:
    """Let customers grant, connect an agent, and let them withdraw one after another.

    Raises:
        RuntimeError: the agent did not hear of one at all.
    """
    _record(serving, Act.GRANT, customers, "connected")
    decider = Decider(BRAND, serving.coordinator.service_key(), DeciderPolicy(max_age=timedelta(hours=1)))
    times = []
    with Follower(serving.brand, decider, [PURPOSE]):
        _wait(lambda: not _denied(decider, customers[-1]))
        for customer in customers:
            began = time.perf_counter()
            _record(serving, Act.WITHDRAW, [customer], f"left-{customer}")
            _wait(partial(_denied, decider, customer))
            times.append(time.perf_counter() - began)
    return at_most(
        f"consent.{store}.withdrawal_in_force",
        max(times),
        "s",
        1.0,
        f"{how}; from sending a durable withdrawal to the denial by a connected agent's own decider, "
        f"{len(customers)} customers one after another, slowest counts; {spread(times)} s",
    )


def _record(serving: Serving, act: Act, customers: Sequence[int], name: str) -> None:
    notice = serving.notice if act is Act.GRANT else None
    choices = [
        Choice(brand=BRAND, subject=pseudonym(one), act=act, purpose=PURPOSE, notice=notice) for one in customers
    ]
    serving.brand.record(choices, idempotency_key=name)


def _denied(decider: Decider, customer: int) -> bool:
    return not decider.decide(pseudonym(customer), PURPOSE).allowed


def _wait(holds: Callable[[], bool]) -> None:
    """Look again and again until it holds."""
    until, pause = time.perf_counter() + LIMIT_SECONDS, Event()
    while not holds():
        if time.perf_counter() > until:
            raise RuntimeError("The agent did not hear of it.")
        pause.wait(LOOK_SECONDS)
