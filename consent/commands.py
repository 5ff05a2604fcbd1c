"""What `confide consent` and `confide audit` do."""

import logging
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError

from consent.errors import ConsentError
from consent.log.report import report_json
from consent.log.scrubbing import scrub_database
from consent.log.verify import read_trust, verify_place
from consent.service import create_app, initialise
from consent.service.rotation import rotate_log_key
from consent.service.setup import OPERATOR_TOKEN, open_workplace
from consent.settings import ConsentSettings

consent = typer.Typer(help="The consent service: opt-ins, round permissions, the log.", no_args_is_help=True)
audit = typer.Typer(help="Verify a published log with nothing but its files.", no_args_is_help=True)

VERIFIED, MISMATCH, BAD_INPUT = 0, 1, 2


@consent.command()
def init() -> None:
    """Create keys, database and the operator's token, or upgrade the database."""
    settings = _settings()
    try:
        initialise(settings)
    except (ConsentError, OSError) as error:
        _stop(error)
    typer.echo(f"Ready in {settings.data_dir}; the operator's token is in {settings.data_dir / OPERATOR_TOKEN}.")


@consent.command()
def serve() -> None:
    """Serve the API on the configured address, loopback by default."""
    settings = _settings()
    try:
        app = create_app(settings)
    except (ConsentError, OSError) as error:
        _stop(error)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    uvicorn.run(app, host=settings.host, port=settings.port, access_log=False, log_level="warning")


@consent.command("rotate-key")
def rotate_key(
    overlap_days: Annotated[float, typer.Option(help="Days that the old key signs beside the new one.")] = 90,
) -> None:
    """Have a new key sign the log; a running service follows by itself."""
    settings = _settings()
    try:
        with closing(open_workplace(settings)) as work:
            key = rotate_log_key(work, settings.data_dir, overlap=timedelta(days=overlap_days))
    except (ConsentError, OSError) as error:
        _stop(error)
    typer.echo(f"{key.encode()}\nGive this verifier key to everybody who verifies the log.")


@consent.command()
def scrub() -> None:
    """Take what was erased out of the files of a large database; others wait meanwhile."""
    settings = _settings()
    try:
        with closing(open_workplace(settings)) as work:
            clean = scrub_database(work.database, limit=None)
    except (ConsentError, OSError) as error:
        _stop(error)
    if not clean:
        typer.echo("The database is in use and could not be emptied of what was erased; run it again.", err=True)
        sys.exit(MISMATCH)
    typer.echo("Nothing that was erased is left in the database's files.")


@audit.callback()
def _audit() -> None:
    """Keep `verify` a sub-command."""


@audit.command()
def verify(
    place: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="The published log's folder or address.")],
    policy: Annotated[Path | None, typer.Option(help="Trusted logs, witnesses and their quorum.")] = None,
    vkey: Annotated[Path | None, typer.Option(help="The log's verifier keys, from somebody you trust.")] = None,
    since: Annotated[Path | None, typer.Option(help="A checkpoint kept from earlier.")] = None,
    max_age: Annotated[
        int | None, typer.Option(min=1, help="Seconds after which a cosignature no longer counts.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Re-derive everything in a published log; exit 0 verified, 1 mismatch, 2 bad input."""
    try:
        trust = read_trust(vkey, policy, now=int(time.time()), max_age=max_age)
        report = verify_place(place, trust=trust, since=since)
        if json is not None:
            json.write_text(report_json(report))
    except (ConsentError, OSError, UnicodeDecodeError) as error:
        _stop(error)
    for line in report.lines():
        typer.echo(line)
    sys.exit(VERIFIED if report.verified else MISMATCH)


def _settings() -> ConsentSettings:
    try:
        return ConsentSettings()
    except (ValidationError, ValueError) as error:
        fields = (
            ", ".join(str(item["loc"][0]) for item in error.errors() if item["loc"])
            if isinstance(error, ValidationError)
            else "the file"
        )
        typer.echo(f"The consent service's settings are not usable ({fields}); correct them.", err=True)
        sys.exit(BAD_INPUT)


def _stop(error: Exception) -> None:
    sentence = str(error) if isinstance(error, ConsentError) else f"{error}; check the path and its permissions."
    typer.echo(sentence, err=True)
    sys.exit(BAD_INPUT)
