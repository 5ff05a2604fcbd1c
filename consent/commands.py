"""What `confide consent` and `confide audit` do."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn, Protocol, TypeVar

import typer
import uvicorn
from pydantic import ValidationError

from consent.answers.checking import check_answer
from consent.bulk_import.command import import_file
from consent.configuration import ServiceSettings
from consent.errors import ConsentError
from consent.log.checking import check_entry_proof
from consent.log.export import write_export
from consent.log.exported import check_export
from consent.log.proof import prove_entry
from consent.log.remote import FolderSource, LiveFolder, open_source
from consent.log.report import report_json
from consent.log.scrubbing import scrub_database
from consent.log.verify import read_trust, require_file, verify_place
from consent.receipts import check_receipt
from consent.service import initialise
from consent.service.keys import LogKeyKind
from consent.service.rewrapping import rotate_payload_key
from consent.service.rotation import rotate_log_key
from consent.service.setup import OPERATOR_TOKEN, open_workplace
from consent.serving import serve as run_service
from consent.settings import ConsentSettings
from consent.witness import WitnessSettings
from consent.witness import create_app as create_witness
from consent.witness import initialise as initialise_witness

consent = typer.Typer(help="The consent service: opt-ins, round permissions, the log.", no_args_is_help=True)
audit = typer.Typer(help="Verify a published log with nothing but its files.", no_args_is_help=True)

witness = typer.Typer(help="A witness that cosigns heads of logs.", no_args_is_help=True)

consent.command("import")(import_file)

Settings = TypeVar("Settings", bound=ServiceSettings)

VERIFIED, MISMATCH, BAD_INPUT = 0, 1, 2

Place = Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="The published log's folder or address.")]
Policy = Annotated[Path | None, typer.Option(help="Trusted logs, witnesses and their quorum.")]
Vkey = Annotated[Path | None, typer.Option(help="The log's verifier keys, from somebody you trust.")]
Json = Annotated[Path | None, typer.Option(help="Write the report to this file.")]


class Verdict(Protocol):
    """What a check found."""

    @property
    def verified(self) -> bool:
        """Whether everything held."""

    def lines(self) -> Iterator[str]:
        """Say it, a line a finding."""


@consent.command()
def init() -> None:
    """Create keys, database and the operator's token, or upgrade the database."""
    settings = _settings(ConsentSettings, "consent service")
    with _stopping():
        initialise(settings)
    typer.echo(f"Ready in {settings.data_dir}; the operator's token is in {settings.data_dir / OPERATOR_TOKEN}.")


@consent.command()
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that serve beside each other, on PostgreSQL.")
    ] = None,
) -> None:
    """Serve the API on the configured address, loopback by default."""
    settings = _settings(ConsentSettings, "consent service")
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    with _stopping():
        run_service(settings)


class RotatedKey(StrEnum):
    """A key that another can take over from."""

    LOG = "log"
    LOG_MLDSA = "log-mldsa"
    PAYLOAD = "payload"


@consent.command("rotate-key")
def rotate_key(
    which: Annotated[
        RotatedKey,
        typer.Argument(
            metavar="[log|log-mldsa|payload]", help="What signs the log, or what wraps customers' keys."
        ),
    ] = RotatedKey.LOG,
    overlap_days: Annotated[
        float, typer.Option(help="Days that an old signing key signs beside the new one.")
    ] = 90,
) -> None:
    """Have a new key take over; a running service follows by itself."""
    settings = _settings(ConsentSettings, "consent service")
    with _stopping(), closing(open_workplace(settings)) as work:
        if which is RotatedKey.PAYLOAD:
            done = rotate_payload_key(work, settings.data_dir)
        else:
            kind, overlap = LogKeyKind(which.value), timedelta(days=overlap_days)
            key = rotate_log_key(work, settings.data_dir, overlap=overlap, kind=kind)
    if which is not RotatedKey.PAYLOAD:
        typer.echo(f"{key.encode()}\nGive this verifier key to everybody who verifies the log.")
        return
    typer.echo(f"The keys of {done.customers} customers are under the new payload key; back it up.")
    if not done.scrubbed:
        typer.echo("The database is in use and still holds old bytes; run `confide consent scrub`.", err=True)
        sys.exit(MISMATCH)


@consent.command()
def scrub() -> None:
    """Take what was erased out of the files of a large database; others wait meanwhile."""
    settings = _settings(ConsentSettings, "consent service")
    with _stopping(), closing(open_workplace(settings)) as work:
        clean = scrub_database(work.database, limit=None)
    if not clean:
        typer.echo("The database is in use and could not be emptied of what was erased; run it again.", err=True)
        sys.exit(MISMATCH)
    typer.echo("Nothing that was erased is left in the database's files.")


@audit.command()
def verify(
    place: Place,
    policy: Policy = None,
    vkey: Vkey = None,
    since: Annotated[Path | None, typer.Option(help="A checkpoint kept from earlier.")] = None,
    max_age: Annotated[
        int | None, typer.Option(min=1, help="Seconds after which a cosignature no longer counts.")
    ] = None,
    json: Json = None,
) -> None:
    """Re-derive everything in a published log; exit 0 verified, 1 mismatch, 2 bad input."""
    with _stopping():
        trust = read_trust(vkey, policy, now=int(time.time()), max_age=max_age)
        report = verify_place(place, trust=trust, since=since)
        if json is not None:
            json.write_text(report_json(report))
    _tell(report)


@audit.command()
def proof(
    place: Place,
    index: Annotated[int, typer.Argument(min=0, help="The entry's index.")],
    out: Annotated[Path, typer.Option(help="Write the proof to this file (.tlog-proof).")],
) -> None:
    """Write the proof that an entry is in the log under its present checkpoint."""
    with _stopping():
        source = open_source(place)
        found = prove_entry(LiveFolder(source.folder) if isinstance(source, FolderSource) else source, index)
        out.write_text(found.encode())
    typer.echo(f"Wrote {out}.")


@audit.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="A .tlog-proof file.")],
    policy: Policy = None,
    vkey: Vkey = None,
    opening: Annotated[
        Path | None, typer.Option(help="A line with index, payload and salt that must open the entry.")
    ] = None,
) -> None:
    """Check a proof offline; exit 0 verified, 1 mismatch, 2 bad input."""
    with _stopping():
        trust = read_trust(vkey, policy)
        for given in (file, opening):
            require_file(given)
        verdict = check_entry_proof(file.read_bytes(), trust, opening.read_bytes() if opening else None)
    _tell(verdict)


@audit.command("check-receipt")
def check_received(
    file: Annotated[Path, typer.Argument(help="A consent record or receipt (JSON-LD) of this service.")],
    policy: Policy = None,
    vkey: Vkey = None,
) -> None:
    """Check a receipt offline against the proofs that it carries; exit 0 verified, 1 mismatch, 2 bad input."""
    with _stopping():
        trust = read_trust(vkey, policy)
        require_file(file)
        verdict = check_receipt(file.read_bytes(), trust)
    _tell(verdict)


@audit.command("check-decision")
def check_decided(
    file: Annotated[Path, typer.Argument(help="The evidence of a decision (JSON), as a client fetched it.")],
    policy: Policy = None,
    vkey: Vkey = None,
) -> None:
    """Check offline whether a decision was given; exit 0 verified, 1 not shown or disproved, 2 bad input."""
    with _stopping():
        trust = read_trust(vkey, policy)
        require_file(file)
        verdict = check_answer(file.read_bytes(), trust)
    _tell(verdict)


@audit.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="The published log's folder.")],
    out: Annotated[Path, typer.Option(help="Write the lines to this file.")],
) -> None:
    """Write the checkpoint and every entry with its proof and its opening, where there is one, as NDJSON."""
    with _stopping():
        count = write_export(folder, out)
    typer.echo(f"Wrote {count} entries to {out}.")


@audit.command("check-export")
def check_exported(
    file: Annotated[Path, typer.Argument(help="What `confide audit export` wrote.")],
    policy: Policy = None,
    vkey: Vkey = None,
    log: Annotated[
        str | None, typer.Option(metavar="PATH_OR_URL", help="The published log, verified too; it must extend it.")
    ] = None,
    json: Json = None,
) -> None:
    """Check an export line by line; exit 0 verified, 1 mismatch, 2 bad input."""
    with _stopping():
        report = check_export(file, read_trust(vkey, policy), log)
        if json is not None:
            json.write_text(report_json(report))
    _tell(report)


@witness.command("init")
def init_witness() -> None:
    """Create the witness's key and state, and print its verifier key."""
    settings = _settings(WitnessSettings, "witness")
    with _stopping():
        key = initialise_witness(settings)
    typer.echo(key.encode())


@witness.command("serve")
def serve_witness() -> None:
    """Serve the witness on the configured address, loopback by default."""
    settings = _settings(WitnessSettings, "witness")
    with _stopping():
        app = create_witness(settings)
    uvicorn.run(app, host=settings.host, port=settings.port, access_log=False, log_level="warning")


def _settings(kind: type[Settings], name: str) -> Settings:
    try:
        return kind()
    except (ValidationError, ValueError) as error:
        fields = (
            ", ".join(str(item["loc"][0]) for item in error.errors() if item["loc"])
            if isinstance(error, ValidationError)
            else "the file"
        )
        typer.echo(f"The {name}'s settings are not usable ({fields}); correct them.", err=True)
        sys.exit(BAD_INPUT)


@contextmanager
def _stopping() -> Iterator[None]:
    """End the command with one sentence where what was given can not be used."""
    try:
        yield
    except ConsentError as error:
        sentence = str(error)
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"{error}; check the path and its permissions."
    else:
        return
    typer.echo(sentence, err=True)
    sys.exit(BAD_INPUT)


def _tell(verdict: Verdict) -> NoReturn:
    for line in verdict.lines():
        typer.echo(line)
    sys.exit(VERIFIED if verdict.verified else MISMATCH)
