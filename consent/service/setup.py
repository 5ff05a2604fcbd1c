"""First start and every start: keys, database, operator, and the check that log and database agree."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import httpx

from consent.clock import Clock, utc_now
from consent.errors import QuorumError, SetupError
from consent.files import write_private
from consent.log.mldsa import MLDSA_KEY, MldsaKey
from consent.log.payloads import RandomBytes
from consent.log.publisher import CHECKPOINT, Publisher
from consent.log.remote import LiveFolder
from consent.log.scrubbing import scrub_database
from consent.log.standstill import publishing_alone
from consent.log.store import create_head, read_head
from consent.log.witnessed import WITNESSED, WitnessedSizes
from consent.log.witnessing import Witnessing, read_witnesses
from consent.service.keys import Keyring
from consent.service.limits import Limits
from consent.service.logbook import logbook
from consent.service.principals import enrol
from consent.service.rotation import LogSigners
from consent.service.work import Workplace
from consent.settings import ConsentSettings
from consent.store.database import Database
from consent.wire import Enrolment, Role

OPERATOR_TOKEN = "operator.token"  # noqa: S105 - the name of a file
OPERATOR = "operator"


def initialise(settings: ConsentSettings, *, clock: Clock = utc_now) -> str:
    """Create keys, database and the first operator, whose token is returned and written beside the keys.

    What is there already is kept, and a database of an earlier version is upgraded.

    Raises:
        SetupError: a key file is not usable.
        LogInconsistentError: the database does not extend the published log.
    """
    keys = Keyring.create(settings.data_dir)
    database = Database.connect(settings.url)
    if settings.log_mldsa:
        MldsaKey.create(settings.data_dir / MLDSA_KEY)
    try:
        database.migrate(vault=keys.vault)
        with database.writing() as session:
            create_head(session)
    except BaseException:
        database.close()
        raise
    path = settings.data_dir / OPERATOR_TOKEN
    with _opened(settings, database=database, keys=keys, clock=clock) as workplace:
        if path.exists():
            return path.read_text().strip()
        with workplace.writing() as unit:
            token = enrol(unit, Enrolment(role=Role.OPERATOR, name=OPERATOR)).token
    write_private(path, token.encode() + b"\n")
    return token


def open_workplace(
    settings: ConsentSettings, *, clock: Clock = utc_now, random_bytes: RandomBytes = secrets.token_bytes
) -> Workplace:
    """Open what `initialise` created.

    Raises:
        SetupError: it was not initialised.
        LogInconsistentError: the database does not extend the published log.
    """
    if not settings.data_dir.is_dir():
        raise SetupError(f"There is no folder {settings.data_dir}; run `confide consent init` first.")
    keys = Keyring.load(settings.data_dir)
    database = Database.connect(settings.url)
    try:
        database.check_schema()
        return _workplace(settings, database=database, keys=keys, clock=clock, random_bytes=random_bytes)
    except BaseException:
        database.close()
        raise


def _workplace(
    settings: ConsentSettings,
    *,
    database: Database,
    keys: Keyring,
    clock: Clock,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Workplace:
    publisher, published = _start_publisher(settings, database, clock)
    scrub_database(database)
    workplace = Workplace(
        database=database,
        publisher=publisher,
        keys=keys,
        clock=clock,
        snapshot_validity=timedelta(seconds=settings.snapshot_validity),
        publish_interval=settings.publish_interval,
        random_bytes=random_bytes,
        limits=Limits(factor=settings.rate_factor, workers=settings.workers),
        decision_interval=settings.decision_interval,
    )
    if not published:
        workplace.publish_soon()
    return workplace


def _start_publisher(settings: ConsentSettings, database: Database, clock: Clock) -> tuple[Publisher, bool]:
    """Start publishing; False when witnesses are missing, for choices are taken meanwhile.

    Raises:
        LogInconsistentError: database and folder do not agree, or a witness saw a longer or another log.
        SetupError: too few witnesses can be asked, and what they cosigned is not on record either.
    """
    origin, folder = settings.log_origin, settings.log_dir
    signers = LogSigners(
        database=database, folder=settings.data_dir, origin=origin, clock=clock, mldsa=settings.log_mldsa
    )
    witnessing = _witnessing(settings)
    with database.reading() as session:
        witnessing.require_newest(origin, read_head(session).size)
    publisher = Publisher(database=database, folder=folder, origin=origin, key=signers, seal=witnessing.seal)
    try:
        publisher.start()
    except QuorumError:
        return publisher, False
    with publishing_alone(folder):
        witnessing.confirm((folder / CHECKPOINT).read_text())
    return publisher, True


def _witnessing(settings: ConsentSettings) -> Witnessing:
    addresses = [(witness.url, witness.vkey) for witness in settings.witnesses]
    return Witnessing(
        read_witnesses(addresses, quorum=settings.witness_quorum),
        quorum=settings.witness_quorum,
        http=httpx.Client(follow_redirects=False),
        source=LiveFolder(settings.log_dir),
        on_refusal=lambda name, why: logbook().warning("witness_refused", witness=name, why=why),
        witnessed=WitnessedSizes(settings.data_dir / WITNESSED),
    )


@contextmanager
def _opened(settings: ConsentSettings, *, database: Database, keys: Keyring, clock: Clock) -> Iterator[Workplace]:
    try:
        with closing(_workplace(settings, database=database, keys=keys, clock=clock)) as workplace:
            yield workplace
    finally:
        database.close()
