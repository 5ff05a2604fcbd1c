"""Everything that an agent refuses in a run whose sums are masked: nothing leaves, nothing is spent or opened."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agent_bench import LIMITS, Snapshots
from numpy.typing import NDArray
from secure_bench import DROPOUTS, SLOTS, TOWN, SecureBench, secure_task
from small_federation import PURPOSE, small_task

from client.agent import BrandPolicy
from client.errors import (
    ClosingRefusalError,
    LedgerRefusalError,
    ManifestRefusalError,
    OrderRefusalError,
    PolicyRefusalError,
    RefusalError,
    SetupRefusalError,
    StaleRoundError,
)
from client.port import ModelDelivery, OpenRequest, SetupRequest
from consent.contract import (
    Closing,
    EnrolledBrand,
    Phase,
    RoundManifest,
    RoundRelease,
    RunSetup,
    Signed,
    SigningKey,
)
from privacy.vectors import Arrays, arrays_digest

STRANGER = SigningKey.generate()
LATER = timedelta(minutes=6)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SecureBench]:
    bench = SecureBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> SecureBench:
    """A town that has played a round; closed, to be copied."""
    bench = SecureBench(tmp_path_factory.mktemp("played"))
    bench.set_up()
    bench.play()
    bench.close()
    return bench


@pytest.fixture
def going(played: SecureBench, tmp_path: Path) -> Iterator[SecureBench]:
    """A town in its second round."""
    bench = played.closed_copy(tmp_path)
    yield bench
    bench.close()


@dataclass(frozen=True)
class Refused:
    """What must be refused, as what, and with which words."""

    ask: Callable[[SecureBench], object]
    error: type[RefusalError]
    words: str


def held(bench: SecureBench) -> tuple[Any, ...]:
    """Return all that an agent has stored, by which nothing else can have left it."""
    with bench.first.agent.ledger.transaction() as connection:
        tables = ("ledger", "reservations", "secure_runs", "secure_slots")
        return tuple(tuple(connection.exec_driver_sql(f"SELECT * FROM {name}")) for name in tables)  # noqa: S608


def must_refuse(bench: SecureBench, refused: Refused) -> None:
    before = held(bench)
    with pytest.raises(refused.error, match=refused.words) as caught:
        refused.ask(bench)
    assert caught.value.code == refused.error.code
    assert held(bench) == before


def joining(change: Callable[[SecureBench], RunSetup]) -> Callable[[SecureBench], object]:
    return lambda bench: bench.first.agent.setup(bench.setup_request(change(bench)))


def with_sybil(bench: SecureBench) -> RunSetup:
    return bench.setup(brands=(*bench.enrolled(), EnrolledBrand(brand="fly", key=STRANGER.public_key)))


def sybil_of_the_coordinator(bench: SecureBench) -> RunSetup:
    brands = (*bench.enrolled(), EnrolledBrand(brand="fly", key=STRANGER.public_key))
    return bench.setup(brands=brands, enrolment=bench.enrolment(bench.coordinator, brands=brands))


def other_key(bench: SecureBench) -> RunSetup:
    ant, *others = bench.enrolled()
    brands = (ant, EnrolledBrand(brand="bee", key=STRANGER.public_key), *others[1:])
    return bench.setup(brands=brands)


def own_other_key(bench: SecureBench) -> RunSetup:
    brands = (EnrolledBrand(brand="ant", key=STRANGER.public_key), *bench.enrolled()[1:])
    return bench.setup(brands=brands, enrolment=bench.enrolment(brands=brands))


def of_the_future(bench: SecureBench) -> RunSetup:
    return bench.setup(opened_at=bench.first.now + LATER)


def enrolled_in_the_future(bench: SecureBench) -> RunSetup:
    return bench.setup(enrolment=bench.enrolment(stated_at=bench.first.now + LATER))


def enrolment_over(bench: SecureBench) -> RunSetup:
    setup = bench.setup()
    bench.wait(timedelta(hours=1, seconds=1))
    return setup


def signed_by(signer: SigningKey) -> Callable[[SecureBench], object]:
    return lambda bench: bench.first.agent.setup(bench.setup_request(signer=signer))


def of_task(**changes: Any) -> Callable[[SecureBench], object]:
    def ask(bench: SecureBench) -> object:
        bench.task = secure_task(**changes)
        return bench.first.agent.setup(bench.setup_request(bench.setup(**changes)))

    return ask


def of_a_local_task(bench: SecureBench) -> object:
    bench.task = small_task()
    return bench.first.agent.setup(bench.setup_request())


SETUPS = {
    "malformed": Refused(
        lambda bench: bench.first.agent.setup(SetupRequest(bench.task.model_dump_json(), "{}")),
        SetupRefusalError,
        "malformed",
    ),
    "malformed task": Refused(
        lambda bench: bench.first.agent.setup(replace(bench.setup_request(), task="{}")),
        SetupRefusalError,
        "malformed",
    ),
    "signed by a stranger": Refused(signed_by(STRANGER), SetupRefusalError, "not enrolled"),
    "of another task": Refused(
        joining(lambda bench: bench.setup(task="0" * 64)), SetupRefusalError, "another task"
    ),
    "of another purpose": Refused(
        joining(lambda bench: bench.setup(purpose="churn")), SetupRefusalError, "another task"
    ),
    "of a task in local mode": Refused(of_a_local_task, SetupRefusalError, "no secure sum"),
    "fewer dropouts than the task": Refused(
        joining(lambda bench: bench.setup(dropouts=0)), SetupRefusalError, "dropouts or colluders"
    ),
    "fewer colluders than the task": Refused(
        joining(lambda bench: bench.setup(colluders=0)), SetupRefusalError, "dropouts or colluders"
    ),
    "more colluders than any threshold stands": Refused(of_task(colluders=4), SetupRefusalError, "state fewer"),
    "brands in no order": Refused(
        joining(lambda bench: bench.setup(brands=tuple(reversed(bench.enrolled())))),
        SetupRefusalError,
        "order of their names",
    ),
    "a brand twice": Refused(
        joining(lambda bench: bench.setup(brands=(*bench.enrolled(), bench.enrolled()[-1]))),
        SetupRefusalError,
        "not distinct",
    ),
    "a brand that is not enrolled": Refused(joining(with_sybil), SetupRefusalError, "'fly' is not enrolled"),
    "a brand enrolled by the coordinator": Refused(
        joining(sybil_of_the_coordinator), SetupRefusalError, "not enrolled"
    ),
    "another brand's key replaced": Refused(joining(other_key), SetupRefusalError, "'bee' is not enrolled"),
    "own key replaced": Refused(joining(own_other_key), SetupRefusalError, "does not name this brand"),
    "without this brand": Refused(
        joining(lambda bench: bench.setup(brands=bench.enrolled()[1:])),
        SetupRefusalError,
        "does not name this brand",
    ),
    "opened in the future": Refused(joining(of_the_future), SetupRefusalError, "of the future"),
    "enrolled in the future": Refused(joining(enrolled_in_the_future), SetupRefusalError, "of the future"),
    "enrolment over": Refused(joining(enrolment_over), SetupRefusalError, "expired"),
    "over": Refused(
        joining(lambda bench: bench.setup(not_after=bench.first.now - timedelta(seconds=1))),
        SetupRefusalError,
        "expired",
    ),
}


@pytest.mark.parametrize("case", SETUPS)
def test_a_setup_that_is_not_one_to_join_is_refused(case: str, bench: SecureBench) -> None:
    must_refuse(bench, SETUPS[case])


def test_noise_that_too_few_brands_would_carry_is_refused(tmp_path: Path) -> None:
    bench = SecureBench(tmp_path, brands=TOWN[:3])
    must_refuse(bench, Refused(joining(lambda bench: bench.setup()), SetupRefusalError, "state fewer"))
    bench.close()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (BrandPolicy({}), "takes no part in purpose 'conversion'"),
        (BrandPolicy({PURPOSE: replace(LIMITS, fewest_brands=6)}), "has 5 brands and the policy asks for 6"),
        (BrandPolicy({PURPOSE: replace(LIMITS, delta=1e-6)}), "over the policy's"),
    ],
)
def test_a_run_that_the_policy_does_not_allow_is_refused(
    policy: BrandPolicy, words: str, bench: SecureBench
) -> None:
    bench.first.policy = policy
    bench.restart("ant")
    must_refuse(bench, Refused(joining(lambda bench: bench.setup()), PolicyRefusalError, words))


def test_a_policy_that_was_tightened_since_stops_the_run(bench: SecureBench) -> None:
    bench.set_up()
    bench.first.policy = BrandPolicy({PURPOSE: replace(LIMITS, fewest_brands=6)})
    bench.restart("ant")
    must_refuse(bench, Refused(lambda bench: bench.mask(bench.manifest()), PolicyRefusalError, "asks for 6"))


def other_setup(bench: SecureBench) -> object:
    return bench.first.agent.setup(bench.setup_request(bench.setup(slots=SLOTS + 1)))


def share_of_other_setup(bench: SecureBench) -> object:
    request = bench.setup_request(bench.setup(slots=SLOTS + 1))
    return bench.first.agent.share(replace(bench.share_request(), setup=request.setup))


def unsigned_advertisement(bench: SecureBench) -> object:
    documents = [json.loads(text) for text in bench.advertised]
    documents[1]["body"]["box_key"] = "ab" * 32
    return bench.first.agent.share(bench.share_request([json.dumps(one) for one in documents]))


def keeping(bench: SecureBench, *, shares: str | None = None, brand: str = "ant") -> None:
    request = bench.keep_request(brand)
    bench.first.agent.keep(request if shares is None else replace(request, shares=shares))


SHARING = {
    "another setup of the run": Refused(other_setup, SetupRefusalError, "set up otherwise before"),
    "advertisements under another setup": Refused(
        share_of_other_setup, SetupRefusalError, "of another setup or brand"
    ),
    "an advertisement that was changed": Refused(
        unsigned_advertisement, SetupRefusalError, "does not fit its bytes"
    ),
    "a brand's advertisement left out": Refused(
        lambda bench: bench.first.agent.share(bench.share_request(bench.advertised[:-1])),
        SetupRefusalError,
        "Not all brands",
    ),
    "a brand's advertisement twice": Refused(
        lambda bench: bench.first.agent.share(bench.share_request([*bench.advertised, bench.advertised[0]])),
        SetupRefusalError,
        "came twice",
    ),
    "advertisements malformed": Refused(
        lambda bench: bench.first.agent.share(bench.share_request(["{}"])), SetupRefusalError, "malformed"
    ),
    "shares before advertisements": Refused(
        keeping,
        SetupRefusalError,
        "before the brands' advertisements",
    ),
    "a round before the shares": Refused(
        lambda bench: bench.first.agent.release(bench.request()), OrderRefusalError, "not set up"
    ),
}


@pytest.mark.parametrize("case", SHARING)
def test_a_message_of_the_setup_out_of_place_is_refused(case: str, bench: SecureBench) -> None:
    bench.advertise()
    others = SecureBench.share_request(bench)
    bench.sealed = {name: bench.agents[name].agent.share(others) for name in TOWN[1:]}
    bench.sealed["ant"] = "[]"
    must_refuse(bench, SHARING[case])


MESSAGES: dict[str, Callable[[SecureBench], object]] = {
    "share": lambda bench: bench.first.agent.share(bench.share_request()),
    "keep": keeping,
    "round": lambda bench: bench.first.agent.release(bench.request()),
    "open": lambda bench: bench.first.agent.open(bench.open_request(bench.closing(bench.manifest(), TOWN))),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_before_the_setup_is_refused(message: str, tmp_path: Path, bench: SecureBench) -> None:
    bench.set_up()
    bench.first.close()
    bench.first.folder = tmp_path / "emptied"
    bench.first.folder.mkdir()
    bench.first.agent = bench.first.assemble()
    must_refuse(bench, Refused(MESSAGES[message], OrderRefusalError, "not set up"))


def changed_share(bench: SecureBench) -> None:
    documents = json.loads(bench.keep_request("ant").shares)
    documents[1]["ciphertext"] = "AAAA" + documents[1]["ciphertext"][4:]
    keeping(bench, shares=json.dumps(documents))


def shares_without_one(bench: SecureBench) -> None:
    documents = json.loads(bench.keep_request("ant").shares)[1:]
    keeping(bench, shares=json.dumps(documents))


def shares_of_another_setup(bench: SecureBench) -> None:
    text = bench.keep_request("ant").shares.replace(bench.agreed.digest(), "0" * 64)
    keeping(bench, shares=text)


KEEPING = {
    "a share that was changed": Refused(changed_share, SetupRefusalError, "altered on their way"),
    "a brand's shares left out": Refused(shares_without_one, SetupRefusalError, "Not all brands' shares"),
    "shares for another brand": Refused(partial(keeping, brand="bee"), SetupRefusalError, "another brand"),
    "shares of another setup": Refused(shares_of_another_setup, SetupRefusalError, "another setup"),
    "shares malformed": Refused(
        partial(keeping, shares="[{}]"),
        SetupRefusalError,
        "malformed",
    ),
}


@pytest.mark.parametrize("case", KEEPING)
def test_shares_that_are_not_the_runs_are_refused(case: str, bench: SecureBench) -> None:
    bench.advertise()
    bench.share()
    must_refuse(bench, KEEPING[case])
    bench.keep()
    bench.play()


def masking(**changes: Any) -> Callable[[SecureBench], object]:
    return lambda bench: bench.first.agent.release(bench.request(bench.manifest(**changes)))


def at(**changes: Any) -> Callable[[SecureBench], object]:
    return lambda bench: bench.first.agent.release(
        bench.request(bench.manifest(secure_sum=bench.place(**changes)))
    )


def asking(brands: tuple[str, ...]) -> Callable[[SecureBench], object]:
    return lambda bench: masking(participants=bench.participants(brands))(bench)


def asking_a_stranger(bench: SecureBench) -> object:
    odd = bench.agents["bee"].participant(key=STRANGER.public_key)
    return masking(participants=(*bench.participants(TOWN[2:]), odd, *bench.participants(("ant",))))(bench)


def with_release(change: Callable[[SecureBench], str]) -> Callable[[SecureBench], object]:
    return lambda bench: bench.first.agent.release(bench.request(release=change(bench)))


def rereleased(*, signer: SigningKey | None = None, **changes: Any) -> Callable[[SecureBench], str]:
    def text(bench: SecureBench) -> str:
        body = Signed[RoundRelease].model_validate_json(bench.release).body.model_copy(update=changes)
        return Signed[RoundRelease].seal(body, signer or bench.coordinator).model_dump_json()

    return text


def moved(bench: SecureBench) -> Arrays:
    return {**bench.arrays(), "point": np.asarray(bench.arrays()["point"] + 1.0, dtype=np.float64)}


def second_model(bench: SecureBench) -> object:
    """Another model for the attempt that was just answered: same round, same slot."""
    bench.mask(bench.manifest(), ["ant"])
    arrays = moved(bench)
    manifest = bench.manifest(model=arrays_digest(arrays), opened_at=bench.first.now - timedelta(seconds=1))
    release = rereleased(model_after=arrays_digest(arrays))(bench)
    return bench.first.agent.release(replace(bench.request(manifest, release=release), arrays=arrays))


def second_model_in_another_slot(bench: SecureBench) -> object:
    bench.mask(bench.manifest(), ["ant"])
    bench.anew()
    arrays = moved(bench)
    manifest = bench.manifest(model=arrays_digest(arrays))
    release = rereleased(model_after=arrays_digest(arrays))(bench)
    return bench.first.agent.release(replace(bench.request(manifest, release=release), arrays=arrays))


def older_attempt(bench: SecureBench) -> object:
    old = bench.manifest()
    bench.anew()
    bench.mask(bench.manifest(), ["ant"])
    return bench.first.agent.release(bench.request(old))


def answered_older_attempt(bench: SecureBench) -> object:
    old = bench.manifest()
    bench.mask(old, ["ant"])
    bench.anew()
    bench.mask(bench.manifest(), ["ant"])
    return bench.first.agent.release(bench.request(old))


def after_opening(bench: SecureBench) -> object:
    manifest = bench.manifest()
    bench.mask(manifest)
    bench.unmask(bench.closing(manifest, TOWN))
    bench.anew()
    return bench.first.agent.release(bench.request())


def earlier_round(bench: SecureBench) -> object:
    before = bench.state, bench.release
    manifest = bench.manifest()
    replies = bench.mask(manifest)
    closing = bench.closing(manifest, TOWN)
    bench.released(bench.total(manifest, closing, replies, bench.unmask(closing).values()))
    bench.play()
    bench.state, bench.release = before
    return bench.first.agent.release(bench.request(bench.manifest(attempt=9)))


def round_of_the_future(bench: SecureBench) -> object:
    return masking(opened_at=bench.first.now + LATER)(bench)


def late(bench: SecureBench) -> object:
    request = bench.request()
    bench.wait(timedelta(hours=1, seconds=1))
    return bench.first.agent.release(request)


def huge_cohort(bench: SecureBench) -> object:
    one = bench.agents["bee"].snapshots.seal(size_class=2**24)
    bench.agents["bee"].head = one
    return bench.first.agent.release(bench.request())


ROUNDS = {
    "no slot": Refused(masking(secure_sum=None), ManifestRefusalError, "does not say where"),
    "noise that is not in shares": Refused(
        lambda bench: masking(mechanism=bench.mechanism(name="grid_gaussian"))(bench),
        ManifestRefusalError,
        "does not say where",
    ),
    "less noise than the plan": Refused(
        lambda bench: masking(mechanism=bench.mechanism(noise_multiplier=0.1))(bench),
        ManifestRefusalError,
        "noise is not",
    ),
    "another setup": Refused(at(setup="0" * 64), ManifestRefusalError, "another setup or task"),
    "a slot that there is not": Refused(at(slot=SLOTS), ManifestRefusalError, f"has {SLOTS} slots"),
    "a slot that was used": Refused(at(slot=0), OrderRefusalError, "slot was used"),
    "a ring that wraps": Refused(huge_cohort, ManifestRefusalError, "needs 64 bits"),
    "fewer brands than must arrive": Refused(asking(TOWN[:3]), ManifestRefusalError, "fewer brands than must"),
    "a brand twice": Refused(asking((*TOWN, "ant")), ManifestRefusalError, "one of them twice"),
    "a brand under another key": Refused(asking_a_stranger, ManifestRefusalError, "not the setup's"),
    "another run": Refused(masking(run_id="run-9"), OrderRefusalError, "not set up"),
    "no release of the round before": Refused(with_release(lambda _: ""), OrderRefusalError, "missing"),
    "a release of another run": Refused(
        with_release(rereleased(run_id="run-9")), OrderRefusalError, "not that of the round before"
    ),
    "a release of another round": Refused(
        with_release(rereleased(round=7)), OrderRefusalError, "not that of the round before"
    ),
    "a release of another model": Refused(
        with_release(rereleased(model_after="0" * 64)), OrderRefusalError, "not those that the round before"
    ),
    "a release by a stranger": Refused(
        with_release(rereleased(signer=STRANGER)), OrderRefusalError, "not enrolled"
    ),
    "a release of nobody's": Refused(
        with_release(lambda bench: bench.release.replace('"epsilon_spent":1.0', '"epsilon_spent":2.0')),
        OrderRefusalError,
        "does not fit its bytes",
    ),
    "opened in the future": Refused(round_of_the_future, StaleRoundError, "of the future"),
    "over": Refused(late, StaleRoundError, "expired"),
    "of a phase that no task has": Refused(masking(phase=Phase.MARGINALS), ManifestRefusalError, "phase"),
}


@pytest.mark.parametrize("case", ROUNDS)
def test_a_round_that_is_not_next_is_refused(case: str, going: SecureBench) -> None:
    reads = going.first.customers.reads
    must_refuse(going, ROUNDS[case])
    assert going.first.customers.reads == reads


SEQUENCES = {
    "two models in one slot": Refused(second_model, OrderRefusalError, "slot was used"),
    "two models in one round": Refused(second_model_in_another_slot, OrderRefusalError, "something else"),
    "an older attempt that comes late": Refused(older_attempt, OrderRefusalError, "or a later one, was answered"),
    "an older attempt again": Refused(answered_older_attempt, OrderRefusalError, "slot was used"),
    "an attempt after the opening": Refused(after_opening, OrderRefusalError, "was opened"),
    "an earlier round": Refused(earlier_round, OrderRefusalError, "later round was answered"),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_messages_in_another_order_are_refused(case: str, going: SecureBench) -> None:
    lines = going.first.agent.ledger.lines(PURPOSE)
    with pytest.raises(SEQUENCES[case].error, match=SEQUENCES[case].words):
        SEQUENCES[case].ask(going)
    assert going.first.agent.ledger.lines(PURPOSE) <= lines + 2


def test_a_budget_that_would_be_exceeded_is_refused_and_the_line_named(bench: SecureBench) -> None:
    bench.set_up()
    bench.play(2)
    bench.first.policy = BrandPolicy({PURPOSE: replace(LIMITS, epsilon=1.5)})
    bench.restart("ant")
    must_refuse(
        bench,
        Refused(lambda bench: bench.mask(bench.manifest()), LedgerRefusalError, "Refused after ledger line 2"),
    )


def opening(change: Callable[[SecureBench, RoundManifest], Closing]) -> Callable[[SecureBench], object]:
    def ask(bench: SecureBench) -> object:
        manifest = bench.manifest(opened_at=bench.first.now - LATER)
        bench.mask(manifest)
        return bench.first.agent.open(bench.open_request(change(bench, manifest)))

    return ask


def closed(arrived: tuple[str, ...] = TOWN, **changes: Any) -> Callable[[SecureBench, RoundManifest], Closing]:
    return lambda bench, manifest: bench.closing(manifest, arrived, **changes)


def closed_in_the_future(bench: SecureBench, manifest: RoundManifest) -> Closing:
    return bench.closing(manifest, TOWN, closed_at=bench.first.now + LATER)


def closed_too_late(bench: SecureBench, manifest: RoundManifest) -> Closing:
    bench.wait(timedelta(hours=2))
    return bench.closing(manifest, TOWN)


def closed_before_it_was_opened(bench: SecureBench, manifest: RoundManifest) -> Closing:
    return bench.closing(manifest, TOWN, closed_at=manifest.opened_at - timedelta(seconds=1))


def superseded(bench: SecureBench, manifest: RoundManifest) -> Closing:
    closing = bench.closing(manifest, TOWN)
    bench.anew()
    bench.mask(bench.manifest())
    return closing


def closed_otherwise(bench: SecureBench, manifest: RoundManifest) -> Closing:
    bench.unmask(bench.closing(manifest, TOWN))
    return bench.closing(manifest, TOWN[:-DROPOUTS])


def closed_again(bench: SecureBench, manifest: RoundManifest) -> Closing:
    bench.unmask(bench.closing(manifest, TOWN))
    return bench.closing(manifest, TOWN, closed_at=bench.first.now - timedelta(seconds=1))


def closed_twice_in_a_round(bench: SecureBench, manifest: RoundManifest) -> Closing:
    """Two closings under way for one round: the second attempt's is answered, the first's is not."""
    first = bench.closing(manifest, TOWN)
    bench.anew()
    later = bench.manifest()
    bench.mask(later)
    bench.unmask(bench.closing(later, TOWN))
    return first


CLOSINGS = {
    "of nothing that was masked": Refused(
        opening(lambda bench, _: bench.closing(bench.manifest(attempt=5), TOWN)),
        OrderRefusalError,
        "Nothing was masked",
    ),
    "of another round": Refused(opening(closed(round=0)), ClosingRefusalError, "another run, round or attempt"),
    "of another attempt": Refused(
        opening(closed(attempt=3)), ClosingRefusalError, "another run, round or attempt"
    ),
    "of another run": Refused(opening(closed(run_id="run-9")), ClosingRefusalError, "another run, round"),
    "too few arrived": Refused(
        opening(closed(TOWN[:3])), ClosingRefusalError, "3 brands arrived and 4 are needed"
    ),
    "this brand is missing": Refused(opening(closed(TOWN[1:])), ClosingRefusalError, "said to be missing"),
    "a brand in neither list": Refused(
        opening(closed(TOWN[:-1], missing=())), ClosingRefusalError, "slot's brands are others"
    ),
    "a brand that was not asked": Refused(
        opening(closed((*TOWN, "fly"))), ClosingRefusalError, "slot's brands are others"
    ),
    "closed in the future": Refused(opening(closed_in_the_future), ClosingRefusalError, "outside of its time"),
    "closed too late": Refused(opening(closed_too_late), ClosingRefusalError, "outside of its time"),
    "closed before it was opened": Refused(
        opening(closed_before_it_was_opened), ClosingRefusalError, "outside of its time"
    ),
    "an attempt that was superseded": Refused(opening(superseded), ClosingRefusalError, "later attempt"),
    "closed for others before": Refused(opening(closed_otherwise), ClosingRefusalError, "Another closing"),
    "closed at another time before": Refused(opening(closed_again), ClosingRefusalError, "Another closing"),
    "two attempts closed": Refused(opening(closed_twice_in_a_round), ClosingRefusalError, "later attempt"),
}


@pytest.mark.parametrize("case", CLOSINGS)
def test_a_closing_that_would_open_too_much_is_refused(case: str, going: SecureBench) -> None:
    with pytest.raises(CLOSINGS[case].error, match=CLOSINGS[case].words):
        CLOSINGS[case].ask(going)


def test_a_closing_is_the_coordinators(bench: SecureBench) -> None:
    bench.set_up()
    manifest = bench.manifest()
    bench.mask(manifest)
    closing = bench.closing(manifest, TOWN)
    otherwise = replace(bench.open_request(closing), setup=bench.setup_request(bench.setup(slots=SLOTS + 1)).setup)
    refused: list[tuple[OpenRequest, type[RefusalError], str]] = [
        (bench.open_request(closing, signer=STRANGER), ClosingRefusalError, "not enrolled"),
        (OpenRequest(bench.setup_text, "{}"), ClosingRefusalError, "malformed"),
        (otherwise, SetupRefusalError, "set up otherwise before"),
    ]
    for asked, error, words in refused:
        must_refuse(bench, Refused(lambda bench, asked=asked: bench.first.agent.open(asked), error, words))  # type: ignore[misc]


def test_a_run_whose_time_is_over_is_not_answered(going: SecureBench) -> None:
    going.wait(timedelta(days=7, seconds=1))
    with pytest.raises(OrderRefusalError, match="run is over"):
        going.first.agent.release(going.request())
    assert len(going.first.ledger_rows()) == 1


def test_a_run_that_is_over_is_never_set_up_again(bench: SecureBench) -> None:
    bench.set_up()
    bench.play(bench.task.total_rounds)
    arrays = bench.solver.publish(bench.state).to_arrays()
    asked = bench.setup_request(bench.agreed)
    bench.first.agent.install(ModelDelivery(bench.task.model_dump_json(), bench.release, arrays))
    for again in range(2):
        with pytest.raises(OrderRefusalError, match="run is over"):
            bench.first.agent.setup(asked)
        with pytest.raises(OrderRefusalError, match="run is over"):
            bench.first.agent.release(bench.request(bench.manifest(round=again)))
        bench.restart("ant")


class _Leaving:
    """Noise while whose drawing a customer leaves."""

    guaranteed = False

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def normal(self, size: int) -> NDArray[np.float64]:
        return np.zeros(size)

    def random_bytes(self, size: int) -> bytes:
        self._snapshots.withdraw(self._snapshots.opted_in[0])
        return bytes(size)


def test_a_withdrawal_while_computing_masks_nothing(bench: SecureBench) -> None:
    bench.set_up()
    bench.first.noise = _Leaving(bench.first.snapshots)
    bench.restart("ant")
    with pytest.raises(StaleRoundError):
        bench.first.agent.release(bench.request())
    assert held(bench)[3] == ()
    assert [row[4] for row in bench.first.ledger_rows()] == ["reserved"]


def test_a_request_with_other_arrays_than_the_manifests_is_refused(going: SecureBench) -> None:
    request = replace(going.request(), arrays=moved(going))
    must_refuse(
        going, Refused(lambda bench: bench.first.agent.release(request), ManifestRefusalError, "model digest")
    )
