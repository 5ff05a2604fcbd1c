"""`confide simulate` on bad input: exit 2, one sentence on standard error, and nothing written."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from confide import app
from simulations import commands

ROWS = 400
BAD_INPUT = 2


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def csv(
    path: Path, header: str = "age,plan,bought", row: Callable[[int], str] | None = None, rows: int = ROWS
) -> Path:
    row = row or (lambda number: f"{20 + number % 37},{'abc'[number % 3]},{number % 2}")
    return write(path, "\n".join([header, *(row(number) for number in range(rows))]) + "\n")


@dataclass(frozen=True)
class Bench:
    """A folder with an input file, and the command over it."""

    folder: Path

    @property
    def table(self) -> Path:
        return self.folder / "table.csv"

    def run(self, **options: Any) -> Result:
        values = {"csv": self.table, "target": "bought", "runs": self.folder / "runs", "brands": 3, "rounds": 2}
        values.update(options)
        words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        return CliRunner().invoke(app, ["simulate", *words])

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    csv(bench.table)
    return bench


def check_refused(result: Result, words: str) -> None:
    """Hold a result against the promise: exit 2, one sentence, no traceback."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == BAD_INPUT
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").endswith(".")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


TABLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda path: path.unlink(), "There is no file"),
    "missing target": (lambda path: csv(path, "age,plan,sold"), "no column 'bought'"),
    "one class": (lambda path: csv(path, "age,bought", lambda n: f"{n},1"), "one class only"),
    "three classes": (lambda path: csv(path, "age,bought", lambda n: f"{n},{n % 3}"), "3 distinct values"),
    "empty file": (lambda path: write(path, ""), "is empty"),
    "header only": (lambda path: write(path, "age,plan,bought\n"), "no rows"),
    "binary garbage": (lambda path: write(path, bytes(range(256)) * 64), "not a CSV file"),
    "features missing in every row": (
        lambda path: csv(path, "age,plan,bought", lambda n: f",,{n % 2}"),
        "no usable feature",
    ),
    "target missing in every row": (
        lambda path: csv(path, "age,bought", lambda n: f"{n},"),
        "missing in every row",
    ),
    "fewer customers than the cohort": (lambda path: csv(path, rows=150), "minimum cohort of 50"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_refused(case: str, bench: Bench) -> None:
    make, words = TABLES[case]
    make(bench.table)
    before = bench.files()
    check_refused(bench.run(), words)
    assert bench.files() == before


OPTIONS: dict[str, tuple[dict[str, object], str]] = {
    "epsilon of zero": ({"epsilon": 0}, "epsilon lies in (0, 16]"),
    "negative epsilon": ({"epsilon": -1}, "epsilon lies in (0, 16]"),
    "epsilon over the most": ({"epsilon": 16.01}, "epsilon lies in (0, 16]"),
    "epsilon that is no number": ({"epsilon": "nan"}, "epsilon lies in (0, 16]"),
    "infinite epsilon": ({"epsilon": "inf"}, "epsilon lies in (0, 16]"),
    "delta over the most": ({"delta": 0.001}, "delta in (0, 0.001)"),
    "delta of zero": ({"delta": 0}, "delta in (0, 0.001)"),
    "noise that would overflow": ({"epsilon": 1e-9, "delta": 1e-12, "rounds": 40}, "it would overflow"),
    "no rounds": ({"rounds": 0}, "--rounds must be at least 1"),
    "too many rounds": ({"rounds": 501}, "rounds in [1, 500]"),
    "no brands": ({"brands": 0}, "--brands must be at least 1"),
    "no seeds": ({"seeds": 0}, "--seeds must be at least 1"),
    "cohort of one": ({"minimum_cohort": 1}, "minimum cohort is at least 2"),
    "dropped target": ({"drop": "bought"}, "can not be dropped"),
    "unknown dropped column": ({"drop": "colour"}, "no column 'colour'"),
    "two brands under a secure sum": ({"mode": "distributed", "brands": 2}, "3 to 100 different brands"),
    "too many dropouts": ({"mode": "distributed", "dropouts": 1}, "1 colluders and 1 dropouts"),
    "too many colluders": ({"mode": "distributed", "colluders": 3}, "3 colluders and 0 dropouts"),
    "negative dropouts": ({"mode": "distributed", "dropouts": -1}, "dropouts and colluders 0 to 99"),
    "no brands per customer": ({"brands_per_customer": 0}, "brands per customer are 1 to 16"),
    "run id that leaves the folder": ({"run_id": "../run"}, "run id"),
    "run id that is hidden": ({"run_id": ".run"}, "run id"),
    "empty run id with a slash": ({"run_id": "a/b"}, "run id"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_bad_option_is_refused(case: str, bench: Bench) -> None:
    options, words = OPTIONS[case]
    before = bench.files()
    check_refused(bench.run(**options), words)
    assert bench.files() == before


def unwritable(folder: Path) -> Path:
    """Return a folder in which this process can create nothing, whoever it runs as."""
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    return Path("/proc/self/fdinfo") if os.access(locked, os.W_OK) else locked


def test_results_that_could_not_be_written_are_refused_before_the_run(bench: Bench) -> None:
    locked = unwritable(bench.folder)
    before = bench.files()
    check_refused(bench.run(json=bench.folder / "nowhere" / "out.json"), "no folder")
    check_refused(bench.run(json=bench.table / "out.json"), "no folder")
    check_refused(bench.run(json=bench.folder), "is a folder")
    check_refused(bench.run(json=locked / "out.json"), "can not be written")
    assert bench.files() == before


def test_a_runs_folder_that_could_not_be_written_is_refused(bench: Bench) -> None:
    locked = unwritable(bench.folder)
    before = bench.files()
    check_refused(bench.run(runs=bench.table), "can not be written")
    check_refused(bench.run(runs=locked / "runs"), "can not be written")
    assert bench.files() == before


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the command where it would begin to train."""

    def stop(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "quiet_libraries", stop)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "changed",
    [{"epsilon": 2}, {"brands": 2}, {"rounds": 3}, {"drop": "plan"}, {"noise_seed": 1}, {"split": "skew"}],
)
def test_a_run_id_is_not_reused_with_other_options(changed: dict[str, object], bench: Bench) -> None:
    bench.run(run_id="one")
    before = bench.files()
    assert "runs/one/options.json" in before
    check_refused(bench.run(run_id="one", **changed), "started with other options")
    assert bench.files() == before
    assert "other options" not in bench.run(run_id="one").stderr


@pytest.mark.usefixtures("no_training")
def test_a_run_id_is_not_reused_with_another_file_of_the_same_name(bench: Bench) -> None:
    bench.run(run_id="one")
    csv(bench.table, rows=ROWS + 1)
    check_refused(bench.run(run_id="one"), "started with other options")
