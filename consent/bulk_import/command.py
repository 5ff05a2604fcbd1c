"""`confide consent import`: send a file of choices to a running service and write down what became of its rows."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import httpx
import typer

from consent.bulk_import.reading import CSV, NDJSON
from consent.bulk_import.verdicts import Summary, Verdict
from consent.client import ConsentClient
from consent.errors import ConsentError

LONGEST_SECONDS = 3_600
"""The service answers once it has the whole file."""
ALL_RECORDED, SOME_REFUSED, BAD_INPUT = 0, 1, 2


class FileKind(StrEnum):
    """What a file of choices can be."""

    NDJSON = "ndjson"
    CSV = "csv"


MEDIA_TYPES = {FileKind.NDJSON: NDJSON, FileKind.CSV: CSV}


def import_file(
    file: Annotated[Path, typer.Argument(help="One choice a line, as NDJSON, or as CSV under names of columns.")],
    url: Annotated[str, typer.Option(envvar="CONFIDE_AGENT_CONSENT_URL", help="Where the service listens.")],
    token_file: Annotated[
        Path,
        typer.Option(envvar="CONFIDE_AGENT_CONSENT_TOKEN_FILE", help="Where the brand's token lies."),
    ],
    name: Annotated[str, typer.Option(help="What the file is called: sent again under it, it changes nothing.")],
    kind: Annotated[FileKind, typer.Option(help="What the file is.")] = FileKind.NDJSON,
    verdicts: Annotated[Path | None, typer.Option(help="Write a verdict per row to this file.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would become of the rows and record nothing.")] = False,
) -> None:
    """Import choices; exit 0 when all rows are recorded, 1 when some are refused, 2 on bad input."""
    try:
        with ExitStack() as opened:
            http = opened.enter_context(httpx.Client(base_url=url, timeout=LONGEST_SECONDS))
            client = ConsentClient(http, token_file.read_text().strip())
            source = opened.enter_context(file.open("rb"))
            answer = client.import_file(source, name=name, media_type=MEDIA_TYPES[kind], dry_run=dry_run)
            summary = _write(answer, verdicts)
    except (ConsentError, OSError) as error:
        typer.echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    done = "could be recorded" if summary.dry_run else "are recorded"
    typer.echo(f"{summary.recorded} of {summary.rows} rows {done}, {summary.refused} are refused.")
    sys.exit(SOME_REFUSED if summary.refused else ALL_RECORDED)


def _write(answer: Iterator[Verdict | Summary], path: Path | None) -> Summary:
    summary: Summary | None = None
    with ExitStack() as opened:
        stream = opened.enter_context(path.open("wb")) if path else None
        for line in answer:
            if isinstance(line, Summary):
                summary = line
            elif stream is not None:
                stream.write(line.line())
    if summary is None:
        raise ConsentError("The answer to the import broke off; send the same file again.")
    return summary
