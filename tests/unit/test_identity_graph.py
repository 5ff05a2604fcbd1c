"""Who an event belongs to: logins, shared devices, aliases, and merges that can be undone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from client.events import Event, EventStore, Kind, Source
from client.identity import IdentityGraph

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)


@pytest.fixture
def store() -> Iterator[EventStore]:
    store = EventStore(clock=lambda: LATER)
    yield store
    store.close()


def view(message_id: str, hour: float, *, device: str | None = "d", user: str | None = None) -> Event:
    return Event(
        message_id=message_id,
        source=Source.WEB,
        name="Product Viewed",
        anonymous_id=device,
        user_id=user,
        at=START + timedelta(hours=hour),
    )


def login(message_id: str, hour: float, user: str, *, device: str = "d") -> Event:
    return view(message_id, hour, device=device, user=user).model_copy(
        update={"kind": Kind.IDENTIFY, "name": "Identify"}
    )


def alias(message_id: str, hour: float, previous: str, user: str) -> Event:
    return view(message_id, hour, device=None, user=user).model_copy(
        update={"kind": Kind.ALIAS, "name": "Alias", "previous_id": previous}
    )


def owners(graph: IdentityGraph, as_of: datetime = LATER) -> dict[str, str | None]:
    rows = graph.resolved(as_of).select("message_id", "customer").to_pyarrow().to_pylist()
    assert len(rows) == len({row["message_id"] for row in rows}), "an event was resolved twice"
    return {row["message_id"]: row["customer"] for row in rows}


def test_a_login_claims_the_devices_earlier_and_later_visits(store: EventStore) -> None:
    store.add([view("before", 1), login("login", 2, "ada"), view("after", 3), view("other", 3, device="e")])
    assert owners(IdentityGraph(store)) == {"before": "ada", "login": "ada", "after": "ada", "other": None}


def test_two_customers_on_one_device_are_not_merged(store: EventStore) -> None:
    store.add(
        [
            view("nobody-yet", 1),
            login("ada-in", 2, "ada"),
            view("adas", 3),
            login("ben-in", 4, "ben"),
            view("bens", 5),
            view("ben-himself", 6, user="ben"),
            view("ada-herself", 7, user="ada"),
        ]
    )
    assert owners(IdentityGraph(store)) == {
        "nobody-yet": None,
        "ada-in": "ada",
        "adas": "ada",
        "ben-in": "ben",
        "bens": "ben",
        "ben-himself": "ben",
        "ada-herself": "ada",
    }


def test_a_login_after_the_moment_asked_for_is_not_known_yet(store: EventStore) -> None:
    store.add([view("v", 1), login("ada-in", 2, "ada"), view("w", 3), login("ben-in", 10, "ben")])
    graph = IdentityGraph(store)
    assert owners(graph, START + timedelta(hours=1)) == {"v": None}
    assert owners(graph, START + timedelta(hours=5)) == {"v": "ada", "ada-in": "ada", "w": "ada"}
    assert owners(graph)["v"] is None, "the device turned out to be shared"


def test_unlink_restores_what_was_before_and_relink_takes_it_back(store: EventStore) -> None:
    store.add([view("v", 1)])
    graph = IdentityGraph(store)
    before = owners(graph)
    store.add([login("in", 2, "ada"), login("in-again", 3, "ada")])
    assert graph.refresh() == 2
    merged = owners(graph)
    assert merged["v"] == "ada"
    assert graph.unlink("d", "ada") == 2
    assert owners(graph) == {**merged, **before}
    assert graph.refresh() == 0, "an undone link came back"
    assert owners(graph)["v"] is None
    assert [link.active for link in graph.links()] == [False, False]
    assert graph.relink("d", "ada") == 2
    assert owners(graph) == merged


def test_undoing_one_of_two_logins_makes_the_device_the_others(store: EventStore) -> None:
    store.add([view("v", 1), login("a", 2, "ada"), login("b", 3, "ben"), view("w", 4)])
    graph = IdentityGraph(store)
    graph.unlink("d", "ben")
    assert (owners(graph)["v"], owners(graph)["w"]) == ("ada", "ada")


def test_an_alias_carries_the_earlier_ids_events_along_a_chain(store: EventStore) -> None:
    store.add([view("v", 1, device=None, user="old"), alias("a1", 2, "old", "mid"), alias("a2", 3, "mid", "new")])
    graph = IdentityGraph(store)
    assert owners(graph)["v"] == "new"
    assert graph.merged(LATER) == {"new": ("mid", "new", "old")}
    assert graph.unlink("mid", "new") == 1
    assert owners(graph)["v"] == "mid"
    assert graph.merged(LATER) == {"mid": ("mid", "old")}


def test_two_names_of_one_customer_share_a_device_without_making_it_shared(store: EventStore) -> None:
    store.add([view("v", 1), login("a", 2, "old"), login("b", 3, "new"), alias("c", 4, "old", "new")])
    assert owners(IdentityGraph(store))["v"] == "new"


def test_aliases_in_a_circle_end_in_one_customer(store: EventStore) -> None:
    store.add([alias("a", 1, "x", "y"), alias("b", 2, "y", "x"), view("v", 3, device=None, user="y")])
    assert set(owners(IdentityGraph(store)).values()) == {"x"}


def test_two_logins_in_the_same_instant_do_not_double_an_event(store: EventStore) -> None:
    store.add([login("a", 2, "ada"), login("b", 2, "ben"), view("v", 3)])
    assert owners(IdentityGraph(store))["v"] is None, "nobody can tell who came last"


def test_the_ids_merged_into_a_customer_are_those_that_spoke_for_one(store: EventStore) -> None:
    store.add([view("1", 1, user="anna"), alias("2", 2, "anna", "anna-new"), alias("3", 3, "device-9", "bert")])
    graph = IdentityGraph(store)
    assert graph.merged(START + timedelta(hours=1)) == {}
    assert graph.merged(LATER) == {"anna-new": ("anna", "anna-new")}
    graph.unlink("anna", "anna-new")
    assert graph.merged(LATER) == {}
