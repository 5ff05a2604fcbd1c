"""Agents of a run whose sums are masked: the sum is exact, noise is shared, and a round costs one ledger line."""

import hashlib
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from agent_bench import word
from numpy.typing import NDArray
from secure_bench import TOWN, SecureBench, secure_task
from small_federation import DELTA, EPSILON, PURPOSE, ZeroNoise

from client.agent import secure_runs, secure_tables
from client.errors import OrderRefusalError, StaleRoundError
from client.features.encoding import cells
from client.port import ModelDelivery
from client.training import Contribution, Trainer
from consent.contract import Signed, Unmasking
from privacy.randomness import SystemNoise


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SecureBench]:
    bench = SecureBench(tmp_path)
    yield bench
    bench.close()


def exact(bench: SecureBench, brand: str) -> NDArray[np.int64]:
    """Return a brand's sum of the run's next round, in grid steps."""
    table, task = bench.agents[brand].table, bench.task
    assert table.labels is not None
    everyone = Contribution(cells(table, task.features, task.solver.cells), table.labels)
    query = bench.solver.query(bench.state)
    total = Trainer(bench.solver).exact_sum(query, everyone, cohort=brand)
    return bench.solver.mechanism(query.marginals).to_grid(total)


def test_the_opened_sum_is_that_of_all_brands_in_every_round(bench: SecureBench) -> None:
    bench.set_up()
    for _ in range(3):
        manifest = bench.manifest()
        replies = bench.mask(manifest)
        closing = bench.closing(manifest, TOWN)
        total = bench.total(manifest, closing, replies, bench.unmask(closing).values())
        np.testing.assert_array_equal(total, sum(exact(bench, brand) for brand in TOWN))
        bench.released(total)


@pytest.mark.parametrize("when", ["before masking", "between masking and opening", "while opening"])
def test_a_brand_may_fail_at_any_moment(when: str, bench: SecureBench) -> None:
    bench.set_up()
    bench.play()
    there = TOWN[:-1]
    manifest = bench.manifest()
    replies = bench.mask(manifest, there if when == "before masking" else TOWN)
    arrived = TOWN if when == "while opening" else there
    closing = bench.closing(manifest, arrived)
    total = bench.total(manifest, closing, replies, bench.unmask(closing, there).values())
    np.testing.assert_array_equal(total, sum(exact(bench, brand) for brand in arrived))


def test_what_leaves_is_masked_and_attested(bench: SecureBench) -> None:
    bench.set_up()
    manifest = bench.manifest()
    reply = bench.mask(manifest)["ant"]
    assert reply.total.dtype == np.uint32
    assert not np.array_equal(reply.total.astype(np.int64), exact(bench, "ant"))
    attested = word(reply)
    assert attested.payload == hashlib.sha256(reply.total.astype("<u4").tobytes()).hexdigest()
    assert (attested.manifest, attested.ledger_entry) == (manifest.digest(), 1)
    assert attested.epsilon_spent == bench.first.agent.ledger.epsilon(PURPOSE, DELTA)


def test_brands_share_the_noise_of_the_plan(tmp_path: Path) -> None:
    bench = SecureBench(tmp_path, noise=SystemNoise())
    draws = []
    for number in range(8):
        bench.run_id = f"run-{number}"
        bench.set_up()
        manifest = bench.manifest()
        replies = bench.mask(manifest)
        closing = bench.closing(manifest, TOWN)
        total = bench.total(manifest, closing, replies, bench.unmask(closing).values())
        draws.append(total - sum(exact(bench, brand) for brand in TOWN))
    shares = bench.solver.shares(None)
    spread = np.concatenate(draws).std() / np.sqrt(shares.variance_of(len(TOWN)))
    # 8 x 22 draws: five standard errors on either side.
    assert abs(spread - 1) < 5 / np.sqrt(2 * np.concatenate(draws).size)
    assert shares.noise_shares(4) >= 1
    bench.close()


def test_a_repeated_message_gets_the_same_answer_also_after_a_restart(bench: SecureBench) -> None:
    bench.set_up()
    bench.play()
    manifest = bench.manifest()
    replies = bench.mask(manifest)
    closing = bench.closing(manifest, TOWN)
    answers = bench.unmask(closing)
    asked = bench.setup_request(bench.agreed)
    for _ in range(2):
        agent = bench.first.agent
        assert agent.setup(asked) == bench.advertised[0]
        assert agent.share(bench.share_request()) == bench.sealed["ant"]
        agent.keep(bench.keep_request("ant"))
        again = agent.release(bench.request(manifest))
        assert again.total.tobytes() == replies["ant"].total.tobytes()
        assert again.attestation == replies["ant"].attestation
        assert agent.open(bench.open_request(closing)) == answers["ant"]
        bench.restart("ant")
    assert bench.first.agent.ledger.lines(PURPOSE) == 2
    assert Signed[Unmasking].model_validate_json(answers["ant"]).verify(bench.first.key.public_key).brand == "ant"


def test_attempts_at_a_round_cost_one_line_and_the_last_is_opened(bench: SecureBench) -> None:
    bench.set_up()
    bench.mask(bench.manifest(), TOWN[:3])
    spent = bench.first.agent.ledger.epsilon(PURPOSE, DELTA)
    bench.anew()
    leaving = bench.first.snapshots.opted_in[0]
    bench.first.snapshots.withdraw(leaving)
    bench.first.head = bench.first.snapshots.seal()
    manifest = bench.manifest()
    replies = bench.mask(manifest)
    assert word(replies["ant"]).ledger_entry == 1
    assert bench.first.agent.ledger.epsilon(PURPOSE, DELTA) == spent
    assert [one.agent.ledger.lines(PURPOSE) for one in bench.agents.values()] == [1] * len(TOWN)
    closing = bench.closing(manifest, TOWN)
    bench.total(manifest, closing, replies, bench.unmask(closing).values())


def test_a_whole_run_costs_the_tasks_epsilon(bench: SecureBench) -> None:
    bench.set_up()
    bench.play(bench.task.total_rounds)
    for one in bench.agents.values():
        assert one.agent.ledger.lines(PURPOSE) == bench.task.total_rounds
        assert one.agent.ledger.epsilon(PURPOSE, DELTA) == pytest.approx(EPSILON, rel=1e-12)


def test_a_brand_that_was_away_comes_back_in_a_later_round(bench: SecureBench) -> None:
    bench.set_up()
    for _ in range(2):
        manifest = bench.manifest(participants=bench.participants(TOWN[:-1]))
        replies = bench.mask(manifest, TOWN[:-1])
        closing = bench.closing(manifest, TOWN[:-1])
        bench.released(bench.total(manifest, closing, replies, bench.unmask(closing).values()))
    bench.play()
    assert bench.agents["eel"].agent.ledger.lines(PURPOSE) == 1


def held_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("ledger.db*")))


def secret_of(bench: SecureBench) -> bytes:
    live = bench.first.agent._runs._live[bench.run_id]
    return live.member.state().to_bytes()[:100]


def test_the_secrets_of_a_run_are_deleted_with_its_model(bench: SecureBench) -> None:
    bench.set_up()
    bench.play(bench.task.total_rounds)
    secret = secret_of(bench)
    assert secret in held_bytes(bench.first.folder)
    arrays = bench.solver.publish(bench.state).to_arrays()
    bench.first.agent.install(ModelDelivery(bench.task.model_dump_json(), bench.release, arrays))
    assert secret not in held_bytes(bench.first.folder)
    assert bench.first.agent.ledger.lines(PURPOSE) == bench.task.total_rounds


def test_secrets_that_a_crash_left_in_the_log_are_deleted_at_the_start(
    bench: SecureBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.set_up()
    secret, one = secret_of(bench), bench.first
    monkeypatch.setattr(secure_runs, "empty_log", lambda _database: None)
    bench.wait(timedelta(days=8))
    with pytest.raises(OrderRefusalError):
        one.agent.share(bench.share_request())
    shutil.copytree(one.folder, tmp_path / "crashed")
    assert secret in held_bytes(tmp_path / "crashed")
    monkeypatch.undo()
    one.close()
    one.folder = tmp_path / "crashed"
    one.agent = one.assemble()
    assert secret not in held_bytes(one.folder)


def test_the_secrets_of_a_run_are_deleted_when_its_time_is_over(bench: SecureBench) -> None:
    bench.set_up()
    secret = secret_of(bench)
    bench.wait(timedelta(days=8))
    bench.run_id = "run-2"
    bench.advertise()
    assert secret not in held_bytes(bench.first.folder)


def test_the_file_of_secrets_is_its_owners_alone(bench: SecureBench) -> None:
    bench.set_up()
    files = list(bench.first.folder.glob("ledger.db*"))
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_two_runs_at_once_do_not_meet(bench: SecureBench) -> None:
    bench.set_up()
    bench.play()
    other = SecureBench(bench.folder, task=secure_task(epsilon=EPSILON / 4), run_id="run-2")
    other.coordinator, other.consent, other.agents = bench.coordinator, bench.consent, bench.agents
    for one in other.agents.values():
        one.policy = bench.first.policy
    other.set_up()
    assert other.advertised[0] != bench.advertised[0]
    bench.play()
    other.play()
    assert bench.first.agent.ledger.lines(PURPOSE) == 3


def test_a_round_that_expired_unused_is_given_back(bench: SecureBench) -> None:
    bench.set_up()
    one = bench.first
    request = bench.request()
    one.noise = _Failing()
    bench.restart("ant")
    with pytest.raises(OSError, match="no entropy"):
        one.agent.release(request)
    assert [row[4] for row in one.ledger_rows()] == ["reserved"]
    one.noise = ZeroNoise()
    bench.restart("ant")
    bench.wait(timedelta(hours=2))
    bench.anew()
    one.unspent.shut = True
    with pytest.raises(StaleRoundError):
        one.agent.release(request)
    assert one.unspent.statements == []
    one.unspent.shut = False
    for _ in range(2):
        with pytest.raises(StaleRoundError):
            one.agent.release(request)
    (signed,) = one.unspent.statements
    statement = signed.verify(one.key.public_key)
    assert (statement.brand, statement.run_id, statement.round) == ("ant", bench.run_id, 0)
    assert (statement.purpose, statement.stated_at) == (PURPOSE, one.now)
    assert one.agent.ledger.epsilon(PURPOSE, DELTA) == 0.0
    bench.play()
    assert one.agent.ledger.lines(PURPOSE) == 1


class _Failing:
    """A source that gives out."""

    guaranteed = True

    def normal(self, size: int) -> NDArray[np.float64]:
        raise OSError(f"no entropy for {size}")

    def random_bytes(self, size: int) -> bytes:
        raise OSError(f"no entropy for {size}")


def test_ledger_line_and_masked_sum_fail_together(bench: SecureBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.set_up()

    def full(*_args: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(secure_tables, "add_slot", full)
        with pytest.raises(OSError, match="no space"):
            bench.mask(bench.manifest(), ["ant"])
    assert [row[4] for row in bench.first.ledger_rows()] == ["reserved"]
    bench.play()
    assert bench.first.agent.ledger.lines(PURPOSE) == 1
