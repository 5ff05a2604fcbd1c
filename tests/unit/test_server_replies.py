"""What the coordinator accepts from a brand: the sum that one of the round's manifests asked of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from coordinator_bench import SOLVER, CoordinatorBench, PaperAgent, root
from numpy.typing import NDArray

from consent.contract import RoundManifest
from privacy.errors import InvalidContributionError
from server.errors import ReplyRefusedError

SUM = np.arange(SOLVER.marginals_length, dtype=np.int64)


@dataclass(frozen=True)
class Forgery:
    """A reply that must be refused, and with which words."""

    attestation: Callable[[PaperAgent, PaperAgent, RoundManifest], str]
    words: str
    total: NDArray[np.int64] | None = None


def honest(ant: PaperAgent, _stranger: PaperAgent, manifest: RoundManifest) -> str:
    return ant.attest(manifest, SUM).model_dump_json()


FORGERIES = {
    "no attestation": Forgery(lambda *_: "", "carries no attestation"),
    "not an attestation": Forgery(lambda *_: '{"body": 1}', "carries no attestation"),
    "signed by another key": Forgery(
        lambda _ant, stranger, manifest: stranger.attest(manifest, SUM, brand="ant").model_dump_json(),
        "not enrolled",
    ),
    "word changed after signing": Forgery(
        lambda ant, _stranger, manifest: (
            ant.attest(manifest, SUM).model_dump_json().replace('"ledger_entry":1', '"ledger_entry":2')
        ),
        "does not fit its bytes",
    ),
    "brand outside the run": Forgery(
        lambda _ant, stranger, manifest: stranger.attest(manifest, SUM, brand="dog").model_dump_json(),
        "not part of this run",
    ),
    "one brand in another's name": Forgery(
        lambda ant, _stranger, manifest: ant.attest(manifest, SUM, brand="bee").model_dump_json(), "not enrolled"
    ),
    "another manifest": Forgery(
        lambda ant, _stranger, manifest: ant.attest(manifest, SUM, manifest=root("other")).model_dump_json(),
        "did not ask it",
    ),
    "another snapshot": Forgery(
        lambda ant, _stranger, manifest: ant.attest(manifest, SUM, snapshot_root=root("other")).model_dump_json(),
        "another snapshot",
    ),
    "another sum than attested": Forgery(honest, "another sum", SUM + 1),
    "sum too short": Forgery(honest, "another form", SUM[:-1]),
    "sum of two dimensions": Forgery(honest, "another form", SUM[None]),
    "sum of floats": Forgery(honest, "another form", SUM.astype(np.float64)),  # type: ignore[arg-type]
    "no sum": Forgery(honest, "another form", SUM[:0]),
}


@pytest.fixture
def bench(tmp_path: Path) -> CoordinatorBench:
    return CoordinatorBench(tmp_path)


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_reply_is_refused_and_its_brand_stays_pending(case: str, bench: CoordinatorBench) -> None:
    forgery = FORGERIES[case]
    protocol, current, manifest = bench.opened()
    text = forgery.attestation(bench.agents["ant"], PaperAgent("stranger"), manifest)
    with pytest.raises(ReplyRefusedError, match=forgery.words):
        protocol.accept(current, text, SUM if forgery.total is None else forgery.total)
    assert protocol.pending(current) == ("ant", "bee", "cat")


def test_an_honest_reply_is_accepted_once(bench: CoordinatorBench) -> None:
    protocol, current, manifest = bench.opened()
    text = bench.agents["ant"].attest(manifest, SUM).model_dump_json()
    current = protocol.accept(current, text, SUM)
    assert protocol.pending(current) == ("bee", "cat")
    current = protocol.accept(current, text, SUM)
    assert len(current.accepted) == 1


def test_a_brand_that_an_attempt_did_not_ask_can_not_answer_it(bench: CoordinatorBench) -> None:
    protocol, current, manifest = bench.opened()
    current = protocol.accept(current, bench.agents["ant"].attest(manifest, SUM).model_dump_json(), SUM)
    current = protocol.reopen(SOLVER.start(), current)
    second = current.attempts[-1].body
    assert [line.brand for line in second.participants] == ["bee", "cat"]
    with pytest.raises(ReplyRefusedError, match="did not ask it"):
        protocol.accept(current, bench.agents["ant"].attest(second, SUM).model_dump_json(), SUM)


def test_a_closed_round_is_the_sum_of_its_replies(bench: CoordinatorBench) -> None:
    protocol, current, manifest = bench.opened()
    for position, brand in enumerate(protocol.brands):
        total = SUM * (position + 1)
        current = protocol.accept(current, bench.agents[brand].attest(manifest, total).model_dump_json(), total)
    after, release = protocol.close(SOLVER.start(), current)
    assert after.marginals is not None
    assert after.marginals.noise_shares == 3
    np.testing.assert_array_equal(after.marginals.total, SUM * 6 * 2.0**-10)
    body = release.verify(bench.key.public_key)
    assert [word.body.brand for word in body.attestations] == ["ant", "bee", "cat"]
    assert body.manifests == (manifest.digest(),)


def test_sums_of_different_lengths_are_not_added(bench: CoordinatorBench) -> None:
    aggregator = bench.protocol()._aggregator
    for vectors in ([], [SUM, SUM[:-1]]):
        with pytest.raises(InvalidContributionError):
            aggregator.open(vectors)
    big = np.array([2**60, -(2**60)])
    np.testing.assert_array_equal(aggregator.open([big, -big + 1]), [1, 1])
