"""`python -m simulations.bench NAME --json FILE`: run one benchmark."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from simulations.bench.accuracy import accuracy
from simulations.bench.consent import consent
from simulations.bench.log import log
from simulations.bench.records import Record, write_records
from simulations.bench.rounds import rounds
from simulations.errors import InputError
from simulations.quiet import quiet_libraries

BENCHMARKS: Mapping[str, Callable[[Path, bool], list[Record]]] = {
    "accuracy": lambda data, _quick: accuracy(data),
    "consent": lambda _data, quick: consent(quick=quick),
    "log": lambda _data, quick: log(quick=quick),
    "rounds": lambda data, _quick: rounds(data),
}
BAD_INPUT = 2


def main(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHMARKS)}.")],
    json: Annotated[Path | None, typer.Option(help="Write the records to this file.")] = None,
    data: Annotated[Path, typer.Option(envvar="CONFIDE_TEST_DATA", help="Folder of the reference tables.")] = Path(
        "../shared/data"
    ),
    quick: Annotated[bool, typer.Option(help="Small sizes, to see that it works; for `consent`, `log`.")] = False,
) -> None:
    """Measure, print and write records of metric, value, unit, target, met and how."""
    if name not in BENCHMARKS:
        typer.echo(f"There is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}.", err=True)
        sys.exit(BAD_INPUT)
    quiet_libraries()
    try:
        records = BENCHMARKS[name](data, quick)
    except InputError as error:
        typer.echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    _print(records)
    if json is not None:
        write_records(records, json)


def _print(records: list[Record]) -> None:
    table = Table("metric", "value", "target", "how")
    for record in records:
        verdict = "" if record.met is None else f"{record.target:g} {'met' if record.met else 'MISSED'}"
        table.add_row(record.metric, f"{record.value:.4g} {record.unit}", verdict, record.how)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
