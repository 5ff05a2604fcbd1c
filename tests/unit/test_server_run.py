"""A run at the coordinator: rounds asked again of pending brands, limits, resumption, and the run's folder."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coordinator_bench import RUN, SOLVER, TASK, CoordinatorBench, PaperAgent, stale
from flwr.app import Message
from small_federation import BRANDS

from consent.contract import wire
from privacy.solvers import SolverState
from privacy.vectors import arrays_digest
from server.errors import ResumeError, RoundIncompleteError
from server.runs import RunFolder

ALL = tuple(BRANDS)


@pytest.fixture
def bench(tmp_path: Path) -> CoordinatorBench:
    return CoordinatorBench(tmp_path / RUN)


def released_rounds(bench: CoordinatorBench) -> list[int]:
    return [release.body.round for release in bench.service.releases]


def test_an_undisturbed_run_opens_each_round_once_and_delivers_its_model(bench: CoordinatorBench) -> None:
    bench.run()
    assert bench.asked() == [(number, 0, ALL) for number in range(TASK.total_rounds)]
    assert released_rounds(bench) == list(range(TASK.total_rounds))
    assert [release.round for release in bench.watcher.releases] == released_rounds(bench)
    last = bench.service.releases[-1].body
    for agent in bench.agents.values():
        (delivery,) = agent.delivered
        assert arrays_digest(delivery.arrays) == last.model_after
    epsilons = [release.body.epsilon_spent for release in bench.service.releases]
    assert epsilons == sorted(epsilons)
    assert epsilons[-1] == pytest.approx(TASK.privacy.epsilon, rel=1e-9)
    models = [(one.body.model_before, one.body.model_after) for one in bench.service.releases]
    assert all(before[1] == after[0] for before, after in pairwise(models))


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_round_is_asked_again_of_the_pending_brand_only(bench: CoordinatorBench, error: Any) -> None:
    bench.agents["bee"].trouble = stale(2) if error is None else stale(2, error)
    bench.run()
    assert bench.asked() == [(0, 0, ALL), (0, 1, ("bee",)), (0, 2, ("bee",)), (1, 0, ALL), (2, 0, ALL)]
    assert len(bench.service.releases[0].body.manifests) == 2
    assert [len(agent.answered) for agent in bench.agents.values()] == [3, 3, 3]


def test_a_lost_reply_is_asked_for_again(tmp_path: Path) -> None:
    lost = {"left": 4}

    def lose(reply: Message) -> bool:
        is_round = reply.metadata.message_type == wire.ROUND_MESSAGE
        lost["left"] -= is_round
        return is_round and lost["left"] >= 0

    bench = CoordinatorBench(tmp_path, lost=lose)
    bench.run()
    assert bench.asked()[:3] == [(0, 0, ALL), (0, 1, ALL), (0, 2, ("ant",))]
    assert released_rounds(bench) == [0, 1, 2]


def test_a_round_that_is_refused_too_often_stops_the_run_and_names_the_brand(bench: CoordinatorBench) -> None:
    bench.agents["cat"].trouble = stale(3)
    with pytest.raises(RoundIncompleteError, match=r"lacks 1 of 3 brands \(cat: stale_round: .*same run id"):
        bench.run(max_attempts=3)
    assert released_rounds(bench) == []
    bench.run(max_attempts=3)
    assert released_rounds(bench) == [0, 1, 2]
    assert [attempt for number, attempt, _ in bench.asked() if number == 0] == [0, 1, 2]


def test_a_brand_that_is_not_connected_stops_the_run(bench: CoordinatorBench) -> None:
    bench.connected.remove("bee")
    with pytest.raises(RoundIncompleteError, match="bee: no answer"):
        bench.run(max_attempts=2)


def test_a_node_that_claims_a_brand_under_another_key_is_not_asked(bench: CoordinatorBench) -> None:
    brands = {name: agent.key.public_key for name, agent in bench.agents.items()}
    coordinator = bench.coordinator(max_attempts=1)
    coordinator.protocol.brands.update(brands)
    bench.agents["bee"] = PaperAgent("bee")
    with pytest.raises(RoundIncompleteError, match="bee: no answer"):
        coordinator.run(bench.grid())
    assert bench.agents["bee"].answered == []


def interrupted(bench: CoordinatorBench, after: int) -> None:
    """Play a run that dies right after a round was released."""

    class Died(BaseException):
        pass

    def die(release: Any) -> None:
        if release.round == after:
            raise Died

    bench.watcher.on_released = die
    with pytest.raises(Died):
        bench.run()
    bench.watcher.on_released = lambda _release: None


def test_a_run_goes_on_after_its_last_release(bench: CoordinatorBench) -> None:
    interrupted(bench, after=1)
    bench.run()
    assert bench.asked() == [(0, 0, ALL), (1, 0, ALL), (2, 0, ALL)]
    assert released_rounds(bench) == [0, 1, 2]


def test_a_finished_run_only_delivers_again(bench: CoordinatorBench) -> None:
    bench.run()
    bench.run()
    assert released_rounds(bench) == [0, 1, 2]
    assert [len(agent.delivered) for agent in bench.agents.values()] == [2, 2, 2]


def state_file(bench: CoordinatorBench, number: int) -> Path:
    return bench.folder / f"state-{number:04d}.npz"


def _altered_tail(bench: CoordinatorBench) -> None:
    state = RunFolder(bench.folder).load(1)
    RunFolder(bench.folder).save(
        SolverState(2, state.marginals, state.weights, state.previous, state.tail_sum + 1e-9, state.tail_count)
    )


def _altered(bench: CoordinatorBench) -> None:
    state = RunFolder(bench.folder).load(1)
    RunFolder(bench.folder).save(
        SolverState(2, state.marginals, state.weights + 1e-9, state.previous, state.tail_sum, state.tail_count)
    )


def _older(bench: CoordinatorBench) -> None:
    state_file(bench, 1).write_bytes(state_file(bench, 0).read_bytes())


def _cut(bench: CoordinatorBench) -> None:
    path = state_file(bench, 1)
    path.write_bytes(path.read_bytes()[:-40])


def _flipped(bench: CoordinatorBench) -> None:
    path = state_file(bench, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "missing": (lambda bench: state_file(bench, 1).unlink(), "not in the run's folder"),
    "altered": (_altered, "not the one that was released"),
    "altered where the next query does not show it": (_altered_tail, "not the one that was released"),
    "older": (_older, "not the one that was released"),
    "cut short": (_cut, "can not be read"),
    "one bit flipped": (_flipped, "can not be read|not the one that was released"),
    "empty": (lambda bench: state_file(bench, 1).write_bytes(b""), "can not be read"),
    "text": (lambda bench: state_file(bench, 1).write_text("state"), "can not be read"),
    "other arrays": (lambda bench: np.savez(state_file(bench, 1), x=np.zeros(1)), "can not be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_whose_state_is_not_what_was_released_is_not_resumed(damage: str, bench: CoordinatorBench) -> None:
    interrupted(bench, after=1)
    do, words = DAMAGE[damage]
    do(bench)
    with pytest.raises(ResumeError, match=words):
        bench.run()
    assert released_rounds(bench) == [0, 1]


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    state = SOLVER.advance(SOLVER.start(), np.full(SOLVER.marginals_length, 50.0), 3)
    folder.save(state)
    good = state_file_of(tmp_path).read_bytes()

    def die(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consent.files.os.fsync", die)
    other = SOLVER.advance(SOLVER.start(), np.full(SOLVER.marginals_length, 60.0), 3)
    with pytest.raises(KeyboardInterrupt):
        folder.save(other)
    assert state_file_of(tmp_path).read_bytes() == good
    monkeypatch.undo()
    folder.save(other)
    loaded = folder.load(0)
    assert arrays_digest(loaded.to_arrays()) == arrays_digest(other.to_arrays())
    assert [path.name for path in tmp_path.iterdir()] == ["state-0000.npz"]


def state_file_of(folder: Path) -> Path:
    return folder / "state-0000.npz"
