"""The brand's event store: intake, deduplication and dead letters, in one DuckDB file or in memory."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa

from client.errors import UnreadableFileError
from client.events import files
from client.events.event import EARLIEST, MAX_ID_LENGTH, ORDER_COMPLETED, Event, Kind, Source
from client.events.forms import FORMS, Form, normalized, records_from_columns, records_from_json
from client.events.report import IngestReport, RejectReason

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of the brand's clock a timestamp may lie."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS events (
        source VARCHAR, message_id VARCHAR, kind VARCHAR, name VARCHAR,
        anonymous_id VARCHAR, user_id VARCHAR, previous_id VARCHAR,
        "at" TIMESTAMP, value DOUBLE, properties JSON, received_at TIMESTAMP);
    CREATE TABLE IF NOT EXISTS dead_letters (
        source VARCHAR, position BIGINT, reason VARCHAR, raw VARCHAR,
        received_at TIMESTAMP);
"""

# A value that is not a scalar comes out of JSON as its own text: ids that start with a bracket are no ids.
_CHECKED = f"""
    CREATE OR REPLACE TEMP TABLE checked AS
    SELECT *, CASE
        WHEN malformed THEN '{RejectReason.MALFORMED}'
        WHEN kind IS NULL OR name IS NULL OR name = '' OR length(name) > 200
             OR kind NOT IN ({", ".join(f"'{kind}'" for kind in Kind)}) THEN '{RejectReason.UNKNOWN_TYPE}'
        WHEN message_id IS NULL OR message_id = '' OR length(message_id) > {MAX_ID_LENGTH}
             OR message_id[1] IN ('{{', '[') THEN '{RejectReason.MISSING_MESSAGE_ID}'
        WHEN coalesce(user_id, anonymous_id) IS NULL OR length(user_id) > {MAX_ID_LENGTH}
             OR length(anonymous_id) > {MAX_ID_LENGTH} OR coalesce(user_id[1] IN ('{{', '['), false)
             OR coalesce(anonymous_id[1] IN ('{{', '['), false)
             OR (kind = 'alias' AND (user_id IS NULL OR previous_id IS NULL)) THEN '{RejectReason.MISSING_ID}'
        WHEN "at" IS NULL OR NOT isfinite("at") OR "at" < $earliest THEN '{RejectReason.BAD_TIMESTAMP}'
        WHEN "at" > $latest THEN '{RejectReason.FUTURE_TIMESTAMP}'
        WHEN (value_text IS NOT NULL OR value_required) AND NOT coalesce(isfinite(value), false)
             THEN '{RejectReason.BAD_VALUE}'
        END AS reason
    FROM (SELECT *, try_cast(value_text AS DOUBLE) AS value FROM normalized)
"""  # noqa: S608 - built from enumerations

_FRESH = """
    CREATE OR REPLACE TEMP TABLE fresh AS
    SELECT * FROM checked
    WHERE reason IS NULL
      AND message_id NOT IN (SELECT message_id FROM events WHERE source = $source)
    QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY position) = 1
"""

_KEEP = """
    INSERT INTO events
    SELECT $source, message_id, kind, name, anonymous_id, user_id, previous_id,
           "at" AT TIME ZONE 'UTC', value, properties::JSON, $now
    FROM fresh ORDER BY position
"""

_BURY = """
    INSERT INTO dead_letters
    SELECT $source, position, reason, raw, $now FROM checked WHERE reason IS NOT NULL ORDER BY position
"""

_EVENT_SCHEMA = pa.schema(
    {
        "position": pa.int64(),
        "message_id": pa.string(),
        "kind": pa.string(),
        "name": pa.string(),
        "anonymous_id": pa.string(),
        "user_id": pa.string(),
        "previous_id": pa.string(),
        "at": pa.timestamp("us", tz="UTC"),
        "value": pa.float64(),
        "properties": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was refused, for the brand's own engineer; it never leaves the brand."""

    source: Source
    position: int
    reason: RejectReason
    raw: str | None


class EventStore:
    """Validated events of one brand. Not for use from two threads at once."""

    def __init__(
        self, database: Path | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Open or create the store; without a path it lives in memory.

        The file's folder should be readable by the agent's user alone: customers' rows lie in it.
        """
        self._connection = duckdb.connect(str(database) if database else ":memory:")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(_SCHEMA)
        self._clock = clock
        self._backend = ibis.duckdb.from_connection(self._connection)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The store's own connection, for the rooms of the brand that read or keep tables beside it."""
        return self._connection

    @property
    def events(self) -> ibis.Table:
        """The kept events as an Ibis table; `at` is UTC."""
        return self._backend.table("events")

    @property
    def backend(self) -> ibis.BaseBackend:
        """The Ibis backend over the store's tables."""
        return self._backend

    def now(self) -> datetime:
        """Return the store's clock, in UTC."""
        return self._clock().astimezone(UTC)

    def ingest(self, path: Path, source: Source) -> IngestReport:
        """Take in one file: NDJSON, CSV or Parquet, told by its suffix.

        Raises:
            UnreadableFileError: the suffix is unknown, or the file as a whole lacks a required column.
        """
        form = FORMS[source]
        with self._transaction():
            reports = [self._take(table, form, source) for table in _records(path, form)]
        return sum(reports, start=IngestReport(0, 0, 0, {}))

    def add(self, events: Sequence[Event]) -> IngestReport:
        """Take in events one by one or in small batches, as they happen; the same rules hold."""
        report = IngestReport(0, 0, 0, {})
        with self._transaction():
            for source in Source:
                batch = [event for event in events if event.source == source]
                if batch:
                    report += self._take_events(batch, source)
        return report

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Return every refused record, oldest first."""
        rows = self._connection.execute("SELECT source, position, reason, raw FROM dead_letters").fetchall()
        return tuple(DeadLetter(Source(s), position, RejectReason(r), raw) for s, position, r, raw in rows)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _take(self, table: pa.Table, form: Form, source: Source) -> IngestReport:
        columns = [name for name in table.column_names if name not in {"position", "raw", "malformed"}]
        records = (
            records_from_columns(form, columns) if "malformed" in table.column_names else records_from_json(form)
        )
        extra = [name for name in columns if name not in form.fields]
        self._connection.register("chunk", table)
        try:
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE records AS {records}")
        finally:
            self._connection.unregister("chunk")
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE normalized AS {normalized(form, extra)}")
        return self._settle(source)

    def _take_events(self, events: Sequence[Event], source: Source) -> IngestReport:
        rows = [event.model_dump(mode="json", exclude={"source"}) for event in events]
        table = pa.Table.from_pylist(
            [
                {**row, "at": event.at, "position": n, "properties": json.dumps(row["properties"])}
                for n, (row, event) in enumerate(zip(rows, events, strict=True), start=1)
            ],
            schema=_EVENT_SCHEMA,
        )
        self._connection.register("chunk", table)
        try:
            self._connection.execute(
                """CREATE OR REPLACE TEMP TABLE normalized AS
                   SELECT * EXCLUDE (value), value::VARCHAR AS value_text, name = $order AS value_required,
                          NULL::VARCHAR AS raw, false AS malformed
                   FROM chunk""",
                {"order": ORDER_COMPLETED},
            )
        finally:
            self._connection.unregister("chunk")
        return self._settle(source)

    def _settle(self, source: Source) -> IngestReport:
        now = self.now()
        run = self._connection.execute
        run(_CHECKED, {"earliest": EARLIEST, "latest": now + CLOCK_SKEW})
        run(_FRESH, {"source": source})
        stamped = {"source": source, "now": now.replace(tzinfo=None)}
        run(_KEEP, stamped)
        run(_BURY, stamped)
        rejected = run("SELECT reason, count(*) FROM checked WHERE reason IS NOT NULL GROUP BY ALL").fetchall()
        received, kept = run("SELECT (SELECT count(*) FROM checked), (SELECT count(*) FROM fresh)").fetchall()[0]
        for table in ("records", "normalized", "checked", "fresh"):
            run(f"DROP TABLE IF EXISTS temp.{table}")
        reasons = {RejectReason(reason): count for reason, count in sorted(rejected)}
        return IngestReport(received, kept, received - kept - sum(reasons.values()), reasons)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()


def _records(path: Path, form: Form) -> Iterator[pa.Table]:
    suffix = path.suffix.lower()
    if suffix in files.JSON_SUFFIXES:
        return files.read_lines(path)
    if suffix in files.CSV_SUFFIXES:
        return files.read_csv(path, form.required)
    if suffix in files.PARQUET_SUFFIXES:
        return files.read_parquet(path, form.required)
    raise UnreadableFileError(
        f"Intake reads .ndjson, .jsonl, .csv and .parquet, not {suffix or 'a file without a suffix'}."
    )
