"""Intake: what is kept, what is refused and why, for each source's own file form."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.errors import UnreadableFileError
from client.events import Event, EventStore, IngestReport, RejectReason, Source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[EventStore]:
    store = EventStore(clock=lambda: NOW)
    yield store
    store.close()


def segment(**changes: Any) -> str:
    line = {
        "type": "track",
        "messageId": "m1",
        "userId": "u1",
        "event": "Product Viewed",
        "timestamp": "2026-02-28T10:00:00+01:00",
        "properties": {"sku": "a"},
    }
    return json.dumps({key: value for key, value in (line | changes).items() if value is not ...})


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def reasons(report: IngestReport) -> dict[str, int]:
    return {str(reason): count for reason, count in report.rejected.items()}


def test_a_segment_line_becomes_one_event_in_utc(store: EventStore, tmp_path: Path) -> None:
    report = store.ingest(write(tmp_path / "web.ndjson", segment(properties={"revenue": 12.5})), Source.WEB)
    assert report == IngestReport(received=1, kept=1, duplicates=0, rejected={})
    row = store.events.to_pyarrow().to_pylist()[0]
    assert row["at"] == datetime(2026, 2, 28, 9)  # noqa: DTZ001 - the store keeps UTC without an offset
    assert (row["user_id"], row["name"], row["value"]) == ("u1", "Product Viewed", 12.5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", RejectReason.MALFORMED),
        ('["an", "array"]', RejectReason.MALFORMED),
        (segment(type="charge"), RejectReason.UNKNOWN_TYPE),
        (segment(event=...), RejectReason.UNKNOWN_TYPE),
        (segment(messageId=...), RejectReason.MISSING_MESSAGE_ID),
        (segment(messageId=" "), RejectReason.MISSING_MESSAGE_ID),
        (segment(userId=...), RejectReason.MISSING_ID),
        (segment(userId={"id": 1}), RejectReason.MISSING_ID),
        (segment(userId="u" * 300), RejectReason.MISSING_ID),
        (segment(type="alias"), RejectReason.MISSING_ID),
        (segment(timestamp="yesterday"), RejectReason.BAD_TIMESTAMP),
        (segment(timestamp="infinity"), RejectReason.BAD_TIMESTAMP),
        (segment(timestamp="1969-12-31T00:00:00Z"), RejectReason.BAD_TIMESTAMP),
        (segment(timestamp="2026-03-01T12:06:00Z"), RejectReason.FUTURE_TIMESTAMP),
        (segment(properties={"revenue": "a lot"}), RejectReason.BAD_VALUE),
        (segment(properties={"revenue": "NaN"}), RejectReason.BAD_VALUE),
        (segment(event="Order Completed"), RejectReason.BAD_VALUE),
    ],
)
def test_a_broken_line_is_buried_with_its_reason_and_stops_no_other(
    store: EventStore, tmp_path: Path, line: str, reason: RejectReason
) -> None:
    path = write(tmp_path / "web.ndjson", segment(messageId="before"), line, segment(messageId="after"))
    report = store.ingest(path, Source.WEB)
    assert report == IngestReport(received=3, kept=2, duplicates=0, rejected={reason: 1})
    (letter,) = store.dead_letters()
    assert (letter.position, letter.reason, letter.raw) == (2, reason, line)


def test_a_timestamp_within_the_clock_skew_is_kept(store: EventStore, tmp_path: Path) -> None:
    path = write(tmp_path / "web.ndjson", segment(timestamp="2026-03-01T12:04:00Z"))
    assert store.ingest(path, Source.WEB).kept == 1


def test_sending_again_changes_nothing(store: EventStore, tmp_path: Path) -> None:
    path = write(tmp_path / "web.ndjson", segment(), segment(event="Product Added"), segment(messageId="m2"))
    first, second = store.ingest(path, Source.WEB), store.ingest(path, Source.WEB)
    assert (first.kept, first.duplicates) == (2, 1)
    assert (second.kept, second.duplicates) == (0, 3)
    names = store.events.to_pyarrow()["name"].to_pylist()
    assert names == ["Product Viewed", "Product Viewed"], "the first of two lines with one messageId is kept"


def test_one_message_id_from_two_sources_is_two_events(store: EventStore, tmp_path: Path) -> None:
    path = write(tmp_path / "web.ndjson", segment())
    assert store.ingest(path, Source.WEB).kept + store.ingest(path, Source.APP).kept == 2


def test_crm_keeps_every_attribute_column(store: EventStore, tmp_path: Path) -> None:
    path = write(tmp_path / "crm.csv", "customer_id,updated_at,tier,shoe's size", 'u1,2026-01-01,gold,"41, wide"')
    assert store.ingest(path, Source.CRM).kept == 1
    (row,) = store.events.to_pyarrow().to_pylist()
    properties = json.loads(row["properties"])
    assert (row["kind"], row["user_id"]) == ("identify", "u1")
    assert properties["tier"] == "gold"
    assert properties["shoe's size"] == "41, wide"
    assert "customer_id" not in properties


POS_HEADER = "receipt_id,customer_id,purchased_at,total,discount,store"


def test_a_broken_quote_spoils_its_own_line_alone(store: EventStore, tmp_path: Path) -> None:
    path = write(
        tmp_path / "pos.csv",
        POS_HEADER,
        'r1,"u1,2026-01-01,5,0,Mall',
        'r2,u1,2026-01-01,5,0,"Mall, north"',
        "r3,u1,2026-01-01,5",
        "r4,,2026-01-01,5,0,Mall",
        "r5,u1,2026-01-01,,0,Mall",
    )
    report = store.ingest(path, Source.POS)
    assert (report.received, report.kept) == (5, 1)
    assert reasons(report) == {"malformed": 2, "missing_id": 1, "bad_value": 1}


def test_receipts_come_as_parquet_too(store: EventStore, tmp_path: Path) -> None:
    table = pa.table(
        {
            "receipt_id": [1, 2],
            "customer_id": ["u1", None],
            "purchased_at": [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)],
            "total": [19.99, 3.0],
        }
    )
    pq.write_table(table, tmp_path / "pos.parquet")
    report = store.ingest(tmp_path / "pos.parquet", Source.POS)
    assert (report.kept, reasons(report)) == (1, {"missing_id": 1})
    assert store.events.to_pyarrow()["value"].to_pylist() == [19.99]


@pytest.mark.parametrize("suffix", [".csv", ".ndjson"])
def test_email_engagement_comes_as_csv_or_ndjson(store: EventStore, tmp_path: Path, suffix: str) -> None:
    rows = [("e1", "u1", "sent"), ("e2", "u1", "opened"), ("e3", "u1", "clicked"), ("e4", "u1", "bounced")]
    if suffix == ".csv":
        lines = ["message_id,customer_id,event,at", *(f"{m},{c},{e},2026-01-01T08:00:00Z" for m, c, e in rows)]
    else:
        lines = [
            json.dumps({"message_id": m, "customer_id": c, "event": e, "at": "2026-01-01T08:00:00Z"})
            for m, c, e in rows
        ]
    report = store.ingest(write(tmp_path / f"email{suffix}", *lines), Source.EMAIL)
    assert (report.kept, reasons(report)) == (3, {"unknown_type": 1})
    assert store.events.to_pyarrow()["name"].to_pylist() == ["Email Sent", "Email Opened", "Email Clicked"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("crm.xml", "<x/>"),
        ("crm.csv", "customer_id,tier\nu1,gold\n"),
        ("crm.csv", "customer_id,updated_at,Tier,tier\n"),
        ("crm.parquet", "not parquet"),
    ],
)
def test_a_file_in_no_known_form_is_refused_whole(
    store: EventStore, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableFileError):
        store.ingest(tmp_path / name, Source.CRM)
    assert store.dead_letters() == ()


def test_an_empty_file_is_no_event(store: EventStore, tmp_path: Path) -> None:
    (tmp_path / "web.ndjson").write_text("\n\n")
    assert store.ingest(tmp_path / "web.ndjson", Source.WEB) == IngestReport(0, 0, 0, {})


def test_events_added_one_by_one_follow_the_same_rules(store: EventStore, tmp_path: Path) -> None:
    store.ingest(write(tmp_path / "web.ndjson", segment()), Source.WEB)
    again = Event(message_id="m1", source=Source.WEB, name="Product Viewed", user_id="u1", at=NOW)
    ahead = again.model_copy(update={"message_id": "m2", "at": NOW + timedelta(hours=1)})
    fresh = again.model_copy(update={"message_id": "m3", "value": 2.0})
    report = store.add([again, ahead, fresh])
    assert (report.received, report.kept, report.duplicates) == (3, 1, 1)
    assert reasons(report) == {"future_timestamp": 1}


def test_the_store_outlives_its_process(tmp_path: Path) -> None:
    path = write(tmp_path / "web.ndjson", segment())
    first = EventStore(tmp_path / "events.duckdb", clock=lambda: NOW)
    first.ingest(path, Source.WEB)
    first.close()
    second = EventStore(tmp_path / "events.duckdb", clock=lambda: NOW)
    assert second.ingest(path, Source.WEB).duplicates == 1
    second.close()
