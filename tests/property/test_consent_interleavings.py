"""Every order in which two customers and the coordinator of two rounds can act, against a model of what is said.

The acts go to the service's own functions, one transaction with a savepoint before each of them, so that all
orders with a common beginning share it.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import factorial, prod
from pathlib import Path

import pytest
from round_papers import PURPOSE, attestation_of, digest, manifest_of, mechanism_of, release_of, task_of
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from consent import errors
from consent.contract import (
    Act,
    Choice,
    Notice,
    Participant,
    Purpose,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
)
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.kept_trees import KeptTrees
from consent.service.notices import publish
from consent.service.principals import enrol
from consent.service.purposes import declare
from consent.service.releases import commit_release
from consent.service.rounds import open_round
from consent.service.snapshots import current, seal
from consent.service.tasks import approve
from consent.service.work import Caller, Unit, Workplace
from consent.settings import ConsentSettings
from consent.store.schema import ReleaseRow
from consent.wire import Approval, ChoiceBatch, Enrolment, Role

BRAND = "acme"
NOTICE = "May we?"
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
COHORT = 2
"""Smallest cohort: the customer who is always in, and one of the two."""

Event = tuple[str, int]
"""What is done, and by which customer or in which round."""
Left = tuple[tuple[Event, ...], ...]
"""What each actor has still to do, in order."""


ALWAYS, *SUBJECTS = (digest(name) for name in ("always", "first", "second"))


@dataclass(frozen=True)
class Model:
    """What is promised: in is whose yes is strictly later than every no; a head holds while nobody moves."""

    said: tuple[tuple[int, int, Act], ...] = ()
    moves: int = 0
    head: tuple[frozenset[str], int] | None = None
    """Who was in when it was sealed, and how many had moved by then."""
    opened: Mapping[int, frozenset[str]] = field(default_factory=dict)
    released: frozenset[int] = frozenset()

    @property
    def members(self) -> frozenset[str]:
        return frozenset({ALWAYS, *(subject for one, subject in enumerate(SUBJECTS) if self.granted(one))})

    def granted(self, customer: int) -> bool:
        acts = [(at, act) for who, at, act in self.said if who == customer]
        last_no = max((at for at, act in acts if act is Act.WITHDRAW), default=-1)
        return any(at > last_no for at, act in acts if act is Act.GRANT)

    def choice(self, customer: int, at: int, act: Act) -> "Model":
        after = replace(self, said=(*self.said, (customer, at, act)))
        return replace(after, moves=self.moves + (after.members != self.members))

    def seal(self) -> "Model":
        return replace(self, head=(self.members, self.moves))

    def refusal(self, event: Event) -> type[errors.ConsentError] | None:
        what, number = event
        if what == "open" and self.head is not None:
            if self.head[1] != self.moves:
                return errors.StaleSnapshotError
            return errors.CohortTooSmallError if len(self.head[0]) < COHORT else None
        return errors.NotFoundError if what == "release" and number not in self.opened else None

    def after(self, event: Event, at: int) -> "Model":
        what, number = event
        if what in ("grant", "withdraw"):
            return self.choice(number, at, Act(what))
        if what == "seal":
            return self.seal()
        if self.refusal(event) is not None or self.head is None:
            return self
        if what == "open":
            return replace(self, opened={**self.opened, number: self.head[0]})
        return replace(self, released=self.released | {number})


@dataclass
class Town:
    """A brand, a coordinator, an approved task, and a customer who is always in."""

    work: Workplace
    keys: dict[str, SigningKey]
    task: TaskSpec
    callers: dict[str, Caller]
    notice: str
    trees: KeptTrees = field(default_factory=KeptTrees)
    """The same for all orders, so that those of acts that were taken back must not be used."""

    def unit(self, session: Session, at: int) -> Unit:
        now = START + timedelta(seconds=1 + at)
        return Unit(session, now, self.work.keys, timedelta(days=1), secrets.token_bytes, trees=self.trees)

    def choose(self, unit: Unit, subject: str, act: Act) -> None:
        notice = self.notice if act is Act.GRANT else None
        choice = Choice(brand=BRAND, subject=subject, act=act, purpose=PURPOSE, notice=notice)
        batch = ChoiceBatch(idempotency_key=secrets.token_hex(8), choices=(choice,))
        record(unit, self.callers[BRAND], batch)

    def manifest(self, unit: Unit, number: int, head: Signed[SnapshotHead]) -> RoundManifest:
        line = Participant(brand=BRAND, key=self.keys[BRAND].public_key, snapshot=head)
        return manifest_of(self.task, [line], unit.now, round=number, mechanism=mechanism_of(32.0))

    def release(self, manifest: RoundManifest) -> Signed[RoundRelease]:
        attested = attestation_of(manifest, BRAND, self.keys[BRAND])
        return Signed[RoundRelease].seal(release_of([manifest], [attested]), self.keys["coordinator"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    settings = ConsentSettings(data_dir=Path(tmp_path_factory.mktemp("orders")) / "consent")
    initialise(settings, clock=lambda: START)
    work = create_app(settings, clock=lambda: START).state.workplace
    keys = {name: SigningKey.generate() for name in (BRAND, "coordinator")}
    task = task_of(epsilon=1.0, minimum_cohort=COHORT)
    roles = {BRAND: Role.BRAND, "coordinator": Role.COORDINATOR}
    callers = {
        name: Caller(2 + at, role, name, keys[name].public_key) for at, (name, role) in enumerate(roles.items())
    }
    with work.writing() as unit:
        for name, role in roles.items():
            enrol(unit, Enrolment(role=role, name=name, public_key=keys[name].public_key))
        declare(
            unit,
            Purpose(
                purpose=PURPOSE,
                title=PURPOSE,
                legal_basis="consent",
                data_categories=("behaviour",),
                retention_days=30,
            ),
        )
        notice = publish(unit, Notice(purpose=PURPOSE, language="en", text=NOTICE))
        approve(unit, Approval(task=task, ceiling=1.0, brands=(BRAND,)))
    town = Town(work, keys, task, callers, notice)
    with work.writing() as unit:
        town.choose(unit, ALWAYS, Act.GRANT)
    yield town
    work.close()


@dataclass
class Orders:
    """A walk through all orders; `ended` counts them and `acts` what was done on the way.

    Attributes:
        town: the service.
        connection: a transaction that is never committed.
        running: whether the clock goes on between acts, or stands still.
    """

    town: Town
    connection: Connection
    running: bool
    ended: int = 0
    acts: int = 0
    seen: set[str] = field(default_factory=set)
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    """Who is under each root that was sealed."""

    def walk(
        self,
        left: Left,
        model: Model,
        head: Signed[SnapshotHead] | None = None,
        manifests: Mapping[int, RoundManifest] | None = None,
        done: int = 0,
    ) -> None:
        if not any(left):
            self.ended += 1
            return
        for actor, events in enumerate(left):
            if events:
                rest = (*left[:actor], events[1:], *left[actor + 1 :])
                self._step(events[0], rest, model, head, manifests or {}, done)

    def _step(
        self,
        event: Event,
        rest: Left,
        model: Model,
        head: Signed[SnapshotHead] | None,
        manifests: Mapping[int, RoundManifest],
        done: int,
    ) -> None:
        at = done if self.running else 0
        with Session(self.connection, autoflush=False, join_transaction_mode="create_savepoint") as session:
            unit = self.town.unit(session, at)
            new_head, new_manifests = self._act(unit, event, model, head, manifests)
            self.acts += 1
            self.walk(rest, model.after(event, at), new_head, new_manifests, done + 1)

    def _act(
        self,
        unit: Unit,
        event: Event,
        model: Model,
        head: Signed[SnapshotHead] | None,
        manifests: Mapping[int, RoundManifest],
    ) -> tuple[Signed[SnapshotHead] | None, Mapping[int, RoundManifest]]:
        what, number = event
        if what in ("grant", "withdraw"):
            self.town.choose(unit, SUBJECTS[number], Act(what))
        elif what == "seal":
            (head,) = seal(unit, PURPOSE, [BRAND])
            view = current(unit, BRAND, PURPOSE)
            assert (frozenset(view.members), view.head) == (model.members, head)
            self.members[head.body.root] = model.members
        elif what == "open" and head is not None:
            manifest = self.town.manifest(unit, number, head)
            manifests = {**manifests, number: manifest}
            if self._done(unit, event, model, manifest):
                assert self.members[manifest.participants[0].snapshot.body.root] == model.members
        elif number in manifests and self._done(unit, event, model, manifests[number]):
            self._check_release(unit, model, manifests[number])
        return head, manifests

    def _done(self, unit: Unit, event: Event, model: Model, manifest: RoundManifest) -> bool:
        """Open or release, and see that it is done or refused as the model says."""
        coordinator = self.town.callers["coordinator"]
        expected = model.refusal(event)
        found: type[errors.ConsentError] | None = None
        try:
            if event[0] == "open":
                open_round(unit, coordinator, Signed[RoundManifest].seal(manifest, self.town.keys["coordinator"]))
            else:
                commit_release(unit, coordinator, self.town.release(manifest))
        except errors.ConsentError as error:
            found = type(error)
            unit.session.rollback()
        assert found is expected, (event, model)
        self.seen.add(f"{event[0]}: {found.code if found else 'done'}")
        return found is None

    def _check_release(self, unit: Unit, model: Model, manifest: RoundManifest) -> None:
        """A release tells of the snapshot that its round was opened on, whoever withdrew since."""
        row = unit.session.get(ReleaseRow, (manifest.run_id, manifest.round))
        assert row is not None
        (attestation,) = Signed[RoundRelease].model_validate_json(row.body).body.attestations
        assert self.members[attestation.body.snapshot_root] == model.opened[manifest.round]


def rounds(*numbers: int) -> tuple[Event, ...]:
    return tuple((what, number) for number in numbers for what in ("seal", "open", "release"))


def customer(number: int, *acts: str) -> tuple[Event, ...]:
    return tuple((act, number) for act in acts)


OUTCOMES = {"open: done", "open: stale_snapshot", "open: cohort_too_small", "release: done", "release: not_found"}


def explore(town: Town, left: Left, *, running: bool) -> Orders:
    writing = town.work.database.engine.execution_options(sqlite_begin="IMMEDIATE")
    with writing.connect() as connection, connection.begin() as transaction:
        orders = Orders(town, connection, running)
        orders.walk(left, Model())
        transaction.rollback()
    return orders


def count(left: Left) -> int:
    """Return how many orders there are: the multinomial coefficient."""
    return factorial(sum(map(len, left))) // prod(factorial(len(events)) for events in left)


CLOCKS = pytest.mark.parametrize("running", [False, True], ids=["all at one instant", "a second between acts"])


@CLOCKS
def test_in_every_order_a_round_is_opened_on_those_alone_who_are_in_at_that_moment(
    town: Town, running: bool
) -> None:
    left = (customer(0, "grant", "withdraw"), customer(1, "grant"), rounds(0, 1))
    orders = explore(town, left, running=running)
    assert orders.ended == count(left) == 252
    assert orders.seen == OUTCOMES


@CLOCKS
def test_in_every_order_rounds_that_overlap_are_opened_on_those_alone_who_are_in(
    town: Town, running: bool
) -> None:
    """A yes after a no counts only at a later instant; before, nobody joins the one who is always in."""
    left = (customer(0, "withdraw", "grant"), rounds(0), rounds(1))
    orders = explore(town, left, running=running)
    assert orders.ended == count(left) == 560
    assert orders.seen == (OUTCOMES if running else {"open: cohort_too_small", "release: not_found"})


LONGER: dict[str, Left] = {
    "both change their minds": (customer(0, "grant", "withdraw"), customer(1, "grant", "withdraw"), rounds(0, 1)),
    "a no before and after a yes": (
        customer(0, "withdraw", "grant", "withdraw"),
        customer(1, "grant"),
        rounds(0, 1),
    ),
    "a yes before and after a no": (
        customer(0, "grant", "withdraw", "grant"),
        customer(1, "withdraw", "grant"),
        rounds(0, 1),
    ),
    "rounds that overlap": (customer(0, "grant", "withdraw"), customer(1, "grant"), rounds(0), rounds(1)),
}


@pytest.mark.slow
@CLOCKS
@pytest.mark.parametrize("left", LONGER.values(), ids=LONGER)
def test_in_every_order_of_longer_histories_a_withdrawal_wins(town: Town, left: Left, running: bool) -> None:
    orders = explore(town, left, running=running)
    assert orders.ended == count(left)
    assert orders.seen == OUTCOMES
