"""The same app on real Flower: a SuperLink, two SuperNodes, two agents and the consent service, each a process."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from client.agent.models import ModelStore
from consent.contract import RoundManifest, Signed, SigningKey
from consent.errors import NotFoundError
from consent.log.verify import verify_folder
from consent.wire import RunRecord
from tests.integration.deployed_federation import BUNDLE, FLOWER, PURPOSE, RUN_ID, TASK, DeployedFederation
from tests.integration.deployed_processes import Processes

BRANDS = ("birch", "cedar")
RUN_SECONDS = 240.0


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[DeployedFederation]:
    deployed = DeployedFederation(tmp_path, Processes(tmp_path / "logs", FLOWER))
    try:
        deployed.start(*BRANDS)
        yield deployed
    finally:
        deployed.stop()


def record_of(federation: DeployedFederation) -> RunRecord:
    try:
        return federation.officer.run(RUN_ID)
    except NotFoundError:
        return RunRecord(manifests=(), releases=())


def installed(federation: DeployedFederation, brand: str) -> str | None:
    model = ModelStore(federation.brands[brand].folder / "agent" / "models").get(PURPOSE)
    return None if model is None else model.digest


def test_a_submitted_run_trains_the_approved_task_and_nothing_else(federation: DeployedFederation) -> None:
    options = ("--run-config", "epsilon=16.0 agent-url='http://127.0.0.1:1'")
    assert federation.flwr_run("override", BUNDLE, *options) != 0, "a bundle without settings has none to override"

    assert federation.flwr_run("run", BUNDLE) == 0
    federation.wait_for_run(
        "the last release", lambda: len(record_of(federation).releases) == TASK.total_rounds, seconds=RUN_SECONDS
    )
    last = record_of(federation).releases[-1].body
    federation.wait_for_run(
        "the model at every brand",
        lambda: all(installed(federation, brand) == last.model_after for brand in BRANDS),
        seconds=RUN_SECONDS,
    )

    record = record_of(federation)
    assert [release.body.round for release in record.releases] == list(range(TASK.total_rounds))
    assert all(
        {word.body.brand for word in release.body.attestations} == set(BRANDS) for release in record.releases
    )
    assert {word.body.noise for release in record.releases for word in release.body.attestations} == {"system"}
    assert last.epsilon_spent == pytest.approx(TASK.privacy.epsilon, rel=1e-3)
    for brand in BRANDS:
        (budget,) = federation.officer.budgets(brand)
        assert budget.spent == pytest.approx(TASK.privacy.epsilon, rel=1e-3)
        assert budget.reserved == pytest.approx(0, abs=1e-9)

    report = verify_folder(federation.log_folder)
    assert report.verified, list(report.lines())
    agents_refuse_what_no_coordinator_signed(federation, record.manifests[0])


def agents_refuse_what_no_coordinator_signed(
    federation: DeployedFederation, manifest: Signed[RoundManifest]
) -> None:
    """Ask an agent as a hostile bundle could, past the relay."""
    rounds = f"{federation.brands[BRANDS[0]].url}/v1/rounds"
    token = {"Authorization": f"Bearer {federation.brands[BRANDS[0]].relay_token}"}

    def ask(signed: Signed[RoundManifest], headers: Mapping[str, str]) -> tuple[int, str]:
        body = {"task": TASK.model_dump_json(), "manifest": signed.model_dump_json(), "arrays": {}}
        answer = httpx.post(rounds, json=body, headers=headers, trust_env=False)
        return answer.status_code, answer.json()["error"]

    assert ask(manifest, {}) == (401, "unauthenticated")
    forged = Signed[RoundManifest].seal(manifest.body, SigningKey.generate())
    assert ask(forged, token) == (409, "manifest_refused")
