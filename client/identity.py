"""Deterministic identity: which customer an event belongs to, from the links that logins made.

Links are rows and events are never rewritten, so every merge can be undone. A device that two customers
logged in on never merges them: its anonymous events go to whoever logged in last before them, or to nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import ibis

from client.events import EventStore

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS identity_links (
        source VARCHAR, message_id VARCHAR, kind VARCHAR,
        linked_id VARCHAR, user_id VARCHAR, "at" TIMESTAMP, unlinked_at TIMESTAMP);
"""

_NEW_LINKS = """
    INSERT INTO identity_links
    SELECT source, message_id, kind, if(kind = 'alias', previous_id, anonymous_id), user_id, "at", NULL
    FROM events
    WHERE user_id IS NOT NULL
      AND ((kind = 'identify' AND anonymous_id IS NOT NULL) OR (kind = 'alias' AND previous_id <> user_id))
      AND NOT EXISTS (SELECT 1 FROM identity_links AS known
                      WHERE known.source = events.source AND known.message_id = events.message_id)
    RETURNING message_id
"""


@dataclass(frozen=True, slots=True)
class Link:
    """One act that tied `linked_id` (a device, or with an alias an earlier user id) to a user id."""

    linked_id: str
    user_id: str
    at: datetime
    active: bool


class IdentityGraph:
    """The links of one brand's event store."""

    def __init__(self, store: EventStore) -> None:
        """Open the graph beside the events and take in the links that they hold."""
        self._store = store
        self._store.connection.execute(_SCHEMA)
        self.refresh()

    def refresh(self) -> int:
        """Take in links from events that came since; links that were undone stay undone. Return how many."""
        return len(self._store.connection.execute(_NEW_LINKS).fetchall())

    def links(self) -> tuple[Link, ...]:
        """Return every link, oldest first, the undone ones included."""
        rows = self._store.connection.execute(
            'SELECT linked_id, user_id, "at", unlinked_at IS NULL FROM identity_links ORDER BY ALL'
        ).fetchall()
        return tuple(Link(linked, user, at.replace(tzinfo=UTC), active) for linked, user, at, active in rows)

    def unlink(self, linked_id: str, user_id: str) -> int:
        """Undo every link between the two; events resolve as before it. Return how many were undone."""
        return self._mark(linked_id, user_id, self._store.now().replace(tzinfo=None))

    def relink(self, linked_id: str, user_id: str) -> int:
        """Take an `unlink` back. Return how many links hold again."""
        return self._mark(linked_id, user_id, None)

    def resolved(self, as_of: datetime, *, links_as_of: datetime | None = None) -> ibis.Table:
        """Return the events up to and including `as_of`, each with its `customer`, null for nobody.

        Links made after `links_as_of` (by default `as_of`) are not used: what is learned later does not
        reach back.
        """
        known_by = links_as_of or as_of
        events = self._store.events
        events = events.filter(events["at"] <= utc_naive(as_of))
        renamed = self._renamed(known_by)
        known = self._canonical(events.filter(events.user_id.notnull()), renamed)
        anonymous = events.filter(events.user_id.isnull())
        return known.union(self._by_device(anonymous, self._device_links(utc_naive(known_by), renamed)))

    def merged(self, as_of: datetime) -> Mapping[str, tuple[str, ...]]:
        """Return, for each customer that several user ids were merged into, all of those ids.

        An id that only ever named a device is none of them: it never spoke for a customer.
        """
        renamed = self._renamed(as_of)
        if not renamed:
            return {}
        spoken = self._store.connection.execute(
            'SELECT DISTINCT user_id FROM events WHERE "at" <= $moment AND user_id IN (SELECT unnest($ids))',
            {"moment": utc_naive(as_of), "ids": list(renamed)},
        ).fetchall()
        groups: dict[str, set[str]] = {}
        for (user,) in spoken:
            groups.setdefault(renamed[user], {renamed[user]}).add(user)
        return {customer: tuple(sorted(ids)) for customer, ids in groups.items() if len(ids) > 1}

    def _mark(self, linked_id: str, user_id: str, unlinked_at: datetime | None) -> int:
        rows = self._store.connection.execute(
            """UPDATE identity_links SET unlinked_at = $unlinked_at
               WHERE linked_id = $linked_id AND user_id = $user_id
                 AND (unlinked_at IS NULL) <> ($unlinked_at::TIMESTAMP IS NULL) RETURNING 1""",
            {"linked_id": linked_id, "user_id": user_id, "unlinked_at": unlinked_at},
        ).fetchall()
        return len(rows)

    def _renamed(self, as_of: datetime) -> Mapping[str, str]:
        rows = self._store.connection.execute(
            """SELECT linked_id, user_id FROM identity_links
               WHERE kind = 'alias' AND unlinked_at IS NULL AND "at" <= $moment ORDER BY "at", message_id""",
            {"moment": utc_naive(as_of)},
        ).fetchall()
        return _follow(dict(rows))

    def _device_links(self, moment: datetime, renamed: Mapping[str, str]) -> ibis.Table:
        links = self._store.backend.table("identity_links")
        active = links.filter(links.unlinked_at.isnull(), links["at"] <= moment)
        return self._canonical(active, renamed).select("linked_id", "customer", "at")

    @staticmethod
    def _canonical(table: ibis.Table, renamed: Mapping[str, str]) -> ibis.Table:
        if not renamed:
            return table.mutate(customer=table.user_id)
        pairs = ibis.memtable(
            {"earlier": list(renamed), "current": list(renamed.values())},
            schema=ibis.schema({"earlier": "string", "current": "string"}),
        )
        joined = table.left_join(pairs, table.user_id == pairs.earlier)
        return joined.mutate(customer=ibis.coalesce(joined.current, joined.user_id)).drop("earlier", "current")

    @staticmethod
    def _by_device(anonymous: ibis.Table, links: ibis.Table) -> ibis.Table:
        owners = links.group_by("linked_id").aggregate(users=links.customer.nunique(), owner=links.customer.min())
        devices = anonymous.left_join(owners, anonymous.anonymous_id == owners.linked_id).drop("linked_id")
        sole = devices.filter(devices.users.isnull() | (devices.users == 1))
        shared = devices.filter(devices.users > 1)
        instants = links.rename(anonymous_id="linked_id").group_by("anonymous_id", "at")
        logins = instants.aggregate(
            customer=ibis.cases((links.customer.nunique() == 1, links.customer.min()), else_=None)
        )
        last = shared.asof_join(logins, on="at", predicates=["anonymous_id"])
        return (
            sole.mutate(customer=sole.owner)
            .select(*anonymous.columns, "customer")
            .union(last.select(*anonymous.columns, "customer"))
        )


def utc_naive(at: datetime) -> datetime:
    """Return the moment as the store keeps it: UTC without an offset."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _follow(renamed: Mapping[str, str]) -> dict[str, str]:
    return {user: _end_of_chain(user, renamed) for user in renamed}


def _end_of_chain(user: str, renamed: Mapping[str, str]) -> str:
    path: list[str] = [user]
    while (following := renamed.get(path[-1])) is not None:
        if following in path:
            return min(path[path.index(following) :])
        path.append(following)
    return path[-1]
