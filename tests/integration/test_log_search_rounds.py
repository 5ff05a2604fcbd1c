"""Searching the log of a federation by run, round and kind finds its real rounds, and nothing of another run."""

from collections.abc import Iterator

import pytest
from small_federation import Watcher, open_federation

from consent.searching import LogHit, LogQuery
from simulations.federation import Federation

RUNS = ("run-1", "run-2")
NO_ROUND = 99


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with open_federation(tmp_path_factory.mktemp("federation")) as federation:
        federation.run(RUNS[0], Watcher())
        yield federation


def everything(federation: Federation, query: LogQuery) -> list[LogHit]:
    found: list[LogHit] = []
    complete = False
    while not complete:
        page = federation.officer.search_log(query)
        found, complete = found + list(page.entries), page.complete
        query = query.model_copy(update={"cursor": page.cursor})
    return found


def run_and_round(hit: LogHit) -> tuple[str, int] | None:
    """Return of which run and round an entry's own payload says it is."""
    body = hit.payload.get("manifest") or hit.payload.get("release")
    return (body["run_id"], body["round"]) if body else None


@pytest.mark.parametrize("kind", [None, "round_opened", "release_committed", "choice_recorded"])
@pytest.mark.parametrize("number", [None, 0, 1, NO_ROUND])
@pytest.mark.parametrize("run_id", RUNS)
def test_rounds_are_found_as_a_filter_finds_them(
    federation: Federation, run_id: str, number: int | None, kind: str | None
) -> None:
    wanted = [
        hit
        for hit in everything(federation, LogQuery(limit=500))
        if (of := run_and_round(hit)) is not None
        and of[0] == run_id
        and number in (None, of[1])
        and kind in (None, hit.payload["kind"])
    ]
    assert everything(federation, LogQuery(run_id=run_id, round=number, kind=kind, limit=3)) == wanted
    expected = run_id == RUNS[0] and number != NO_ROUND and kind != "choice_recorded"
    assert bool(wanted) is expected
