"""Attacks on what the log says of consent: old snapshots, clocks, races and guesses; named after their rows."""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from round_papers import Rounds, task_of

from consent.contract import Act, DecisionQuery, RoundManifest, Signed, SnapshotHead
from consent.errors import RoundRefusedError, StaleSnapshotError
from consent.log.commitments import Opening, SealedOpening, commit
from consent.log.merkle import leaf_hash
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.searching import LogQuery
from consent.service import rounds as service_rounds

PURPOSE = "conversion"
ANN, BEN, EVE, KIM = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve", "kim"))


@dataclass
class Town:
    """A service on either database, with one brand whose customers all said yes."""

    world: Any
    rounds: Rounds

    def seal(self) -> Signed[SnapshotHead]:
        (head,) = self.rounds.heads()
        return head

    def manifest(self, head: Signed[SnapshotHead], number: int = 0) -> RoundManifest:
        return self.rounds.manifest(round=number, participants=self.rounds.lines(heads=[head]))

    def open(self, manifest: RoundManifest) -> None:
        self.rounds.open(manifest)

    def allowed(self, subject: str) -> bool:
        query = DecisionQuery(brand="acme", subject=subject, purpose=PURPOSE)
        decided: bool = self.world.brand("acme").decide([query])[0].allowed
        return decided

    def place_of(self, kind: str) -> list[int]:
        return [hit.log_index for hit in self.world.officer.search_log(LogQuery(kind=kind)).entries]


@pytest.fixture
def town(consent_worlds: Callable[..., Any], database_url: str) -> Town:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN, BEN, EVE, KIM)
    return Town(world, Rounds.approved(world, "acme", task=task_of()))


def test_row_01_a_snapshot_from_before_a_withdrawal_opens_no_round(town: Town) -> None:
    old = town.seal()
    town.world.record("acme", Act.WITHDRAW, ANN)
    with pytest.raises(StaleSnapshotError):
        town.open(town.manifest(old))
    new = town.seal()
    with pytest.raises(StaleSnapshotError):
        town.open(town.manifest(old))
    town.open(town.manifest(new))
    town.world.clock.advance(86_401)
    with pytest.raises(StaleSnapshotError):
        town.open(town.manifest(new, 1))


def test_row_01_a_brand_that_attests_an_older_snapshot_is_refused(town: Town) -> None:
    old = town.seal()
    town.world.record("acme", Act.WITHDRAW, ANN)
    asked = town.manifest(town.seal())
    town.open(asked)
    attested = town.rounds.attest(asked, "acme", snapshot_root=old.body.root)
    with pytest.raises(RoundRefusedError, match="attests another snapshot"):
        town.rounds.commit(town.rounds.release(asked, attestations=(attested,)))
    assert town.place_of("release_committed") == []


@pytest.mark.parametrize("years", [-30, 30])
def test_row_07_when_a_client_says_it_happened_changes_nothing(town: Town, years: int) -> None:
    world, brand = town.world, town.world.brand("acme")
    claimed = world.clock.now + timedelta(days=365 * years)
    brand.record([world.choice("acme", ANN, Act.GRANT, claimed_at=claimed)], idempotency_key="grant")
    world.record("acme", Act.WITHDRAW, ANN)
    brand.record([world.choice("acme", ANN, Act.GRANT, claimed_at=claimed)], idempotency_key="again")
    assert not town.allowed(ANN)
    brand.record([world.choice("acme", BEN, Act.WITHDRAW, claimed_at=claimed)], idempotency_key="withdraw")
    assert not town.allowed(BEN)
    world.record("acme", Act.GRANT, BEN)
    assert town.allowed(BEN)


@pytest.mark.parametrize("seconds", [-1, -3_600, -400 * 86_400], ids=["a second", "an hour", "a year"])
def test_row_07_a_clock_that_is_set_back_lets_a_withdrawal_stand(town: Town, seconds: int) -> None:
    """It was ahead when they said yes; a yes at the corrected time does not undo a no that it seems to precede."""
    world = town.world
    town.seal()
    world.clock.advance(seconds)
    world.record("acme", Act.WITHDRAW, ANN)
    assert not town.allowed(ANN)
    world.clock.advance(seconds)
    world.record("acme", Act.GRANT, ANN)
    assert not town.allowed(ANN)
    with pytest.raises(StaleSnapshotError):
        world.brand("acme").current_snapshot(PURPOSE)
    town.seal()
    assert set(world.brand("acme").current_snapshot(PURPOSE).members) == {BEN, EVE, KIM}
    assert verify_folder(world.settings.log_dir).findings == []


def test_row_08_a_withdrawal_during_the_opening_of_a_round_waits_for_it_and_ends_the_next(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The withdrawal begins after the snapshot was checked, and before the round is written down."""
    head, world, checked = town.seal(), town.world, service_rounds.require_round
    withdrawal = threading.Thread(target=world.record, args=("acme", Act.WITHDRAW, ANN))

    def withdraw_meanwhile(*arguments: Any) -> Any:
        withdrawal.start()
        withdrawal.join(0.2)
        return checked(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(service_rounds, "require_round", withdraw_meanwhile)
        town.open(town.manifest(head))
    withdrawal.join()
    assert not town.allowed(ANN)
    assert town.place_of("round_opened")[0] < town.place_of("choice_recorded")[-1]
    with pytest.raises(StaleSnapshotError):
        town.open(town.manifest(head, 1))


def test_row_08_of_a_withdrawal_and_a_round_at_once_one_is_first(town: Town) -> None:
    """The log's order is the order of effect: a round stands only where it was opened before the withdrawal."""
    for number, subject in enumerate([ANN, BEN]):
        manifest, ready = town.manifest(town.seal(), number), threading.Barrier(2)

        def start(manifest: RoundManifest = manifest, ready: threading.Barrier = ready) -> None:
            ready.wait()
            with suppress(StaleSnapshotError):
                town.open(manifest)

        thread = threading.Thread(target=start)
        thread.start()
        ready.wait()
        (withdrawn,) = town.world.record("acme", Act.WITHDRAW, subject)
        thread.join()
        assert all(index < withdrawn for index in town.place_of("round_opened"))


def test_row_13_no_guess_of_a_payload_matches_its_leaf(town: Town) -> None:
    """An attacker who has the log can write every payload that may be in it, and knows all but the salt."""
    world = town.world
    world.record("acme", Act.WITHDRAW, ANN, BEN)
    with world.app.state.workplace.reading() as unit:
        stored = list(entries(unit.session, 0, read_head(unit.session).size))
        sealed = [one.opening for one in stored if isinstance(one.opening, SealedOpening)]
        opened = unit.keys.vault.open_all(unit.session, sealed)
    openings = opened + [one.opening for one in stored if isinstance(one.opening, Opening)]
    salts = {opening.salt for opening in openings}
    assert (len(salts), {len(salt) for salt in salts}) == (len(stored), {16})
    public = b"".join(
        path.read_bytes() for path in world.settings.log_dir.rglob("*") if path.is_file() and "tile" in path.parts
    )
    for opening in openings:
        assert stored[opening.index].entry == commit(opening.salt, opening.payload)
        assert stored[opening.index].entry in public
        guesses = [opening.payload, commit(b"", opening.payload), commit(bytes(16), opening.payload)]
        guesses += [hashlib.sha256(opening.payload).digest(), leaf_hash(opening.payload)]
        assert not any(guess in public for guess in guesses)
    published = public + b"".join(path.read_bytes() for path in world.settings.log_dir.glob("openings/*"))
    for opening in opened:
        assert opening.salt not in published
        assert opening.salt.hex().encode() not in published
