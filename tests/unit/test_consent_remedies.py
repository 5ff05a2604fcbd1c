"""Withdrawal after training: what it asks of models by policy, what closes it, and what customers are told."""

from collections.abc import Callable
from typing import Any

import pytest
from rights_desk import customer, erase_by_two
from round_papers import PURPOSE, Rounds, digest, task_of

from consent import errors
from consent.contract import Act, Phase, RemedyPolicy, RemedyStatement, RoundManifest, Signed
from consent.remedies import ReleaseName, RemedyClosing, RemedyView
from consent.rights import AccessRequest, StatedRun
from consent.service.timeline import opened
from consent.wire import Role

ANN, BEN, CAT, LATE = (digest(name) for name in ("ann", "ben", "cat", "late"))
START = digest("start")


class Desk(Rounds):
    """Rounds of one brand whose models follow each other."""

    def train(self, run_id: str, *numbers: int, begin: str = START, **changes: Any) -> str:
        """Release these rounds of a run, each from the model of the one before; return the last model."""
        model = begin
        for number in numbers:
            after = digest(f"{run_id}-{number}") if changes.get("phase", Phase.GRADIENT).trains else model
            manifest = self.manifest(run_id=run_id, round=number, epsilon_after=99.0, **changes)
            self.open(manifest)
            self.commit(self.release(manifest, model_before=model, model_after=after))
            model = after
        return model

    def withdraw(self, subject: str = ANN) -> None:
        self.world.record("acme", Act.WITHDRAW, subject)

    def waiting(self) -> RemedyView:
        (found,) = self.world.officer.remedies(waiting=True)
        assert isinstance(found, RemedyView)
        return found

    def replaced(self, remedy: RemedyView, run_id: str, number: int = 0) -> None:
        name = ReleaseName(run_id=run_id, round=number)
        self.world.officer.close_remedy(RemedyClosing(remedy=remedy.remedy, replaced_by=name))

    def stated(self, remedy: RemedyView, *, withdraws: bool, signer: str = "officer", **changes: Any) -> None:
        values: dict[str, Any] = {
            "remedy": remedy.remedy,
            "run_id": remedy.run_id,
            "withdraws_models": withdraws,
            "text": "The model was never deployed, and its files were deleted.",
            "stated_at": self.world.clock.now,
        }
        statement = RemedyStatement(**{**values, **changes})
        sealed = Signed[RemedyStatement].seal(statement, self.world.keys[signer])
        self.world.officer.close_remedy(RemedyClosing(remedy=remedy.remedy, statement=sealed))

    def out_of_use(self) -> dict[str, str | None]:
        return {one.model: one.replaced_by for one in self.world.brand("acme").withdrawn_models()}

    def told(self, subject: str = ANN) -> StatedRun:
        wanted = AccessRequest(brand="acme", subject=subject)
        (run,) = customer(self.world, subject).access(wanted).runs
        return run

    def log(self, start: int = 0) -> list[dict[str, Any]]:
        with self.world.app.state.workplace.reading() as unit:
            return [dict(hit.payload) for hit in opened(unit, range(start, self.log_size()))]

    def steps(self, start: int = 0) -> list[str]:
        return [entry["kind"] for entry in self.log(start) if entry["kind"].startswith("remedy_")]


def desk_of(world: Any, policy: RemedyPolicy | None) -> Desk:
    world.record("acme", Act.GRANT, ANN, BEN, CAT)
    assert world.coordinator
    task = task_of(epsilon=16.0)
    world.officer.approve_task(task, 50.0, ["acme"], remedy=policy)
    return Desk(world, task, ("acme",))


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    return world


@pytest.fixture
def desk(consent_world: Any) -> Desk:
    return desk_of(consent_world, RemedyPolicy.RETRAIN)


def test_a_bound_is_stated_once_and_is_the_answer(world: Any) -> None:
    desk = desk_of(world, None)
    desk.train("old", 0, 1)
    desk.withdraw()
    assert world.officer.remedies(waiting=True) == ()
    (stated,) = world.officer.remedies()
    assert (stated.policy, stated.first_round, stated.closed_index) == (RemedyPolicy.BOUND, 0, stated.remedy)
    (entry,) = [one for one in desk.log() if one["kind"] == "remedy_stated"]
    assert entry["epsilon"] == pytest.approx(world.officer.participation("acme", BEN)[-1].epsilon_so_far)
    assert world.officer.remedies() == (stated,)
    run = desk.told()
    assert (run.policy, run.first_round, run.models) == (
        RemedyPolicy.BOUND,
        0,
        (digest("old-0"), digest("old-1")),
    )
    assert run.remedy is not None
    assert run.remedy.log_index == stated.remedy
    assert "the stated epsilon is the answer" in run.told
    assert desk.out_of_use() == {}


def test_a_model_is_trained_again_and_replaced(world: Any) -> None:
    desk = desk_of(world, RemedyPolicy.RETRAIN)
    desk.train("old", 0)
    world.record("acme", Act.GRANT, LATE)
    desk.train("old", 1, 2, begin=digest("old-0"))
    desk.withdraw(LATE)
    remedy = desk.waiting()
    assert (remedy.first_round, remedy.model, remedy.run_id) == (1, digest("old-2"), "old")
    assert desk.told(LATE).remedy is not None
    last = desk.train("new", 1, 2, begin=digest("old-0"))
    desk.replaced(remedy, "new", 2)
    desk.replaced(remedy, "new", 2)
    assert world.officer.remedies(waiting=True) == ()
    assert desk.out_of_use() == {digest("old-1"): last, digest("old-2"): last}
    run = desk.told(LATE)
    assert run.remedy is not None
    assert (run.remedy.replaced_by, run.remedy.closed_index) == (last, world.officer.remedies()[0].closed_index)
    (closed,) = [one for one in desk.log() if one["kind"] == "remedy_closed"]
    assert closed["models_withdrawn"] == [digest("old-1"), digest("old-2")]
    assert closed["evidence"]["replaced_by"] == {"run_id": "new", "round": 2}
    assert desk.steps() == ["remedy_chosen", "remedy_opened", "remedy_closed"]
    with pytest.raises(errors.ConflictError, match="closed already"):
        desk.replaced(remedy, "new", 1)
    page = customer(world, LATE).access_page(AccessRequest(brand="acme", subject=LATE))
    assert last in page
    assert "trained again" in page


def test_an_erasure_opens_its_remedy_at_once_and_names_nobody(world: Any) -> None:
    desk = desk_of(world, RemedyPolicy.REPLACE)
    desk.train("old", 0)
    start = desk.log_size()
    erase_by_two(world, ANN)
    assert desk.steps(start) == ["remedy_opened"]
    entry = next(one for one in desk.log(start) if one["kind"] == "remedy_opened")
    assert ANN not in str(entry)
    assert desk.waiting().first_round == 0
    model = desk.train("new", 0, begin=digest("other start"))
    desk.replaced(desk.waiting(), "new")
    assert desk.out_of_use() == {digest("old-0"): model}


def test_withdrawals_are_answered_together_and_once(desk: Desk) -> None:
    desk.train("old", 0, 1)
    desk.withdraw(ANN)
    first = desk.waiting()
    desk.withdraw(BEN)
    both = desk.waiting()
    assert (both.remedy, both.first_round) == (first.remedy, first.first_round)
    assert both.upto_index > first.upto_index
    before = desk.log_size()
    assert desk.waiting() == both
    assert desk.log_size() == before
    assert desk.steps() == ["remedy_chosen", "remedy_opened", "remedy_widened"]


def test_who_was_never_in_a_model_asks_for_nothing(desk: Desk) -> None:
    desk.train("old", 0)
    desk.world.record("acme", Act.GRANT, LATE)
    desk.withdraw(LATE)
    desk.withdraw(digest("stranger"))
    assert desk.world.officer.remedies() == ()


def test_a_round_that_does_not_train_asks_for_nothing_and_changes_no_model(desk: Desk) -> None:
    desk.train("metrics", 0, phase=Phase.METRICS)
    manifest = desk.manifest(run_id="metrics", round=1, phase=Phase.HISTOGRAM, epsilon_after=99.0)
    desk.open(manifest)
    with pytest.raises(errors.RoundRefusedError, match="does not train"):
        desk.commit(desk.release(manifest))
    desk.withdraw()
    assert desk.world.officer.remedies() == ()
    (round_,) = [one for one in desk.world.officer.participation("acme", ANN) if one.released]
    assert (round_.kind, round_.model) == (Phase.METRICS, START)


def test_a_policy_holds_from_when_it_was_chosen(desk: Desk) -> None:
    desk.train("old", 0)
    desk.withdraw(ANN)
    assert desk.waiting().policy is RemedyPolicy.RETRAIN
    for _ in range(2):
        desk.world.officer.choose_remedy(desk.task.digest(), RemedyPolicy.BOUND)
    desk.withdraw(BEN)
    assert [one.policy for one in desk.world.officer.remedies()] == [RemedyPolicy.RETRAIN, RemedyPolicy.BOUND]
    assert desk.waiting().policy is RemedyPolicy.RETRAIN
    with pytest.raises(errors.NotFoundError):
        desk.world.officer.choose_remedy(digest("no task"), RemedyPolicy.BOUND)
    assert desk.steps().count("remedy_chosen") == 2


def _stale(desk: Desk) -> str:
    return "before"


def _from_the_model_itself(desk: Desk) -> str:
    desk.train("new", 0, begin=digest("old-1"))
    return "new"


def _from_somewhere_else(desk: Desk) -> str:
    desk.train("new", 0, begin=digest("unknown"))
    return "new"


def _back_to_the_old_model_on_the_way(desk: Desk) -> str:
    desk.train("new", 0)
    desk.train("new", 1, begin=digest("old-1"))
    return "new"


REPLACEMENTS: dict[str, tuple[Callable[[Desk], str], int, type[errors.ConsentError]]] = {
    "the run itself": (lambda _: "old", 1, errors.RemedyRefusedError),
    "a run under snapshots from before": (_stale, 0, errors.RemedyRefusedError),
    "a run that goes on from the model": (_from_the_model_itself, 0, errors.RemedyRefusedError),
    "a run that starts from somewhere else": (_from_somewhere_else, 0, errors.RemedyRefusedError),
    "a run that goes back to the model": (_back_to_the_old_model_on_the_way, 1, errors.RemedyRefusedError),
    "a run that was never released": (lambda _: "none", 0, errors.NotFoundError),
}


@pytest.mark.parametrize(("make", "number", "error"), REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_what_does_not_replace_a_model_is_no_evidence(
    desk: Desk, make: Callable[[Desk], str], number: int, error: type[errors.ConsentError]
) -> None:
    desk.train("old", 0, 1)
    desk.train("before", 0)
    desk.withdraw()
    remedy = next(one for one in desk.world.officer.remedies() if one.run_id == "old")
    run_id = make(desk)
    before = desk.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        desk.replaced(remedy, run_id, number)
    assert type(caught.value) is error
    assert (desk.log_size(), desk.out_of_use()) == (before, {})
    desk.train("right", 0)
    desk.replaced(remedy, "right")


def test_an_officers_word_closes_what_no_release_does(desk: Desk) -> None:
    desk.train("old", 0)
    desk.withdraw()
    remedy = desk.waiting()
    for changes, error in (
        ({"signer": "coordinator"}, errors.SignatureError),
        ({"run_id": "other"}, errors.RemedyRefusedError),
    ):
        with pytest.raises(error):
            desk.stated(remedy, withdraws=False, **changes)
    desk.stated(remedy, withdraws=False)
    assert desk.out_of_use() == {}
    assert desk.world.officer.remedies(waiting=True) == ()


def test_a_model_to_be_replaced_is_taken_out_of_use_in_any_case(consent_world: Any) -> None:
    desk = desk_of(consent_world, RemedyPolicy.REPLACE)
    desk.train("old", 0)
    desk.withdraw()
    with pytest.raises(errors.RemedyRefusedError, match="out of use"):
        desk.stated(desk.waiting(), withdraws=False)
    desk.stated(desk.waiting(), withdraws=True)
    assert desk.out_of_use() == {digest("old-0"): None}
    desk.withdraw(BEN)
    assert desk.world.officer.remedies(waiting=True) == ()


def test_a_brand_sees_its_own_remedies_alone(desk: Desk) -> None:
    desk.train("old", 0)
    desk.withdraw()
    assert len(desk.world.brand("acme").remedies()) == len(desk.world.auditor.remedies()) == 1
    assert desk.world.brand("spy").remedies() == desk.world.brand_admin("spy").remedies() == ()
    assert desk.world.enrol(Role.COORDINATOR, "other").withdrawn_models() == ()
    with pytest.raises(errors.ForbiddenError):
        desk.world.coordinator.remedies()


def test_many_withdrawals_are_looked_at_a_batch_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent.service.remedies.BATCH", 2)
    desk.train("old", 0)
    crowd = [digest(f"crowd-{number}") for number in range(3)]
    desk.world.record("acme", Act.GRANT, *crowd)
    for one in (*crowd, BEN, ANN):
        desk.withdraw(one)
    assert desk.waiting().first_round == 0
    assert desk.steps() == ["remedy_chosen", "remedy_opened", "remedy_widened"]


def test_a_withdrawal_before_the_release_counts_if_the_round_used_the_customer(desk: Desk) -> None:
    """The sum had left when the customer withdrew, and the release came after."""
    manifest: RoundManifest = desk.manifest(run_id="old", epsilon_after=99.0)
    desk.open(manifest)
    desk.withdraw()
    assert desk.world.officer.remedies() == ()
    desk.commit(desk.release(manifest, model_before=START, model_after=digest("old-0")))
    assert desk.waiting().first_round == 0
