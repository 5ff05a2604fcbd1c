"""Reading a source's file into record tables that DuckDB can work on, a bounded number of lines at a time.

One line is one record, in NDJSON as in CSV: a value cannot hold a line break, so a line with a broken quote
spoils itself and nothing after it.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from client.errors import UnreadableFileError

CHUNK_LINES = 200_000

JSON_SUFFIXES = frozenset({".ndjson", ".jsonl", ".json"})
CSV_SUFFIXES = frozenset({".csv"})
PARQUET_SUFFIXES = frozenset({".parquet"})


def read_lines(path: Path) -> Iterator[pa.Table]:
    """Yield tables `(position, raw)` of a text file's lines that are not blank; positions count from 1.

    Bytes that are not UTF-8 are replaced, so that the line is refused for what it says and not for its bytes.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        numbered = ((n, line.strip()) for n, line in enumerate(file, start=1))
        records = ((n, line) for n, line in numbered if line)
        while chunk := list(islice(records, CHUNK_LINES)):
            positions, lines = zip(*chunk, strict=True)
            yield pa.table({"position": pa.array(positions, pa.int64()), "raw": pa.array(lines, pa.string())})


def read_csv(path: Path, required: Sequence[str]) -> Iterator[pa.Table]:
    """Yield tables `(position, raw, malformed, <columns of the header>)`, every value text, empty as null.

    Raises:
        UnreadableFileError: the header lacks a required column or names one twice.
    """
    header: list[str] | None = None
    for chunk in read_lines(path):
        positions, lines = chunk["position"].to_pylist(), chunk["raw"].to_pylist()
        if header is None:
            header = _header(lines[0], required)
            positions, lines = positions[1:], lines[1:]
        yield _csv_table(positions, lines, header)


def read_parquet(path: Path, required: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file in the same form as `read_csv`, with `raw` left null.

    Raises:
        UnreadableFileError: the file is not Parquet, or lacks a required column.
    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid:
        raise UnreadableFileError(f"The file for {path.suffix} intake is not Parquet; export it again.") from None
    _check_columns(file.schema_arrow.names, required)
    start = 1
    for batch in file.iter_batches(batch_size=CHUNK_LINES):
        table = pa.Table.from_batches([batch])
        table = table.add_column(0, "position", pa.array(range(start, start + len(table)), pa.int64()))
        table = table.add_column(1, "raw", pa.nulls(len(table), pa.string()))
        yield table.add_column(2, "malformed", pa.repeat(pa.scalar(False), len(table)))
        start += len(batch)


def _csv_table(positions: Sequence[int], lines: Sequence[str], header: Sequence[str]) -> pa.Table:
    rows = [_split(line) for line in lines]
    width = len(header)
    malformed = [row is None or len(row) != width for row in rows]
    empty: list[str | None] = [None] * width
    full = [empty if bad else row for row, bad in zip(rows, malformed, strict=True)]
    columns = {
        name: pa.array([row[index] or None for row in full if row is not None], pa.string())
        for index, name in enumerate(header)
    }
    return pa.table(
        {
            "position": pa.array(positions, pa.int64()),
            "raw": pa.array(lines, pa.string()),
            "malformed": pa.array(malformed, pa.bool_()),
            **columns,
        }
    )


def _split(line: str) -> list[str | None] | None:
    if '"' not in line:
        return [*line.split(",")]
    try:
        return [*next(csv.reader((line,), strict=True))]
    except (csv.Error, StopIteration):
        return None


def _header(line: str, required: Sequence[str]) -> list[str]:
    names = [(name or "").strip() for name in _split(line) or []]
    _check_columns(names, required)
    return names


def _check_columns(names: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        raise UnreadableFileError(f"The file has no column {', '.join(missing)}; name it in the header line.")
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded) or {"position", "raw", "malformed", ""} & set(folded):
        raise UnreadableFileError("The file's header names a column twice, or one that intake reserves.")
