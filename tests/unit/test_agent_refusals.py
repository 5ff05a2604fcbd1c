"""Everything that an agent refuses: nothing leaves, nothing is spent, and mostly no row is even read."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agent_bench import LIMITS, AgentBench
from small_federation import PURPOSE, small_task

from client.agent import BrandPolicy
from client.errors import (
    CohortRefusalError,
    LedgerRefusalError,
    ManifestRefusalError,
    OrderRefusalError,
    PolicyRefusalError,
    RefusalError,
    StaleRoundError,
)
from client.port import RoundRequest
from consent.contract import Label, Phase, PrivacyTarget, SecureSlot, SigningKey, SolverSettings, TaskSpec

ROUNDS = 3
TASK = small_task(solver=SolverSettings(rounds=ROUNDS, cells=16, max_bins=8))
STRANGER = SigningKey.generate()
SLOT = SecureSlot(setup="0" * 64, slot=0, ring_bits=32)


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused, as what, and with which words."""

    request: Callable[[AgentBench], RoundRequest]
    error: type[RefusalError]
    words: str
    reads_rows: bool = False
    rounds_before: int = 1


def _tampered(bench: AgentBench) -> RoundRequest:
    request = bench.request()
    return replace(request, manifest=request.manifest.replace('"epsilon_after":2.0', '"epsilon_after":1.0'))


def _other_task(bench: AgentBench) -> RoundRequest:
    return bench.request(task=TASK.model_copy(update={"label": Label(name="churned")}))


def _of_task(bench: AgentBench, task: TaskSpec) -> RoundRequest:
    return bench.request(bench.manifest(task=task.digest(), purpose=task.purpose), task=task)


def _snapshot(bench: AgentBench, **changes: Any) -> RoundRequest:
    head = bench.snapshots.seal(**changes)
    return bench.request(bench.manifest(participants=(bench.participant(snapshot=head),)))


def _forged_head(bench: AgentBench) -> RoundRequest:
    body = bench.head.body.model_copy(update={"root": "0" * 64})
    forged = bench.head.model_copy(update={"body": body})
    return bench.request(bench.manifest(participants=(bench.participant(snapshot=forged),)))


def _somebody_withdrew(bench: AgentBench) -> RoundRequest:
    request = bench.request()
    bench.snapshots.withdraw(bench.snapshots.opted_in[0])
    return request


def _sealed_anew(bench: AgentBench) -> RoundRequest:
    request = bench.request()
    bench.snapshots.seal(log_size=10)
    return request


def _late(bench: AgentBench) -> RoundRequest:
    request = bench.request()
    bench.now += timedelta(hours=1, seconds=1)
    return request


def _snapshot_late(bench: AgentBench) -> RoundRequest:
    request = bench.request(bench.manifest(not_after=bench.now + timedelta(days=9)))
    bench.now += timedelta(days=1, seconds=1)
    return request


def _mechanism(bench: AgentBench, **changes: float) -> RoundRequest:
    plan = bench.mechanism()
    factors = {name: getattr(plan, name) * factor for name, factor in changes.items()}
    return bench.request(bench.manifest(mechanism=bench.mechanism(**factors)))


def _beyond_the_last(bench: AgentBench) -> RoundRequest:
    return bench.request(bench.manifest(round=ROUNDS + 1))


def _few_customers(bench: AgentBench) -> RoundRequest:
    bench.snapshots.opted_in = bench.snapshots.opted_in[: LIMITS.minimum_cohort - 1]
    bench.head = bench.snapshots.seal()
    return bench.request()


def _members_of_another_root(bench: AgentBench) -> RoundRequest:
    bench.snapshots.opted_in = bench.snapshots.opted_in[:-1]
    bench.head = bench.snapshots.seal()
    bench.snapshots.handed_out = (*bench.snapshots.opted_in[:-1], "f" * 64)
    return bench.request()


def _unlisted_purpose(bench: AgentBench) -> RoundRequest:
    bench.head = bench.snapshots.seal(purpose="churn")
    return _of_task(bench, TASK.model_copy(update={"purpose": "churn"}))


def _another_run(bench: AgentBench) -> RoundRequest:
    bench.restart_run()
    return bench.request(bench.manifest(run_id="run-2"))


def _privacy(**changes: Any) -> TaskSpec:
    return TASK.model_copy(update={"privacy": PrivacyTarget(**{**TASK.privacy.model_dump(), **changes})})


def _point(change: Callable[[np.ndarray[Any, Any]], object]) -> Callable[[AgentBench], RoundRequest]:
    return lambda bench: bench.with_arrays(point=change(bench.arrays()["point"].copy()))


def _marginals(change: Callable[[np.ndarray[Any, Any]], object]) -> Callable[[AgentBench], RoundRequest]:
    return lambda bench: bench.with_arrays(marginals=change(bench.arrays()["marginals"].copy()))


def _first(value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array[0] = value
        return array

    return change


def _single_precision(bench: AgentBench) -> RoundRequest:
    request = bench.request()
    return replace(request, arrays={**request.arrays, "point": bench.arrays()["point"].astype(np.float32)})


REFUSALS: dict[str, Refusal] = {
    "signed by another coordinator": Refusal(
        lambda bench: bench.request(signer=STRANGER), ManifestRefusalError, "not enrolled"
    ),
    "tampered manifest": Refusal(_tampered, ManifestRefusalError, "does not fit its bytes"),
    "manifest that is not JSON": Refusal(
        lambda bench: replace(bench.request(), manifest="{"), ManifestRefusalError, "malformed"
    ),
    "task that is not JSON": Refusal(
        lambda bench: replace(bench.request(), task="{}"), ManifestRefusalError, "malformed"
    ),
    "brand not named": Refusal(
        lambda bench: bench.request(bench.manifest(participants=(bench.participant(brand="bee"),))),
        ManifestRefusalError,
        "does not name this brand",
    ),
    "brand under another key": Refusal(
        lambda bench: bench.request(bench.manifest(participants=(bench.participant(key=STRANGER.public_key),))),
        ManifestRefusalError,
        "does not name this brand",
    ),
    "other task": Refusal(_other_task, ManifestRefusalError, "another task or purpose"),
    "other purpose": Refusal(
        lambda bench: bench.request(bench.manifest(purpose="churn")),
        ManifestRefusalError,
        "another task or purpose",
    ),
    "other arrays than the model digest": Refusal(
        lambda bench: bench.request(arrays={**bench.arrays(), "point": bench.arrays()["point"] + 1e-12}),
        ManifestRefusalError,
        "model digest",
    ),
    "arrays in single precision": Refusal(_single_precision, ManifestRefusalError, "only float64 and int64"),
    "snapshot of another brand": Refusal(
        lambda bench: _snapshot(bench, brand="bee"), ManifestRefusalError, "another brand or purpose"
    ),
    "snapshot for another purpose": Refusal(
        lambda bench: _snapshot(bench, purpose="churn"), ManifestRefusalError, "another brand or purpose"
    ),
    "snapshot signed by a stranger": Refusal(
        lambda bench: _snapshot(bench, signer=STRANGER), ManifestRefusalError, "not enrolled"
    ),
    "snapshot signed by the coordinator": Refusal(
        lambda bench: _snapshot(bench, signer=bench.coordinator), ManifestRefusalError, "not enrolled"
    ),
    "tampered snapshot": Refusal(_forged_head, ManifestRefusalError, "does not fit its bytes"),
    "somebody withdrew since": Refusal(_somebody_withdrew, StaleRoundError, "can not be confirmed"),
    "snapshot sealed anew since": Refusal(_sealed_anew, StaleRoundError, "not the current one"),
    "round expired": Refusal(_late, StaleRoundError, "expired"),
    "snapshot expired": Refusal(_snapshot_late, StaleRoundError, "expired"),
    "members of another root": Refusal(_members_of_another_root, StaleRoundError, "do not hash"),
    "less noise than the plan": Refusal(
        lambda bench: _mechanism(bench, noise_multiplier=0.999), ManifestRefusalError, "noise is not"
    ),
    "more noise than the plan": Refusal(
        lambda bench: _mechanism(bench, noise_multiplier=1.001), ManifestRefusalError, "noise is not"
    ),
    "other sensitivity": Refusal(
        lambda bench: _mechanism(bench, sensitivity=0.999), ManifestRefusalError, "noise is not"
    ),
    "other grid": Refusal(lambda bench: _mechanism(bench, grid=2.0), ManifestRefusalError, "noise is not"),
    "phase of another round": Refusal(
        lambda bench: bench.request(bench.manifest(phase=Phase.MARGINALS)), ManifestRefusalError, "phase"
    ),
    "phase that the task has no round for": Refusal(
        lambda bench: bench.request(bench.manifest(phase=Phase.METRICS)), ManifestRefusalError, "phase"
    ),
    "marginals asked for again": Refusal(
        lambda bench: bench.request(bench.manifest(round=0)), ManifestRefusalError, "phase"
    ),
    "gradient before marginals": Refusal(
        lambda bench: bench.request(bench.manifest(round=1)), ManifestRefusalError, "phase", rounds_before=0
    ),
    "round beyond the last": Refusal(_beyond_the_last, ManifestRefusalError, "round 4 is over"),
    "cohort under the brand's minimum": Refusal(
        _few_customers, CohortRefusalError, "minimum cohort of 20", reads_rows=True
    ),
    "budget exceeded": Refusal(
        _another_run, LedgerRefusalError, "Refused after ledger line 4", reads_rows=True, rounds_before=ROUNDS + 1
    ),
    "purpose not in the policy": Refusal(
        _unlisted_purpose, PolicyRefusalError, "takes no part in purpose 'churn'"
    ),
    "run that was not set up": Refusal(
        lambda bench: _of_task(bench, _privacy(trust_mode="distributed")), OrderRefusalError, "not set up"
    ),
    "masked sum of a task without": Refusal(
        lambda bench: bench.request(bench.manifest(secure_sum=SLOT)), ManifestRefusalError, "not masked"
    ),
    "noise in shares for a task without": Refusal(
        lambda bench: bench.request(bench.manifest(mechanism=bench.mechanism(name="discrete_gaussian"))),
        ManifestRefusalError,
        "not masked",
    ),
    "point that is not a number": Refusal(_point(_first(math.nan)), ManifestRefusalError, "no run reaches"),
    "point that is infinite": Refusal(_point(_first(-math.inf)), ManifestRefusalError, "no run reaches"),
    "point that makes logits overflow": Refusal(_point(_first(1e308)), ManifestRefusalError, "no run reaches"),
    "point too short": Refusal(_point(lambda point: point[:-1]), ManifestRefusalError, "does not fit"),
    "point of two dimensions": Refusal(_point(lambda point: point[None]), ManifestRefusalError, "does not fit"),
    "no point": Refusal(lambda bench: bench.with_arrays(point=None), ManifestRefusalError, "not a query"),
    "marginals that are not numbers": Refusal(
        _marginals(_first(math.nan)), ManifestRefusalError, "no run reaches"
    ),
    "marginals too long": Refusal(
        _marginals(lambda total: np.append(total, 0.0)), ManifestRefusalError, "do not belong"
    ),
    "marginals without noise": Refusal(
        lambda bench: bench.with_arrays(noise_shares=np.array([-1])), ManifestRefusalError, "at least one"
    ),
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[AgentBench]:
    bench = AgentBench(tmp_path, TASK)
    yield bench
    bench.close()


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_round_leaves_nothing_behind(case: str, bench: AgentBench) -> None:
    refusal = REFUSALS[case]
    bench.play(refusal.rounds_before)
    request = refusal.request(bench)
    before, spent = bench.ledger_rows(), bench.agent.ledger.epsilon(PURPOSE, LIMITS.delta)
    reads = bench.customers.reads
    with pytest.raises(refusal.error, match=refusal.words) as caught:
        bench.agent.release(request)
    assert caught.value.code == refusal.error.code
    assert not any(name in str(caught.value) for name in (*bench.table.customers, *bench.snapshots.opted_in))
    assert bench.ledger_rows() == before
    assert bench.agent.ledger.epsilon(PURPOSE, LIMITS.delta) == spent
    assert refusal.reads_rows or bench.customers.reads == reads


def test_the_request_that_the_refusals_are_made_from_is_followed(bench: AgentBench) -> None:
    bench.play(ROUNDS + 1)
    assert [row[3] for row in bench.ledger_rows(committed=True)] == list(range(ROUNDS + 1))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (BrandPolicy({}), "takes no part in purpose 'conversion'"),
        (BrandPolicy({PURPOSE: replace(LIMITS, delta=1e-6)}), "delta 1e-05 is over the policy's 1e-06"),
    ],
)
def test_a_policy_that_does_not_allow_the_task_refuses_it(policy: BrandPolicy, words: str, tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, TASK, policy)
    with pytest.raises(PolicyRefusalError, match=words):
        bench.agent.release(bench.request())
    assert bench.ledger_rows() == []
    assert bench.customers.reads == bench.snapshots.members_asked == 0
    bench.close()


def test_a_ceiling_under_the_tasks_epsilon_stops_the_run_part_way(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, TASK, BrandPolicy({PURPOSE: replace(LIMITS, epsilon=1.4)}))
    with pytest.raises(LedgerRefusalError, match=r"Refused after ledger line 2: .* over the ceiling 1\.4000"):
        bench.play(ROUNDS + 1)
    assert len(bench.ledger_rows(committed=True)) == 2
    assert bench.agent.ledger.epsilon(PURPOSE, LIMITS.delta) <= 1.4
    bench.close()


class _Interrupted:
    """Noise that lets something happen between computing and committing."""

    guaranteed = False

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def normal(self, size: int) -> Any:
        self._act()
        return np.zeros(size)

    def random_bytes(self, size: int) -> bytes:
        self._act()
        return bytes(size)


def test_a_withdrawal_while_computing_drops_the_sum_and_the_next_attempt_supersedes_it(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path, TASK)
    leaving = bench.snapshots.opted_in[5]
    bench.noise = _Interrupted(lambda: bench.snapshots.withdraw(leaving))
    bench.close()
    bench.agent = bench.assemble()
    with pytest.raises(StaleRoundError):
        bench.agent.release(bench.request())
    assert [(row[4], row[5]) for row in bench.ledger_rows()] == [("reserved", None)]
    bench.head = bench.snapshots.seal()
    bench.play(1)
    assert [row[4] for row in bench.ledger_rows()] == ["superseded", "committed"]
    assert bench.agent.ledger.lines(PURPOSE) == 1
    bench.close()


def test_a_minimum_that_the_coordinator_varies_tells_nothing_about_the_cohort(tmp_path: Path) -> None:
    bench = AgentBench(tmp_path)
    task = TASK.model_copy(update={"minimum_cohort": 10_000})
    reply = bench.agent.release(_of_task(bench, task))
    assert reply.total.size == bench.solver.marginals_length
