"""What an agent releases when every check holds: the exact sum plus its own noise, once, under its signature."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from agent_bench import BRAND, AgentBench, word
from small_federation import DELTA, EPSILON, PURPOSE, small_task

from client.agent import Pseudonymizer
from client.agent.keyring import AgentKeys
from client.errors import ManifestRefusalError, PolicyRefusalError
from client.features.encoding import cells
from client.port import ModelDelivery
from client.training import Contribution, Trainer
from consent.contract import Attestation, Label, RoundRelease, Signed, SigningKey
from privacy.randomness import SystemNoise
from privacy.vectors import Arrays, arrays_digest


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[AgentBench]:
    bench = AgentBench(tmp_path)
    yield bench
    bench.close()


def everyone(bench: AgentBench) -> Contribution:
    assert bench.table.labels is not None
    return Contribution(cells(bench.table, bench.task.features, bench.task.solver.cells), bench.table.labels)


def test_without_noise_the_sums_are_those_of_every_opted_in_customer(bench: AgentBench) -> None:
    for _ in range(3):
        query = bench.solver.query(bench.state)
        exact = Trainer(bench.solver).exact_sum(query, everyone(bench), cohort="everyone")
        reply = bench.agent.release(bench.request())
        mechanism = bench.solver.mechanism(query.marginals)
        np.testing.assert_array_equal(reply.total, mechanism.to_grid(exact))
        bench.play(1)


def test_customers_without_a_grant_are_not_in_the_sum(bench: AgentBench) -> None:
    left_out = set(bench.pseudonymizer.pseudonyms(bench.table.customers[:40]))
    bench.snapshots.opted_in = tuple(name for name in bench.snapshots.opted_in if name not in left_out)
    bench.head = bench.snapshots.seal()
    reply = bench.agent.release(bench.request())
    remaining = everyone(bench)
    expected = bench.solver.sum_marginals(remaining.cells[40:], remaining.labels[40:])
    np.testing.assert_array_equal(reply.total, bench.solver.mechanism(None).to_grid(expected))


def test_noise_of_the_plan_is_added_once(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, noise=SystemNoise())
    exact = bench.solver.sum_marginals(everyone(bench).cells, everyone(bench).labels)
    mechanism = bench.solver.mechanism(None)
    draws = []
    for run in range(30):
        bench.agent.ledger.close()
        (bench.folder / "ledger.db").unlink()
        for rest in bench.folder.glob("ledger.db-*"):
            rest.unlink()
        bench.agent = bench.assemble()
        reply = bench.agent.release(bench.request(bench.manifest(run_id=f"run-{run}")))
        draws.append(mechanism.from_grid(reply.total) - exact)
    spread = np.concatenate(draws).std() / mechanism.standard_deviation
    # 30 x 22 normal draws: seven standard errors on either side.
    assert abs(spread - 1) < 7 / np.sqrt(2 * np.concatenate(draws).size)
    assert word(reply).noise == "system"
    bench.close()


def test_the_attestation_says_what_was_done(bench: AgentBench) -> None:
    manifest = bench.manifest()
    reply = bench.agent.release(bench.request(manifest))
    attestation = Signed[Attestation].model_validate_json(reply.attestation).verify(bench.key.public_key)
    assert attestation.brand == BRAND
    assert attestation.manifest == manifest.digest()
    assert attestation.snapshot_root == bench.head.body.root
    assert attestation.payload == hashlib.sha256(reply.total.astype("<i8").tobytes()).hexdigest()
    assert attestation.ledger_entry == 1
    assert attestation.epsilon_spent == bench.agent.ledger.epsilon(PURPOSE, DELTA) > 0
    assert attestation.noise == "seeded"


def test_a_repeated_request_gets_the_same_bytes_and_costs_nothing(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, noise=SystemNoise())
    bench.play(1)
    request = bench.request()
    first = bench.agent.release(request)
    spent = bench.agent.ledger.epsilon(PURPOSE, DELTA)
    reads = bench.customers.reads
    bench.close()
    bench.agent = bench.assemble()
    again = bench.agent.release(request)
    assert again.total.tobytes() == first.total.tobytes()
    assert again.attestation == first.attestation
    # Another attempt of the same round, after the round and its snapshot ran out and somebody withdrew.
    bench.now += timedelta(days=30)
    bench.snapshots.withdraw(bench.snapshots.opted_in[0])
    later = bench.agent.release(bench.request(bench.manifest(attempt=1)))
    assert later.total.tobytes() == first.total.tobytes()
    assert word(later).ledger_entry == word(first).ledger_entry == 2
    assert bench.agent.ledger.epsilon(PURPOSE, DELTA) == spent
    assert bench.customers.reads == reads
    bench.close()


def test_every_question_that_differs_is_paid_for(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, noise=SystemNoise())
    bench.play(1)
    first = bench.agent.release(bench.request())
    moved = bench.agent.release(bench.with_arrays(point=bench.arrays()["point"] + 1.0))
    assert bench.agent.ledger.lines(PURPOSE) == 3
    assert word(moved).epsilon_spent > word(first).epsilon_spent
    bench.close()


def delivery(bench: AgentBench, *, signer: SigningKey | None = None, **changes: object) -> ModelDelivery:
    """Return the delivery of a finished run's model."""
    arrays = bench.solver.publish(bench.state).to_arrays()
    manifest = bench.manifest(round=0).digest()
    attestation = Attestation(
        brand=BRAND,
        manifest=manifest,
        snapshot_root=bench.head.body.root,
        payload="0" * 64,
        ledger_entry=1,
        epsilon_spent=1.0,
        noise="seeded",
    )
    values: dict[str, object] = {
        "run_id": "run-1",
        "round": bench.task.total_rounds - 1,
        "task": bench.task.digest(),
        "purpose": PURPOSE,
        "manifests": (manifest,),
        "attestations": (Signed[Attestation].seal(attestation, bench.key),),
        "aggregate": "0" * 64,
        "model_before": "0" * 64,
        "model_after": arrays_digest(arrays),
        "state_after": "0" * 64,
        "epsilon_spent": 2.0,
    }
    release = RoundRelease.model_validate({**values, **changes})
    signed = Signed[RoundRelease].seal(release, signer or bench.coordinator)
    return ModelDelivery(bench.task.model_dump_json(), signed.model_dump_json(), arrays)


def test_a_finished_model_is_installed_and_scores(bench: AgentBench) -> None:
    bench.play(bench.task.total_rounds)
    sent = delivery(bench)
    bench.agent.install(sent)
    installed = bench.agent.models.get(PURPOSE)
    assert installed is not None
    assert installed.digest == arrays_digest(sent.arrays)
    assert installed.task == bench.task
    expected = bench.solver.model(bench.state).probabilities(everyone(bench).cells)
    np.testing.assert_array_equal(installed.model.probabilities(everyone(bench).cells), expected)
    assert bench.agent.models.get("churn") is None


def _other_point(arrays: Arrays) -> Arrays:
    return {**arrays, "point": arrays["point"] + 1e-9}


def test_a_model_that_was_not_released_is_not_installed(bench: AgentBench) -> None:
    bench.play(bench.task.total_rounds)
    good = delivery(bench)
    other_task = bench.task.model_copy(update={"purpose": "churn"}).model_dump_json()
    renamed = bench.task.model_copy(update={"label": Label(name="something-else")}).model_dump_json()
    short = {"point": np.zeros(0)}
    refused = {
        "not the coordinator's": delivery(bench, signer=bench.key),
        "malformed": replace(good, release="{}"),
        "not those that were released": replace(good, arrays=_other_point(good.arrays)),
        "another task or purpose": replace(good, task=other_task),
        "another task": replace(good, task=renamed),
        "not finished": delivery(bench, round=1),
        "no model before": replace(delivery(bench, model_after=arrays_digest(short)), arrays=short),
    }
    for words, sent in refused.items():
        with pytest.raises(ManifestRefusalError, match=words):
            bench.agent.install(sent)
    assert bench.agent.models.get(PURPOSE) is None


def test_a_model_for_a_purpose_outside_the_policy_is_not_installed(bench: AgentBench) -> None:
    bench.play(bench.task.total_rounds)
    task = bench.task.model_copy(update={"purpose": "churn"})
    sent = replace(delivery(bench, purpose="churn", task=task.digest()), task=task.model_dump_json())
    with pytest.raises(PolicyRefusalError):
        bench.agent.install(sent)


def test_pseudonyms_are_hmacs_under_the_brands_own_key(tmp_path: Path) -> None:
    # RFC 4231, test case 2.
    assert Pseudonymizer(b"Jefe").pseudonym("what do ya want for nothing?") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    ours, theirs = (AgentKeys.open(tmp_path / brand) for brand in ("ant", "bee"))
    assert Pseudonymizer(ours.pseudonym).pseudonym("ann") != Pseudonymizer(theirs.pseudonym).pseudonym("ann")


def test_keys_are_drawn_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    keys = AgentKeys.open(tmp_path / "ant")
    again = AgentKeys.open(tmp_path / "ant")
    assert (keys.pseudonym, keys.holdout) == (again.pseudonym, again.holdout)
    assert keys.signing.public_key == again.signing.public_key
    assert len({keys.pseudonym, keys.holdout, keys.signing.private_bytes()}) == 3
    files = sorted((tmp_path / "ant").iterdir())
    assert [file.name for file in files] == ["agent.key", "holdout.key", "pseudonym.key"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_customer_at_several_brands_is_paid_for_at_all_of_them(tmp_path: Path) -> None:
    privacy = small_task().privacy.model_copy(update={"max_brands_per_customer": 4})
    bench = AgentBench(tmp_path, small_task(privacy=privacy))
    bench.play(bench.task.total_rounds)
    assert bench.agent.ledger.epsilon(PURPOSE, DELTA) == pytest.approx(EPSILON, rel=1e-12)
    assert bench.solver.mechanism(None).noise_multiplier == pytest.approx(
        2 * bench.solver.noise_multiplier(0, brands=4)
    )
    bench.close()
