"""The same app on real Flower: a SuperLink, two SuperNodes, two agents and the consent service, each a process."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest
from deployed_federation import BUNDLE, FLOWER, PURPOSE, RUN_ID, TASK, DeployedFederation
from deployed_processes import Processes

from client.agent.models import ModelStore
from consent.contract import RoundManifest, Signed, SigningKey
from consent.errors import NotFoundError
from consent.log.verify import verify_folder
from consent.wire import RunRecord

BRANDS = ("birch", "cedar")
RUN_SECONDS = 240.0

HOSTILE_CONFIG = """
[tool.flwr.app.config]
epsilon = 16.0
brand = "cedar"
run-id = "another"
agent-url = "http://127.0.0.1:1"
agent-token-file = "/dev/null"
"""


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


def has_releases(federation: DeployedFederation, count: int) -> bool:
    return len(record_of(federation).releases) == count


def installed(federation: DeployedFederation, brand: str) -> str | None:
    model = ModelStore(federation.brands[brand].folder / "agent" / "models").get(PURPOSE)
    return None if model is None else model.digest


def spent(federation: DeployedFederation) -> list[tuple[float, float]]:
    budgets = [budget for brand in BRANDS for budget in federation.officer.budgets(brand)]
    return [(budget.spent, budget.reserved) for budget in budgets]


def test_the_same_app_trains_on_real_flower(federation: DeployedFederation, tmp_path: Path) -> None:
    assert federation.flwr_run("run", BUNDLE) == 0
    releases_are_there = partial(has_releases, federation, TASK.total_rounds)
    federation.wait_for_run("the last release", releases_are_there, seconds=RUN_SECONDS)
    record = record_of(federation)
    model = record.releases[-1].body.model_after
    for brand in BRANDS:
        federation.wait_for_run(
            f"the model at {brand}", lambda brand=brand: installed(federation, brand) == model, seconds=RUN_SECONDS
        )

    assert [release.body.round for release in record.releases] == list(range(TASK.total_rounds))
    words = [[word.body for word in release.body.attestations] for release in record.releases]
    assert [[word.brand for word in said] for said in words] == [list(BRANDS)] * TASK.total_rounds
    assert {word.noise for said in words for word in said} == {"system"}
    assert record.releases[-1].body.epsilon_spent == pytest.approx(TASK.privacy.epsilon, rel=1e-3)
    assert spent(federation) == [(pytest.approx(TASK.privacy.epsilon, rel=1e-3), pytest.approx(0, abs=1e-9))] * 2

    agents_refuse_what_no_coordinator_signed(federation, record.manifests[0])
    a_run_config_changes_nothing(federation, tmp_path / "hostile")
    assert record_of(federation) == record
    report = verify_folder(federation.log_folder)
    assert report.verified, list(report.lines())


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


def a_run_config_changes_nothing(federation: DeployedFederation, bundle: Path) -> None:
    """Submit the finished run again with settings of a submitter's own: it delivers the model and no more."""
    before, brand = spent(federation), BRANDS[0]
    assert federation.flwr_run("override", BUNDLE, "--run-config", "epsilon=16.0") != 0

    bundle.mkdir()
    shipped = (BUNDLE / "pyproject.toml").read_text()
    (bundle / "pyproject.toml").write_text(shipped + HOSTILE_CONFIG)
    model = federation.brands[brand].folder / "agent" / "models" / f"{PURPOSE}.npz"
    model.unlink()
    assert federation.flwr_run("hostile", bundle, "--run-config", "epsilon=15.0 brand='nobody'") == 0
    federation.wait_for_run("the model again", model.is_file, seconds=RUN_SECONDS)
    assert spent(federation) == before
