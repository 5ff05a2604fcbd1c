"""A brand's node that fails in a round and returns under another id is found again, and the round goes on."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message
from small_federation import BRANDS, PURPOSE, Watcher, open_federation, small_task

from consent.contract import SolverSettings, wire
from server.local_grid import LocalGrid

RETURNS_AS = 9_001
NODE_UNAVAILABLE = 3
TASK = small_task(solver=SolverSettings(rounds=1, cells=16, max_bins=8))


class GridWithARestart(LocalGrid):
    """Answers the first message of a kind to the last node with an error, and gives that node a new id."""

    kind = wire.ROUND_MESSAGE

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._restarted = False

    def _deliver(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        last = node == list(self.get_node_ids())[-1]
        if self._restarted or not last or message.metadata.message_type != self.kind:
            return super()._deliver(message)
        self._restarted = True
        self._contexts[RETURNS_AS] = self._contexts.pop(node)
        return Message(Error(code=NODE_UNAVAILABLE, reason="gone"), reply_to=message)


def test_the_round_and_the_delivery_reach_the_returned_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulations.federation.LocalGrid", GridWithARestart)
    with open_federation(tmp_path, task=TASK) as federation:
        watcher = Watcher()
        federation.run("run-1", watcher)
        assert [manifest.attempt for manifest in watcher.manifests] == [0, 1, 0]
        assert len(watcher.releases) == TASK.total_rounds
        digests = {federation.brands[brand].agent.models.get(PURPOSE).digest for brand in BRANDS}
        assert digests == {watcher.releases[-1].model_after}
