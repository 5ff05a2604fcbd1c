"""Writing a brand's history the way its systems would export it, disorder included."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.synthetic.histories import (
    ADD,
    CLICKED,
    OPENED,
    ORDER,
    SENT,
    VIEW,
    Customers,
    Events,
)
from simulations.synthetic.profiles import REGIONS, TIERS

_NAMES = {VIEW: "Product Viewed", ADD: "Product Added", ORDER: "Order Completed"}
_ENGAGEMENT = {SENT: "sent", OPENED: "opened", CLICKED: "clicked"}
_ISO = "strftime(make_timestamp(seconds * 1000000), '%Y-%m-%dT%H:%M:%SZ')"

_VISIT_LINES = f"""
    SELECT to_json({{
        'type': kind, 'messageId': message_id, 'timestamp': {_ISO},
        'anonymousId': device, 'userId': customer, 'event': name,
        'properties': if(total IS NULL, NULL, {{'total': total, 'discount': discount, 'currency': 'EUR'}})
    }})::VARCHAR FROM rows ORDER BY position
"""  # noqa: S608 - constants only
_EMAIL_LINES = f"""
    SELECT to_json({{'message_id': message_id, 'customer_id': customer, 'event': name, 'at': {_ISO},
                     'campaign': 'c' || (position % 7)}})::VARCHAR FROM rows ORDER BY position
"""  # noqa: S608 - constants only
_RECEIPT_LINES = f"""
    SELECT message_id || ',' || customer || ',' || {_ISO} || ',' || printf('%.2f', total) || ','
           || printf('%.2f', discount) || ',"Store ' || (position % 9) || ', Mall"' FROM rows ORDER BY position
"""  # noqa: S608 - constants only
_RECEIPT_COLUMNS = f"""
    SELECT message_id AS receipt_id, customer AS customer_id, {_ISO} AS purchased_at, total, discount,
           'Store ' || (position % 9) AS store FROM rows ORDER BY position
"""  # noqa: S608 - constants only

RECEIPTS_HEADER = "receipt_id,customer_id,purchased_at,total,discount,store"
CRM_HEADER = "customer_id,created_at,updated_at,tier,region"


class FileWriter:
    """Writes one brand's files into `folder`; the generator decides on every disorder."""

    def __init__(self, folder: Path, cutoff: datetime, ids: Sequence[str], rng: np.random.Generator) -> None:
        self._folder, self._rng = folder, rng
        self._cutoff = int(cutoff.timestamp())
        self._ids = np.array(ids, dtype=object)
        self._database = duckdb.connect()

    def visits(self, name: str, events: Events, customers: Customers, *, strangers: int) -> Path:
        """Write web or app events in Segment's form, with anonymous visits, logins and devices of strangers."""
        source = "w" if name == "web" else "a"
        rows = self._rows(events, source)
        devices = np.array([f"{source}-{i:06d}" for i in range(len(self._ids))], dtype=object)[events.customer]
        hidden = customers.anonymous[events.customer] & (events.age >= 0)
        kinds = np.where(np.isin(events.what, tuple(_NAMES)), "track", "screen" if name == "app" else "page")
        who = self._ids[events.customer]
        who[hidden] = None
        names = np.array([_NAMES.get(what) for what in events.what.tolist()], dtype=object)
        table = {**rows, "kind": kinds, "name": names, "device": devices, "customer": who}
        lines = self._lines(_VISIT_LINES, table)
        lines += self._logins(source, events, customers)
        lines += self._strangers(source, strangers)
        return self._write(f"{name}.ndjson", self._disordered(lines, _BROKEN_JSON))

    def emails(self, events: Events) -> Path:
        """Write e-mail engagement as NDJSON."""
        names = np.array([_ENGAGEMENT[what] for what in events.what.tolist()], dtype=object)
        table = {**self._rows(events, "e"), "name": names, "customer": self._ids[events.customer]}
        return self._write("email.ndjson", self._disordered(self._lines(_EMAIL_LINES, table), _BROKEN_JSON))

    def receipts(self, events: Events, form: str) -> Path:
        """Write shop receipts as CSV, or as Parquet."""
        table = {**self._rows(events, "r"), "customer": self._ids[events.customer]}
        if form == "csv":
            lines = self._disordered(self._lines(_RECEIPT_LINES, table), _BROKEN_CSV)
            return self._write("pos.csv", [RECEIPTS_HEADER, *lines])
        path = self._folder / "pos.parquet"
        rows = self._query(_RECEIPT_COLUMNS, table)
        again = rows.take(pa.array(self._rng.integers(0, len(rows), max(1, len(rows) // 100))))
        pq.write_table(pa.concat_tables([rows, again]).replace_schema_metadata(None), path)
        return path

    def crm(self, customers: Customers) -> Path:
        """Write the customer file; some customers have an older row with an earlier tier."""
        tiers = np.array([*TIERS, ""], dtype=object)[customers.tier]
        regions = np.array([*REGIONS, ""], dtype=object)[customers.region]
        created = self._cutoff - customers.tenure_days * 86_400
        updated = created + (self._rng.random(len(created)) * customers.tenure_days * 86_400).astype(np.int64)
        stale = np.flatnonzero(self._rng.random(len(created)) < 0.08)
        lines = [f"{self._ids[i]},{_iso(created[i])},{_iso(created[i])},{TIERS[0]},{regions[i]}" for i in stale]
        lines += [
            f"{who},{_iso(start)},{_iso(last)},{tier},{region}"
            for who, start, last, tier, region in zip(self._ids, created, updated + 1, tiers, regions, strict=True)
        ]
        return self._write("crm.csv", [CRM_HEADER, *self._disordered(lines, _BROKEN_CSV)])

    def consents(self, lines: Sequence[str]) -> Path:
        """Write what customers said, in the order in which they said it."""
        return self._write("consents.ndjson", lines)

    def close(self) -> None:
        """Let the working database go."""
        self._database.close()

    def _rows(self, events: Events, prefix: str) -> dict[str, np.ndarray]:
        n = len(events)
        return {
            "position": np.arange(n),
            "message_id": np.array([f"{prefix}{i:07d}" for i in range(n)], dtype=object),
            "seconds": self._cutoff - events.age,
            "total": events.value,
            "discount": events.discount,
        }

    def _logins(self, source: str, events: Events, customers: Customers) -> list[str]:
        rows = np.flatnonzero(customers.anonymous[events.customer] & (events.age >= 0))
        newest = rows[np.argsort(events.age[rows], kind="stable")]
        who, first = np.unique(events.customer[newest], return_index=True)
        ages = events.age[newest][first]
        return [
            f'{{"type":"identify","messageId":"{source}i{i:06d}","timestamp":"{_iso(self._cutoff - age)}",'
            f'"anonymousId":"{source}-{i:06d}","userId":"{self._ids[i]}","traits":{{}}}}'
            for i, age in zip(who.tolist(), ages.tolist(), strict=True)
        ]

    def _strangers(self, source: str, count: int) -> list[str]:
        ages = self._rng.integers(1, 90 * 86_400, count)
        return [
            f'{{"type":"page","messageId":"{source}x{i:06d}","timestamp":"{_iso(self._cutoff - age)}",'
            f'"anonymousId":"{source}-stranger-{i // 2:06d}","name":"Home"}}'
            for i, age in enumerate(ages.tolist())
        ]

    def _query(self, query: str, table: Mapping[str, np.ndarray]) -> pa.Table:
        arrays = {
            name: pa.array(column, from_pandas=True) if column.dtype.kind == "f" else pa.array(column.tolist())
            for name, column in table.items()
        }
        self._database.register("rows", pa.table(arrays))
        result: pa.Table = self._database.sql(query).to_arrow_table()
        self._database.unregister("rows")
        return result

    def _lines(self, query: str, table: Mapping[str, np.ndarray]) -> list[str]:
        lines: list[str] = self._query(query, table).column(0).to_pylist()
        return lines

    def _disordered(self, lines: list[str], broken: Sequence[str]) -> list[str]:
        """Send 1 % of the lines twice and 3 % late, and let 0.5 % more be broken."""
        n = len(lines)
        again = [lines[i] for i in self._rng.integers(0, n, n // 100)]
        late = self._rng.random(n) < 0.03
        ordered = [line for line, is_late in zip(lines, late, strict=True) if not is_late]
        ordered += [line for line, is_late in zip(lines, late, strict=True) if is_late]
        for index in self._rng.integers(0, n, n // 200).tolist():
            ordered.insert(index, broken[index % len(broken)].replace("#", str(index)))
        return ordered + again

    def _write(self, name: str, lines: Sequence[str]) -> Path:
        path = self._folder / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


_BROKEN_JSON = (
    '{"type":"track","messageId":"b#","event":"Product Viewed","timestamp":"2025-05-',
    '{"type":"track","messageId":"b#","event":"Product Viewed","timestamp":"2025-05-01T10:00:00Z"}',
    '{"type":"track","messageId":"b#","userId":"nobody","event":"Product Viewed","timestamp":"yesterday"}',
    '{"type":"track","messageId":"b#","userId":"nobody","event":"Product Viewed","timestamp":"2199-01-01"}',
    '{"type":"track","userId":"nobody","event":"Product Viewed","timestamp":"2025-05-01T10:00:00Z"}',
    "<html>502 Bad Gateway</html>",
)
_BROKEN_CSV = (
    'b#,"half a line',
    "b#,,,,,,,,",
    "b#",
    "",
)


def _iso(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s")) + "Z"
