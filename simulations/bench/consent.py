"""The consent service over loopback, sharing two cores with its load: writes, decisions, withdrawals, imports."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from consent.bulk_import import NDJSON, Summary
from consent.contract import Act, Choice, DecisionQuery
from consent.wire import MAX_BATCH, ChoiceBatch, DecisionBatch
from simulations.bench.big_log import pseudonym
from simulations.bench.load import Address, at_rate, one_after_another, quantile, run
from simulations.bench.pushing import withdrawal_in_force
from simulations.bench.records import Record, at_least, at_most, spread
from simulations.bench.serving import BRAND, PURPOSE, Serving, postgresql, serving

REPETITIONS = 5
BATCH = 256
WRITERS = 4
QUESTIONS_PER_SECOND = 1_000
CONNECTIONS = 16


@dataclass(frozen=True)
class Sizes:
    """How much is measured: customers to ask about, requests of a repetition, and rows of the two big files."""

    known: int = 20_000
    singles: int = 500
    batches: int = 80
    questions: int = 10_000
    withdrawals: int = 100_000
    imported: int = 1_000_000
    changes: int = 1_000
    leaving: int = 50


FULL = Sizes()
QUICK = Sizes(
    known=500, singles=20, batches=4, questions=300, withdrawals=2_000, imported=5_000, changes=50, leaving=5
)


class Requests:
    """Makes requests of one brand, no idempotency key twice."""

    def __init__(self, serving: Serving) -> None:
        self.address = serving.address
        self._notice = serving.notice
        self._keys = count()

    def choices(self, act: Act, customers: Sequence[int], *, name: str | None = None) -> bytes:
        """Return a batch in which these customers do the same."""
        notice = self._notice if act is Act.GRANT else None
        batch = ChoiceBatch(
            idempotency_key=name or f"bench-{next(self._keys)}",
            choices=tuple(
                Choice(brand=BRAND, subject=pseudonym(one), act=act, purpose=PURPOSE, notice=notice)
                for one in customers
            ),
        )
        return self.address.request("/v1/choices", batch.model_dump_json(exclude_none=True).encode())

    def question(self, customer: int) -> bytes:
        """Return the question whether this customer may be used."""
        query = DecisionQuery(brand=BRAND, subject=pseudonym(customer), purpose=PURPOSE)
        return self.address.request("/v1/decisions", DecisionBatch(queries=(query,)).model_dump_json().encode())


def consent(*, quick: bool = False) -> list[Record]:
    """Measure on SQLite and on PostgreSQL and return all records."""
    sizes = QUICK if quick else FULL
    records = []
    with tempfile.TemporaryDirectory(prefix="confide-bench-") as name:
        folder = Path(name)
        for store in ("sqlite", "postgresql"):
            (folder / store).mkdir()
        with serving(folder / "sqlite") as service:
            records += _service(service, sizes, "sqlite")
        with postgresql(folder / "server") as url, serving(folder / "postgresql", url) as service:
            records += _service(service, sizes, "postgresql")
    return records


def _service(serving: Serving, sizes: Sizes, store: str) -> list[Record]:
    requests = Requests(serving)
    how = (
        f"over loopback HTTP to `confide consent serve` on {store}, both on {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} before"
    )
    run(one_after_another(requests.address, list(_granting(requests, range(sizes.known))), connections=1))
    return [
        _single(requests, sizes, store, how),
        _batched(requests, sizes, store, how),
        _decisions(requests, sizes, store, how),
        *_withdrawals(requests, sizes, store, how),
        withdrawal_in_force(serving, range(30_000_000, 30_000_000 + sizes.leaving), store, how),
        *_import(serving, sizes, store, how),
    ]


def _granting(requests: Requests, customers: range) -> Iterator[bytes]:
    for start in range(customers.start, customers.stop, MAX_BATCH):
        yield requests.choices(Act.GRANT, range(start, min(start + MAX_BATCH, customers.stop)))


def _repeated(measure: Callable[[int], float]) -> list[float]:
    return [measure(number) for number in range(REPETITIONS)]


def _single(requests: Requests, sizes: Sizes, store: str, how: str) -> Record:
    def measure(number: int) -> float:
        first = sizes.known + number * sizes.singles
        bodies = [requests.choices(Act.GRANT, [first + one]) for one in range(sizes.singles)]
        return quantile(run(one_after_another(requests.address, bodies, connections=1)), 0.99)

    times = _repeated(measure)
    return at_most(
        f"consent.{store}.single_grant_p99",
        statistics.median(times),
        "ms",
        20.0,
        f"{how}; {sizes.singles} durable grants of new customers one after another; p99 in ms: {spread(times)}",
    )


def _batched(requests: Requests, sizes: Sizes, store: str, how: str) -> Record:
    first = sizes.known + REPETITIONS * sizes.singles

    def measure(number: int) -> float:
        start = first + number * sizes.batches * BATCH
        bodies = [
            requests.choices(Act.GRANT, range(start + one * BATCH, start + (one + 1) * BATCH))
            for one in range(sizes.batches)
        ]
        began = time.perf_counter()
        run(one_after_another(requests.address, bodies, connections=WRITERS))
        return sizes.batches * BATCH / (time.perf_counter() - began)

    rates = _repeated(measure)
    return at_least(
        f"consent.{store}.grants_in_batches",
        statistics.median(rates),
        "grants/s",
        5_000,
        f"{how}; durable and logged, {BATCH} new customers a batch, {WRITERS} connections; {spread(rates)}",
    )


def _decisions(requests: Requests, sizes: Sizes, store: str, how: str) -> Record:
    bodies = [requests.question(number % (2 * sizes.known)) for number in range(sizes.questions)]

    def measure(_number: int) -> float:
        load = at_rate(requests.address, bodies, rate=QUESTIONS_PER_SECOND, connections=CONNECTIONS)
        return quantile(run(load), 0.99)

    times = _repeated(measure)
    return at_most(
        f"consent.{store}.decision_p99",
        statistics.median(times),
        "ms",
        5.0,
        f"{how}; {sizes.questions} questions about one customer each at {QUESTIONS_PER_SECOND} a second, open "
        f"loop over {CONNECTIONS} connections, timed from when each was due; p99 in ms: {spread(times)}",
    )


def _withdrawals(requests: Requests, sizes: Sizes, store: str, how: str) -> list[Record]:
    """Have everybody withdraw in batches as an agent sends them, while decisions are asked for."""
    everyone = range(10_000_000, 10_000_000 + sizes.withdrawals)
    run(one_after_another(requests.address, list(_granting(requests, everyone)), connections=1))
    batches = [
        requests.choices(Act.WITHDRAW, everyone[start : start + BATCH]) for start in range(0, len(everyone), BATCH)
    ]
    questions = [requests.question(number % sizes.known) for number in range(sizes.questions // 10)]
    seconds, asked = run(_leaving(requests.address, batches, questions))
    how = f"{how}; {sizes.withdrawals:,} customers withdraw in batches of {BATCH} over {WRITERS} connections"
    return [
        at_most(f"consent.{store}.mass_withdrawal", seconds, "s", 60.0, f"{how}; once"),
        Record(
            f"consent.{store}.decision_p99_meanwhile",
            quantile(asked, 0.99),
            "ms",
            None,
            None,
            f"{how}; {len(asked)} questions at 100 a second meanwhile, open loop",
        ),
    ]


async def _leaving(
    address: Address, batches: Sequence[bytes], questions: Sequence[bytes]
) -> tuple[float, list[float]]:
    asking = asyncio.create_task(at_rate(address, questions, rate=100, connections=CONNECTIONS))
    began = time.perf_counter()
    await one_after_another(address, batches, connections=WRITERS)
    return time.perf_counter() - began, await asking


def _import(serving: Serving, sizes: Sizes, store: str, how: str) -> list[Record]:
    """Import a file of new customers; then seal all who are in, a few change their minds, and seal again."""
    notice = serving.notice.encode()
    rows = (
        b'{"subject":"%s","act":"grant","purpose":"%s","notice":"%s","collection_point":"till"}\n'
        % (pseudonym(number).encode(), PURPOSE.encode(), notice)
        for number in range(20_000_000, 20_000_000 + sizes.imported)
    )
    with tempfile.TemporaryFile() as file:
        file.writelines(rows)
        file.seek(0)
        began = time.perf_counter()
        *_, summary = serving.brand.import_file(file, name="bench", media_type=NDJSON)
        seconds = time.perf_counter() - began
    if not isinstance(summary, Summary) or summary.recorded != sizes.imported:
        raise RuntimeError("Not all rows were recorded.")
    return [
        at_most(
            f"consent.{store}.import_per_million",
            seconds * 1_000_000 / sizes.imported,
            "s",
            180.0,
            f"{how}; one NDJSON file of {sizes.imported:,} new customers over one connection; once",
        ),
        _resealing(serving, sizes, store, how),
    ]


def _resealing(serving: Serving, sizes: Sizes, store: str, how: str) -> Record:
    """Seal again and again after a few of the imported customers withdrew."""
    requests = Requests(serving)
    first = _sealing(serving)
    times = []
    for number in range(REPETITIONS):
        start = 20_000_000 + number * sizes.changes
        change = requests.choices(Act.WITHDRAW, range(start, start + sizes.changes), name=f"change-{number}")
        run(one_after_another(requests.address, [change], connections=1))
        times.append(_sealing(serving))
    how = (
        f"{how}; POST /v1/snapshots after {sizes.changes:,} of {sizes.imported:,} imported customers left, with "
        f"those of the other records; the first sealing took {first:.2f} s; {spread(times)} s"
    )
    return Record(f"consent.{store}.resealing", statistics.median(times), "s", None, None, how)


def _sealing(serving: Serving) -> float:
    began = time.perf_counter()
    serving.coordinator.seal_snapshots(PURPOSE, [BRAND])
    return time.perf_counter() - began
