"""Whatever arrives, every record is kept, a duplicate or a dead letter, and good records get through."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from client.events import EventStore, Source

NOW = datetime(2026, 3, 1, tzinfo=UTC)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=4), scalars, max_size=2)
times = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01", "later", "2999-01-01T00:00:00Z", ""]) | values
half_right = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "page", "identify", "alias", "TRACK", "x"]) | values,
        "messageId": st.sampled_from(["m1", "m2"]) | values,
        "userId": st.sampled_from(["u1"]) | values,
        "anonymousId": values,
        "previousId": values,
        "timestamp": times,
        "event": st.sampled_from(["Order Completed"]) | values,
        "properties": values | st.fixed_dictionaries({"revenue": values}),
        "traits": values,
    },
).map(json.dumps)
garbage = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=40) | st.binary(max_size=40).map(
    lambda raw: raw.decode("utf-8", errors="replace")
)


def good(index: int) -> str:
    return json.dumps(
        {"type": "page", "messageId": f"good-{index}", "userId": "u", "timestamp": "2026-01-01T00:00:00Z"}
    )


@settings(max_examples=examples(15, 40), deadline=None)
@given(bad=st.lists(half_right | garbage, max_size=12))
def test_every_segment_record_is_accounted_for(bad: list[str]) -> None:
    one_line_each = [line.replace("\n", " ") for line in bad]
    lines = [good(0), *one_line_each, good(1)]
    store = EventStore(clock=lambda: NOW)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "web.ndjson"
        path.write_text("\n".join(lines), encoding="utf-8")
        report = store.ingest(path, Source.WEB)
    kept = store.events.to_pyarrow()
    assert report.reconciles
    assert report.received == sum(bool(line.strip()) for line in lines)
    assert report.kept == len(kept)
    assert report.rejected_total == len(store.dead_letters())
    assert {"good-0", "good-1"} <= set(kept["message_id"].to_pylist())
    store.close()


@settings(max_examples=examples(12, 30), deadline=None)
@given(bad=st.lists(garbage | st.lists(garbage, min_size=5, max_size=7).map(",".join), max_size=12))
def test_every_receipt_is_accounted_for(bad: list[str]) -> None:
    one_line_each = [line.replace("\n", " ") for line in bad]
    lines = ["good-0,u,2026-01-01,5", *one_line_each, "good-1,u,2026-01-01,5"]
    store = EventStore(clock=lambda: NOW)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pos.csv"
        path.write_text("\n".join(["receipt_id,customer_id,purchased_at,total", *lines]), encoding="utf-8")
        report = store.ingest(path, Source.POS)
    assert report.reconciles
    assert report.received == sum(bool(line.strip()) for line in lines)
    assert report.kept == store.events.count().to_pyarrow().as_py()
    assert {"good-0", "good-1"} <= set(store.events.to_pyarrow()["message_id"].to_pylist())
    store.close()
